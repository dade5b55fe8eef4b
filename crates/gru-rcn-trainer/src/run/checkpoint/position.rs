//! The position of a training.

use serde::{Deserialize, Serialize};

use crate::run::card::EpochPoint;

/// Everything that a checkpoint holds beside weights and optimizer. It is always between two steps:
/// of a step of several micro-batches nothing is kept until the step is taken.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Epochs done, their validation included.
    pub(crate) epochs: usize,
    /// Batches of the current epoch done: the place in the order of its clips.
    pub(crate) batches: usize,
    /// Steps done, skipped ones included.
    pub(crate) steps: u64,
    /// Steps skipped because the loss or a gradient was not finite.
    pub(crate) skipped: u64,
    pub(crate) sums: EpochSums,
    /// Best validation log-probability so far, negated.
    pub(crate) best_loss: Option<f64>,
    /// The epoch that reached it.
    pub(crate) best_epoch: usize,
    pub(crate) seconds: f64,
    pub(crate) curve: Vec<EpochPoint>,
}

/// Sums over the finished part of an epoch.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochSums {
    pub(crate) loss: f64,
    pub(crate) correct: usize,
    pub(crate) clips: usize,
    /// Clips that could not be read.
    pub(crate) bad: usize,
    /// Steps skipped because the loss or a gradient was not finite.
    pub(crate) skipped: u64,
    /// Seconds waited for clips.
    pub(crate) wait: f64,
    pub(crate) seconds: f64,
}

impl EpochSums {
    pub(crate) fn add(&mut self, step: &Self) {
        self.loss += step.loss;
        self.correct += step.correct;
        self.clips += step.clips;
        self.bad += step.bad;
        self.skipped += step.skipped;
        self.wait += step.wait;
        self.seconds += step.seconds;
    }

    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.clips.max(1) as f64
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.clips.max(1) as f64
    }
}
