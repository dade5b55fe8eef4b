//! Repetitions of a piece of work, and what they cost.

use std::time::Instant;

/// `count` values in ±`scale`. A function of the position alone, which `tests/peers/ops_bench.py`
/// computes too.
pub(crate) fn values(count: usize, scale: f32) -> Vec<f32> {
    (0..count).map(|i| (((i * 7919) % 1013) as f32 / 506.0 - 1.0) * scale).collect()
}

/// Mean of the absolute values.
pub(crate) fn mean_size(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value.abs())).sum::<f64>() / values.len() as f64
}

/// Processor time of this process in milliseconds, all threads, user and system.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in brackets and may hold spaces.
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) * 10.0
}

/// Most memory that this process has had so far, in KiB; 0 where the system does not say.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// What a repetition costs, in milliseconds.
pub(crate) struct Cost {
    /// Median.
    wall: f64,
    /// Mean.
    processor: f64,
    /// Of the process, in KiB.
    peak: u64,
}

/// Runs `work` once to warm up, then at least once and until `seconds` are over.
pub(crate) fn measure(seconds: f64, mut work: impl FnMut()) -> Cost {
    work();
    let mut walls = Vec::new();
    let (before, began) = (processor_ms(), Instant::now());
    while walls.is_empty() || began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        work();
        walls.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let processor = (processor_ms() - before) / walls.len() as f64;
    walls.sort_by(f64::total_cmp);
    Cost { wall: walls[walls.len() / 2], processor, peak: peak_kib() }
}

impl Cost {
    /// Prints a line of JSON, with a number that tells about the result.
    pub(crate) fn print(&self, name: &str, value: f64) {
        let Self { wall, processor, peak } = self;
        println!(
            "{{\"case\": \"{name}\", \"wall_ms\": {wall:.3}, \"processor_ms\": {processor:.3}, \"peak_kib\": {peak}, \"value\": {value:e}}}"
        );
    }
}
