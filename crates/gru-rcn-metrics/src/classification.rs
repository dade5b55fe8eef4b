//! The numbers of one line in a table of results.

use serde::{Deserialize, Serialize};

/// How well a system classifies a set of clips.
///
/// Accuracies are fractions of one. The field names are those of the JSON that the program
/// prints, and do not change lightly.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Classification {
    /// The fraction of clips whose most probable class is the true one.
    pub top1: f64,
    /// The fraction of clips whose true class is among the five most probable; 1 with five
    /// classes or fewer.
    pub top5: f64,
    /// The mean over classes of the fraction of their clips that are right, over the classes
    /// that occur. Equal to `top1` when the classes are of equal size.
    pub mean_class: f64,
    /// The mean negative log-likelihood of the true class, in nats. Guessing among `n` classes
    /// costs `ln n`.
    pub nll: f64,
    /// How many clips that was.
    pub clips: usize,
}

impl Classification {
    /// The number of clips right at top-1, as [`wilson_interval`](crate::wilson_interval) takes it.
    pub fn correct(&self) -> usize {
        (self.top1 * self.clips as f64).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 29 / 97 in binary is not exact, yet its product with 97 rounds to 29; so for all counts.
    #[test]
    fn the_count_survives_the_fraction() {
        for correct in 0..=97 {
            let s = Classification { top1: correct as f64 / 97.0, top5: 1.0, mean_class: 0.0, nll: 0.0, clips: 97 };
            assert_eq!(s.correct(), correct);
        }
    }
}
