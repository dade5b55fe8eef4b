//! Times dense inverse search on one pair of images, and compares the flow with its truth.
//!
//! ```sh
//! cargo run --release -p gru-rcn-flow --example bench_dis -- frame10.png frame11.png [--truth flow10.flo]
//!     [--preset ultrafast|fast|medium] [--times 20]
//! ```
//!
//! Prints one line of JSON: `ms`, the median milliseconds of a pair with the buffers of the pair
//! before, and `epe`, the average endpoint error in pixels, or null without truth. One thread.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use gru_rcn_flow::{Dis, DisWorkspace, Image, flo};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut images, mut truth, mut dis, mut times) = (Vec::new(), None, Dis::medium(), 20usize);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--truth" => truth = Some(flo::load(value()?)?),
            "--times" => times = value()?.parse::<usize>()?.max(1),
            "--preset" => {
                dis = match value()?.as_str() {
                    "ultrafast" => Dis::ultrafast(),
                    "fast" => Dis::fast(),
                    "medium" => Dis::medium(),
                    other => return Err(format!("no preset {other}").into()),
                }
            }
            path => images.push(read_grey(Path::new(path))?),
        }
    }
    let [first, second] = images.as_slice() else { return Err("two images, please".into()) };

    let mut workspace = DisWorkspace::new(dis)?;
    let mut flow = workspace.flow(first, second)?;
    let mut milliseconds = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        flow = workspace.flow(first, second)?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    let epe = match truth {
        Some(truth) => flow.endpoint_error(&truth)?.map_or("null".into(), |epe| format!("{epe:.5}")),
        None => "null".into(),
    };
    println!("{{\"ms\": {:.3}, \"epe\": {epe}}}", milliseconds[times / 2]);
    Ok(())
}

fn read_grey(path: &Path) -> Result<Image, Box<dyn Error>> {
    let image = image::open(path).map_err(|error| format!("{}: {error}", path.display()))?.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(Image::from_rgb8(width, height, image.as_raw())?)
}
