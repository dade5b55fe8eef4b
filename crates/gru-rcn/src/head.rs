//! One classifier per level, and the average of their probabilities.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Initializer, Linear, LinearConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Which loss the classifiers are trained with.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// `-log` of the averaged probability, the paper's objective read with its definition of the
    /// model's probability.
    #[default]
    Mixture,
    /// The mean over levels of each classifier's own cross-entropy; an upper bound of the former
    /// that keeps every level learning.
    PerHead,
}

/// How a hidden map becomes the vector that is classified.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean over the cells, as the paper has it.
    #[default]
    Average,
    /// The largest value over the cells, per channel: for motion in a small part of the picture,
    /// which a mean over all of it dilutes. Not in the paper.
    Max,
}

impl Pooling {
    /// Pools a map, `[batch, channel, height, width]` to `[batch, channel]`.
    pub fn forward(self, map: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Average => average_pool(map),
            Self::Max => cells(map).max_dim(2).squeeze_dim(2),
        }
    }

    /// The weights by which the pooled value is a weighted sum over the cells of a map, `[batch, channel,
    /// height, width]` in and out. For the mean each is 1 over the number of cells; for the maximum it is
    /// 1 at the largest cell, divided equally among cells that are equally large.
    pub fn weights(self, map: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = map.dims();
        match self {
            Self::Average => Tensor::ones_like(&map).div_scalar((height * width) as f32),
            Self::Max => {
                let (shape, map) = (map.dims(), cells(map));
                let largest = map.clone().equal(map.clone().max_dim(2).expand(map.dims())).float();
                (largest.clone() / largest.sum_dim(2)).reshape(shape)
            }
        }
    }
}

/// Configuration of [`LevelHeads`].
#[derive(Config, Debug)]
pub struct LevelHeadsConfig {
    /// Channels of each level's hidden map, bottom up.
    pub in_channels: Vec<usize>,
    /// Number of classes.
    pub num_classes: usize,
    /// Probability with which an input of a classifier is dropped in training; the paper's "dropout
    /// ratio" of 0.7.
    #[config(default = 0.7)]
    pub dropout: f64,
    /// Pooling over the cells of a map.
    #[config(default = "Pooling::Average")]
    pub pooling: Pooling,
}

/// Per level: pooling to one vector, dropout, a linear layer (section 5.1.1 of the paper).
#[derive(Module, Debug)]
pub struct LevelHeads {
    /// One linear layer per level.
    pub classifiers: Vec<Linear>,
    /// Dropout on each classifier's input.
    pub dropout: Dropout,
    /// Pooling over the cells of a map.
    #[module(skip)]
    pub pooling: Pooling,
}

impl LevelHeadsConfig {
    /// Classifiers with weights from N(0, 0.01^2) and zero biases.
    pub fn init(&self, device: &Device) -> LevelHeads {
        let classifiers = self.in_channels.iter().map(|&channels| linear(channels, self.num_classes, device)).collect();
        LevelHeads { classifiers, dropout: DropoutConfig::new(self.dropout).init(), pooling: self.pooling }
    }
}

/// A linear classifier with weights from N(0, 0.01^2) and a zero bias.
pub(crate) fn linear(inputs: usize, classes: usize, device: &Device) -> Linear {
    let mut linear =
        LinearConfig::new(inputs, classes).with_initializer(Initializer::Normal { mean: 0.0, std: 0.01 }).init(device);
    // Burn draws a bias from the weight's distribution.
    linear.bias = Some(Initializer::Zeros.init([classes], device));
    linear
}

impl LevelHeads {
    /// Classifies the hidden maps of every level in the precision of the classifiers' weights.
    ///
    /// # Shapes
    ///
    /// - maps, per level: `[batch, channel, height, width]`
    /// - output: logits `[level, batch, class]`
    pub fn forward(&self, maps: Vec<Tensor<4>>) -> EnsembleLogits {
        let (found, expected) = (maps.len(), self.classifiers.len());
        assert!(found == expected, "LevelHeads: maps of {found} levels, expected {expected}");
        let logits = self
            .classifiers
            .iter()
            .zip(maps)
            .map(|(classifier, map)| {
                let map = map.cast(classifier.weight.val().dtype());
                classifier.forward(self.dropout.forward(self.pooling.forward(map)))
            })
            .collect();
        EnsembleLogits::new(Tensor::stack(logits, 0))
    }
}

/// Mean over the cells of a map: `[batch, channel, height, width]` to `[batch, channel]`.
pub fn average_pool(map: Tensor<4>) -> Tensor<2> {
    cells(map).mean_dim(2).squeeze_dim(2)
}

/// `[batch, channel, height, width]` to `[batch, channel, cell]`.
fn cells(map: Tensor<4>) -> Tensor<3> {
    map.flatten(2, 3)
}

/// The logits of an ensemble whose probabilities are averaged. Its members are the levels of a
/// GRU-RCN, the frames of a CNN that classifies each on its own, or the time steps of an LSTM.
#[derive(Clone, Debug)]
pub struct EnsembleLogits {
    /// `[member, batch, class]`.
    pub logits: Tensor<3>,
    /// Weight of each member in means over the members. The weights sum to 1; `None` stands for equal
    /// ones.
    pub weights: Option<Vec<f32>>,
}

impl EnsembleLogits {
    /// An ensemble of equal members with logits `[member, batch, class]`.
    pub fn new(logits: Tensor<3>) -> Self {
        Self { logits, weights: None }
    }

    /// An ensemble whose members are weighted in proportion to `gains`.
    ///
    /// # Panics
    ///
    /// If there are not as many gains as members.
    pub fn weighted(logits: Tensor<3>, gains: &[f32]) -> Self {
        let (found, expected) = (gains.len(), logits.dims()[0]);
        assert!(found == expected, "EnsembleLogits: {found} gains of {expected} members");
        let sum: f32 = gains.iter().sum();
        Self { logits, weights: Some(gains.iter().map(|gain| gain / sum).collect()) }
    }

    /// The weights as a tensor `[member, 1, 1]`.
    fn weight_tensor(&self, device: &Device) -> Option<Tensor<3>> {
        let weights = self.weights.clone()?;
        let members = weights.len();
        Some(Tensor::from_data(TensorData::new(weights, [members, 1, 1]), device))
    }

    /// Each member's own log-probabilities, `[member, batch, class]`, in float32.
    pub fn member_log_probabilities(&self) -> Tensor<3> {
        log_softmax(self.logits.clone().cast(FloatDType::F32), 2)
    }

    /// Logarithm of the mean of the members' probabilities, `[batch, class]`: `logsumexp -
    /// ln(members)`.
    pub fn log_probabilities(&self) -> Tensor<2> {
        let log_p = self.member_log_probabilities();
        let members = log_p.dims()[0] as f32;
        let highest = log_p.clone().detach().max_dim(0);
        let relative = (log_p - highest.clone()).exp();
        match self.weight_tensor(&relative.device()) {
            Some(weights) => ((relative * weights).sum_dim(0).log() + highest).squeeze_dim(0),
            None => (relative.sum_dim(0).log() + highest - members.ln()).squeeze_dim(0),
        }
    }

    /// The model's class probabilities, `[batch, class]`: the mean of the members' softmaxes.
    pub fn probabilities(&self) -> Tensor<2> {
        self.log_probabilities().exp()
    }

    /// The loss, a scalar `[1]`, mean over the batch.
    ///
    /// # Shapes
    ///
    /// - targets: `[batch]`, class indices below the number of classes (not checked here)
    pub fn loss(&self, targets: Tensor<1, Int>, kind: LossKind) -> Tensor<1> {
        self.mean_loss(self.of_targets(targets, kind), kind)
    }

    /// The loss with a weight of each clip, a scalar `[1]`: the sum of weights times losses, divided by
    /// the number of clips. PyTorch's `cross_entropy(…, weight)` divides the same sum by that of the
    /// weights, so that the weight of a clip depends on those that share its batch.
    ///
    /// # Panics
    ///
    /// If there are not as many weights as clips.
    pub fn weighted_loss(&self, targets: Tensor<1, Int>, kind: LossKind, weights: &[f32]) -> Tensor<1> {
        let log_p = self.of_targets(targets, kind);
        let weights = TensorData::new(weights.to_vec(), [1, log_p.dims()[1]]);
        let weights = Tensor::from_data(weights, &log_p.device());
        self.mean_loss(log_p * weights, kind)
    }

    /// The log-probability of each clip's target, `[1, batch]`, or each member's own, `[member, batch]`.
    fn of_targets(&self, targets: Tensor<1, Int>, kind: LossKind) -> Tensor<2> {
        let log_p = match kind {
            LossKind::Mixture => self.log_probabilities().unsqueeze_dim(0),
            LossKind::PerHead => self.member_log_probabilities(),
        };
        let [members, batch, _] = log_p.dims();
        let index = targets.reshape([1, batch, 1]).repeat_dim(0, members);
        log_p.gather(2, index).squeeze_dim(2)
    }

    fn mean_loss(&self, log_p: Tensor<2>, kind: LossKind) -> Tensor<1> {
        match self.weight_tensor(&log_p.device()) {
            Some(weights) if kind == LossKind::PerHead => {
                let batch = log_p.dims()[1] as f32;
                (log_p * weights.squeeze_dim(2)).sum().div_scalar(batch).neg()
            }
            _ => log_p.mean().neg(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, numbers};

    /// Logits of two levels, the same for every clip. Level 0 has (0, ln 3): probabilities 1/4, 3/4. Level 1
    /// has (0, 0): 1/2 each.
    fn two_levels(clips: usize) -> Tensor<3> {
        Tensor::<3>::from_data([[[0.0, 3.0f32.ln()]], [[0.0, 0.0]]], &device()).repeat_dim(1, clips)
    }

    fn targets<const N: usize>(classes: [i32; N]) -> Tensor<1, Int> {
        Tensor::from_ints(classes, &device())
    }

    #[track_caller]
    fn assert_losses(loss: impl Fn(LossKind) -> Tensor<1>, [mixture, per_head]: [f32; 2]) {
        for (kind, expected) in [(LossKind::Mixture, mixture), (LossKind::PerHead, per_head)] {
            let found = loss(kind).into_scalar::<f32>();
            assert!((found - expected).abs() < 1e-6, "{kind:?}: {found} instead of {expected}");
        }
    }

    /// The mean of the two levels is 3/8, 5/8. For target 1 the mixture loss is ln(8/5) and the mean of the
    /// cross-entropies is (ln(4/3) + ln 2) / 2.
    #[test]
    fn losses_by_hand() {
        let logits = EnsembleLogits::new(two_levels(1));
        let p = numbers(logits.probabilities());
        assert!((p[0] - 0.375).abs() < 1e-6 && (p[1] - 0.625).abs() < 1e-6);
        let per_head = ((4.0f32 / 3.0).ln() + 2.0f32.ln()) / 2.0;
        assert_losses(|kind| logits.loss(targets([1]), kind), [(8.0f32 / 5.0).ln(), per_head]);
    }

    /// With the gains 1 and 3 the probability of target 1 is 1/4 * 3/4 + 3/4 * 1/2 = 9/16, and the
    /// cross-entropy 1/4 ln(4/3) + 3/4 ln 2.
    #[test]
    fn gains_weigh_members() {
        let logits = EnsembleLogits::weighted(two_levels(1), &[1.0, 3.0]);
        let per_head = 0.25 * (4.0f32 / 3.0).ln() + 0.75 * 2.0f32.ln();
        assert_losses(|kind| logits.loss(targets([1]), kind), [(16.0f32 / 9.0).ln(), per_head]);
    }

    /// Two clips with the targets 1 and 0 and the weights 3 and ½. The mixture loss of the second is
    /// ln(8/3), and its cross-entropies are ln 4 and ln 2. The sums are divided by 2, the number of clips.
    #[test]
    fn clips_weigh_in_the_loss() {
        let logits = EnsembleLogits::new(two_levels(2));
        let mixture = (3.0 * (8.0f32 / 5.0).ln() + 0.5 * (8.0f32 / 3.0).ln()) / 2.0;
        let (first, second) = (((4.0f32 / 3.0).ln() + 2.0f32.ln()) / 2.0, (4.0f32.ln() + 2.0f32.ln()) / 2.0);
        let loss = |kind| logits.weighted_loss(targets([1, 0]), kind, &[3.0, 0.5]);
        assert_losses(loss, [mixture, (3.0 * first + 0.5 * second) / 2.0]);
    }

    /// A channel with the cells -1, 5, 3 and 1 has the mean 2 and the maximum 5; one with -4, -3,
    /// -2 and -3 the mean -3 and the maximum -2.
    #[test]
    fn pooling_by_hand() {
        let data = TensorData::new(vec![-1.0f32, 5.0, 3.0, 1.0, -4.0, -3.0, -2.0, -3.0], [1, 2, 2, 2]);
        let map = Tensor::<4>::from_data(data, &device());
        let pooled = |pooling: Pooling| numbers(pooling.forward(map.clone()));
        assert_eq!(pooled(Pooling::Average), [2.0, -3.0]);
        assert_eq!(pooled(Pooling::Max), [5.0, -2.0]);
        let weights = |pooling: Pooling| numbers(pooling.weights(map.clone()));
        assert_eq!(weights(Pooling::Average), [0.25; 8]);
        assert_eq!(weights(Pooling::Max), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let tied = Tensor::<4>::from_data([[[[3.0f32, 1.0], [3.0, 2.0]]]], &device());
        assert_eq!(numbers(Pooling::Max.weights(tied)), [0.5, 0.0, 0.5, 0.0]);
    }

    /// Logits of 1000 would overflow a plain exponential.
    #[test]
    fn large_logits_stay_finite() {
        let logits = Tensor::from_data([[[1000.0f32, -1000.0]], [[-1000.0, 1000.0]]], &device());
        let p = numbers(EnsembleLogits::new(logits).log_probabilities());
        assert!(p.iter().all(|p| (p - 0.5f32.ln()).abs() < 1e-6), "{p:?}");
    }
}
