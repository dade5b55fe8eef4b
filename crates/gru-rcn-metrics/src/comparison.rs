//! Comparison of two systems on the same clips.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{MetricsError, Predictions, binomial_tail};

/// Resamples of the paired bootstrap.
const RESAMPLES: usize = 10_000;

/// The difference between the accuracies of two systems on the same clips. Clips that both systems or
/// neither of them name correctly do not affect it, so it is known more precisely than either accuracy.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Number of clips.
    pub clips: usize,
    /// Clips that only the first system names correctly.
    pub first_only: usize,
    /// Clips that only the second system names correctly.
    pub second_only: usize,
    /// Accuracy of the first system minus that of the second, a fraction.
    pub difference: f64,
    /// The 95 % interval of the difference by the paired bootstrap: the central part of the differences
    /// in 10,000 resamples of the clips with replacement. The seed is fixed.
    pub interval: (f64, f64),
    /// Probability of a difference at least as large in either direction if both systems were equally
    /// good, by McNemar's exact test: each clip that only one of them names correctly would then be
    /// either system's with probability one half.
    pub p_value: f64,
}

impl Comparison {
    /// Compares two systems.
    ///
    /// # Errors
    ///
    /// If the clips of the two systems have different true classes.
    pub fn new(first: &Predictions, second: &Predictions) -> Result<Self, MetricsError> {
        if first.targets != second.targets {
            return Err(MetricsError::OtherClips);
        }
        let (a, b) = (first.predicted(), second.predicted());
        let (mut first_only, mut second_only) = (0, 0);
        for ((a, b), target) in a.iter().zip(&b).zip(&first.targets) {
            match (a == target, b == target) {
                (true, false) => first_only += 1,
                (false, true) => second_only += 1,
                _ => {}
            }
        }
        Ok(Self::of_counts(first_only, second_only, first.clips()))
    }

    fn of_counts(first_only: usize, second_only: usize, clips: usize) -> Self {
        let either = first_only + second_only;
        let p_value = (2.0 * binomial_tail(first_only.max(second_only), either, 0.5)).min(1.0);
        let share = |count: i64| count as f64 / clips as f64;
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut differences: Vec<i64> = (0..RESAMPLES)
            .map(|_| {
                let clip = |_| match random.random_range(0..clips) {
                    clip if clip < first_only => 1,
                    clip if clip < either => -1,
                    _ => 0,
                };
                (0..clips).map(clip).sum()
            })
            .collect();
        differences.sort_unstable();
        let outside = RESAMPLES / 40;
        let interval = (share(differences[outside]), share(differences[RESAMPLES - 1 - outside]));
        let difference = share(first_only as i64 - second_only as i64);
        Self { clips, first_only, second_only, difference, interval, p_value }
    }

    /// Difference and interval in percentage points and the probability, as in
    /// `["+10.0", "+5.0 to +16.0", "p = 0.002"]`.
    pub fn parts(&self) -> [String; 3] {
        let points = |fraction: f64| format!("{:+.1}", 100.0 * fraction);
        let (low, high) = self.interval;
        let p = if self.p_value < 0.001 { "p < 0.001".into() } else { format!("p = {:.3}", self.p_value) };
        [points(self.difference), format!("{} to {}", points(low), points(high)), p]
    }

    /// The [parts](Self::parts) in one line, as in `+10.0 points (95 % interval +5.0 to +16.0, p = 0.002)`.
    pub fn line(&self) -> String {
        let [points, interval, p] = self.parts();
        format!("{points} points (95 % interval {interval}, {p})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes, all clips of class 0; `hits` are those that are named correctly.
    fn predictions(hits: &[bool]) -> Predictions {
        let probabilities = hits.iter().flat_map(|&hit| if hit { [0.9, 0.1] } else { [0.1, 0.9] }).collect();
        Predictions::new(2, probabilities, vec![0; hits.len()]).unwrap()
    }

    /// Six clips: one that both name correctly, four of the first system alone, one of the second alone.
    /// Four or more of five are one side's with probability (5 + 1) / 32, twice that for either side. If
    /// the systems are exchanged, the difference changes its sign.
    #[test]
    fn counts_the_clips_that_only_one_names() {
        let first = predictions(&[true, true, true, true, true, false]);
        let second = predictions(&[true, false, false, false, false, true]);
        let found = Comparison::new(&first, &second).unwrap();
        assert_eq!((found.clips, found.first_only, found.second_only), (6, 4, 1));
        assert_eq!(found.difference, 0.5);
        assert!((found.p_value - 12.0 / 32.0).abs() < 1e-12);
        let turned = Comparison::new(&second, &first).unwrap();
        assert_eq!((turned.difference, turned.p_value), (-0.5, found.p_value));
    }

    /// 1000 clips, 100 of the first alone, 50 of the second: a clip gives +1 with probability 0.1
    /// and -1 with 0.05, mean 0.05 and variance 0.15 - 0.05² = 0.1475, so the mean of 1000 has a
    /// standard deviation of 0.01214 and the interval is 0.05 ± 0.0238, up to the noise of the
    /// draws.
    #[test]
    fn the_bootstrap_has_the_width_of_the_normal_interval() {
        let found = Comparison::of_counts(100, 50, 1000);
        let (low, high) = found.interval;
        assert!((low - 0.0262).abs() < 0.0015 && (high - 0.0738).abs() < 0.0015, "{found:?}");
        assert_eq!(
            found.line(),
            format!("+5.0 points (95 % interval {:+.1} to {:+.1}, p < 0.001)", 100.0 * low, 100.0 * high)
        );
    }

    #[test]
    fn equal_systems_do_not_differ() {
        let same = predictions(&[true, false, true]);
        let found = Comparison::new(&same, &same).unwrap();
        assert_eq!((found.difference, found.interval, found.p_value), (0.0, (0.0, 0.0), 1.0));
        let other = Predictions::new(2, vec![0.5, 0.5], vec![1]).unwrap();
        assert_eq!(Comparison::new(&same, &other).unwrap_err(), MetricsError::OtherClips);
    }
}
