//! SqueezeNet 1.0 with its ImageNet weights against torchvision.

use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, SqueezeNetConfig};
use gru_rcn::weights::import_torchvision;
use gru_rcn_tests::test_data;

use crate::counter::blocky_picture;
use crate::golden::{Golden, Worst};

const SEED: u64 = 16_020_736;

/// The weights, 5 MB, are not part of the repository.
#[test]
fn imagenet_weights_match_torchvision() {
    let Some(weights) = test_data("squeezenet::imagenet_weights_match_torchvision", "weights") else { return };
    let path = weights.join("squeezenet1_0.safetensors");
    let golden = Golden::open("squeezenet.safetensors");
    let device = Device::flex();
    let mut model = import_torchvision(SqueezeNetConfig::new().init(&device), &path).unwrap();
    for size in [[224, 224], [96, 128]] {
        let name = format!("{}x{}", size[0], size[1]);
        let mut worst = Worst::of(format!("SqueezeNet, {name}"));
        model.config.input_size = size;
        let clip = model.pixels().normalise(blocky_picture(SEED, &format!("frame.{name}"), size, &device));
        let x = clip.squeeze_dim::<4>(1);
        worst.levels(&model, x.clone(), &golden, &name);
        worst.logits(model.forward(x), &golden, &name);
    }
}
