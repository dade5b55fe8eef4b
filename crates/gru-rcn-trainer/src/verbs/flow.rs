//! `flow`: optical flow between two images.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use gru_rcn_data::FlowMethod;
use gru_rcn_flow::{Dis, Flow, Image, TvL1, colour, flo};
use serde_json::json;

/// What `flow` is asked.
pub struct Options<'a> {
    /// The two images.
    pub images: [&'a Path; 2],
    /// The algorithm.
    pub method: FlowMethod,
    /// Where the field goes: a `.flo` file.
    pub out: &'a Path,
    /// A picture of the field in the colours of its directions.
    pub picture: Option<&'a Path>,
    /// The true field, to measure the endpoint error by.
    pub truth: Option<&'a Path>,
    /// JSON on standard output.
    pub json: bool,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    if options.out.extension().is_none_or(|extension| extension != "flo") {
        bail!("{}: flow is written as .flo; give --out a name that ends so", options.out.display());
    }
    let [first, second] = options.images;
    let (first, second) = (read(first)?, read(second)?);
    let flow = match options.method {
        FlowMethod::TvL1 => TvL1::default().flow(&first, &second),
        FlowMethod::Dis => Dis::medium().flow(&first, &second),
    }
    .with_context(|| format!("flow from {} to {}", options.images[0].display(), options.images[1].display()))?;
    let error = match options.truth {
        Some(truth) => flow.endpoint_error(&flo::load(truth)?)?,
        None => None,
    };
    flo::save(&flow, options.out)?;
    if let Some(path) = options.picture {
        draw(&flow, path)?;
    }
    let longest = flow.u.iter().zip(&flow.v).map(|(u, v)| u.hypot(*v)).fold(0.0, f32::max);
    if options.json {
        let document = json!({
            "out": options.out,
            "width": flow.width(),
            "height": flow.height(),
            "longest": longest,
            "endpoint_error": error,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        println!("{}: {}×{}, longest {longest:.2} pixels", options.out.display(), flow.width(), flow.height());
        if let Some(error) = error {
            println!("average endpoint error {error:.3} pixels");
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Image> {
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    let image =
        image::load_from_memory(&bytes).with_context(|| format!("{} is not a JPEG or PNG image", path.display()))?;
    let rgb = image.into_rgb8();
    Ok(Image::from_rgb8(rgb.width() as usize, rgb.height() as usize, rgb.as_raw())?)
}

fn draw(flow: &Flow, path: &Path) -> Result<()> {
    let picture = image::RgbImage::from_raw(flow.width() as u32, flow.height() as u32, colour::draw(flow, None));
    let picture = picture.context("the picture does not have the size of the flow")?;
    picture.save(path).with_context(|| format!("could not write {}", path.display()))
}
