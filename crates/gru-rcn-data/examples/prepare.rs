//! Prepares a folder of videos, frames alone, and verifies the result.
//!
//! ```sh
//! cargo run --release -p gru-rcn-data --example prepare -- ucf101 VIDEOS OUTPUT
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gru_rcn_data::{Ffmpeg, Layout, Prepare, VerifyOptions, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layout, source, output] = &arguments[..] else { return Err("usage: prepare LAYOUT VIDEOS OUTPUT".into()) };
    let layout: Layout = layout.parse()?;
    let (source, output, size) = (source.into(), output.into(), Prepare::size_for(layout));
    let options = Prepare { layout, source, output, size, ..Prepare::default() };
    let (decoder, go) = (Ffmpeg::locate()?, AtomicBool::new(false));
    let outcome = options.run(&decoder, &go, &mut |progress| println!("{} of {}", progress.done, progress.total))?;
    for failure in &outcome.failures {
        println!("failed: {}: {}", failure.clip, failure.error);
    }
    print!("{}", verify(Path::new(&options.output), &VerifyOptions::default(), &go, &mut |_, _| ())?.table());
    Ok(())
}
