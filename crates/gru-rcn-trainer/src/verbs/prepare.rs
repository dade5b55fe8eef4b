//! `prepare` and `merge`: videos to folders of frames and optical flow with a manifest.

use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use gru_rcn_data::{Estimate, Failure, Prepare, PrepareOutcome, Progress, merge as merge_shards};
use serde_json::json;

use super::Faults;
use crate::fit::Interrupted;
use crate::progress::spoken;
use crate::signals::StopFlag;

/// How often a line is written where nobody sees a bar.
const INTERVAL: Duration = Duration::from_secs(5);

/// Runs `prepare`.
pub fn run(options: &Prepare, decoder: &dyn gru_rcn_data::Decoder, as_json: bool) -> Result<()> {
    let stop = StopFlag::install()?;
    let estimate = options.estimate(decoder)?;
    tell_estimate(&estimate);
    if !estimate.fits() {
        bail!(
            "{} needs about {} and its disk has {} free; make room, or give a smaller --size",
            options.output.display(),
            size(estimate.bytes),
            size(estimate.free.unwrap_or(0))
        );
    }
    let mut bar = Bar::default();
    let outcome = options.run(decoder, stop.flag(), &mut |progress| bar.show(&progress))?;
    bar.finish();
    tell_outcome(&outcome, as_json)?;
    if outcome.interrupted {
        bail!(Interrupted { exit_code: stop.exit_code(), advice: "the same command goes on where it stopped" });
    }
    complete(&outcome.failures)
}

/// Runs `merge`.
pub fn merge(root: &Path, as_json: bool) -> Result<()> {
    let merged = merge_shards(root)?;
    if as_json {
        let document = json!({
            "manifest": merged.manifest,
            "shards": merged.shards,
            "clips": merged.clips,
            "failures": merged.failures,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        println!("{} clips of {} shards in {}", merged.clips, merged.shards, merged.manifest.display());
    }
    complete(&merged.failures)
}

/// Clips that could not be prepared are faults.
fn complete(failures: &[Failure]) -> Result<()> {
    match failures.len() {
        0 => Ok(()),
        failures => bail!(Faults(format!("{failures} clips could not be prepared; they are named in failures.jsonl"))),
    }
}

fn tell_estimate(estimate: &Estimate) {
    let kept = if estimate.kept > 0 { format!(", {} are there already", estimate.kept) } else { String::new() };
    if estimate.probed == 0 {
        eprintln!("{} clips to prepare{kept}", estimate.clips);
        return;
    }
    let free = estimate.free.map_or(String::new(), |free| format!(" ({} free)", size(free)));
    eprintln!(
        "{} clips to prepare{kept}: about {} and {}{free}",
        estimate.clips,
        spoken(estimate.seconds),
        size(estimate.bytes)
    );
}

fn tell_outcome(outcome: &PrepareOutcome, as_json: bool) -> Result<()> {
    for failure in &outcome.failures {
        eprintln!("failed: {}: {}", failure.clip, failure.error);
    }
    for list in outcome.lists.iter().filter(|list| !list.absent.is_empty()) {
        eprintln!("note: {} names {} clips that are not in the source", list.name, list.absent.len());
    }
    if as_json {
        let document = json!({
            "manifest": outcome.manifest,
            "clips": outcome.clips,
            "prepared": outcome.prepared,
            "kept": outcome.kept,
            "frames": outcome.frames,
            "bytes": outcome.bytes,
            "failures": outcome.failures,
            "interrupted": outcome.interrupted,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    println!(
        "{} clips, {} of them new ({} frames, {}); manifest {}",
        outcome.clips,
        outcome.prepared,
        outcome.frames,
        size(outcome.bytes),
        outcome.manifest.display()
    );
    Ok(())
}

/// A line that is drawn over and over on a terminal; on a pipe a line every few seconds.
#[derive(Default)]
struct Bar {
    told: Option<Instant>,
}

impl Bar {
    fn show(&mut self, progress: &Progress) {
        let left = progress.remaining.map_or(String::new(), |left| format!(", {} left", spoken(left.as_secs_f64())));
        let failed = if progress.failed > 0 { format!(", {} failed", progress.failed) } else { String::new() };
        let line = format!("{} of {} clips, {}{failed}{left}", progress.done, progress.total, size(progress.bytes));
        if stderr().is_terminal() {
            let width = 24;
            let full = width * progress.done / progress.total.max(1);
            eprint!("\r\x1b[2K{}{} {line}", "█".repeat(full), "░".repeat(width - full));
            let _ = stderr().flush();
            self.told = Some(Instant::now());
        } else if self.told.is_none_or(|told| told.elapsed() >= INTERVAL) {
            eprintln!("{line}");
            self.told = Some(Instant::now());
        }
    }

    fn finish(&self) {
        if stderr().is_terminal() && self.told.is_some() {
            eprintln!();
        }
    }
}

/// Bytes as people say them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
