//! Draws the optical flow between two pictures in the colours of its directions.
//!
//!     cargo run --release -p gru-rcn-flow --example flow -- FIRST SECOND flow.png

use gru_rcn_flow::{Image, TvL1, colour};
use image::ColorType;

fn read(path: &str) -> Result<Image, Box<dyn std::error::Error>> {
    let rgb = image::open(path)?.to_rgb8();
    Ok(Image::from_rgb8(rgb.width() as usize, rgb.height() as usize, rgb.as_raw())?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, out] = &arguments[..] else { return Err("give FIRST SECOND OUT.png".into()) };
    let flow = TvL1::default().flow(&read(first)?, &read(second)?)?;
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    println!("mean motion: {:.2} pixels to the right, {:.2} down", mean(&flow.u), mean(&flow.v));
    let (width, height) = (flow.width() as u32, flow.height() as u32);
    image::save_buffer(out, &colour::draw(&flow, None), width, height, ColorType::Rgb8)?;
    Ok(())
}
