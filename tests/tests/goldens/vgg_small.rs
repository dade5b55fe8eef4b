//! A small network of VGG's design, read from files that `torch.save` wrote.

use burn::tensor::{DType, Device, Tensor};
use gru_rcn::backbone::{Backbone, Vgg16, Vgg16Config};
use gru_rcn::weights::import_torchvision;

use crate::golden::{Golden, Worst, keys, path};

fn load(file: &str) -> Vgg16 {
    let config = Vgg16Config::new()
        .with_num_classes(5)
        .with_input_size([20, 28])
        .with_stages(vec![[2, 4], [1, 8], [1, 12]])
        .with_grid([2, 2])
        .with_fc_width(16)
        .with_taps(["pool1", "pool2", "pool3", "fc7"].map(String::from).to_vec());
    import_torchvision(config.init(&Device::flex()), &path(file)).unwrap()
}

fn compare(file: &str, precision: &str) {
    let golden = Golden::open("vgg_small.safetensors");
    let model = load(file);
    let frame: Tensor<4> = golden.tensor("frame", &Device::flex());
    let mut worst = Worst::of(file);
    let levels = model.levels();
    for (level, map) in levels.iter().zip(model.taps(frame.clone())) {
        assert_eq!(map.dims(), [1, level.channels, level.height, level.width], "{}", level.name);
        worst.check(map, &golden, &keys(precision, &[&level.name]));
    }
    worst.check(model.forward(frame), &golden, &keys(precision, &["logits"]));
}

#[test]
fn files_in_single_precision_match() {
    compare("vgg_small.pth", "single");
}

/// A file in half precision gives a model in single precision that computes with the rounded
/// weights.
#[test]
fn files_in_half_precision_match() {
    assert_eq!(load("vgg_small_half.pth").convs[0].weight.val().dtype(), DType::F32);
    compare("vgg_small_half.pth", "half");
}
