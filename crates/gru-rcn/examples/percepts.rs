//! The percepts of a picture: what a CNN makes of it at several depths. Without arguments, those of
//! a drawn picture through weights that were never trained.
//!
//!     cargo run --release -p gru-rcn --example percepts -- PICTURE squeezenet1_0-b66bff10.pth

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::prelude::*;
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let device = Device::flex();
    let mut cnn = SqueezeNetConfig::new().init(&device);
    let picture = match arguments.first() {
        Some(path) => image::open(path)?.to_rgb8(),
        None => RgbImage::from_fn(320, 240, |x, y| Rgb([x as u8, y as u8, (x / 32 + y / 32) as u8 % 2 * 255])),
    };
    if let Some(weights) = arguments.get(1) {
        cnn = import_torchvision(cnn, Path::new(weights))?;
    }

    // A clip of one frame: [batch, time, height, width, channel], bytes.
    let bytes = resize(&picture, 224, 224, FilterType::Triangle).into_raw();
    let bytes = Tensor::<5, Int>::from_data(TensorData::new(bytes, [1, 1, 224, 224, 3]), &device);
    let percepts = cnn.percepts(cnn.pixels().normalise(bytes));

    println!("level   channels  cells  mean    cells above 0");
    for (level, map) in cnn.levels().iter().zip(percepts.maps) {
        let [_, _, channels, height, width] = map.dims();
        let active = map.clone().greater_elem(0.0).float().mean().into_scalar::<f32>();
        let mean = map.mean().into_scalar::<f32>();
        println!("{:7} {channels:8}  {height}x{width}  {mean:6.3}  {:.0} %", level.name, 100.0 * active);
    }
    Ok(())
}
