//! Times how long one thread takes to decode, crop and resize the stored JPEG frames of a clip.
//!
//! ```sh
//! cargo run --release -p gru-rcn-data --example bench_reading -- FRAMES [--crop base|input] [--frames 10] [--times 20]
//! ```
//!
//! FRAMES is a folder of a prepared data set's frames, one folder per clip. The crop `base` is the
//! largest square in the middle of a 256×340 frame, resized to 224×224; `input` is the 224×224 of
//! the paper's evaluation, which is only cut out.
//!
//! Prints one line of JSON: `ms` per frame, the mean over the passes through all clips, in processor
//! time of this thread, which some systems count in steps of milliseconds; `checksum`, the mean of all
//! values, for comparison with other programs.

mod stored;

use std::error::Error;
use std::time::Instant;

use gru_rcn_data::{ClipReader, CropRule};

use stored::processor_ns;

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = stored::Arguments::given();
    let (frames, times) = (given.option("--frames", 10)?, given.option("--times", 20)?.max(1));
    let crop = match given.option("--crop", "base".to_owned())?.as_str() {
        "base" => CropRule::Centre,
        "input" => CropRule::paper(),
        other => return Err(format!("no crop {other}").into()),
    };
    let (planner, samples) = (stored::planner(frames, 224, crop, false), given.samples()?);
    let reader = ClipReader::default();
    let (mut sum, mut values) = (0u64, 0u64);
    let (mut start, mut before) = (Instant::now(), processor_ns());
    for pass in 0..=times {
        for sample in &samples {
            let clip = reader.read_clips(sample, &planner, &[None])?.remove(0);
            if pass == 0 {
                sum += clip.data.iter().map(|&value| u64::from(value)).sum::<u64>();
                values += clip.data.len() as u64;
            }
        }
        // The first pass only brings the files into memory.
        if pass == 0 {
            (start, before) = (Instant::now(), processor_ns());
        }
    }
    let wall = start.elapsed().as_secs_f64() * 1e3;
    let spent = before.zip(processor_ns()).map_or(wall, |(before, after)| (after - before) as f64 / 1e6);
    let ms = spent / (times * samples.len() * frames) as f64;
    println!("{{\"ms\": {ms:.4}, \"checksum\": {:.3}}}", sum as f64 / values as f64);
    Ok(())
}
