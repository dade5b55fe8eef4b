//! Where and when in a clip a model finds a class.
//!
//! A linear classifier over maps that are pooled gives a class's logit as a sum over the cells of the
//! maps: each cell's part in it is its *class activation* (Zhou et al., *Learning Deep Features for
//! Discriminative Localization*, CVPR 2016, equations 1 and 2). With weights `w_c` and bias `b_c` of
//! the class `c`, and the weight `m_k(p)` of cell `p` in the pooled value of channel `k`
//! ([`Pooling::weights`](crate::head::Pooling::weights)),
//!
//! ```text
//! logit_c = b_c + sum over p of a_c(p),    a_c(p) = sum over k of w_c,k m_k(p) h_k(p)
//! ```
//!
//! The last hidden map `h` of a GRU-RCN is itself a sum over the time steps
//! ([`ConvGru::trace`](crate::recurrent::ConvGru::trace)), in every form: the backward direction of the
//! bi-directional one has channels of its own, and the bottom-up input of the stacked one acts inside
//! gates and candidates. So the logit of a level is a sum over cells and steps,
//!
//! ```text
//! a_c(p, t) = sum over k of w_c,k m_k(p) kept_k(p, t)
//! ```
//!
//! These activations show where and when the deciding state was *written*. Its cause may have been seen
//! elsewhere: gates that forget leave little of early steps, and kernels of 3x3 carry a state from cell to
//! cell. [`integrated_gradients`] attributes the logit to the percepts instead. The attributions sum to the
//! logit as well, up to the logit of the baseline and the error of the quadrature.
//!
//! The logits of a CNN with more than a linear layer above its maps are no such sum; [`grad_cam`] is for
//! these.
//!
//! A value of a map depends on the pixels of its receptive field, which can be larger than the cell.

use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// Where and when a class is found at one level, in a batch of clips.
#[derive(Clone, Debug)]
pub struct ClassActivation {
    /// The level's position among the percepts.
    pub level: usize,
    /// `[batch, time, height, width]`; see `bias`.
    pub activation: Tensor<4>,
    /// The bias of the class, `[1]`. Activations and bias add up to a logit: for a GRU-RCN, over cells and
    /// steps, to the level's; for a classifier of single frames, over cells, to each frame's. `None` for
    /// the maps of [`grad_cam`], which are no such sum.
    pub bias: Option<Tensor<1>>,
    /// For recurrent layers, [`integrated_gradients`] at the percepts, `[batch, time, height, width]`. The
    /// baseline is zero percepts. Where the normalisation keeps only changes, it is a clip that stands still
    /// at each cell's median over time, so that a place that an object has left, or enters later, gets no
    /// attribution. Over cells, steps and levels the attributions add up to the sum of the levels' logits,
    /// minus that sum for the baseline.
    pub attribution: Option<Tensor<4>>,
    /// The update gate of a recurrent layer, mean over channels, `[batch, time, height, width]`.
    pub update: Option<Tensor<4>>,
}

impl ClassActivation {
    /// The activation for a linear classifier of the sum of `parts`, `[batch, time, channel, height, width]`.
    pub(crate) fn linear(level: usize, parts: Tensor<5>, classifier: &Linear, class: usize) -> Self {
        let [channels, classes] = classifier.weight.dims();
        assert!(class < classes, "class {class} of a classifier of {classes} classes");
        let weight = classifier.weight.val().narrow(1, class, 1).reshape([1, 1, channels, 1, 1]);
        let activation = (parts * weight).sum_dim(2).squeeze_dim(2);
        let zero = || Tensor::zeros([1], &activation.device());
        let bias = classifier.bias.as_ref().map_or_else(zero, |bias| bias.val().narrow(0, class, 1));
        Self { level, activation, bias: Some(bias), attribution: None, update: None }
    }
}

/// Grad-CAM (Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
/// Localization*, ICCV 2017, equations 1 and 2): the sum of the channels of a map, each weighted by the mean
/// of the logit's gradient over the cells; negative sums become zero.
///
/// ```text
/// L_c = relu(sum over k of alpha_k A_k),    alpha_k = mean over p of d logit_c / d A_k(p)
/// ```
///
/// For a linear classifier of averaged maps it is the positive part of the class activation.
///
/// # Shapes
///
/// - maps: `[batch, channel, height, width]`, outside of any graph
/// - `classify`: from such maps to logits `[batch, class]`. Dropout has to be off in it, by
///   [`Module::valid`](burn::module::Module::valid), for it sees a device with autodiff
/// - output: `[batch, height, width]`
///
/// # Panics
///
/// If there is no such class, and if the logits do not depend on the maps.
pub fn grad_cam(maps: Tensor<4>, classify: impl FnOnce(Tensor<4>) -> Tensor<2>, class: usize) -> Tensor<3> {
    let tracked = maps.clone().autodiff().require_grad();
    let gradients = of_class(classify(tracked.clone()), class).backward();
    let gradient = tracked.grad(&gradients).expect("logits that depend on the maps");
    let weights = gradient.mean_dim(3).mean_dim(2);
    relu((maps * weights).sum_dim(1).squeeze_dim(1))
}

/// Points of the quadrature in [`integrated_gradients`].
const POINTS: usize = 64;

/// Integrated gradients (Sundararajan, Taly and Yan, *Axiomatic Attribution for Deep Networks*, ICML
/// 2017, equation 1) of a class's logit, from a baseline b, summed over the channels:
///
/// ```text
/// a_c(p, t) = sum over k of (x - b)_k(p, t) integral over s in 0..1 of d logit_c(b + s (x - b)) / d x_k(p, t)
/// ```
///
/// They add up to `logit_c(x) - logit_c(b)`, up to the error of the integral, a mean over 64 points of
/// `s = u^3` with u equally spaced: near the baseline, where no gate is saturated, the gradient of a
/// recurrence over many steps is large and changes fast.
///
/// # Shapes
///
/// - maps, of every level: `[batch, time, channel, height, width]`, outside of any graph
/// - baselines, of every level: the same, or of one step for all
/// - `classify`: from such maps to logits `[batch, class]`, without dropout
/// - output, of every level: `[batch, time, height, width]`
///
/// # Panics
///
/// If there is no such class, and if the logits do not depend on all maps.
pub fn integrated_gradients(
    maps: &[Tensor<5>],
    baselines: &[Tensor<5>],
    classify: impl Fn(Vec<Tensor<5>>) -> Tensor<2>,
    class: usize,
) -> Vec<Tensor<4>> {
    let mut sums: Vec<Tensor<5>> = maps.iter().map(Tensor::zeros_like).collect();
    let ways: Vec<Tensor<5>> = maps.iter().zip(baselines).map(|(map, base)| map.clone() - base.clone()).collect();
    for point in 0..POINTS {
        let u = (point as f32 + 0.5) / POINTS as f32;
        let (scale, weight) = (u * u * u, 3.0 * u * u / POINTS as f32);
        let on_the_way = baselines.iter().zip(&ways).map(|(base, way)| base.clone() + way.clone() * scale);
        let tracked: Vec<_> = on_the_way.map(|map| map.autodiff().require_grad()).collect();
        let gradients = of_class(classify(tracked.clone()), class).backward();
        let gradient = |map: &Tensor<5>| map.grad(&gradients).expect("logits that depend on all maps");
        sums = sums.into_iter().zip(&tracked).map(|(sum, map)| sum + gradient(map) * weight).collect();
    }
    sums.into_iter().zip(ways).map(|(sum, way)| (sum * way).sum_dim(2).squeeze_dim(2)).collect()
}

/// The sum over the batch of a class's logit, `[1]`.
fn of_class(logits: Tensor<2>, class: usize) -> Tensor<1> {
    let classes = logits.dims()[1];
    assert!(class < classes, "class {class} of a classifier of {classes} classes");
    logits.narrow(1, class, 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::FrameClassifierConfig;
    use crate::classifier::{ClipClassifier, GruRcnClassifierConfig};
    use crate::head::{Pooling, average_pool};
    use crate::percepts::{Level, Percepts};
    use crate::recurrent::{Form, GruRcnConfig};
    use crate::testing::{assert_numbers, assert_panics, assert_same, device, difference, drawn, redrawn};
    use burn::tensor::DType;

    /// Percepts of two clips of three steps, at levels of 4x3 cells and of one.
    fn percepts() -> (Vec<Level>, Percepts) {
        let levels = vec![Level::new("low".into(), 2, 4, 3), Level::new("high".into(), 5, 1, 1)];
        let maps = vec![drawn(1, [2, 3, 2, 4, 3], &device()), drawn(2, [2, 3, 5, 1, 1], &device())];
        (levels, Percepts::new(maps))
    }

    /// In every form and with either pooling, over cells and steps.
    #[test]
    fn activations_of_a_level_add_up_to_its_logit() {
        let (levels, percepts) = percepts();
        for form in [Form::Independent, Form::Stacked, Form::Bidirectional] {
            for pooling in [Pooling::Average, Pooling::Max] {
                let recurrent = GruRcnConfig::new(levels.clone(), vec![3, 4]).with_form(form);
                let config = GruRcnClassifierConfig::new(recurrent, 6).with_pooling(pooling);
                let model = redrawn(config.init(&device()), 7, 0.7, DType::F32);
                let logits = model.logits(percepts.clone()).logits;
                let found = model.class_activation(percepts.clone(), 4);
                assert_eq!(found.iter().map(|found| found.level).collect::<Vec<_>>(), [0, 1]);
                // Without biases in the layers a clip without percepts has the classifiers' biases.
                let attributed = |found: &ClassActivation| {
                    let attribution = found.attribution.clone().unwrap();
                    attribution.reshape([2, -1]).sum_dim(1) + found.bias.clone().unwrap().unsqueeze()
                };
                let attributed = found.iter().map(attributed).reduce(|a, b| a + b).unwrap();
                let expected = logits.clone().narrow(2, 4, 1).sum_dim(0).squeeze_dim(0);
                let (off, size) = (difference(attributed, expected.clone()), expected.abs().max().into_scalar::<f32>());
                assert!(off < 0.01 * size, "{form:?} {pooling:?}: {off} of {size}");
                for (level, found) in found.into_iter().enumerate() {
                    let [height, width] = [[4, 3], [1, 1]][level];
                    assert_eq!(found.activation.dims(), [2, 3, height, width]);
                    assert_eq!(found.update.map(|update| update.dims()), Some([2, 3, height, width]));
                    let sums = found.activation.reshape([2, -1]).sum_dim(1).squeeze_dim::<1>(1);
                    let expected = logits.clone().slice([level..level + 1, 0..2, 4..5]).reshape([2]);
                    assert_same(sums + found.bias.unwrap(), expected);
                }
            }
        }
    }

    /// Cell by cell of each frame; and the positive part is what Grad-CAM gives.
    #[test]
    fn activations_of_a_frame_add_up_to_its_logit() {
        let (levels, percepts) = percepts();
        let config = FrameClassifierConfig::new(levels[0].clone(), 6);
        let model = redrawn(config.init(&device()), 7, 0.7, DType::F32);
        let percepts = percepts.select(&[0]);
        let logits = model.logits(percepts.clone()).logits;
        let found = model.class_activation(percepts.clone(), 4).remove(0);
        let sums = found.activation.clone().sum_dim(3).sum_dim(2).reshape([2, 3]).swap_dims(0, 1);
        assert_same(sums + found.bias.unwrap().reshape([1, 1]), logits.narrow(2, 4, 1).squeeze_dim(2));
        let maps = model.norm.forward(percepts).top().reshape([6, 2, 4, 3]);
        let map = grad_cam(maps.clone(), |maps| model.classifier.forward(average_pool(maps)), 4);
        assert_same(map, relu(found.activation.reshape([6, 4, 3])));
        assert_panics("class 6 of a classifier of 6", || {
            model.class_activation(Percepts::new(vec![drawn(1, [1, 1, 2, 4, 3], &device())]), 6)
        });
    }

    /// The logit x² y of a cell with x = 2 and y = 3: along s (2, 3) its gradients are 12 s² and 4 s², whose
    /// integrals are 4 and 4/3, so 8 is due to x and 4 to y, together the logit. With s = u³ both integrands
    /// are proportional to u⁶·u², whose integral is 1/9, and its mean over 64 points almost that.
    #[test]
    fn integrated_gradients_by_hand() {
        let maps = [2.0f32, 3.0].map(|value| Tensor::<5>::full([1, 1, 1, 1, 1], value, &device()));
        let logit = |maps: Vec<Tensor<5>>| (maps[0].clone().square() * maps[1].clone()).reshape([1, 1]);
        let mean = (0..64).map(|n| ((n as f64 + 0.5) / 64.0).powi(8)).sum::<f64>() / 64.0;
        assert!((9.0 * mean - 1.0).abs() < 1e-3);
        let zeros = maps.each_ref().map(Tensor::zeros_like);
        for (found, expected) in integrated_gradients(&maps, &zeros, logit, 0).into_iter().zip([8.0, 4.0]) {
            assert_numbers(found / (9.0 * mean * expected) as f32, &[1.0]);
        }
    }

    /// Two channels of one row of two cells, (1, 3) and (2, 1), and the logit 2·A₁(0)² + A₂(0)·A₂(1).
    /// Its gradients are (4, 0) and (1, 2), their means 2 and 3/2: the map is 2·(1, 3) + 3/2·(2, 1) =
    /// (5, 7.5). Of the negative logit nothing is left.
    #[test]
    fn grad_cam_by_hand() {
        let maps = Tensor::<4>::from_data([[[[1.0f32, 3.0]], [[2.0, 1.0]]]], &device());
        let logit = |maps: Tensor<4>| {
            let cell = |channel, cell| maps.clone().slice([0..1, channel..channel + 1, 0..1, cell..cell + 1]);
            let logit = (cell(0, 0).square() * 2.0 + cell(1, 0) * cell(1, 1)).reshape([1, 1]);
            Tensor::cat(vec![logit.clone(), logit.neg()], 1)
        };
        assert_numbers(grad_cam(maps.clone(), logit, 0), &[5.0, 7.5]);
        assert_numbers(grad_cam(maps, logit, 1), &[0.0, 0.0]);
    }
}
