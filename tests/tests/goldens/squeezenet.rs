//! SqueezeNet 1.0 with its ImageNet weights against torchvision.

use std::path::PathBuf;

use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, SqueezeNetConfig};
use gru_rcn::weights::import_torchvision;

use crate::counter::blocky_picture;
use crate::golden::{Golden, Worst, keys};

const SEED: u64 = 16_020_736;

/// The weights, 5 MB, are not part of the repository.
fn weights() -> Option<PathBuf> {
    let folder = std::env::var_os("GRU_RCN_TEST_DATA")?;
    let path = PathBuf::from(folder).join("weights/squeezenet1_0.safetensors");
    path.is_file().then_some(path)
}

/// Bypasses the capture of the test harness, so that a skipped test is not mistaken for a passed
/// one.
fn say_skipped() {
    use std::io::Write;
    let line = "skipped: set GRU_RCN_TEST_DATA to the folder of weights/squeezenet1_0.safetensors";
    let _ = writeln!(std::io::stderr(), "squeezenet::imagenet_weights_match_torchvision: {line}");
}

#[test]
fn imagenet_weights_match_torchvision() {
    let Some(path) = weights() else { return say_skipped() };
    let golden = Golden::open("squeezenet.safetensors");
    let device = Device::flex();
    let mut model = import_torchvision(SqueezeNetConfig::new().init(&device), &path).unwrap();
    for size in [[224, 224], [96, 128]] {
        let name = format!("{}x{}", size[0], size[1]);
        let mut worst = Worst::of(format!("SqueezeNet, {name}"));
        model.config.input_size = size;
        let clip = model.pixels().normalise(blocky_picture(SEED, &format!("frame.{name}"), size, &device));
        let x = clip.squeeze_dim::<4>(1);
        for (level, map) in model.levels().iter().zip(model.taps(x.clone())) {
            assert_eq!(map.dims(), [1, level.channels, level.height, level.width], "{}", level.name);
            worst.digest(map, &golden, &format!("{name}.{}", level.name));
        }
        let logits = model.forward(x);
        worst.digest(logits.clone(), &golden, &format!("{name}.logits"));
        let (best, classes) = logits.sort_descending_with_indices(1);
        let classes = classes.narrow(1, 0, 5).into_data().try_to_vec_as::<i64>().unwrap();
        assert_eq!(
            classes.into_iter().map(|class| class as usize).collect::<Vec<_>>(),
            golden.indices(&format!("{name}.best"))
        );
        worst.check(best.narrow(1, 0, 5), &golden, &keys(&name, &["best_logits"]));
    }
}
