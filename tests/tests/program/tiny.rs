//! The smallest built-in experiment, `motion-tiny`: it takes a few seconds and has all parts of a
//! long one.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::harness::{Call, Running, assert_same_files, metrics, shared, timeless_metrics};

/// The files that training writes: equal bytes mean equal runs.
const OUTCOME: [&str; 5] = [
    "backbone.safetensors",
    "model.safetensors",
    "baselines/top_rnn.safetensors",
    "scores-test.safetensors",
    "baselines/scores-test-top_rnn.safetensors",
];

/// `train motion-tiny` in `folder/run`.
pub(crate) fn train(folder: &Path, changes: &[&str]) -> Call {
    Call::new(folder, "train motion-tiny --run run").set(changes)
}

pub(crate) fn resume(folder: &Path) -> Call {
    Call::new(folder, "train --resume --run run")
}

/// Starts or resumes the run in `folder/run`.
pub(crate) fn start(folder: &Path, changes: &[&str]) -> Running {
    // Without a run folder yet, the run starts again.
    let begun = folder.join("run/recipe.toml").exists();
    if begun { resume(folder) } else { train(folder, changes) }.start()
}

/// Starts or resumes the run in `folder/run` and waits until an epoch of a stage is logged.
pub(crate) fn start_until(folder: &Path, changes: &[&str], stage: &str, epoch: u64) -> Running {
    let mut running = start(folder, changes);
    let logged = || metrics(&folder.join("run")).iter().any(|line| line["stage"] == stage && line["epoch"] == epoch);
    running.wait_until(&format!("epoch {epoch} of {stage}"), logged);
    running
}

/// The folder of an uninterrupted run; tests read it and never change it.
pub(crate) fn reference() -> &'static Path {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = shared("tiny");
        train(&folder, &[]).run().succeeds();
        folder.join("run")
    });
    &RUN
}

/// Checks that a run has the same bytes and metrics as an uninterrupted run.
#[track_caller]
pub(crate) fn assert_same_outcome(run: &Path) {
    assert_same_files(run, reference(), &OUTCOME);
    assert_eq!(timeless_metrics(run), timeless_metrics(reference()));
}
