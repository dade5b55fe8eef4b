//! Calibration of probabilities: reliability diagram, expected calibration error, temperature scaling.
//!
//! Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.

use serde::{Deserialize, Serialize};

use crate::Predictions;

/// Bins of a reliability diagram, as in the paper.
pub const BINS: usize = 15;

/// Smallest and largest temperature of a fit. If all clips are named correctly, or probabilities carry no
/// information, the likelihood has no maximum at a finite temperature above 0.
pub const TEMPERATURES: (f64, f64) = (0.05, 20.0);

/// The clips in a range of confidence, which is the probability of the predicted class.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
pub struct ReliabilityBin {
    /// Number of clips; the means of a bin without clips are 0.
    pub clips: usize,
    /// Mean confidence.
    pub confidence: f64,
    /// Share of the clips that are named correctly.
    pub accuracy: f64,
}

/// Counts of answers, if only predictions with at least a threshold of confidence are answers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Answers {
    /// The threshold.
    pub threshold: f64,
    /// Clips with an answer.
    pub answered: usize,
    /// Clips with a correct answer.
    pub correct: usize,
}

impl Predictions {
    /// The confidence of every clip and whether it is named correctly.
    fn confidences(&self) -> impl Iterator<Item = (f64, bool)> {
        self.iter().zip(self.predicted()).map(|((row, truth), class)| (f64::from(row[class]), class == truth))
    }

    /// The clips by confidence in `bins` ranges of equal width: bin m of M has confidences above m/M and
    /// up to (m+1)/M (section 2 of the paper).
    ///
    /// # Panics
    ///
    /// If there are no bins.
    pub fn reliability(&self, bins: usize) -> Vec<ReliabilityBin> {
        assert!(bins > 0, "a reliability diagram has at least one bin");
        let mut found = vec![ReliabilityBin::default(); bins];
        for (confidence, right) in self.confidences() {
            let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
            let bin = &mut found[bin];
            (bin.clips, bin.confidence) = (bin.clips + 1, bin.confidence + confidence);
            bin.accuracy += f64::from(u8::from(right));
        }
        for bin in found.iter_mut().filter(|bin| bin.clips > 0) {
            let clips = bin.clips as f64;
            (bin.confidence, bin.accuracy) = (bin.confidence / clips, bin.accuracy / clips);
        }
        found
    }

    /// The expected calibration error: the mean distance of accuracy and confidence over the bins,
    /// weighted by their numbers of clips (equation 3).
    ///
    /// # Panics
    ///
    /// If there are no bins.
    pub fn calibration_error(&self, bins: usize) -> f64 {
        let distance = |bin: &ReliabilityBin| bin.clips as f64 * (bin.accuracy - bin.confidence).abs();
        self.reliability(bins).iter().map(distance).sum::<f64>() / self.clips() as f64
    }

    /// The numbers of answers and of correct ones at a threshold.
    pub fn answers(&self, threshold: f64) -> Answers {
        let answered: Vec<bool> =
            self.confidences().filter(|(confidence, _)| *confidence >= threshold).map(|(_, right)| right).collect();
        Answers { threshold, answered: answered.len(), correct: answered.iter().filter(|right| **right).count() }
    }

    /// The temperature that makes the true classes most probable ([`at_temperature`]), within
    /// [`TEMPERATURES`]. It is above 1 if the predictions are overconfident. Scaling does not change the
    /// order of classes, and so no accuracy.
    ///
    /// The log-likelihood is concave in the inverse temperature β: its slope decreases, which is the sum
    /// over clips of the true class's log probability minus its expectation under the scaled
    /// probabilities. So its zero is found by bisection.
    pub fn fit_temperature(&self) -> f64 {
        let logs: Vec<Vec<f64>> = self.iter().map(|(row, _)| row.iter().map(|&p| log(p)).collect()).collect();
        let slope = |beta: f64| -> f64 {
            let of_clip = |(logs, &truth): (&Vec<f64>, &usize)| {
                let scaled = powers(logs, beta);
                logs[truth] - scaled.iter().zip(logs).map(|(p, log)| p * log).sum::<f64>()
            };
            logs.iter().zip(&self.targets).map(of_clip).sum()
        };
        let (mut low, mut high) = (1.0 / TEMPERATURES.1, 1.0 / TEMPERATURES.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if slope(middle) > 0.0 { low = middle } else { high = middle }
        }
        2.0 / (low + high)
    }

    /// The predictions at a temperature, see [`at_temperature`].
    ///
    /// # Panics
    ///
    /// If the temperature is not positive.
    pub fn at_temperature(&self, temperature: f64) -> Self {
        let rows = self.probabilities.chunks_exact(self.classes);
        let probabilities = rows.flat_map(|row| at_temperature(row, temperature)).collect();
        Self { probabilities, ..self.clone() }
    }
}

/// Class probabilities at a temperature T: p^(1/T), normalised to the sum 1. For a softmax, this is the
/// softmax of the logits divided by T (section 4.2). The probabilities of GRU-RCN, the mean of several
/// softmaxes, are scaled in the same way.
///
/// # Panics
///
/// If the temperature is not positive.
pub fn at_temperature(probabilities: &[f32], temperature: f64) -> Vec<f32> {
    assert!(temperature > 0.0, "a temperature of {temperature}");
    if temperature == 1.0 {
        return probabilities.to_vec();
    }
    let logs: Vec<f64> = probabilities.iter().map(|&p| log(p)).collect();
    powers(&logs, 1.0 / temperature).into_iter().map(|p| p as f32).collect()
}

/// The logarithm of a probability, with the floor of the log-likelihood.
fn log(probability: f32) -> f64 {
    f64::from(probability.max(f32::MIN_POSITIVE)).ln()
}

/// The probabilities proportional to exp(β·log).
fn powers(logs: &[f64], beta: f64) -> Vec<f64> {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logs.iter().map(|log| (beta * (log - highest)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clips of two classes, all of class 0, with these probabilities of it.
    fn of(probabilities: &[f32]) -> Predictions {
        let rows = probabilities.iter().flat_map(|&p| [p, 1.0 - p]).collect();
        Predictions::new(2, rows, vec![0; probabilities.len()]).unwrap()
    }

    /// Four bins. Confidences 0.75 (right), 0.75 (wrong) and 0.625 (right) lie in the third, from
    /// 0.5 to 0.75: mean 17/24, accuracy 2/3, distance 1/24. 1.0 (right) and 0.875 (wrong) lie in
    /// the fourth: mean 15/16, accuracy 1/2, distance 7/16. ECE = (3/24 + 14/16) / 5 = 1/5.
    #[test]
    fn calibration_error_by_hand() {
        let p = of(&[0.75, 0.25, 0.625, 1.0, 0.125]);
        let bins = p.reliability(4);
        assert_eq!([bins[0].clips, bins[1].clips, bins[2].clips, bins[3].clips], [0, 0, 3, 2]);
        assert!((bins[2].confidence - 17.0 / 24.0).abs() < 1e-12 && (bins[2].accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((bins[3].confidence, bins[3].accuracy), (15.0 / 16.0, 0.5));
        assert!((p.calibration_error(4) - 0.2).abs() < 1e-12);
        // Confidences of at least 0.75: four, of which two are right.
        assert_eq!(p.answers(0.75), Answers { threshold: 0.75, answered: 4, correct: 2 });
        assert_eq!(p.answers(1.5).answered, 0);
        assert_eq!(p.answers(0.0), Answers { threshold: 0.0, answered: 5, correct: 3 });
    }

    /// 0.8 and 0.2 are the softmax of ln 4 and 0, at the temperature 2 that of ln 2 and 0: 2/3, 1/3.
    /// Of three classes 1/2, 1/4, 1/4 at the temperature 1/2 are 1/4, 1/16, 1/16 over 3/8: 2/3, 1/6,
    /// 1/6.
    #[test]
    fn temperature_by_hand() {
        let near = |found: Vec<f32>, expected: &[f32]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        near(at_temperature(&[0.8, 0.2], 2.0), &[2.0 / 3.0, 1.0 / 3.0]);
        near(at_temperature(&[0.5, 0.25, 0.25], 0.5), &[2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0]);
        assert_eq!(at_temperature(&[0.3, 0.7], 1.0), [0.3, 0.7]);
        // A probability of 0 stays nearly 0, and no value becomes infinite.
        near(at_temperature(&[1.0, 0.0], 0.5), &[1.0, 0.0]);
    }

    /// Two of three clips at 0.8 are right. The likelihood is greatest where 0.8 becomes 2/3: at the
    /// temperature 2. Four of five right agrees with 0.8: temperature 1. Nine of ten is more: 0.9 has
    /// odds of 9, and ln 9 / ln 4 = 1.585, so the temperature is 0.631.
    #[test]
    fn temperatures_are_fitted_by_hand() {
        let fit = |right: usize, wrong: usize| of(&[vec![0.8; right], vec![0.2; wrong]].concat()).fit_temperature();
        assert!((fit(2, 1) - 2.0).abs() < 1e-6, "{}", fit(2, 1));
        assert!((fit(4, 1) - 1.0).abs() < 1e-6, "{}", fit(4, 1));
        assert!((fit(9, 1) - 4f64.ln() / 9f64.ln()).abs() < 1e-6, "{}", fit(9, 1));
        // If all are right, the lowest temperature; if more are wrong than right, the highest.
        assert!((fit(3, 0) - TEMPERATURES.0).abs() < 1e-6 && (fit(1, 3) - TEMPERATURES.1).abs() < 1e-6);
    }

    /// At the fitted temperature confidence and accuracy agree: three clips at 0.8, two right.
    #[test]
    fn scaling_calibrates() {
        let p = of(&[0.8, 0.8, 0.2]);
        assert!((p.calibration_error(BINS) - (0.8 - 2.0 / 3.0)).abs() < 1e-6);
        let scaled = p.at_temperature(p.fit_temperature());
        assert!(scaled.calibration_error(BINS) < 1e-6);
        assert_eq!(scaled.predicted(), p.predicted());
    }
}
