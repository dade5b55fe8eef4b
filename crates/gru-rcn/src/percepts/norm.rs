//! How percepts are scaled before the recurrent layers.
//!
//! The paper does not mention it. Maps of a frozen ImageNet CNN are large (an RMS of 30 to 400) and
//! mostly static background. Unscaled, they saturate the gates of a freshly drawn GRU, and nothing
//! is learnt. The rule is therefore a named part of the model, and its constants are stored with
//! it. No rule changes what the recurrent layer can express about motion; `identity` is the literal
//! reading of the paper.

use std::fmt;

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{PerceptStatistics, Percepts};

/// The rule by which percepts are normalised.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NormRule {
    /// As they are.
    Identity,
    /// Divided by one constant per level, the RMS over training clips.
    Scale,
    /// Minus the clip's own mean over time, per channel and cell, then divided by the RMS of what
    /// is left. It needs the whole clip, so a stream cannot use it.
    Centre,
    /// Minus the running mean of the frames seen so far (the present one included), then divided by
    /// the RMS of what is left. The first step is zero. Works on a stream.
    CausalCentre,
    /// Minus the frame before, divided by the RMS of what is left. The first step is zero. Works on
    /// a stream.
    Difference,
    /// The magnitude of [`NormRule::Difference`]. It suits classes that differ by the amount of
    /// motion, and hides its direction. Works on a stream.
    AbsDifference,
}

/// The name in files, such as `causal-centre`.
impl fmt::Display for NormRule {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Configuration of [`PerceptNorm`].
#[derive(Config, Debug)]
pub struct PerceptNormConfig {
    /// The rule.
    #[config(default = "NormRule::Centre")]
    pub rule: NormRule,
    /// Factor on top of the rule's own constant; 0.1 with [`NormRule::Scale`] keeps a new GRU out
    /// of saturation.
    #[config(default = 1.0)]
    pub gain: f32,
}

impl PerceptNormConfig {
    /// The rule with a factor of one per level, to be replaced by [`PerceptNorm::fit`] or a stored
    /// record.
    pub fn init(&self, levels: usize, device: &Device) -> PerceptNorm {
        PerceptNorm::with_scales(self.clone(), &vec![self.gain; levels], device)
    }
}

/// Normalises percepts by a [`NormRule`].
#[derive(Module, Debug)]
pub struct PerceptNorm {
    /// One factor per level, `[levels]`; never trained.
    pub scales: Param<Tensor<1>>,
    /// The rule and its gain.
    #[module(skip)]
    pub config: PerceptNormConfig,
}

impl PerceptNorm {
    /// A rule with given factors, one per level.
    pub fn with_scales(config: PerceptNormConfig, scales: &[f32], device: &Device) -> Self {
        let scales = Tensor::<1>::from_data(TensorData::from(scales), device);
        Self { scales: Param::from_tensor(scales).set_require_grad(false), config }
    }

    /// The rule with the constants that `statistics`, gathered over training clips, give it.
    pub fn fit(config: PerceptNormConfig, statistics: &PerceptStatistics, device: &Device) -> Self {
        let scales: Vec<f32> = statistics
            .rms()
            .iter()
            .map(|rms| {
                let divisor = match config.rule {
                    NormRule::Identity => 1.0,
                    NormRule::Scale => rms.raw,
                    NormRule::Centre => rms.centred,
                    NormRule::CausalCentre => rms.causal,
                    NormRule::Difference | NormRule::AbsDifference => rms.difference,
                };
                // A level that never varies (a dead tap) stays zero whatever it is divided by.
                config.gain / if divisor > 0.0 { divisor as f32 } else { 1.0 }
            })
            .collect();
        Self::with_scales(config, &scales, device)
    }

    /// Normalises percepts in the precision of its factors, float32, whatever theirs is: small
    /// differences of large values need its digits.
    ///
    /// # Shapes
    ///
    /// - each level, in and out: `[batch, time, channel, height, width]`
    pub fn forward(&self, percepts: Percepts) -> Percepts {
        let dtype = self.scales.val().dtype();
        let maps = percepts.maps.into_iter().enumerate().map(|(level, map)| {
            let map = map.cast(dtype);
            let map = match self.config.rule {
                NormRule::Identity | NormRule::Scale => map,
                NormRule::Centre => centre(map),
                NormRule::CausalCentre => causal_centre(map),
                NormRule::Difference => difference(map),
                NormRule::AbsDifference => difference(map).abs(),
            };
            self.scaled(level, map)
        });
        Percepts { maps: maps.collect() }
    }

    /// Normalises one time step of a stream, in the precision of [`forward`](Self::forward).
    ///
    /// # Shapes
    ///
    /// - each level, in and out: `[batch, channel, height, width]`
    ///
    /// # Panics
    ///
    /// With [`NormRule::Centre`], which needs the whole clip.
    pub fn step(&self, maps: Vec<Tensor<4>>, state: &mut NormState) -> Vec<Tensor<4>> {
        assert!(
            self.config.rule != NormRule::Centre,
            "the rule `centre` needs the whole clip; train with one of the other rules for streams"
        );
        let dtype = self.scales.val().dtype();
        let maps = maps.into_iter().map(|map| map.cast(dtype)).collect();
        let maps = match self.config.rule {
            NormRule::CausalCentre => state.centre(maps),
            NormRule::Difference => state.difference(maps),
            NormRule::AbsDifference => state.difference(maps).into_iter().map(Tensor::abs).collect(),
            NormRule::Identity | NormRule::Scale | NormRule::Centre => maps,
        };
        maps.into_iter().enumerate().map(|(level, map)| self.scaled(level, map)).collect()
    }

    fn scaled<const D: usize>(&self, level: usize, map: Tensor<D>) -> Tensor<D> {
        if self.config.rule == NormRule::Identity && self.config.gain == 1.0 {
            return map;
        }
        // Detached, so that an optimizer can never move it, whatever a loader did to its gradient
        // flag.
        let scale = self.scales.val().detach().narrow(0, level, 1);
        map * scale.reshape([1; D])
    }
}

/// Subtracts the mean over time.
pub(super) fn centre(map: Tensor<5>) -> Tensor<5> {
    let mean = map.clone().mean_dim(1);
    map - mean
}

/// Subtracts from each step the mean of all steps up to and including it.
pub(super) fn causal_centre(map: Tensor<5>) -> Tensor<5> {
    let time = map.dims()[1];
    let mut running = NormState::default();
    let steps = (0..time)
        .map(|t| {
            let step = map.clone().narrow(1, t, 1).squeeze_dim::<4>(1);
            running.centre(vec![step]).swap_remove(0).unsqueeze_dim::<5>(1)
        })
        .collect();
    Tensor::cat(steps, 1)
}

/// Subtracts from each step the step before it; the first becomes zero.
pub(super) fn difference(map: Tensor<5>) -> Tensor<5> {
    let [batch, time, channels, height, width] = map.dims();
    let first = Tensor::zeros([batch, 1, channels, height, width], (&map.device(), map.dtype()));
    if time == 1 {
        return first;
    }
    let changes = map.clone().narrow(1, 1, time - 1) - map.narrow(1, 0, time - 1);
    Tensor::cat(vec![first, changes], 1)
}

/// State of a rule on a stream, per level.
#[derive(Clone, Debug, Default)]
pub struct NormState {
    means: Vec<Tensor<4>>,
    count: usize,
    previous: Vec<Tensor<4>>,
}

impl NormState {
    /// Takes in one time step, `[batch, channel, height, width]` per level, and returns it minus
    /// the mean so far.
    fn centre(&mut self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        self.count += 1;
        let count = self.count as f32;
        // No sum, which after hours would be too large to notice a frame.
        self.means = if self.means.is_empty() {
            maps.clone()
        } else {
            self.means.drain(..).zip(&maps).map(|(mean, map)| mean.clone() + (map.clone() - mean) / count).collect()
        };
        maps.into_iter().zip(&self.means).map(|(map, mean)| map - mean.clone()).collect()
    }

    /// Takes in one time step and returns it minus the one before.
    fn difference(&mut self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let previous = std::mem::replace(&mut self.previous, maps.clone());
        if previous.is_empty() {
            return maps.iter().map(Tensor::zeros_like).collect();
        }
        maps.into_iter().zip(previous).map(|(map, before)| map - before).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    fn percepts(values: &[f32], device: &Device) -> Percepts {
        let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1, 1]);
        Percepts::new(vec![Tensor::from_data(data, device)])
    }

    fn values(percepts: Percepts) -> Vec<f32> {
        percepts.maps[0].clone().into_data().try_into_vec::<f32>().unwrap()
    }

    /// 2, 9, 4: the mean is 5, so centred they are -3, 4, -1; the RMS of those is sqrt(26 / 3).
    /// Causal means are 2, 5.5, 5, so causally centred they are 0, 3.5, -1 with RMS sqrt(13.25 /
    /// 3). Differences are 0, 7, -5 with RMS sqrt(74 / 3).
    #[test]
    fn rules_by_hand() {
        let device = device();
        let clip = percepts(&[2.0, 9.0, 4.0], &device);
        let mut statistics = PerceptStatistics::default();
        statistics.observe(&clip);
        let apply = |rule, gain| {
            let config = PerceptNormConfig::new().with_rule(rule).with_gain(gain);
            values(PerceptNorm::fit(config, &statistics, &device).forward(clip.clone()))
        };
        let close = |found: Vec<f32>, expected: [f32; 3]| {
            for (f, e) in found.iter().zip(expected) {
                assert!((f - e).abs() < 1e-6, "{found:?} instead of {expected:?}");
            }
        };
        close(apply(NormRule::Identity, 1.0), [2.0, 9.0, 4.0]);
        let rms = (101.0f32 / 3.0).sqrt();
        close(apply(NormRule::Scale, 0.5), [1.0 / rms, 4.5 / rms, 2.0 / rms]);
        let rms = (26.0f32 / 3.0).sqrt();
        close(apply(NormRule::Centre, 1.0), [-3.0 / rms, 4.0 / rms, -1.0 / rms]);
        let rms = (13.25f32 / 3.0).sqrt();
        close(apply(NormRule::CausalCentre, 1.0), [0.0, 3.5 / rms, -1.0 / rms]);
        let rms = (74.0f32 / 3.0).sqrt();
        close(apply(NormRule::Difference, 1.0), [0.0, 7.0 / rms, -5.0 / rms]);
        close(apply(NormRule::AbsDifference, 1.0), [0.0, 7.0 / rms, 5.0 / rms]);
        // A clip of one frame has not changed.
        let norm = PerceptNormConfig::new().with_rule(NormRule::Difference).init(1, &device);
        assert_eq!(values(norm.forward(percepts(&[2.0], &device))), [0.0]);
    }
}
