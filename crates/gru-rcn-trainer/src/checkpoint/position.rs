//! Where a training stands.

use serde::{Deserialize, Serialize};

use crate::report::EpochPoint;

/// What a checkpoint holds beside weights and optimizer. It is always between two steps: of a step that is made of several
/// batches nothing is kept until it is taken.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs done, their validation included.
    pub epochs: usize,
    /// Batches of the running epoch done: the place in the order of its clips.
    pub batches: usize,
    /// Steps done, those left out for what was not finite included.
    pub steps: u64,
    /// Steps left out because the loss or a gradient was not finite.
    pub skipped: u64,
    /// What the running epoch has come to.
    pub sums: EpochSums,
    /// Best validation log-probability so far, negated.
    pub best_loss: Option<f64>,
    /// The epoch it was reached in.
    pub best_epoch: usize,
    /// Seconds spent.
    pub seconds: f64,
    /// The course so far.
    pub curve: Vec<EpochPoint>,
}

/// Sums over the part of an epoch that is done.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EpochSums {
    /// Losses of the clips.
    pub loss: f64,
    /// Clips classified rightly.
    pub correct: usize,
    /// Clips learnt from.
    pub clips: usize,
    /// Clips left out because they could not be read.
    pub bad: usize,
    /// Steps left out because something was not finite.
    pub skipped: u64,
    /// Seconds waited for clips.
    pub wait: f64,
    /// Seconds spent.
    pub seconds: f64,
}

impl EpochSums {
    /// Adds those of a step.
    pub fn add(&mut self, step: &Self) {
        self.loss += step.loss;
        self.correct += step.correct;
        self.clips += step.clips;
        self.bad += step.bad;
        self.skipped += step.skipped;
        self.wait += step.wait;
        self.seconds += step.seconds;
    }

    /// Mean loss over the clips.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.clips.max(1) as f64
    }

    /// Share of the clips classified rightly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.clips.max(1) as f64
    }
}
