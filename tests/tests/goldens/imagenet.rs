//! SqueezeNet 1.0 and EfficientNet-Lite0 with their ImageNet weights: against torchvision's and
//! timm's, and on photographs. The weights are not part of the repository.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor};
use gru_rcn::backbone::{Backbone, EfficientNetLite0, EfficientNetLite0Config, SqueezeNetConfig};
use gru_rcn::weights::{export_torchvision, import_torchvision, torchvision_classes};
use gru_rcn_tests::needs_data;
use image::imageops::{FilterType, crop_imm, resize};

use crate::counter::blocky_picture;
use crate::golden::{compare, device, pictures};

const SEED: u64 = 19_051_946;

/// EfficientNet-Lite0 with its weights, which lie in a folder.
fn network(weights: &Path, device: &Device) -> EfficientNetLite0 {
    let path = weights.join("efficientnet_lite0.safetensors");
    let network = EfficientNetLite0Config::new().init(device);
    assert_eq!(torchvision_classes(&network, &path).unwrap(), 1000);
    import_torchvision(network, &path).unwrap()
}

#[test]
fn squeezenet_matches_torchvision() {
    let weights = needs_data!("weights").join("squeezenet1_0.safetensors");
    let model = import_torchvision(SqueezeNetConfig::new().init(&device()), &weights).unwrap();
    let golden = ("squeezenet.safetensors", 16_020_736);
    compare("SqueezeNet", golden, model, |model, size| model.config.input_size = size, &[[224, 224], [96, 128]]);
}

/// At even and at odd sizes, whose padding differs.
#[test]
fn efficientnet_matches_timm() {
    let model = network(&needs_data!("weights"), &device());
    let sizes = [[224, 224], [96, 128], [63, 47]];
    let golden = ("efficientnet.safetensors", SEED);
    compare("EfficientNet-Lite0", golden, model, |model, size| model.config.input_size = size, &sizes);
}

/// Folded weights that were exported are imported again as they are.
#[test]
fn exported_weights_are_imported() {
    let device = device();
    let model = network(&needs_data!("weights"), &device);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folded.safetensors");
    export_torchvision(&model, &path).unwrap();
    let again = import_torchvision(EfficientNetLite0Config::new().init(&device), &path).unwrap();
    let x = model.pixels().normalise(blocky_picture(SEED, "again", [64, 64], &device)).squeeze_dim::<4>(1);
    assert_eq!(again.forward(x.clone()).into_data(), model.forward(x).into_data());
}

/// The short side 256 by a bicubic filter, then the middle 224x224, as one frame of one clip.
fn photograph(path: &Path, device: &Device) -> Tensor<5, Int> {
    let picture = image::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).to_rgb8();
    let (width, height) = picture.dimensions();
    let scaled = |side: u32| (side * 256 + width.min(height) / 2) / width.min(height);
    let picture = resize(&picture, scaled(width), scaled(height), FilterType::CatmullRom);
    let (width, height) = picture.dimensions();
    let middle = crop_imm(&picture, (width - 224) / 2, (height - 224) / 2, 224, 224).to_image();
    pictures(middle.into_raw(), [224, 224], device)
}

/// An independent transcription in PyTorch finds the classes of 22 of the 25 photographs, and of 20
/// with ImageNet's mean and deviation in place of the network's own. The filter of another library
/// may change one result.
#[test]
fn photographs_are_classified() {
    let device = device();
    let (model, folder) = (network(&needs_data!("weights"), &device), needs_data!("photos"));
    let words = std::fs::read_to_string(folder.join("synset_words.txt")).unwrap();
    let classes: Vec<&str> = words.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(classes.len(), 1000);
    let (mut right, mut all) = (0, 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with('n')) else {
            continue;
        };
        let class =
            classes.iter().position(|class| id.starts_with(class)).expect("photographs are named by their class");
        let frame = model.pixels().normalise(photograph(&path, &device)).squeeze_dim::<4>(1);
        let found = model.forward(frame).argmax(1).into_scalar::<i64>() as usize;
        (right, all) = (right + usize::from(found == class), all + 1);
    }
    println!("{right} of {all}");
    assert_eq!(all, 25);
    assert!(right >= 21, "{right} of {all}");
}
