//! The flow between two pictures: `flow_pair FIRST SECOND FLOW.flo COLOURS.png`.

use std::error::Error;

use gru_rcn_flow::{Image, TvL1, colour, flo};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, numbers, colours] = arguments.as_slice() else {
        return Err("usage: flow_pair FIRST SECOND FLOW.flo COLOURS.png".into());
    };
    let flow = TvL1::default().flow(&grey(first)?, &grey(second)?)?;
    flo::save(&flow, numbers)?;
    let picture = colour::draw(&flow, None);
    image::RgbImage::from_raw(flow.width() as u32, flow.height() as u32, picture)
        .ok_or("the picture is not as large as the flow")?
        .save(colours)?;
    let (u, v) = (range(&flow.u), range(&flow.v));
    println!("{}x{}, u {:.2} to {:.2}, v {:.2} to {:.2} pixels", flow.width(), flow.height(), u.0, u.1, v.0, v.1);
    Ok(())
}

fn grey(path: &str) -> Result<Image, Box<dyn Error>> {
    let picture = image::open(path)?.into_rgb8();
    Ok(Image::from_rgb8(picture.width() as usize, picture.height() as usize, &picture)?)
}

fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}
