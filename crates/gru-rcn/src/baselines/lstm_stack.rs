//! The LSTM network of Ng et al., *Beyond Short Snippets: Deep Networks for Video Classification*
//! (CVPR 2015): five layers of 512 units on a CNN's last layer, and a classifier at every frame.
//!
//! Frame t of T counts with the gain g = t/T: in the loss, and in the sum of the frames'
//! predictions, which the paper finds best of four ways. No code of the authors is public;
//! peepholes and dropout are not known, and settings here. The loss is divided by the sum of the
//! gains, a factor of the learning rate.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::Device;

use super::lstm::{Lstm, LstmConfig, bound_of, stack};
use super::{BaselineModel, BaselineOptions, pooled_top, pooled_vectors, step_members};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind, linear};
use crate::percepts::{Level, PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts};

/// Configuration of [`LstmStack`].
#[derive(Config, Debug)]
pub struct LstmStackConfig {
    /// The top level of the CNN; pooled to one vector if it has spatial extent.
    pub top: Level,
    /// Number of classes.
    pub num_classes: usize,
    /// Layers.
    #[config(default = 5)]
    pub layers: usize,
    /// Units of a layer.
    #[config(default = 512)]
    pub hidden: usize,
    /// Diagonal weights from the cells to the gates.
    #[config(default = false)]
    pub peepholes: bool,
    /// Normalisation of the pooled percepts.
    #[config(default = "PerceptNormConfig::new()")]
    pub norm: PerceptNormConfig,
    /// Drop probability on the classifier's input.
    #[config(default = 0.0)]
    pub dropout: f64,
}

/// Layers of LSTMs over the pooled top level, and one classifier for all frames.
#[derive(Module, Debug)]
pub struct LstmStack {
    /// Normalisation of the pooled percepts.
    pub norm: PerceptNorm,
    /// The layers, bottom up.
    pub layers: Vec<Lstm>,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout on its input.
    pub dropout: Dropout,
}

impl LstmStackConfig {
    /// A model with weights of the LSTMs from U(-1/√units, 1/√units).
    pub fn init(&self, device: &Device) -> LstmStack {
        let lstm = LstmConfig::new(self.top.channels, self.hidden)
            .with_peepholes(self.peepholes)
            .with_bound(bound_of(self.hidden));
        LstmStack {
            norm: self.norm.init(1, device),
            layers: lstm.stack(self.layers, device),
            classifier: linear(self.hidden, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl LstmStack {
    /// Classifies every frame of clips.
    ///
    /// # Shapes
    ///
    /// - percepts, top level: `[batch, time, channel, height, width]`
    /// - output: logits `[time, batch, class]`, weighted by the gains
    pub fn forward(&self, percepts: Percepts) -> EnsembleLogits {
        let vectors = pooled_vectors(&self.norm, percepts);
        let (hidden, _) = stack(&self.layers, vectors, |hidden| hidden);
        let members = step_members(self.classifier.forward(self.dropout.forward(hidden))).logits;
        let gains: Vec<f32> = (1..=members.dims()[0]).map(|t| t as f32).collect();
        EnsembleLogits::weighted(members, &gains)
    }
}

impl ClipClassifier for LstmStack {
    type Input = Percepts;

    /// The weighted mean over all frames, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        self.forward(percepts)
    }
}

impl BaselineModel for LstmStack {
    const NAME: &'static str = "LSTM stack";
    const ABOUT: &'static str = "five layers of LSTMs over the topmost map of each frame, averaged over its cells";

    fn measured(percepts: Percepts) -> Percepts {
        pooled_top(percepts)
    }

    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self {
        let config = LstmStackConfig::new(options.top(), options.num_classes)
            .with_hidden(options.hidden)
            .with_dropout(options.dropout);
        Self { norm: PerceptNorm::fit(options.norm.clone(), statistics, device), ..config.init(device) }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;

    /// 4·512·(4096 + 512) + 4·512 and four times 4·512·1024 + 4·512, 17,836,032 together, with
    /// peepholes 5·3·512 more; the classifier 512·101 + 101; one factor of the normalisation.
    #[test]
    fn parameters_on_fc7() {
        let config = LstmStackConfig::new(Level::new("fc7".into(), 4096, 1, 1), 101);
        assert_eq!(config.init(&Device::flex()).num_params(), 17_836_032 + 51_813 + 1);
        let peepholes = config.with_peepholes(true).init(&Device::flex());
        assert_eq!(peepholes.num_params(), 17_836_032 + 7_680 + 51_813 + 1);
    }

    /// The last frame of four counts four tenths.
    #[test]
    fn gains_rise_with_time() {
        let device = Device::flex();
        let model = LstmStackConfig::new(Level::new("top".into(), 3, 2, 2), 2).with_hidden(4).init(&device);
        let logits = model.forward(Percepts::new(vec![Tensor::ones([1, 4, 3, 2, 2], &device)]));
        assert_eq!(logits.weights, Some(vec![0.1, 0.2, 0.3, 0.4]));
        assert_eq!(logits.logits.dims(), [4, 1, 2]);
    }
}
