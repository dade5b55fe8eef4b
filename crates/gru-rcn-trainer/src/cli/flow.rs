//! `flow`: optical flow between two images.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gru_rcn_data::base::open_file;
use gru_rcn_data::image::read_image;
use gru_rcn_data::{DecodeLimits, FlowMethod};
use gru_rcn_flow::{Dis, Flow, Image, TvL1, colour, flo};
use image::ImageFormat;
use serde_json::json;

use super::shared::print_json;
use crate::output::say;
use crate::run::dir::write_atomically;

#[derive(Args, Debug)]
pub(super) struct FlowArgs {
    /// The first image.
    first: PathBuf,
    /// The second image, of the same size.
    second: PathBuf,
    /// Output .flo file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The algorithm: tvl1 or dis.
    #[arg(long, default_value = "tvl1")]
    method: FlowMethod,
    /// Also write a picture of the field in the colours of its directions, PNG or JPEG.
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
        ensure!(
            self.out.extension().is_some_and(|extension| extension == "flo"),
            "{}: flow is written as .flo; give --out a name that ends so",
            self.out.display()
        );
        let format = self.picture.as_deref().map(picture_format).transpose()?;
        let (first, second) = (read(&self.first)?, read(&self.second)?);
        let flow = match self.method {
            FlowMethod::TvL1 => TvL1::default().flow(&first, &second),
            FlowMethod::Dis => Dis::medium().flow(&first, &second),
        }
        .with_context(|| format!("flow from {} to {}", self.first.display(), self.second.display()))?;
        let error = match &self.truth {
            Some(truth) => {
                open_file(truth)?;
                flow.endpoint_error(&flo::load(truth)?)?
            }
            None => None,
        };
        let mut field = Vec::new();
        flo::write(&flow, &mut field)?;
        write_atomically(&self.out, &field)?;
        if let Some((path, format)) = self.picture.as_ref().zip(format) {
            write_atomically(path, &draw(&flow, format)?)?;
        }
        let longest = flow.u.iter().zip(&flow.v).map(|(u, v)| u.hypot(*v)).fold(0.0, f32::max);
        if self.json {
            return print_json(&json!({
                "out": self.out.display().to_string(),
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
    let image = read_image(path, &DecodeLimits::default())?;
    Ok(Image::from_rgb8(image.width, image.height, image.frame(0))?)
}

fn picture_format(path: &Path) -> Result<ImageFormat> {
    match ImageFormat::from_path(path) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        _ => bail!("{}: a picture is written as PNG or JPEG; give --picture a name that ends so", path.display()),
    }
}

/// The picture of a field, encoded.
fn draw(flow: &Flow, format: ImageFormat) -> Result<Vec<u8>> {
    let picture = image::RgbImage::from_raw(flow.width() as u32, flow.height() as u32, colour::draw(flow, None));
    let mut bytes = Cursor::new(Vec::new());
    picture.context("the picture does not have the size of the flow")?.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}
