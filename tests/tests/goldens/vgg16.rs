//! VGG-16 at full width against torchvision, with 138 million weights that both sides draw by the
//! same formula; and a small network of its design, read from files that `torch.save` wrote.

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use gru_rcn::backbone::{Backbone, Vgg16, Vgg16Config};
use gru_rcn::weights::{WeightsError, import_torchvision};
use gru_rcn_tests::skip;

use crate::counter::{drawn, write_weights};
use crate::golden::{Golden, Worst, device, keys, path};

const SEED: u64 = 138_357_544;

/// torchvision's own keys and shapes, written out instead of taken from the tested crate.
fn layout() -> Vec<(String, Vec<usize>)> {
    const CONVS: [(usize, usize, usize); 13] = [
        (0, 3, 64),
        (2, 64, 64),
        (5, 64, 128),
        (7, 128, 128),
        (10, 128, 256),
        (12, 256, 256),
        (14, 256, 256),
        (17, 256, 512),
        (19, 512, 512),
        (21, 512, 512),
        (24, 512, 512),
        (26, 512, 512),
        (28, 512, 512),
    ];
    let mut tensors = Vec::new();
    for (index, input, output) in CONVS {
        tensors.push((format!("features.{index}.weight"), vec![output, input, 3, 3]));
        tensors.push((format!("features.{index}.bias"), vec![output]));
    }
    for (index, input, output) in [(0, 25_088, 4096), (3, 4096, 4096), (6, 4096, 1000)] {
        tensors.push((format!("classifier.{index}.weight"), vec![output, input]));
        tensors.push((format!("classifier.{index}.bias"), vec![output]));
    }
    tensors
}

/// Needs 553 MB of temporary disk and 1.7 GB of memory, and a device with buffers of 411 MB for the
/// first fully connected layer, where lavapipe allows 128 MiB. At 96x128 the top map of 3x4 cells is
/// averaged to 7x7.
#[test]
fn full_width_matches_torchvision() {
    let golden = Golden::open("vgg16.safetensors");
    let device = device();
    let largest = Tensor::<1>::zeros([25_088 * 4_096], &device);
    if let Err(error) = largest.clone().narrow(0, 0, 1).try_into_scalar::<f32>() {
        skip!("the device has no buffer for VGG-16's first fully connected layer: {error}");
    }
    drop(largest);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vgg16.safetensors");
    write_weights(&file, SEED, &layout()).unwrap();
    let mut model = import_torchvision(Vgg16Config::new().init(&device), &file).unwrap();
    assert_eq!(model.num_params(), 138_357_544);
    for size in [[224, 224], [96, 128]] {
        let name = format!("{}x{}", size[0], size[1]);
        let mut worst = Worst::of(format!("VGG-16, {name}"), &golden);
        model.config.input_size = size;
        let x = drawn(SEED, &format!("frame.{name}"), [1, 3, size[0], size[1]], 2.0, &device);
        worst.levels(&model, x.clone(), &name);
        worst.check(model.forward(x).narrow(1, 0, 32), &keys(&name, &["logits"]));
    }
}

fn load(file: &str) -> Vgg16 {
    import_torchvision(small(), &path(file)).unwrap()
}

fn small() -> Vgg16 {
    let config = Vgg16Config::new()
        .with_num_classes(5)
        .with_input_size([20, 28])
        .with_stages(vec![[2, 4], [1, 8], [1, 12]])
        .with_grid([2, 2])
        .with_fc_width(16)
        .with_taps(["pool1", "pool2", "pool3", "fc7"].map(String::from).to_vec());
    config.init(&device())
}

fn compare(file: &str, precision: &str) {
    let golden = Golden::open("vgg_small.safetensors");
    let model = load(file);
    let frame: Tensor<4> = golden.tensor("frame", &device());
    let mut worst = Worst::of(file, &golden);
    let levels = model.levels();
    for (level, map) in levels.iter().zip(model.taps(frame.clone())) {
        assert_eq!(map.dims(), [1, level.channels, level.height, level.width], "{}", level.name);
        worst.check(map, &keys(precision, &[&level.name]));
    }
    worst.check(model.forward(frame), &keys(precision, &["logits"]));
}

/// A bit that flipped on the way is found by the file's checksums, and the message says that the
/// file is damaged, not that it belongs to another model. Some bytes hold nothing that matters.
#[test]
fn a_flipped_bit_is_damage() {
    let whole = std::fs::read(path("vgg_small.pth")).unwrap();
    let expected = load("vgg_small.pth");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flipped.pth");
    let mut found = 0;
    for place in (0..whole.len()).step_by(41) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&file, bytes).unwrap();
        match import_torchvision(small(), &file) {
            Ok(model) => {
                let weight = |model: &Vgg16| model.convs[0].weight.val().into_data();
                assert_eq!(weight(&model), weight(&expected), "byte {place}");
            }
            Err(error) => {
                assert!(matches!(error, WeightsError::Unreadable { .. }), "byte {place}: {error}");
                found += 1;
            }
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn files_in_single_precision_match() {
    compare("vgg_small.pth", "single");
}

/// Weights in half precision give a model in single precision that computes with them.
#[test]
fn files_in_half_precision_match() {
    assert_eq!(load("vgg_small_half.pth").convs[0].weight.val().dtype(), DType::F32);
    compare("vgg_small_half.pth", "half");
}
