//! Taps, sizes, channels, layers and classifiers of every backbone.

use burn::module::Module;
use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::{DType, Device, Distribution, Tensor};

use super::*;
use crate::testing::{assert_numbers, assert_panics, assert_same, device, drawn, drawn_as, numbers, redrawn};

/// Sizes whose halves come out even, ones that do not, and the smallest that SqueezeNet takes;
/// GoogLeNet does not.
const SIZES: [[usize; 2]; 4] = [[96, 128], [224, 224], [63, 47], [21, 22]];

/// The levels that a configuration promises are what the maps turn out to be.
fn assert_levels_are_the_maps(cnn: &impl Backbone, channels: usize, size: [usize; 2]) {
    let levels = cnn.levels();
    let maps = cnn.taps(drawn(1, [2, channels, size[0], size[1]], &device()));
    assert_eq!(levels.len(), maps.len());
    for (level, map) in levels.iter().zip(maps) {
        assert_eq!(map.dims(), [2, level.channels, level.height, level.width], "{} at {size:?}", level.name);
    }
}

/// Every network of the crate with all its taps, three classes and frames of a given size, except the
/// full VGG-16, whose 138 million weights show nothing that the small one does not.
fn networks(size: [usize; 2]) -> impl Iterator<Item = (Network, CnnConfig)> {
    Network::ALL.iter().filter(|&&network| network != Network::Vgg16).map(move |&network| {
        let options = NetworkOptions { num_classes: 3, in_channels: 3, input_size: size, taps: Vec::new() };
        let config = network.config(&options);
        let taps = config.known_taps();
        (network, config.with_taps(taps))
    })
}

fn frames(channels: usize) -> Tensor<4> {
    drawn(1, [2, channels, 32, 32], &device())
}

#[test]
fn levels_are_the_maps() {
    for size in SIZES {
        for (network, config) in networks(size).chain([with_a_grid(size)]) {
            if network == Network::Googlenet && size == [21, 22] {
                continue;
            }
            let cnn = config.init(&device());
            assert_levels_are_the_maps(&cnn, 3, size);
            assert_eq!(config.levels(), cnn.levels(), "{network}");
        }
    }
}

/// A network whose top map is not as large as its fully connected layers expect.
fn with_a_grid(size: [usize; 2]) -> (Network, CnnConfig) {
    (Network::Small, CnnConfig::Vgg16(Vgg16Config::small(6, size).with_grid([2, 3])))
}

/// Shapes follow one another, the last layer gives a number per class, every tap is the output of a
/// layer, and the parameters are those of the module.
#[test]
fn layers_describe_the_network() {
    for (network, config) in networks([96, 128]).chain([with_a_grid([96, 128])]) {
        let (layers, cnn) = (config.layers(), config.init(&device()));
        assert_eq!(layers, cnn.layers(), "{network}");
        assert_eq!(layers.iter().map(|layer| layer.parameters).sum::<usize>(), cnn.num_params(), "{network}");
        assert_eq!(layers[0].input, [3, 96, 128], "{network}");
        assert_eq!(layers.last().unwrap().output, [config.num_classes(), 1, 1], "{network}");
        let mut outputs = vec![layers[0].input];
        for layer in &layers {
            assert!(outputs.contains(&layer.input), "{network}: {}", layer.name);
            outputs.push(layer.output);
        }
        for level in config.levels() {
            assert!(outputs.contains(&[level.channels, level.height, level.width]), "{network}: {}", level.name);
        }
        let names: std::collections::BTreeSet<_> = layers.iter().map(|layer| &layer.name).collect();
        assert_eq!(names.len(), layers.len(), "{network}: a name occurs twice");
    }
}

/// 138,357,544 parameters of VGG-16 and 1,248,424 of SqueezeNet 1.0, as published. For
/// EfficientNet-Lite0 timm counts 4,652,008, among them γ and β of 21,008 channels, for which the
/// folded network has a bias; torchvision's 6,624,904 of GoogLeNet have γ and β of 7,280. The levels at
/// 224x224 are the paper's table for VGG-16, and SqueezeNet's by hand: the stem leaves
/// (224 - 7) / 2 + 1 = 109 cells a side, the maxima, rounded up, 54, 27 and 13. GoogLeNet's last
/// module has 384 + 384 + 128 + 128 channels.
#[test]
fn sizes_are_the_published_ones() {
    let networks = [
        (
            CnnConfig::Vgg16(Vgg16Config::new()),
            138_357_544,
            &[("pool2", 128, 56), ("pool3", 256, 28), ("pool4", 512, 14), ("pool5", 512, 7), ("fc7", 4096, 1)][..],
        ),
        (
            CnnConfig::SqueezeNet(SqueezeNetConfig::new()),
            1_248_424,
            &[("pool1", 96, 54), ("pool4", 256, 27), ("pool8", 512, 13), ("fire9", 512, 13)],
        ),
        (
            CnnConfig::EfficientNetLite0(EfficientNetLite0Config::new()),
            4_652_008 - 21_008,
            &[("stage2", 24, 56), ("stage3", 40, 28), ("stage5", 112, 14), ("stage7", 320, 7)],
        ),
        (
            CnnConfig::GoogLeNet(GoogLeNetConfig::new()),
            6_624_904 - 7_280,
            &[("inception3b", 480, 28), ("inception4e", 832, 14), ("inception5b", 1024, 7), ("pool5", 1024, 1)],
        ),
    ];
    for (config, parameters, levels) in networks {
        assert_eq!(config.layers().iter().map(|layer| layer.parameters).sum::<usize>(), parameters);
        let level = |&(name, channels, side): &(&str, _, _)| Level::new(name.into(), channels, side, side);
        assert_eq!(config.levels(), levels.iter().map(level).collect::<Vec<_>>());
    }
}

/// The two convolutions of VGG-16's second stage make maps of 128 x 112 x 112 from 64 and from 128
/// channels.
#[test]
fn layers_by_hand() {
    let kind = LayerKind::Conv { kernel: 3, stride: 1, groups: 1 };
    let conv = |name: &str, input, parameters| LayerShape {
        name: name.into(),
        kind,
        input: [input, 112, 112],
        output: [128, 112, 112],
        parameters,
    };
    let mut layers = Vgg16Config::new().layers();
    layers.retain(|layer| layer.name.starts_with("conv2"));
    assert_eq!(layers, [conv("conv2_1", 64, 128 * (9 * 64 + 1)), conv("conv2_2", 128, 128 * (9 * 128 + 1))]);
}

#[test]
fn networks_by_name() {
    for &network in Network::ALL {
        assert_eq!(network.to_string().parse(), Ok(network));
        let json = serde_json::to_string(&network).unwrap();
        assert_eq!(json, format!("\"{network}\""));
        assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), network);
    }
    let error = "alexnet".parse::<Network>().unwrap_err().to_string();
    assert!(error.starts_with("there is no network \"alexnet\"; known are vgg16, small, squeezenet"), "{error}");
}

fn level_names(cnn: &impl Backbone) -> Vec<String> {
    cnn.levels().into_iter().map(|level| level.name).collect()
}

/// Taps come bottom up in any order of the list, and each is the same map alone or with others.
#[test]
fn taps_alone_and_together() {
    for (network, config) in networks([32, 32]) {
        let (known, mut cnn) = (config.known_taps(), config.init(&device()));
        let all = cnn.taps(frames(3));
        for (tap, expected) in known.iter().zip(&all) {
            cnn.set_taps(&[tap]).unwrap();
            assert_same(cnn.taps(frames(3)).remove(0), expected.clone());
        }
        cnn.set_taps(&[&known[2], &known[0]]).unwrap();
        assert_eq!(level_names(&cnn), [known[0].as_str(), &known[2]], "{network}");
        let some = cnn.taps(frames(3));
        assert_eq!(some.len(), 2);
        assert_same(some[0].clone(), all[0].clone());
        assert_same(some[1].clone(), all[2].clone());
    }
}

/// Whatever the topmost tap, the layers above it give the logits of the whole network. In float64, for
/// which all layers run by Burn's operators.
#[test]
fn the_classifier_above_a_tap_is_that_of_the_network() {
    for (network, config) in networks([32, 32]) {
        let frames = drawn_as(3, [2, 3, 32, 32], DType::F64, &Device::flex());
        let cnn = redrawn(config.init(&Device::flex()), 2, 0.3, DType::F64);
        let logits = cnn.forward(frames.clone());
        assert!(logits.clone().abs().max().into_scalar::<f64>() > 1e-6, "{network}");
        let known = config.known_taps();
        for top in 0..known.len() {
            let mut cnn = cnn.clone();
            cnn.set_taps(&known[..=top]).unwrap();
            let map = cnn.taps(frames.clone()).pop().unwrap();
            assert_same(cnn.classify_top(map).cast(DType::F32), logits.clone().cast(DType::F32));
        }
    }
}

#[test]
fn unknown_taps_are_refused() {
    let config = CnnConfig::Vgg16(Vgg16Config::small(6, [32, 32]).with_taps(["pool1", "conv5"]));
    let error = config.validate().unwrap_err();
    assert_eq!(error.to_string(), "VGG-16 has no tap \"conv5\"; it has pool1, pool2, pool3, pool4, fc7");
    assert_panics("has no tap \"conv5\"", || config.init(&device()));
    // Without the fully connected layers there is no fc7 either, nor a fifth stage in a network of
    // four; nor are there logits.
    let config = Vgg16Config::small(6, [32, 32]).with_fully_connected(false);
    for tap in ["fc7", "pool5"] {
        let message = config.clone().with_taps([tap]).validate().unwrap_err().to_string();
        assert!(message.ends_with("it has pool1, pool2, pool3, pool4"), "{message}");
    }
    // A topmost map of one cell must not pass for logits.
    for size in [[32, 32], [16, 16]] {
        let cnn = config.clone().with_input_size(size).with_taps(["pool4"]).init(&device());
        let frames = drawn(1, [2, 3, size[0], size[1]], &device());
        assert_panics("no layers above its topmost tap", || cnn.forward(frames.clone()));
        assert_panics("no layers above its topmost tap", || cnn.classify_top(cnn.taps(frames).remove(0)));
    }
    let error = SqueezeNetConfig::new().with_taps(["fc7"]).validate().unwrap_err();
    assert_eq!(error.to_string(), "SqueezeNet has no tap \"fc7\"; it has pool1, pool4, pool8, fire9");
    for (network, config) in networks([32, 32]) {
        let mut cnn = config.init(&device());
        let before = level_names(&cnn);
        assert!(matches!(cnn.set_taps(&["pool9"]), Err(BackboneConfigError::UnknownTap { .. })), "{network}");
        assert_eq!(level_names(&cnn), before);
    }
}

/// Four maxima by two leave nothing of 15 pixels; SqueezeNet's smallest frame is 21 pixels a side, and
/// GoogLeNet's 31, of which the first convolution leaves 16 and the maxima 8, 4, 2 and 1.
#[test]
fn no_classes_no_taps_and_small_frames_are_refused() {
    for (network, config) in networks([32, 32]) {
        let message = config.with_num_classes(0).validate().unwrap_err().to_string();
        assert!(message.ends_with("with zero classes cannot be built"), "{network}: {message}");
    }
    let none = SqueezeNetConfig::new().with_taps([""; 0]).validate().unwrap_err();
    assert!(matches!(none, BackboneConfigError::NoTaps { .. }), "{none}");
    let small = Vgg16Config::small(6, [32, 32]).with_input_size([32, 15]).validate().unwrap_err();
    assert_eq!(small.to_string(), "frames of 32x15 pixels are too small for VGG-16: it needs 16x16 at least");
    assert!(SqueezeNetConfig::new().with_input_size([20, 64]).validate().is_err());
    assert!(SqueezeNetConfig::new().with_input_size([21, 21]).validate().is_ok());
    assert!(GoogLeNetConfig::new().with_input_size([30, 64]).validate().is_err());
    let smallest = GoogLeNetConfig::new().with_input_size([31, 31]);
    assert_levels_are_the_maps(&smallest.init(&device()), 3, [31, 31]);
}

/// A convolution that passes its input on, then a maximum over 2x2 of an 8x12 picture that already
/// has equal values in each 2x2 block, leaves the 4x6 picture of blocks; on a grid of 2x2 its cells
/// are means of 2x3 blocks. fc-6 as the identity hands them over, and so does fc-7.
#[test]
fn the_top_map_is_averaged_to_the_grid() {
    use burn::module::Param;
    let device = device();
    let config = Vgg16Config::small(2, [8, 12]).with_in_channels(1).with_stages(vec![[1, 1]]).with_grid([2, 2]);
    let mut vgg = config.with_fc_width(4).with_taps(["fc7"]).init(&device);
    let mut tap = vec![0f32; 9];
    tap[4] = 1.0;
    let kernel = burn::tensor::TensorData::new(tap, [1, 1, 3, 3]);
    vgg.convs[0].weight = Param::from_tensor(Tensor::from_data(kernel, &device));
    for fc in &mut vgg.fcs[..2] {
        fc.weight = Param::from_tensor(Tensor::eye(4, &device));
    }
    // Blocks 1 to 24 row by row: the upper left quarter has 1, 2, 3, 7, 8, 9 with mean 5, the next
    // one 4, 5, 6, 10, 11, 12 with mean 8; twelve more in the lower half.
    let blocks = Tensor::<1, burn::tensor::Int>::arange(1..25, &device).float().reshape([1, 1, 4, 1, 6, 1]);
    let picture: Tensor<6> = blocks.repeat_dim(3, 2).repeat_dim(5, 2);
    let map = vgg.taps(picture.reshape([1, 1, 8, 12])).remove(0);
    assert_eq!(map.dims(), [1, 4, 1, 1]);
    assert_numbers(map, &[5.0, 8.0, 17.0, 20.0]);
}

/// Frames of clips go through as one batch and come back clip by clip, in order.
#[test]
fn percepts_keep_clips_and_frames_apart() {
    let device = device();
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

/// Weights and biases of a network's classifier.
fn classifier(cnn: &Cnn) -> (Vec<f32>, Vec<f32>) {
    let pairs = cnn.key_prefixes();
    let (_, ours) = pairs.iter().find(|(theirs, _)| theirs == cnn.classifier_key()).expect("the classifier has a key");
    let tensors = cnn.collect(None, None, true);
    let values = |part: &str| {
        let tensor =
            tensors.iter().find(|tensor| tensor.name == format!("{ours}.{part}")).expect("a classifier's tensor");
        bridge::to_data(tensor).unwrap().try_into_vec::<f32>().unwrap()
    };
    (values("weight"), values("bias"))
}

/// Of 64·40 weights, the least count: the root mean square of n draws of N(0, s²) is s within
/// s·4/√(2n), or 5.6 % at n = 2560, but for one case in 16,000.
#[test]
fn only_the_classifier_is_new() {
    let device = device();
    device.seed(3);
    for (network, config) in networks([32, 32]) {
        let mut cnn = config.init(&device);
        let frames = Tensor::<4>::random([2, 3, 32, 32], Distribution::Default, &device);
        let before = cnn.taps(frames.clone());
        cnn.replace_classifier(40, 0.001, &device);
        for (before, after) in before.into_iter().zip(cnn.taps(frames.clone())) {
            assert_same(before, after);
        }
        assert_eq!(cnn.num_classes(), 40);
        assert_eq!(cnn.forward(frames).dims(), [2, 40]);
        let (weight, bias) = classifier(&cnn);
        let rms = (weight.iter().map(|w| f64::from(w * w)).sum::<f64>() / weight.len() as f64).sqrt();
        assert!((rms / 0.001 - 1.0).abs() < 0.056, "{network}: {rms}");
        assert_eq!(bias, [0.0; 40]);
    }
}

/// With fc-6 kept whole and 99.99 % of fc-7's 64 values dropped, the logits of a frame are all but
/// surely the biases, zero; the chance of one survivor is 64 in 10,000. The plain device never
/// drops.
#[test]
fn dropout_acts_in_training_alone_and_at_its_own_layer() {
    let device = Device::flex();
    device.seed(5);
    let mut vgg = Vgg16Config::small(3, [32, 32]).init(&device);
    vgg.set_dropout(&[0.0, 0.9999]).unwrap();
    let frames = Tensor::<4>::random([1, 3, 32, 32], Distribution::Default, &device);
    let plain = vgg.forward(frames.clone());
    assert!(plain.clone().abs().max().into_scalar::<f32>() > 0.0);
    let training = vgg.clone().train();
    assert_eq!(numbers(training.forward(frames.clone().autodiff()).inner()), [0.0; 3]);
    assert_same(training.valid().forward(frames.clone()), plain);
    // The tap fc7 is what it is in training too; in float64, which both compute by the same
    // operators.
    let tap = |cnn: &Vgg16, frames| cnn.taps(frames).pop().expect("fc7 is a tap").cast(DType::F32);
    let frames = frames.cast(DType::F64);
    assert_same(tap(&training, frames.clone().autodiff()).inner(), tap(&vgg, frames));
}

#[test]
fn drop_probabilities_are_those_of_the_network() {
    for (network, config) in networks([32, 32]) {
        let (count, mut cnn) = (config.dropout().len(), config.init(&device()));
        assert_eq!(
            cnn.set_dropout(&vec![0.5; count + 1]),
            Err(BackboneConfigError::DropoutCount { expected: count, found: count + 1 }),
            "{network}"
        );
        assert_eq!(cnn.set_dropout(&vec![1.0; count]), Err(BackboneConfigError::DropoutRange(1.0)), "{network}");
        assert_eq!(cnn.dropout(), config.dropout(), "{network}");
        cnn.set_dropout(&vec![0.25; count]).unwrap();
        assert_eq!(cnn.dropout(), vec![0.25; count], "{network}");
        assert_eq!(cnn.config().dropout(), vec![0.25; count], "{network}");
    }
}

/// A network for stacks of ten flow fields is the network for RGB across modalities. 128 is no
/// motion, and becomes zero. The sum over 20 equal channels x of the mean of three kernels is 20/3
/// of the sum over three equal channels, so channels of 3/20 x give what three channels of x gave,
/// but for rounding.
#[test]
fn networks_for_flow_have_the_mean_kernel() {
    for (network, config) in networks([32, 32]) {
        let (num_classes, input_size, taps) = (3, [32, 32], config.known_taps());
        let flow = network.config(&NetworkOptions { num_classes, in_channels: 20, input_size, taps });
        assert_eq!(flow.in_channels(), 20);
        assert_eq!(flow.pixels().mean, [128.0 / 255.0; 20]);
        assert_eq!(flow.to_string(), config.clone().across_modality(20).to_string());
        let still = Tensor::full([1, 1, 32, 32, 20], 128, &device());
        assert_same(flow.pixels().normalise(still), Tensor::<5>::zeros([1, 1, 20, 32, 32], &device()));
        assert_levels_are_the_maps(&flow.init(&device()), 20, [32, 32]);

        let cnn = config.init(&device());
        let grey = frames(1);
        let before = cnn.taps(grey.clone().repeat_dim(1, 3));
        let widened = cnn.across_modality(20);
        assert_eq!(widened.config().to_string(), flow.to_string());
        for (before, after) in before.into_iter().zip(widened.taps(grey.repeat_dim(1, 20) * 0.15)) {
            let scale = before.clone().abs().max().into_scalar::<f32>();
            assert!((before - after).abs().max().into_scalar::<f32>() < 1e-5 * scale, "{network}");
        }
    }
}

/// A network that implements the three required methods alone.
struct Fixed;

impl Backbone for Fixed {
    fn levels(&self) -> Vec<Level> {
        vec![Level::new("map".into(), 3, 4, 4)]
    }

    fn pixels(&self) -> Pixels {
        Pixels::symmetric(3)
    }

    fn taps(&self, frames: Tensor<4>) -> Vec<Tensor<4>> {
        vec![frames]
    }
}

#[test]
fn three_methods_make_a_backbone() {
    assert_eq!(Fixed.set_taps(&["map"]), Ok(()));
    assert_eq!(Fixed.set_taps(&["other"]).unwrap_err().to_string(), "this backbone has fixed taps: map");
    assert_eq!(Fixed.set_dropout(&[]), Ok(()));
    assert!(Fixed.set_dropout(&[0.5]).is_err());
    assert_eq!((Fixed.num_classes(), Fixed.classifier_key()), (0, ""));
    assert!(Fixed.layers().is_empty() && Fixed.key_prefixes().is_empty());
    assert_panics("no classifier of its own", || Fixed.forward(frames(3)));
    assert_panics("no classifier of its own", || Fixed.classify_top(frames(3)));
}

/// The operator of the CPU backend against Burn's operators in float64: every network, sizes whose
/// halves do not come out even, each tap by itself, and the classifier.
#[test]
fn the_compiled_network_equals_the_layers() {
    for size in [[63, 47], [40, 64]] {
        for (network, config) in networks(size).chain([with_a_grid(size)]) {
            let mut cnn = config.init(&Device::flex());
            let frames = drawn(2, [3, 3, size[0], size[1]], &Device::flex());
            let assert_close = |found: Vec<Tensor<4>>, expected: Vec<Tensor<4>>| {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.into_iter().zip(expected) {
                    let largest = expected.clone().abs().max().into_scalar::<f64>();
                    let worst = (found.cast(DType::F64) - expected).abs().max().into_scalar::<f64>();
                    assert!(worst <= 2e-5 * largest, "{network} at {size:?}: {worst} of {largest}");
                }
            };
            let exact = frames.clone().cast(DType::F64);
            let taps = config.known_taps();
            for taps in taps.iter().map(std::slice::from_ref).chain([&taps[..]]) {
                cnn.set_taps(taps).unwrap();
                assert_close(cnn.taps(frames.clone()), cnn.taps(exact.clone()));
            }
            let logits = |frames: &Tensor<4>| vec![Backbone::forward(&cnn, frames.clone()).reshape([3, -1, 1, 1])];
            assert_close(logits(&frames), logits(&exact));
        }
    }
}

/// A changed weight changes the compiled network's maps.
#[test]
fn a_compiled_network_follows_its_weights() {
    let mut cnn = Vgg16Config::small(3, [32, 32]).init(&device());
    let before = cnn.taps(frames(3)).swap_remove(0);
    cnn.convs[0].weight = cnn.convs[0].weight.clone().map(|weight| weight * 2.0);
    assert_same(cnn.taps(frames(3)).swap_remove(0), before * 2.0);
}
