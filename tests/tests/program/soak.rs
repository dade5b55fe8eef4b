//! The long tests of stopping and resuming, for `cargo xtask soak`.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{stage_metrics, temporary};
use crate::resume::{kill_and_resume, moment, newest_checkpoint};
use crate::tiny::{start, train};

/// Kills per number of reading threads.
fn rounds() -> usize {
    std::env::var("GRU_RCN_SOAK_ROUNDS").map_or(20, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Runs killed at any moment and resumed end in the same bytes as an uninterrupted run.
#[test]
#[ignore = "long: cargo xtask soak"]
fn kills() {
    let (folder, started) = (temporary(), Instant::now());
    train(&folder, &[]).run().succeeds();
    let seconds = started.elapsed().as_secs_f64();
    println!("an uninterrupted run takes {seconds:.1} s");
    for workers in [0, 1, 4] {
        kill_and_resume(workers, rounds(), seconds);
    }
}

/// After a kill while a checkpoint is written, the newest complete one is readable. With a model so
/// large, and a checkpoint after every step, most of the time goes into saving.
#[test]
#[ignore = "long: cargo xtask soak"]
fn saving() {
    let changes = [
        "training.checkpoint_steps=1",
        "training.accumulate=1",
        "training.epochs=1000",
        "training.patience=1000",
        "training.batch=36",
        "model.hidden=[96, 96]",
        "baselines.top_rnn=0",
    ];
    let folder = temporary();
    let stage = folder.join("run/checkpoints/gru_rcn");
    let (kills, mut during, mut before) = (5 * rounds(), 0, None);
    for kill in 0..kills {
        let mut running = start(&folder, &changes);
        // After the first new checkpoint, kill at any moment while the next one is written.
        running.wait_until("a new checkpoint", || newest_checkpoint(&stage) > before);
        running.wait_until("the next one", || is_writing(&stage));
        sleep(Duration::from_secs_f64(0.02 * moment(kill)));
        let log = running.stop_by("KILL").stderr;
        during += usize::from(is_writing(&stage));
        assert!(!log.contains("warning"), "{log}");
        assert!(before.is_none() || log.contains("resuming after"), "{log}");
        before = newest_checkpoint(&stage);
    }
    let last = before.expect("a checkpoint");
    let step = last.file_name().expect("a name").display();
    println!("{kills} kills until {step}, {during} of them with a partly written checkpoint");
}

/// Whether a checkpoint is partly written.
fn is_writing(stage: &Path) -> bool {
    let mut entries = std::fs::read_dir(stage).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().ends_with(".tmp"))
}

/// Over 300 epochs the memory of the process does not grow after the first 20.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "long: cargo xtask soak"]
fn memory() {
    let changes = ["training.epochs=300", "training.patience=300", "baselines.top_rnn=0", "data.motion.train=24"];
    let folder = temporary();
    let root = folder.join("run");
    let mut running = train(&folder, &changes).start();
    let process = running.id();
    // Scoring and the report, after the last epoch, take memory of their own.
    let mut most_until = |epochs: usize| {
        let mut most: f64 = 0.0;
        running.wait_until("20 epochs", || {
            let done = stage_metrics(&root, "gru_rcn").len();
            if done > 0 && done < epochs {
                most = most.max(resident_mib(process));
            }
            done >= epochs
        });
        println!("at most {most:.1} MiB in the 20 epochs before epoch {epochs}");
        most
    };
    let most: Vec<f64> = (1..=15).map(|part| most_until(20 * part)).collect();
    running.finish().succeeds();
    let (early, late) = (most[1], most[14]);
    assert!(early > 0.0 && late <= early * 1.03, "memory grew from {early:.1} to {late:.1} MiB");
}

/// Memory that a process holds.
#[cfg(target_os = "linux")]
fn resident_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
