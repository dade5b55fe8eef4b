//! Medians of wall and processor time.

use std::time::Instant;

/// Processor time of this process in milliseconds, all threads, user and system.
pub(crate) fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in brackets and may hold spaces.
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) * 10.0
}

/// Runs `work` once to warm up, then `repetitions` times, and prints the median wall time and the
/// mean processor time of a repetition in milliseconds.
pub(crate) fn measure(name: &str, repetitions: usize, mut work: impl FnMut()) {
    work();
    let mut walls = Vec::with_capacity(repetitions);
    let before = processor_ms();
    for _ in 0..repetitions {
        let start = Instant::now();
        work();
        walls.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let processor = (processor_ms() - before) / repetitions as f64;
    walls.sort_by(f64::total_cmp);
    println!("{name}: wall {:.2} ms (least {:.2}), processor {processor:.2} ms", walls[walls.len() / 2], walls[0]);
}
