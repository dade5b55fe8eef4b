//! Measures how long a consumer waits for clips, which several threads load from stored JPEG frames,
//! in order and within a bound on memory, while the consumer takes a given time for each.
//!
//! ```sh
//! cargo run --release -p gru-rcn-data --example bench_loader -- FRAMES [--frames 10] [--side 224] [--workers 2]
//!     [--consume 5] [--clips 400] [--queue-mib 64]
//! ```
//!
//! FRAMES is a folder of a prepared data set's frames, one folder per clip. Crops and starts are
//! drawn as in training. `--consume` is in milliseconds.
//!
//! Prints one line of JSON: `ms` per clip from the first to the last; `wait_share`, the share of that
//! time in which the consumer waited; `load_ms`, the processor time for loading a clip; `peak_mib`, the
//! peak memory of the process.

mod stored;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gru_rcn_data::{ClipReader, CropRule, DataError, LoaderConfig, PlanKey, Sample, ordered};

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = stored::Arguments::given();
    let (frames, side) = (given.option("--frames", 10)?, given.option("--side", 224)?);
    let (workers, consume) = (given.option("--workers", 2)?, given.option("--consume", 5.0)?);
    let clips = given.option("--clips", 400)?.max(2);
    let max_bytes = given.option("--queue-mib", 64usize)? << 20;
    let (planner, samples) = (stored::planner(frames, side, CropRule::paper(), true), given.samples()?);
    let jobs: Vec<(u64, Sample)> = (0..clips).map(|n| (n as u64, samples[n % samples.len()].clone())).collect();
    let (reader, spent) = (ClipReader::default(), Arc::new(AtomicU64::new(0)));
    let held = frames * side * side * 3 + 256 * 340 * 3;
    let config = LoaderConfig { workers, max_bytes };
    let counter = Arc::clone(&spent);
    let mut loader = ordered(
        jobs,
        move |_| held,
        config,
        move |(epoch, sample): &(u64, Sample)| {
            let before = stored::processor_ns().unwrap_or(0);
            let key = PlanKey { seed: 1, epoch: *epoch, sample: sample.id.clone() };
            let clip = reader.read_clips(sample, &planner, &[Some(key)])?.remove(0);
            let after = stored::processor_ns().unwrap_or(0);
            counter.fetch_add(after.saturating_sub(before), Ordering::Relaxed);
            Ok::<_, DataError>(clip)
        },
    );
    // The wait for the first clip does not count.
    loader.next().ok_or("no clip")??;
    let (began, mut waited, mut values) = (Instant::now(), Duration::ZERO, 0u64);
    loop {
        let asked = Instant::now();
        let Some(clip) = loader.next() else { break };
        waited += asked.elapsed();
        values += u64::from(clip?.data[0]);
        std::thread::sleep(Duration::from_secs_f64(consume / 1e3));
    }
    let all = began.elapsed();
    let (ms, share) = (all.as_secs_f64() * 1e3 / (clips - 1) as f64, waited.as_secs_f64() / all.as_secs_f64());
    let load = spent.load(Ordering::Relaxed) as f64 / 1e6 / clips as f64;
    let peak = peak_mib().map_or("null".to_owned(), |mib| format!("{mib:.0}"));
    eprintln!("(sum of first values {values})");
    println!("{{\"ms\": {ms:.3}, \"wait_share\": {share:.4}, \"load_ms\": {load:.3}, \"peak_mib\": {peak}}}");
    Ok(())
}

/// Peak memory of this process in MiB; known on Linux only.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}
