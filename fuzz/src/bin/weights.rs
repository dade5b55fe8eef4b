//! Weight files of others, safetensors or PyTorch's, for a network and for a module of Burn's.

#![no_main]

use std::sync::LazyLock;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use gru_rcn::backbone::{Vgg16, Vgg16Config};
use gru_rcn::weights::{import, import_torchvision, metadata, torchvision_classes};
use gru_rcn_fuzz::put;
use libfuzzer_sys::fuzz_target;

static MODULES: LazyLock<(Vgg16, Linear)> = LazyLock::new(|| {
    let device = Device::flex();
    (Vgg16Config::small(2, [32, 32]).init(&device), LinearConfig::new(2, 3).init(&device))
});

fuzz_target!(|bytes: &[u8]| {
    let path = put("weights", bytes);
    let (network, linear) = &*MODULES;
    let _ = (metadata(&path), torchvision_classes(network, &path));
    let _ = (import_torchvision(network.clone(), &path), import(linear.clone(), &path));
});
