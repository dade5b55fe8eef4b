//! Two-Stream + LSTM in the paper's tables: Donahue et al., *Long-term Recurrent Convolutional
//! Networks for Visual Recognition and Description* (CVPR 2015), with the LSTM on fc-6.
//!
//! Layers as in the released `train_test_lstm_RGB.prototxt`: a hybrid of CaffeNet and of Zeiler and
//! Fergus' network, whose second, fourth and fifth convolutions have two groups, with response
//! normalisation after the pools and pools that round up. The paper says 1,024 units for flow; the
//! released net has 256 for both, which is the default here.
//!
//! Faults of the released code that are not followed: clips that are not mirrored are squeezed to
//! the input size instead of cropped; the mirrored flow is not negated at test; 128.68 as the mean
//! of red. Deviations: convolutions and fc-6 from He's normal distribution, in place of the
//! single-frame nets that the authors start from; flow as stacks of fields in place of pictures of
//! three channels.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, FloatDType, Tensor};

use super::features::{FeatureLayer, FeaturePadding, Features, add_to, of_steps, output};
use super::lstm::{Lstm, LstmConfig, bound_of};
use super::{BaselineError, PixelBaseline, PixelOptions, no_zeros, scaled, step_members};
use crate::backbone::{LayerShape, Plan, he_linear};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind, linear};
use crate::input::PixelClips;
use crate::precision;

/// Configuration of [`Lrcn`].
#[derive(Config, Debug)]
pub struct LrcnConfig {
    /// Number of classes.
    #[config(default = 101)]
    pub num_classes: usize,
    /// Channels of a frame.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width of a frame, pixels.
    #[config(default = "[227, 227]")]
    pub input_size: [usize; 2],
    /// Channels of conv1 to conv5; conv2, conv4 and conv5 have two groups.
    #[config(default = "[96, 384, 512, 512, 384]")]
    pub channels: [usize; 5],
    /// Units of fc-6.
    #[config(default = 4096)]
    pub units: usize,
    /// Units of the LSTM.
    #[config(default = 256)]
    pub hidden: usize,
    /// Drop probabilities after fc-6 and after the LSTM.
    #[config(default = "[0.9, 0.5]")]
    pub dropout: [f64; 2],
    /// Weights of the LSTM are drawn from U(-bound, bound).
    #[config(default = 0.01)]
    pub bound: f64,
}

/// A CNN up to fc-6 on every frame, an LSTM over time, a classifier at every step; a clip's
/// probability is the mean over its steps.
#[derive(Module, Debug)]
pub struct Lrcn {
    /// conv1 to conv5.
    pub features: Features,
    /// From the flattened map, in the order channel, row, column.
    pub fc6: Linear,
    /// The LSTM, without peepholes.
    pub lstm: Lstm,
    /// The classifier.
    pub fc8: Linear,
    /// Dropout after fc-6 and after the LSTM.
    pub dropout: [Dropout; 2],
}

impl LrcnConfig {
    /// An LSTM of another width is drawn from U(-1/√units, 1/√units): with weights of at most 0.01, few
    /// inputs hardly move its gates.
    fn of(options: &PixelOptions) -> Result<Self, BaselineError> {
        let own = Self::new();
        let hidden = scaled(own.hidden, options.width);
        let config = Self {
            num_classes: options.num_classes,
            in_channels: options.in_channels,
            input_size: options.input_size,
            channels: own.channels.map(|channels| scaled(channels, options.width)),
            units: scaled(own.units, options.width),
            hidden,
            dropout: options.dropout.map_or(own.dropout, |probability| [probability; 2]),
            bound: if options.width == 1.0 { own.bound } else { bound_of(hidden) },
        };
        config.validate()?;
        Ok(config)
    }

    fn layers(&self) -> Vec<FeatureLayer> {
        let norm = FeatureLayer::Norm { alpha: 1e-4, beta: 0.75, k: 1.0 };
        let pool = FeatureLayer::Pool { kernel: 3, stride: 2, ceil: true };
        let conv = |layer: usize, kernel, stride, zeros, groups| FeatureLayer::Conv {
            channels: self.channels[layer],
            kernel,
            stride,
            padding: FeaturePadding::Zeros(zeros),
            groups,
        };
        vec![
            conv(0, 7, 2, 0, 1),
            pool,
            norm,
            conv(1, 5, 2, 0, 2),
            pool,
            norm,
            conv(2, 3, 1, 1, 1),
            conv(3, 3, 1, 1, 2),
            conv(4, 3, 1, 1, 2),
            pool,
        ]
    }

    /// The map under fc-6, `[channel, height, width]`, if the configuration is valid.
    fn top(&self) -> Result<[usize; 3], BaselineError> {
        let counts = [("classes", self.num_classes), ("input channels", self.in_channels)];
        no_zeros(Lrcn::NAME, &counts, self.channels.iter().chain([&self.units, &self.hidden]))?;
        if let Some(&channels) = self.channels.iter().find(|&channels| channels % 2 == 1) {
            return Err(BaselineError::Groups { system: Lrcn::NAME, channels, groups: 2 });
        }
        output(&self.layers(), self.in_channels, self.input_size, Lrcn::NAME, [227, 227])
    }

    /// Checks that frames are large enough, that channels can be divided into groups, and that no
    /// count is zero.
    pub fn validate(&self) -> Result<(), BaselineError> {
        self.top().map(drop)
    }

    /// A network with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> Lrcn {
        let top = self.top().unwrap_or_else(|error| panic!("{error}"));
        Lrcn {
            features: Features::init(self.layers(), self.in_channels, device),
            fc6: he_linear(top.iter().product(), self.units, device),
            lstm: LstmConfig::new(self.units, self.hidden).with_bound(self.bound).init(device),
            fc8: linear(self.hidden, self.num_classes, device),
            dropout: self.dropout.map(|probability| DropoutConfig::new(probability).init()),
        }
    }
}

impl Lrcn {
    /// Classifies every step of clips.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`
    /// - output: logits `[time, batch, class]`
    pub fn forward(&self, clips: Tensor<5>) -> EnsembleLogits {
        let [after_fc6, after_lstm] = &self.dropout;
        let maps: Tensor<3> = self.features.forward_steps(clips).flatten(2, 4);
        let units = after_fc6.forward(relu(precision::linear(&self.fc6, maps)));
        let (hidden, _) = self.lstm.forward(units.cast(FloatDType::F32), None);
        step_members(self.fc8.forward(after_lstm.forward(hidden)))
    }
}

impl ClipClassifier for Lrcn {
    type Input = PixelClips;

    /// The mean over all steps, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        self.forward(clips.pixels)
    }
}

impl PixelBaseline for Lrcn {
    const NAME: &'static str = "LRCN";
    const ABOUT: &'static str = "a CNN on each frame and an LSTM over time, trained together";

    fn from_options(options: &PixelOptions, device: &Device) -> Result<Self, BaselineError> {
        Ok(LrcnConfig::of(options)?.init(device))
    }

    fn layers(options: &PixelOptions) -> Result<Vec<LayerShape>, BaselineError> {
        let config = LrcnConfig::of(options)?;
        let mut plan = Plan::new(config.in_channels, config.input_size);
        add_to(&mut plan, &config.layers());
        plan.linear("fc6", config.units);
        plan.activation("relu_fc6");
        // A step of the LSTM keeps its gates before and after their activation, the cell and the
        // state; its recurrent weights are counted as inputs.
        plan.shape[0] += config.hidden;
        plan.linear("lstm", 4 * config.hidden);
        for map in 0..3 {
            plan.activation(format!("lstm_{map}"));
        }
        plan.shape[0] = config.hidden;
        plan.linear("fc8", config.num_classes);
        Ok(of_steps(plan.layers, options.frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of the layers, biases included: convolutions 14,208 + 461,184 + 1,769,984 + 1,180,160 +
    /// 885,120, fc-6 56,627,200 on 384×6×6, LSTM 4,457,472, classifier 25,957; with 1,024 units
    /// 20,975,616 and 103,525.
    #[test]
    fn parameters_of_both_widths() {
        let parameters = |config: LrcnConfig| config.init(&Device::flex()).num_params();
        assert_eq!(parameters(LrcnConfig::new()), 65_421_285);
        assert_eq!(parameters(LrcnConfig::new().with_hidden(1024)), 82_016_997);
    }

    #[test]
    fn odd_channels_are_refused() {
        let error = LrcnConfig::new().with_channels([4, 5, 4, 4, 4]).validate().unwrap_err().to_string();
        assert!(error.contains("5 channels"), "{error}");
    }
}
