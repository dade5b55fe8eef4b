//! A minimal version of the built-in experiment, which takes a few seconds, and a run of it that
//! all tests share.

use std::path::Path;
use std::sync::LazyLock;

use crate::harness::{Call, FinishedRun, assert_same_files};

pub(crate) const TEST_CLIPS: usize = 48;

/// The stages in the order of training, with their epochs.
pub(crate) const STAGES: [(&str, usize); 4] = [("cnn", 1), ("frame", 6), ("top_rnn", 6), ("gru_rcn", 6)];

/// The trained weights and their scores of the test clips: equal bytes mean equal runs.
pub(crate) const OUTCOME: [&str; 5] = [
    "backbone.safetensors",
    "model.safetensors",
    "baselines/frame.safetensors",
    "baselines/top_rnn.safetensors",
    "scores-test.safetensors",
];

/// Sets every key that the numbers of files, levels, epochs and steps depend on.
const CHANGES: [&str; 14] = [
    "data.motion.train=96",
    "data.motion.validation=24",
    "data.motion.test=48",
    "backbone.taps=[\"pool2\", \"pool3\", \"fc7\"]",
    "backbone.pretrain.epochs=1",
    "backbone.pretrain.batch=32",
    "model.hidden=[8, 8, 8]",
    "training.epochs=6",
    "training.patience=6",
    "training.batch=32",
    "training.learning_rate=4e-3",
    "baselines.frame=true",
    "baselines.top_rnn=8",
    "baselines.norms=[]",
];

/// A minimal `train motion` in the current folder `folder`.
pub(crate) fn train(folder: &Path) -> Call {
    Call::new(folder, "train motion").set(CHANGES)
}

/// The run that all tests share.
pub(crate) fn reference() -> &'static FinishedRun {
    static RUN: LazyLock<FinishedRun> = LazyLock::new(|| FinishedRun::of("micro", train));
    &RUN
}

#[track_caller]
pub(crate) fn assert_same_outcome(run: &Path) {
    assert_same_files(run, &reference().root, &OUTCOME);
}
