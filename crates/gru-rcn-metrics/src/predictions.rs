//! Class probabilities of clips with their true classes.

use crate::{Classification, ConfusionMatrix, MetricsError};

/// Allowed deviation of a clip's sum of probabilities from one: larger than the rounding of a
/// half-precision softmax, smaller than the deviation of scores without a softmax.
const SUM_TOLERANCE: f64 = 1e-2;

/// The predictions of one system on one set of clips.
///
/// [`Predictions::new`] checks the values, so the metrics cannot fail.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// Class probabilities, row-major `[clips, classes]`.
    pub probabilities: Vec<f32>,
    /// The true class of every clip.
    pub targets: Vec<usize>,
}

impl Predictions {
    /// Checks and stores `probabilities` (`[clips, classes]`, row-major) and the true classes.
    ///
    /// # Errors
    ///
    /// If there are no clips or classes, the sizes disagree, a label is out of range, or a row is
    /// not a distribution.
    pub fn new(classes: usize, probabilities: Vec<f32>, targets: Vec<usize>) -> Result<Self, MetricsError> {
        if classes == 0 {
            return Err(MetricsError::NoClasses);
        }
        if targets.is_empty() {
            return Err(MetricsError::NoClips);
        }
        let clips = targets.len();
        let got = probabilities.len();
        if clips.checked_mul(classes) != Some(got) {
            return Err(MetricsError::Shape { clips, classes, got });
        }
        for (clip, &label) in targets.iter().enumerate() {
            if label >= classes {
                return Err(MetricsError::Label { clip, label, classes });
            }
        }
        for (clip, row) in probabilities.chunks_exact(classes).enumerate() {
            check_distribution(clip, row)?;
        }
        Ok(Self { classes, probabilities, targets })
    }

    /// Number of clips; never zero.
    pub fn clips(&self) -> usize {
        self.targets.len()
    }

    /// The probabilities of one clip, and its true class.
    ///
    /// # Panics
    ///
    /// If there is no such clip.
    pub fn clip(&self, clip: usize) -> (&[f32], usize) {
        let start = clip * self.classes;
        (&self.probabilities[start..start + self.classes], self.targets[clip])
    }

    /// The probabilities and the true class of every clip.
    pub fn iter(&self) -> impl Iterator<Item = (&[f32], usize)> {
        self.probabilities.chunks_exact(self.classes).zip(self.targets.iter().copied())
    }

    /// The predicted class of each clip: the most probable one; in a tie, the first wrong one.
    pub fn predicted(&self) -> Vec<usize> {
        self.iter().map(|(row, truth)| predicted_class(row, truth)).collect()
    }

    /// The fraction of clips whose true class is among the `k` most probable.
    ///
    /// A class of the same probability ranks before the true one. With `k` classes or fewer every
    /// clip is correct.
    pub fn top_k(&self, k: usize) -> f64 {
        let correct = self.iter().filter(|(row, truth)| rank(row, *truth) < k).count();
        correct as f64 / self.clips() as f64
    }

    /// The mean negative log-likelihood of the true class, in nats.
    ///
    /// Probabilities have a floor of [`f32::MIN_POSITIVE`], so a true class of probability 0 costs
    /// about 87 nats and the mean stays finite.
    pub fn negative_log_likelihood(&self) -> f64 {
        let nats = |(row, truth): (&[f32], usize)| -f64::from(row[truth].max(f32::MIN_POSITIVE)).ln();
        self.iter().map(nats).sum::<f64>() / self.clips() as f64
    }

    /// Counts of true against predicted classes.
    pub fn confusion(&self) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(self.classes);
        for (row, truth) in self.iter() {
            matrix.count(truth, predicted_class(row, truth));
        }
        matrix
    }

    /// The row of a table of results.
    pub fn summary(&self) -> Classification {
        Classification {
            top1: self.top_k(1),
            top5: self.top_k(5),
            mean_class: self.confusion().mean_class_accuracy().unwrap_or(0.0),
            nll: self.negative_log_likelihood(),
            clips: self.clips(),
        }
    }
}

fn check_distribution(clip: usize, row: &[f32]) -> Result<(), MetricsError> {
    for (class, &value) in row.iter().enumerate() {
        if !(0.0..=1.0 + SUM_TOLERANCE as f32).contains(&value) {
            return Err(MetricsError::Probability { clip, class, value });
        }
    }
    let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(MetricsError::Sum { clip, sum });
    }
    Ok(())
}

/// Number of other classes that are at least as probable as the true one.
fn rank(row: &[f32], truth: usize) -> usize {
    let ahead = |&(class, &p): &(usize, &f32)| class != truth && p >= row[truth];
    row.iter().enumerate().filter(ahead).count()
}

fn predicted_class(row: &[f32], truth: usize) -> usize {
    let mut best = truth;
    for (class, &p) in row.iter().enumerate() {
        let tie_against_truth = best == truth && p == row[best];
        if p > row[best] || tie_against_truth && class != truth {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four clips of three classes:
    ///
    /// | truth | probabilities    | ranked before truth | predicted |
    /// |-------|------------------|---------------------|-----------|
    /// | 0     | 0.50, 0.25, 0.25 | 0                   | 0         |
    /// | 0     | 0.25, 0.50, 0.25 | 2 (one by the tie)  | 1         |
    /// | 1     | 0.25, 0.50, 0.25 | 0                   | 1         |
    /// | 2     | 0.50, 0.25, 0.25 | 2 (one by the tie)  | 0         |
    fn four() -> Predictions {
        #[rustfmt::skip]
        let p = vec![
            0.50, 0.25, 0.25,
            0.25, 0.50, 0.25,
            0.25, 0.50, 0.25,
            0.50, 0.25, 0.25,
        ];
        Predictions::new(3, p, vec![0, 0, 1, 2]).unwrap()
    }

    /// Clips 0 and 2 are correct, so top-1 is 2/4; because of the ties no other clip is at k = 2,
    /// and all are at k = 3. Per class 1/2, 1/1, 0/1: mean 1/2. NLL: (ln 2 + ln 4 + ln 2 + ln 4) /
    /// 4 = 1.5 ln 2.
    #[test]
    fn summary_of_four_clips() {
        let p = four();
        assert_eq!(p.top_k(2), 0.5);
        assert_eq!(p.top_k(3), 1.0);
        let s = p.summary();
        assert_eq!((s.top1, s.top5, s.mean_class, s.clips), (0.5, 1.0, 0.5, 4));
        assert!((s.nll - 1.5 * 2f64.ln()).abs() < 1e-12);
        assert_eq!(s.correct(), 2);
        assert_eq!(p.predicted(), [0, 1, 1, 0]);
        // Ties included, the trace is the number of correct clips.
        assert_eq!(p.confusion().rows(), [vec![1, 1, 0], vec![0, 1, 0], vec![1, 0, 0]]);
        assert_eq!(p.confusion().trace(), s.correct());
    }

    /// Six equal classes, each once the truth: five others rank before it every time.
    #[test]
    fn constant_prediction_is_never_correct() {
        let p = Predictions::new(6, vec![1.0 / 6.0; 36], (0..6).collect()).unwrap();
        let s = p.summary();
        assert_eq!((s.top1, s.top5, s.mean_class), (0.0, 0.0, 0.0));
        assert!((s.nll - 6f64.ln()).abs() < 1e-6);
        assert_eq!(p.confusion().trace(), 0);
        assert_eq!(p.predicted(), [1, 0, 0, 0, 0, 0]);
    }

    /// -ln(f32::MIN_POSITIVE) = 126 ln 2 = 87.336...
    #[test]
    fn probability_zero_costs_a_finite_likelihood() {
        let p = Predictions::new(2, vec![1.0, 0.0], vec![1]).unwrap();
        assert!((p.negative_log_likelihood() - 126.0 * 2f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn tie_of_wrong_classes_goes_to_the_first() {
        let p = Predictions::new(4, vec![0.1, 0.4, 0.1, 0.4], vec![0]).unwrap();
        assert_eq!(p.predicted(), [1]);
    }

    #[test]
    fn errors_name_the_position() {
        let error = |classes, p: &[f32], t: &[usize]| {
            Predictions::new(classes, p.to_vec(), t.to_vec()).unwrap_err().to_string()
        };
        assert_eq!(error(0, &[], &[]), "there must be at least one class");
        assert_eq!(error(2, &[], &[]), "there must be at least one clip");
        assert_eq!(error(2, &[1.0], &[0]), "1 clips of 2 classes need 2 probabilities, got 1");
        assert_eq!(error(2, &[0.5, 0.5], &[2]), "clip 0 has label 2, but there are 2 classes (0 to 1)");
        assert_eq!(error(2, &[-0.5, 1.0], &[0]), "clip 0 gives class 0 the probability -0.5");
        assert_eq!(error(2, &[0.5, f32::NAN], &[0]), "clip 0 gives class 1 the probability NaN");
        assert_eq!(error(2, &[0.5, 0.25], &[0]), "the probabilities of clip 0 sum to 0.75, not to 1");
    }
}
