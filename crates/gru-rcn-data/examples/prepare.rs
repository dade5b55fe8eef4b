//! Prepares a folder of videos and verifies the result.
//!
//! ```sh
//! cargo run --release -p gru-rcn-data --example prepare -- ucf101 VIDEOS OUTPUT [LISTS] [--flow dis] [--shard 1/4]
//! ```

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gru_rcn_data::{DecodeLimits, DecoderKind, FlowMethod, FlowOptions, Layout, Prepare, VerifyOptions, merge, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    let plain: Vec<&String> = arguments.iter().take_while(|argument| !argument.starts_with("--")).collect();
    let [layout, source, output, rest @ ..] = &plain[..] else {
        return Err("usage: prepare LAYOUT VIDEOS OUTPUT [LISTS] [--flow tvl1|dis] [--shard 1/4] [--workers 2]".into());
    };
    let layout: Layout = layout.parse()?;
    let options = Prepare {
        layout,
        source: source.into(),
        output: output.into(),
        lists: rest.first().map(PathBuf::from),
        size: Prepare::size_for(layout),
        flow: value("--flow").map(|name| name.parse::<FlowMethod>().map(FlowOptions::new)).transpose()?,
        workers: value("--workers").map(str::parse).transpose()?.unwrap_or(0),
        shard: value("--shard").map(str::parse).transpose()?,
        ..Prepare::default()
    };
    prepare(&options)?;
    if options.shard.is_none() {
        return report(Path::new(output));
    }
    match merge(Path::new(output)) {
        Ok(merged) => {
            println!("merged {} shards: {} clips", merged.shards, merged.clips);
            report(Path::new(output))
        }
        Err(error) => {
            println!("not merged: {error}");
            Ok(())
        }
    }
}

fn prepare(options: &Prepare) -> Result<(), Box<dyn Error>> {
    let decoder = DecoderKind::Ffmpeg.open(DecodeLimits::default())?;
    let estimate = options.estimate(&*decoder)?;
    println!("{estimate:?}");
    if !estimate.fits() {
        return Err("the disk is too small".into());
    }
    let outcome = options.run(&*decoder, &AtomicBool::new(false), &mut |progress| {
        let left = progress.remaining.map_or(0, |left| left.as_secs());
        print!("\r{} of {}, {} failed, {left} s left ", progress.done, progress.total, progress.failed);
        let _ = std::io::stdout().flush();
    })?;
    println!("\n{} clips, {} new, {} frames, {} bytes", outcome.clips, outcome.prepared, outcome.frames, outcome.bytes);
    for failure in &outcome.failures {
        println!("failed: {}: {}", failure.clip, failure.error);
    }
    for list in &outcome.lists {
        println!("{}: {} clips, {} more are not in the source", list.name, list.clips.len(), list.absent.len());
    }
    Ok(())
}

fn report(root: &Path) -> Result<(), Box<dyn Error>> {
    let start = std::time::Instant::now();
    let report = verify(root, &VerifyOptions::default(), &AtomicBool::new(false), &mut |_, _| ())?;
    print!("{}", report.table());
    println!("in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
