//! Where a training stands.

use serde::{Deserialize, Serialize};

use crate::run::card::EpochPoint;

/// What a checkpoint holds beside weights and optimizer. It is always between two steps: of a step that is made of several
/// batches nothing is kept until it is taken.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Epochs done, their validation included.
    pub(crate) epochs: usize,
    /// Batches of the running epoch done: the place in the order of its clips.
    pub(crate) batches: usize,
    /// Steps done, those skipped included.
    pub(crate) steps: u64,
    /// Steps skipped because the loss or a gradient was not finite.
    pub(crate) skipped: u64,
    /// Sums of the running epoch.
    pub(crate) sums: EpochSums,
    /// Best validation log-probability so far, negated.
    pub(crate) best_loss: Option<f64>,
    /// The epoch it was reached in.
    pub(crate) best_epoch: usize,
    /// Seconds spent.
    pub(crate) seconds: f64,
    /// The course so far.
    pub(crate) curve: Vec<EpochPoint>,
}

/// Sums over the part of an epoch that is done.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochSums {
    /// Losses of the clips.
    pub(crate) loss: f64,
    /// Clips classified correctly.
    pub(crate) correct: usize,
    /// Clips trained on.
    pub(crate) clips: usize,
    /// Clips that could not be read.
    pub(crate) bad: usize,
    /// Steps skipped because something was not finite.
    pub(crate) skipped: u64,
    /// Seconds waited for clips.
    pub(crate) wait: f64,
    /// Seconds spent.
    pub(crate) seconds: f64,
}

impl EpochSums {
    /// Adds those of a step.
    pub(crate) fn add(&mut self, step: &Self) {
        self.loss += step.loss;
        self.correct += step.correct;
        self.clips += step.clips;
        self.bad += step.bad;
        self.skipped += step.skipped;
        self.wait += step.wait;
        self.seconds += step.seconds;
    }

    /// Mean loss over the clips.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.clips.max(1) as f64
    }

    /// Share of the clips classified correctly.
    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.clips.max(1) as f64
    }
}
