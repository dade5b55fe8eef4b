//! A linear support vector machine, one class against the rest: the classifier that Tran et al.
//! (2015) train on the descriptors of C3D.
//!
//! For each class, with y = 1 for its examples and −1 for all others, it minimises
//!
//! ```text
//! ½ ‖w‖² + C Σ max(0, 1 − y (w·x + b))²
//! ```
//!
//! where the bias b is the weight of a feature that is 1, as in LIBLINEAR and scikit-learn's
//! `LinearSVC`. The dual is solved coordinate by coordinate: Hsieh, Chang, Lin, Keerthi and
//! Sundararajan, *A Dual Coordinate Descent Method for Large-scale Linear SVM* (ICML 2008),
//! algorithm 1 with the squared loss.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// Configuration of [`LinearSvm`].
#[derive(Config, Debug)]
pub struct LinearSvmConfig {
    /// Cost C of examples that lie within the margin or on the wrong side.
    #[config(default = 1.0)]
    pub cost: f64,
    /// A class is solved when the projected gradients of all examples lie within this range.
    #[config(default = 1e-4)]
    pub tolerance: f64,
    /// Most passes over the examples of a class.
    #[config(default = 1000)]
    pub passes: usize,
}

/// A linear layer that computes margins. They are no probabilities. Where probabilities are needed, the
/// softmax of the margins serves; it ranks the classes alike and is not calibrated.
#[derive(Module, Debug)]
pub struct LinearSvm {
    /// From a descriptor to the margin of each class.
    pub margins: Linear,
}

impl LinearSvmConfig {
    /// A machine with zero weights, to read trained ones into.
    pub fn init(&self, features: usize, classes: usize, device: &Device) -> LinearSvm {
        LinearSvm { margins: LinearConfig::new(features, classes).init(device) }
    }

    /// A trained machine, the same for the same examples in the same order.
    ///
    /// `examples` are rows of as many features each, `targets` their classes.
    ///
    /// # Panics
    ///
    /// If there is no example, or the rows are not of one length.
    pub fn fit(&self, examples: &[f32], targets: &[usize], classes: usize, device: &Device) -> LinearSvm {
        let (count, features) = (targets.len(), examples.len().checked_div(targets.len()).unwrap_or(0));
        assert!(
            count > 0 && features > 0 && examples.len() == count * features,
            "LinearSvm: {count} rows of one length"
        );
        let rows: Vec<&[f32]> = examples.chunks(features).collect();
        let sign = |class: usize| move |&target: &usize| if target == class { 1.0 } else { -1.0 };
        let solved: Vec<Vec<f64>> = (0..classes)
            .into_par_iter()
            .map(|class| self.solve(&rows, &targets.iter().map(sign(class)).collect::<Vec<_>>()))
            .collect();
        // Rows of a layer's weight are inputs; the last weight of a class is its bias.
        let values = (0..=features).flat_map(|feature| solved.iter().map(move |weights| weights[feature] as f32));
        let mut values: Vec<f32> = values.collect();
        let bias = values.split_off(features * classes);
        let mut svm = self.init(features, classes, device);
        svm.margins.weight =
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [features, classes]), device));
        svm.margins.bias = Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [classes]), device)));
        svm
    }

    /// The weights of one class and its bias.
    fn solve(&self, rows: &[&[f32]], signs: &[f64]) -> Vec<f64> {
        let (count, features, diagonal) = (rows.len(), rows[0].len(), 0.5 / self.cost);
        let curvatures: Vec<f64> = rows
            .iter()
            .map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() + 1.0 + diagonal)
            .collect();
        let (mut weights, mut alphas) = (vec![0.0; features + 1], vec![0.0; count]);
        // Examples often come class by class; steps of the golden section visit all of them evenly.
        let mut step = (count as f64 * 0.618) as usize;
        while step > 1 && (2..=step).any(|n| step.is_multiple_of(n) && count.is_multiple_of(n)) {
            step -= 1;
        }
        for _ in 0..self.passes {
            let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
            for n in 0..count {
                let example = n * step.max(1) % count;
                let (row, sign) = (rows[example], signs[example]);
                let product: f64 = row.iter().zip(&weights).map(|(&x, w)| f64::from(x) * w).sum();
                let before: f64 = alphas[example];
                let gradient = sign * (product + weights[features]) - 1.0 + diagonal * before;
                let projected = if before == 0.0 { gradient.min(0.0) } else { gradient };
                (least, largest) = (least.min(projected), largest.max(projected));
                if projected != 0.0 {
                    alphas[example] = (before - gradient / curvatures[example]).max(0.0);
                    let change = sign * (alphas[example] - before);
                    weights.iter_mut().zip(row).for_each(|(w, &x)| *w += change * f64::from(x));
                    weights[features] += change;
                }
            }
            if largest - least <= self.tolerance {
                break;
            }
        }
        weights
    }
}

impl LinearSvm {
    /// The margins of descriptors.
    ///
    /// # Shapes
    ///
    /// - descriptors: `[batch, feature]`
    /// - output: `[batch, class]`
    pub fn forward(&self, descriptors: Tensor<2>) -> Tensor<2> {
        self.margins.forward(descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_numbers, assert_panics};

    const ROWS: [f32; 36] = [
        2.0, 1.0, 0.0, 3.0, 2.0, 1.0, 2.0, 3.0, -1.0, 1.0, 1.0, 1.0, -1.0, 2.0, 2.0, -2.0, 1.0, 3.0, -3.0, 2.0, 1.0,
        -1.0, -1.0, 2.0, 0.0, -2.0, -1.0, 1.0, -3.0, 0.0, -1.0, -2.0, -2.0, 1.0, -1.0, 1.0,
    ];
    const TARGETS: [usize; 12] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];

    /// Twelve points in three classes that no planes separate. The expected weights and biases are
    /// those of scikit-learn 1.9.1, `LinearSVC(C=…, loss="squared_hinge", tol=1e-12)`, whose primal
    /// and dual solvers agree to 1e-8.
    #[test]
    fn weights_are_those_of_liblinear() {
        let device = Device::flex();
        for (cost, weights, bias) in [
            (
                1.0,
                [
                    0.721_649_5,
                    -0.663_141_2,
                    0.354_430_4,
                    0.646_048_1,
                    0.045_478_6,
                    -0.970_464_1,
                    -0.556_701,
                    0.423_056_6,
                    -0.430_379_7,
                ],
                [-0.233_677, -0.601_798, -0.396_624_5],
            ),
            (
                0.1,
                [
                    0.345_140_6,
                    -0.382_535_9,
                    0.021_750_7,
                    0.300_301_7,
                    0.113_299_3,
                    -0.356_479_6,
                    -0.163_877_6,
                    0.245_508_9,
                    -0.215_778_8,
                ],
                [-0.236_280_1, -0.270_585, -0.119_109_2],
            ),
        ] {
            let config = LinearSvmConfig::new().with_cost(cost).with_tolerance(1e-10).with_passes(100_000);
            let svm = config.fit(&ROWS, &TARGETS, 3, &device);
            assert_numbers(svm.margins.weight.val(), &weights);
            assert_numbers(svm.margins.bias.as_ref().unwrap().val(), &bias);
            // The default tolerance comes close.
            let coarse = LinearSvmConfig::new().with_cost(cost).fit(&ROWS, &TARGETS, 3, &device);
            let worst = (coarse.margins.weight.val() - svm.margins.weight.val()).abs().max().into_scalar::<f32>();
            assert!(worst < 1e-3, "{worst}");
        }
    }

    #[test]
    fn margins_of_a_descriptor() {
        let svm =
            LinearSvmConfig::new().with_tolerance(1e-10).with_passes(100_000).fit(&ROWS, &TARGETS, 3, &Device::flex());
        let point = Tensor::<2>::from_data([[0.5f32, -0.5, 1.0]], &Device::flex());
        assert_numbers(svm.forward(point), &[-0.752_577_3, -0.533_051_3, -0.164_557]);
        assert_panics("rows of one length", || LinearSvmConfig::new().fit(&ROWS[1..], &TARGETS, 3, &Device::flex()));
        assert_panics("rows of one length", || LinearSvmConfig::new().fit(&[], &[], 3, &Device::flex()));
    }
}
