//! `flow`: optical flow between two images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use gru_rcn_data::FlowMethod;
use gru_rcn_flow::{Dis, Flow, Image, TvL1, colour, flo};
use serde_json::json;

use super::shared::print_json;

use crate::output::say;

#[derive(Args, Debug)]
pub(super) struct FlowArgs {
    /// The first image.
    first: PathBuf,
    /// The second image, of the same size.
    second: PathBuf,
    /// The field, a .flo file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The algorithm: tvl1 or dis.
    #[arg(long, default_value = "tvl1")]
    method: FlowMethod,
    /// Also a picture of the field in the colours of its directions, PNG or JPEG.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The true field, to print the endpoint error.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl FlowArgs {
    pub(super) fn run(&self) -> Result<()> {
        if self.out.extension().is_none_or(|extension| extension != "flo") {
            bail!("{}: flow is written as .flo; give --out a name that ends so", self.out.display());
        }
        let (first, second) = (read(&self.first)?, read(&self.second)?);
        let flow = match self.method {
            FlowMethod::TvL1 => TvL1::default().flow(&first, &second),
            FlowMethod::Dis => Dis::medium().flow(&first, &second),
        }
        .with_context(|| format!("flow from {} to {}", self.first.display(), self.second.display()))?;
        let error = match &self.truth {
            Some(truth) => flow.endpoint_error(&flo::load(truth)?)?,
            None => None,
        };
        flo::save(&flow, &self.out)?;
        if let Some(path) = &self.picture {
            draw(&flow, path)?;
        }
        let longest = flow.u.iter().zip(&flow.v).map(|(u, v)| u.hypot(*v)).fold(0.0, f32::max);
        if self.json {
            return print_json(&json!({
                "out": self.out,
                "width": flow.width(),
                "height": flow.height(),
                "longest": longest,
                "endpoint_error": error,
            }));
        }
        say!("{}: {}×{}, longest {longest:.2} pixels", self.out.display(), flow.width(), flow.height())?;
        error.map_or(Ok(()), |error| say!("average endpoint error {error:.3} pixels"))
    }
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
