//! Taps, sizes and channels of the two backbones.

use burn::tensor::{Device, Tensor};

use super::*;
use crate::testing::{assert_same, drawn};

/// Sizes whose halves come out even, ones that do not, and the smallest that SqueezeNet takes.
const SIZES: [[usize; 2]; 4] = [[96, 128], [224, 224], [63, 47], [21, 22]];

fn names(taps: &[&str]) -> Vec<String> {
    taps.iter().map(|tap| tap.to_string()).collect()
}

/// The levels that a configuration promises are what the maps turn out to be.
fn assert_levels_are_the_maps(cnn: &impl Backbone, channels: usize, size: [usize; 2]) {
    let levels = cnn.levels();
    let maps = cnn.taps(drawn(1, [2, channels, size[0], size[1]], &Device::flex()));
    assert_eq!(levels.len(), maps.len());
    for (level, map) in levels.iter().zip(maps) {
        assert_eq!(map.dims(), [2, level.channels, level.height, level.width], "{} at {size:?}", level.name);
    }
}

#[test]
fn vgg_levels_are_its_maps() {
    for size in SIZES {
        let config = Vgg16Config::small(6, size).with_grid([2, 3]);
        assert_levels_are_the_maps(&config.init(&Device::flex()), 3, size);
        let cnn = CnnConfig::Vgg16(config);
        assert_eq!(cnn.levels(), cnn.init(&Device::flex()).levels());
    }
}

#[test]
fn squeezenet_levels_are_its_maps() {
    for size in SIZES {
        let config = SqueezeNetConfig::new().with_input_size(size);
        assert_levels_are_the_maps(&config.init(&Device::flex()), 3, size);
        let cnn = CnnConfig::SqueezeNet(config);
        assert_eq!(cnn.levels(), cnn.init(&Device::flex()).levels());
    }
}

/// The paper's table for VGG-16 at 224x224, and SqueezeNet's by hand: the stem leaves (224 - 7) / 2 + 1 = 109 cells a
/// side, the maxima, rounded up, 54, 27 and 13.
#[test]
fn levels_at_224() {
    let shape = |level: &Level| (level.name.clone(), level.channels, level.height, level.width);
    let table = |rows: &[(&str, usize, usize)]| -> Vec<_> {
        rows.iter().map(|&(name, channels, side)| (name.to_string(), channels, side, side)).collect()
    };
    let vgg: Vec<_> = Vgg16Config::new().levels().iter().map(shape).collect();
    assert_eq!(
        vgg,
        table(&[("pool2", 128, 56), ("pool3", 256, 28), ("pool4", 512, 14), ("pool5", 512, 7), ("fc7", 4096, 1)])
    );
    let squeezenet: Vec<_> = SqueezeNetConfig::new().levels().iter().map(shape).collect();
    assert_eq!(squeezenet, table(&[("pool1", 96, 54), ("pool4", 256, 27), ("pool8", 512, 13), ("fire9", 512, 13)]));
}

/// Taps come bottom up in whatever order they are asked for, and are the same maps whether asked for alone or together.
#[test]
fn taps_alone_and_together() {
    let device = Device::flex();
    let frames = drawn(1, [1, 3, 32, 48], &device);
    let mut vgg = Vgg16Config::small(6, [32, 48]).init(&device);
    let all = vgg.taps(frames.clone());
    assert_eq!(vgg.config.known_taps(), ["pool1", "pool2", "pool3", "pool4", "fc7"]);
    vgg.config.taps = names(&["pool3", "pool1"]);
    let some = vgg.taps(frames.clone());
    assert_eq!(vgg.levels().iter().map(|level| level.name.as_str()).collect::<Vec<_>>(), ["pool1", "pool3"]);
    assert_eq!(some.len(), 2);
    assert_same(some[0].clone(), all[0].clone());
    assert_same(some[1].clone(), all[2].clone());
    vgg.config.taps = names(&["fc7"]);
    assert_same(vgg.taps(frames.clone()).remove(0), all[4].clone());

    let mut squeezenet = SqueezeNetConfig::new().with_input_size([32, 48]).init(&device);
    let all = squeezenet.taps(frames.clone());
    assert_eq!(SqueezeNetConfig::known_taps(), ["pool1", "pool4", "pool8", "fire9"]);
    squeezenet.config.taps = names(&["fire9", "pool4"]);
    let some = squeezenet.taps(frames);
    assert_eq!(squeezenet.levels().iter().map(|level| level.name.as_str()).collect::<Vec<_>>(), ["pool4", "fire9"]);
    assert_same(some[0].clone(), all[1].clone());
    assert_same(some[1].clone(), all[3].clone());
}

#[test]
fn unknown_taps() {
    let config = CnnConfig::Vgg16(Vgg16Config::small(6, [32, 32]).with_taps(names(&["pool1", "conv5"])));
    let error = config.validate().unwrap_err();
    assert_eq!(error.to_string(), "VGG-16 has no tap \"conv5\"; it has pool1, pool2, pool3, pool4, fc7");
    // Without the fully connected layers there is no fc7 either, nor a fifth stage in a network of four.
    for tap in ["fc7", "pool5"] {
        let config = Vgg16Config::small(6, [32, 32]).with_fully_connected(false).with_taps(names(&[tap]));
        let message = config.validate().unwrap_err().to_string();
        assert!(message.ends_with("it has pool1, pool2, pool3, pool4"), "{message}");
    }
    let error = SqueezeNetConfig::new().with_taps(names(&["fc7"])).validate().unwrap_err();
    assert_eq!(error.to_string(), "SqueezeNet has no tap \"fc7\"; it has pool1, pool4, pool8, fire9");
}

/// Four maxima by two leave nothing of 15 pixels; SqueezeNet's smallest frame is 21 pixels a side.
#[test]
fn no_taps_and_frames_too_small() {
    let none = SqueezeNetConfig::new().with_taps(Vec::new()).validate().unwrap_err();
    assert!(matches!(none, BackboneConfigError::NoTaps { .. }), "{none}");
    let small = Vgg16Config::small(6, [32, 32]).with_input_size([32, 15]).validate().unwrap_err();
    assert_eq!(small.to_string(), "frames of 32x15 pixels are too small for VGG-16: it needs 16x16 at least");
    assert!(SqueezeNetConfig::new().with_input_size([20, 64]).validate().is_err());
    assert!(SqueezeNetConfig::new().with_input_size([21, 21]).validate().is_ok());
}

#[test]
#[should_panic(expected = "has no tap \"pool9\"")]
fn a_network_with_an_unknown_tap_is_not_built() {
    Vgg16Config::new().with_taps(names(&["pool9"])).init(&Device::flex());
}

/// A convolution that passes its input on, then a maximum over 2x2 of an 8x12 picture that already has equal values in
/// each 2x2 block, leaves the 4x6 picture of blocks; on a grid of 2x2 its cells are means of 2x3 blocks. fc-6 as the
/// identity hands them over, and so does fc-7.
#[test]
fn the_top_map_is_averaged_to_the_grid() {
    use burn::module::Param;
    let device = Device::flex();
    let config = Vgg16Config::small(2, [8, 12]).with_in_channels(1).with_stages(vec![[1, 1]]).with_grid([2, 2]);
    let mut vgg = config.with_fc_width(4).with_taps(names(&["fc7"])).init(&device);
    let mut tap = vec![0f32; 9];
    tap[4] = 1.0;
    let kernel = burn::tensor::TensorData::new(tap, [1, 1, 3, 3]);
    vgg.convs[0].weight = Param::from_tensor(Tensor::from_data(kernel, &device));
    for fc in &mut vgg.fcs[..2] {
        fc.weight = Param::from_tensor(Tensor::eye(4, &device));
    }
    // Blocks 1 to 24 row by row: the upper left quarter has 1, 2, 3, 7, 8, 9 with mean 5, the next one 4, 5, 6, 10, 11,
    // 12 with mean 8; twelve more in the lower half.
    let blocks = Tensor::<1, burn::tensor::Int>::arange(1..25, &device).float().reshape([1, 1, 4, 1, 6, 1]);
    let picture: Tensor<6> = blocks.repeat_dim(3, 2).repeat_dim(5, 2);
    let map = vgg.taps(picture.reshape([1, 1, 8, 12])).remove(0);
    assert_eq!(map.dims(), [1, 4, 1, 1]);
    crate::testing::assert_numbers(map, &[5.0, 8.0, 17.0, 20.0]);
}

/// Twenty channels: ten flow fields.
#[test]
fn any_number_of_channels() {
    let device = Device::flex();
    let vgg = Vgg16Config::small(6, [32, 32]).with_in_channels(20).init(&device);
    assert_levels_are_the_maps(&vgg, 20, [32, 32]);
    assert_eq!(vgg.convs[0].weight.dims(), [8, 20, 3, 3]);
    let squeezenet = SqueezeNetConfig::new().with_in_channels(20).with_input_size([32, 32]).init(&device);
    assert_levels_are_the_maps(&squeezenet, 20, [32, 32]);
}

/// Frames of clips go through as one batch and come back clip by clip, in order.
#[test]
fn percepts_keep_clips_and_frames_apart() {
    let device = Device::flex();
    let cnn = Vgg16Config::small(6, [32, 32]).init(&device);
    let clips = drawn::<5>(2, [2, 3, 3, 32, 32], &device);
    let percepts = cnn.percepts(clips.clone());
    for clip in 0..2 {
        for t in 0..3 {
            let frame = clips.clone().narrow(0, clip, 1).narrow(1, t, 1).squeeze_dim::<4>(1);
            for (map, alone) in percepts.maps.iter().zip(cnn.taps(frame)) {
                assert_same(map.clone().narrow(0, clip, 1).narrow(1, t, 1).squeeze_dim::<4>(1), alone);
            }
        }
    }
}

#[test]
#[should_panic(expected = "no fully connected layers")]
fn a_network_without_a_classifier_does_not_classify() {
    let config = Vgg16Config::small(6, [32, 32]).with_fully_connected(false).with_taps(names(&["pool4"]));
    config.init(&Device::flex()).forward(Tensor::zeros([1, 3, 32, 32], &Device::flex()));
}
