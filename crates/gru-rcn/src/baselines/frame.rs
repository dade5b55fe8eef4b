//! "VGG-16" in the paper's tables: every frame on its own.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::Device;

use super::{BaselineModel, BaselineOptions};
use crate::class_activation::ClassActivation;
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind, average_pool, linear};
use crate::percepts::{Level, NormRule, PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts};

/// Configuration of [`FrameClassifier`].
#[derive(Config, Debug)]
pub struct FrameClassifierConfig {
    /// The top level of the CNN.
    pub top: Level,
    /// Number of classes.
    pub num_classes: usize,
    /// Drop probability on the classifier's input.
    #[config(default = 0.7)]
    pub dropout: f64,
}

/// A linear classifier of single frames on the pooled top level; a clip's probability is the mean
/// over its frames.
///
/// Its percepts are divided by their RMS and never centred: a single frame does not hold the clip's
/// mean.
#[derive(Module, Debug)]
pub struct FrameClassifier {
    /// Scaling of the top level.
    pub norm: PerceptNorm,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout on its input.
    pub dropout: Dropout,
}

impl FrameClassifierConfig {
    /// The rule by which its percepts are normalised.
    pub fn norm() -> PerceptNormConfig {
        PerceptNormConfig::new().with_rule(NormRule::Scale)
    }

    /// A classifier with freshly drawn weights.
    pub fn init(&self, device: &Device) -> FrameClassifier {
        FrameClassifier {
            norm: Self::norm().init(1, device),
            classifier: linear(self.top.channels, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl ClipClassifier for FrameClassifier {
    type Input = Percepts;

    /// Each frame is a training example of its own, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    /// Logits `[time, batch, class]`: the frames take the place of the levels.
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        let top = self.norm.forward(Percepts { maps: vec![percepts.top()] }).top();
        let [batch, time, channels, height, width] = top.dims();
        let pooled = average_pool(top.swap_dims(0, 1).reshape([time * batch, channels, height, width]));
        let logits = self.classifier.forward(self.dropout.forward(pooled));
        let classes = logits.dims()[1];
        EnsembleLogits::new(logits.reshape([time, batch, classes]))
    }

    /// The class activation maps of Zhou et al. 2016 (equation 2), a frame's logit each.
    fn class_activation(&self, percepts: Percepts, class: usize) -> Vec<ClassActivation> {
        let level = percepts.maps.len() - 1;
        let top = self.norm.forward(Percepts { maps: vec![percepts.top()] }).top();
        let [.., height, width] = top.dims();
        vec![ClassActivation::linear(level, top / (height * width) as f32, &self.classifier, class)]
    }
}

impl BaselineModel for FrameClassifier {
    const NAME: &'static str = "Per-frame CNN";
    const ABOUT: &'static str = "a linear classifier of the topmost map of single frames, averaged over a clip";

    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self {
        let config = FrameClassifierConfig::new(options.top(), options.num_classes).with_dropout(options.dropout);
        let norm = PerceptNorm::fit(FrameClassifierConfig::norm(), statistics, device);
        Self { norm, ..config.init(device) }
    }
}
