//! The two nets of Simonyan and Zisserman, *Two-Stream Convolutional Networks for Action
//! Recognition in Videos* (NIPS 2014): CNN-M-2048 (Chatfield et al. 2014) on single frames and on
//! stacks of flow.
//!
//! Layers as in section 3 and figure 1 of the paper, sizes as in Caffe's CNN-M, whose pools round
//! up: rounding down leaves 12×12 cells after the second pool instead of 13×13, and full6 does not
//! fit. The constants of the response normalisation are those of Krizhevsky et al. (k 2, n 5, α
//! 1e-4, β 0.75, α not divided); an `alpha` of 1e-4 in a layer that divides it, as in copies that
//! circulate, is five times too weak.
//!
//! Deviations: weights from He's normal distribution; pixels in -1 to 1 instead of bytes minus a
//! mean, and no mean vector is subtracted from a field of flow; no multi-task training.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::features::{FeatureLayer, Features, add_fully_connected, add_to, of_steps, output};
use super::{BaselineError, PixelBaseline, PixelOptions, each_frame, no_zeros, scaled};
use crate::backbone::{LayerShape, Plan, he_linear};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind, linear};
use crate::input::PixelClips;
use crate::precision;

/// Configuration of [`TwoStream`]: the spatial net by default.
#[derive(Config, Debug)]
pub struct TwoStreamConfig {
    /// Number of classes.
    #[config(default = 101)]
    pub num_classes: usize,
    /// Channels of a time step: 3 for a frame, 20 for a stack of ten fields d^x_1, d^y_1, d^x_2, …
    #[config(default = 3)]
    pub in_channels: usize,
    /// Height and width of a frame, pixels.
    #[config(default = "[224, 224]")]
    pub input_size: [usize; 2],
    /// Channels of conv1 to conv5.
    #[config(default = "[96, 256, 512, 512, 512]")]
    pub channels: [usize; 5],
    /// Units of full6 and full7.
    #[config(default = "[4096, 2048]")]
    pub units: [usize; 2],
    /// Response normalisation after conv2, which the temporal net does without.
    #[config(default = true)]
    pub norm2: bool,
    /// Drop probability after full6 and full7: 0.9 from scratch and when all layers are fine-tuned.
    #[config(default = 0.9)]
    pub dropout: f64,
}

/// CNN-M-2048 on every time step of a clip; a clip's probability is the mean over its steps.
#[derive(Module, Debug)]
pub struct TwoStream {
    /// conv1 to conv5.
    pub features: Features,
    /// From the flattened map, in the order channel, row, column.
    pub full6: Linear,
    /// The second layer.
    pub full7: Linear,
    /// The classifier.
    pub full8: Linear,
    /// Dropout after full6 and full7.
    pub dropout: Dropout,
}

impl TwoStreamConfig {
    /// The temporal net, on stacks of ten fields.
    pub fn temporal() -> Self {
        Self::new().with_in_channels(20).with_norm2(false)
    }

    /// The spatial net for three channels, the temporal net for any other number.
    fn of(options: &PixelOptions) -> Result<Self, BaselineError> {
        let own = if options.in_channels == 3 { Self::new() } else { Self::temporal() };
        let config = Self {
            num_classes: options.num_classes,
            in_channels: options.in_channels,
            input_size: options.input_size,
            channels: own.channels.map(|channels| scaled(channels, options.width)),
            units: own.units.map(|units| scaled(units, options.width)),
            dropout: options.dropout.unwrap_or(own.dropout),
            ..own
        };
        config.validate()?;
        Ok(config)
    }

    fn layers(&self) -> Vec<FeatureLayer> {
        let [c1, c2, c3, c4, c5] = self.channels;
        let norm = FeatureLayer::Norm { alpha: 5e-4, beta: 0.75, k: 2.0 };
        let pool = FeatureLayer::Pool { kernel: 3, stride: 2, ceil: true };
        let mut layers = vec![FeatureLayer::conv(c1, 7, 2, 0), norm, pool, FeatureLayer::conv(c2, 5, 2, 1)];
        layers.extend(self.norm2.then_some(norm));
        layers.push(pool);
        layers.extend([c3, c4, c5].map(|channels| FeatureLayer::conv(channels, 3, 1, 1)));
        layers.push(pool);
        layers
    }

    /// The map under full6, `[channel, height, width]`, if the configuration is valid.
    fn top(&self) -> Result<[usize; 3], BaselineError> {
        let counts = [("classes", self.num_classes), ("input channels", self.in_channels)];
        no_zeros(TwoStream::NAME, &counts, self.channels.iter().chain(&self.units))?;
        output(&self.layers(), self.in_channels, self.input_size, TwoStream::NAME, [224, 224])
    }

    /// Checks that frames are large enough and that no count is zero.
    pub fn validate(&self) -> Result<(), BaselineError> {
        self.top().map(drop)
    }

    /// A net with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> TwoStream {
        let top = self.top().unwrap_or_else(|error| panic!("{error}"));
        let [six, seven] = self.units;
        TwoStream {
            features: Features::init(self.layers(), self.in_channels, device),
            full6: he_linear(top.iter().product(), six, device),
            full7: he_linear(six, seven, device),
            full8: linear(seven, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl TwoStream {
    /// Classifies single frames or stacks.
    ///
    /// # Shapes
    ///
    /// - frames: `[batch, channel, height, width]`
    /// - output: logits `[batch, class]`
    pub fn forward(&self, frames: Tensor<4>) -> Tensor<2> {
        let x = self.features.forward(frames).flatten::<2>(1, 3);
        let x = self.dropout.forward(relu(precision::linear(&self.full6, x)));
        let x = self.dropout.forward(relu(precision::linear(&self.full7, x)));
        precision::linear(&self.full8, x)
    }
}

impl ClipClassifier for TwoStream {
    type Input = PixelClips;

    /// Each step is a training example of its own, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        each_frame(clips, |frames| self.forward(frames))
    }
}

impl PixelBaseline for TwoStream {
    const NAME: &'static str = "Two-stream CNN";
    const ABOUT: &'static str = "CNN-M-2048 on single frames or stacks of flow, averaged over a clip";

    fn from_options(options: &PixelOptions, device: &Device) -> Result<Self, BaselineError> {
        Ok(TwoStreamConfig::of(options)?.init(device))
    }

    fn layers(options: &PixelOptions) -> Result<Vec<LayerShape>, BaselineError> {
        let config = TwoStreamConfig::of(options)?;
        let mut plan = Plan::new(config.in_channels, config.input_size);
        add_to(&mut plan, &config.layers());
        add_fully_connected(&mut plan, &[config.units[0], config.units[1], config.num_classes]);
        Ok(of_steps(plan.layers, options.frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of the layers, biases included: conv1 14,208 on 3 channels and 94,176 on 20, conv2
    /// 614,656, conv3 to conv5 1,180,160 and twice 2,359,808, full6 75,501,568 on 512×6×6, full7
    /// 8,390,656, full8 206,949, or 2,049,000 with ImageNet's 1,000 classes.
    #[test]
    fn parameters_of_both_nets() {
        let parameters = |config: TwoStreamConfig| config.init(&Device::flex()).num_params();
        assert_eq!(parameters(TwoStreamConfig::new()), 90_627_813);
        assert_eq!(parameters(TwoStreamConfig::temporal()), 90_707_781);
        assert_eq!(parameters(TwoStreamConfig::new().with_num_classes(1000)), 92_469_864);
    }

    #[test]
    fn small_frames_are_refused() {
        let error = TwoStreamConfig::new().with_input_size([32, 32]).validate().unwrap_err().to_string();
        assert!(error.contains("32x32") && error.contains("224x224"), "{error}");
    }
}
