//! Summary of the predictions of one system.

use serde::{Deserialize, Serialize};

use crate::{WILSON_95, wilson_interval};

/// Accuracy of one system on a set of clips: a row in a table of results.
///
/// Accuracies are fractions in [0, 1]. The field names are part of the JSON that the program
/// `gru-rcn` prints.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Classification {
    /// Fraction of clips whose most probable class is the true one.
    pub top1: f64,
    /// Fraction of clips whose true class is among the five most probable; 1 with five classes or
    /// fewer.
    pub top5: f64,
    /// Mean of the per-class accuracies, over the classes that have clips. Equal to `top1` if all
    /// classes have the same number of clips.
    pub mean_class: f64,
    /// Mean negative log-likelihood of the true class, in nats; `ln n` for a uniform guess among
    /// `n` classes.
    pub nll: f64,
    /// Number of clips.
    pub clips: usize,
}

impl Classification {
    /// Number of clips that are correct at top-1.
    pub fn correct(&self) -> usize {
        (self.top1 * self.clips as f64).round() as usize
    }

    /// Lower and upper end of the 95 % Wilson interval of `top1`, as fractions.
    pub fn top1_interval(&self) -> (f64, f64) {
        wilson_interval(self.correct().min(self.clips), self.clips, WILSON_95)
    }

    /// `top1` and its interval in percent, as in ` 75.0 %  (95 % interval 30.1 to 95.4 %)`.
    pub fn top1_line(&self) -> String {
        let (low, high) = self.top1_interval();
        format!("{:5.1} %  (95 % interval {:.1} to {:.1} %)", 100.0 * self.top1, 100.0 * low, 100.0 * high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classification(top1: f64, clips: usize) -> Classification {
        Classification { top1, top5: 1.0, mean_class: 0.0, nll: 0.0, clips }
    }

    /// 29 / 97 is not exact in binary, but its product with 97 rounds to 29; likewise for all counts.
    #[test]
    fn correct_recovers_every_count() {
        for correct in 0..=97 {
            assert_eq!(classification(correct as f64 / 97.0, 97).correct(), correct);
        }
    }

    /// n = 4, p = 3/4, z² = 3.8415: the centre is (0.75 + z²/8) / (1 + z²/4) = 1.23018 / 1.96036 =
    /// 0.62753, the half width z / 1.96036 · √(0.1875/4 + z²/64) = 0.99980 · 0.32695 = 0.32688.
    #[test]
    fn line_shows_accuracy_and_interval_in_percent() {
        let line = classification(0.75, 4).top1_line();
        assert_eq!(line, " 75.0 %  (95 % interval 30.1 to 95.4 %)");
    }
}
