//! The pooling networks of Ng et al., *Beyond Short Snippets: Deep Networks for Video
//! Classification* (CVPR 2015), except conv pooling: late, slow and local pooling, and time-domain
//! convolution.
//!
//! All take a CNN's last maps, pool by the maximum over time, and have fully connected layers with
//! ReLU. No code of the authors is public, and the sizes below are from descriptions of the paper:
//! windows of ten frames every five, 256 kernels of 3×3×10. Dropout is not known, and a setting here.
//! Nor is the padding of time-domain convolution, which keeps height and width here.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig3d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::{BaselineModel, BaselineOptions, FrameClassifierConfig};
use crate::backbone::{he, zero_bias};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, linear};
use crate::percepts::{Level, PerceptNorm, PerceptStatistics, Percepts};

/// Kernels of the time-domain convolution.
const KERNELS: usize = 256;

/// Equally spaced windows of the frames of a clip.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Frames of a window.
    pub frames: usize,
    /// Frames from the start of a window to that of the next.
    pub stride: usize,
}

impl Windows {
    /// Ten frames every five; for clips of fewer than twenty, half of a clip every quarter.
    fn of_clips(time: usize) -> Self {
        if time >= 20 { Self::new(10, 5) } else { Self::new((time / 2).max(1), (time / 4).max(1)) }
    }

    /// Whole windows in a clip.
    ///
    /// # Panics
    ///
    /// If the clip is shorter than a window, or the stride is zero.
    fn count(self, time: usize) -> usize {
        let rest = time.checked_sub(self.frames).filter(|_| self.frames > 0 && self.stride > 0);
        rest.unwrap_or_else(|| panic!("{self:?} of clips of {time} steps")) / self.stride + 1
    }

    /// The maximum over each window: `[batch, time, feature]` to `[batch, window, feature]`.
    fn max(self, sequence: Tensor<3>) -> Tensor<3> {
        let count = self.count(sequence.dims()[1]);
        let window = |index: usize| sequence.clone().narrow(1, index * self.stride, self.frames).max_dim(1);
        Tensor::cat((0..count).map(window).collect(), 1)
    }
}

/// Which layers come before and after a maximum over time.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TemporalPooling {
    /// Two fully connected layers on every frame, the maximum over all, the classifier.
    Late,
    /// The maximum over windows, a fully connected layer on each, the maximum over all, a second
    /// layer, the classifier.
    Slow(Windows),
    /// The maximum over windows, two fully connected layers on each, the classifier on all side by
    /// side.
    Local(Windows),
    /// A convolution over space and time, the maximum over its steps, two fully connected layers,
    /// the classifier.
    TimeConvolution(Windows),
}

/// Configuration of [`PoolingNetwork`].
#[derive(Config, Debug)]
pub struct PoolingNetworkConfig {
    /// Where the maxima over time are taken.
    pub pooling: TemporalPooling,
    /// The top level of the CNN.
    pub top: Level,
    /// Time steps of a clip, which local pooling is built for.
    pub time: usize,
    /// Number of classes.
    pub num_classes: usize,
    /// Units of each fully connected layer.
    #[config(default = 4096)]
    pub hidden: usize,
    /// Kernels of time-domain convolution.
    #[config(default = "KERNELS")]
    pub kernels: usize,
    /// Drop probability on the inputs of the second layer and of the classifier.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// Normalised maps, maxima over time, two fully connected layers, a classifier.
#[derive(Module, Debug)]
pub struct PoolingNetwork {
    /// Scaling of the top level.
    pub norm: PerceptNorm,
    /// Over space and time; time-domain convolution alone has it.
    pub convolution: Option<Conv3d>,
    /// From the flattened map, in the order channel, row, column.
    pub fc1: Linear,
    /// The second layer.
    pub fc2: Linear,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout after both layers.
    pub dropout: Dropout,
    /// Where the maxima over time are taken.
    #[module(skip)]
    pub pooling: TemporalPooling,
}

impl PoolingNetworkConfig {
    /// A model with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If clips are shorter than a window.
    pub fn init(&self, device: &Device) -> PoolingNetwork {
        let Level { channels, height, width, .. } = self.top;
        let (mut depth, mut towers, mut convolution) = (channels, 1, None);
        match self.pooling {
            TemporalPooling::Late | TemporalPooling::Slow(_) => {}
            TemporalPooling::Local(windows) => towers = windows.count(self.time),
            TemporalPooling::TimeConvolution(Windows { frames, stride }) => {
                let config = Conv3dConfig::new([channels, self.kernels], [frames, 3, 3])
                    .with_stride([stride, 1, 1])
                    .with_padding(PaddingConfig3d::Explicit(0, 1, 1))
                    .with_initializer(he());
                convolution = Some(Conv3d { bias: zero_bias(self.kernels, device), ..config.init(device) });
                depth = self.kernels;
            }
        }
        PoolingNetwork {
            norm: FrameClassifierConfig::norm().init(1, device),
            convolution,
            fc1: LinearConfig::new(depth * height * width, self.hidden).init(device),
            fc2: LinearConfig::new(self.hidden, self.hidden).init(device),
            classifier: linear(towers * self.hidden, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            pooling: self.pooling,
        }
    }
}

impl PoolingNetwork {
    /// Classifies clips by their top level.
    ///
    /// # Shapes
    ///
    /// - top: `[batch, time, channel, height, width]`
    /// - output: logits `[1, batch, class]`
    ///
    /// # Panics
    ///
    /// If clips are shorter than a window, and in local pooling if they have another number of
    /// windows than it was built for.
    pub fn forward(&self, top: Tensor<5>) -> EnsembleLogits {
        let top = self.norm.forward(Percepts { maps: vec![top] }).top();
        let first = |x: Tensor<3>| self.dropout.forward(relu(self.fc1.forward(x)));
        let second = |x: Tensor<3>| self.dropout.forward(relu(self.fc2.forward(x)));
        let flat = |maps: Tensor<5>| maps.flatten::<3>(2, 4);
        let pooled: Tensor<3> = match self.pooling {
            TemporalPooling::Late => second(first(flat(top))).max_dim(1),
            TemporalPooling::Slow(windows) => second(first(windows.max(flat(top))).max_dim(1)),
            TemporalPooling::Local(windows) => {
                second(first(windows.max(flat(top)))).flatten::<2>(1, 2).unsqueeze_dim(1)
            }
            TemporalPooling::TimeConvolution(_) => {
                let convolution = self.convolution.as_ref().expect("time-domain convolution has one");
                let maps = relu(convolution.forward(top.swap_dims(1, 2))).swap_dims(1, 2);
                second(first(flat(maps).max_dim(1)))
            }
        };
        EnsembleLogits::new(self.classifier.forward(pooled).swap_dims(0, 1))
    }
}

impl ClipClassifier for PoolingNetwork {
    type Input = Percepts;

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        self.forward(percepts.top())
    }
}

/// A pooling network of each kind, as a baseline of its own.
macro_rules! poolings {
    ($($(#[$doc:meta])* $model:ident: $pooling:expr, $name:literal, $about:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug)]
        pub struct $model {
            /// The network.
            pub network: PoolingNetwork,
        }

        impl ClipClassifier for $model {
            type Input = Percepts;

            fn logits(&self, percepts: Percepts) -> EnsembleLogits {
                self.network.logits(percepts)
            }
        }

        impl BaselineModel for $model {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $about;

            fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self {
                let pooling: fn(usize) -> TemporalPooling = $pooling;
                let pooling = pooling(options.time);
                let config = PoolingNetworkConfig::new(pooling, options.top(), options.time, options.num_classes)
                    .with_hidden(options.hidden)
                    .with_kernels(options.hidden.min(KERNELS))
                    .with_dropout(options.dropout);
                let norm = PerceptNorm::fit(FrameClassifierConfig::norm(), statistics, device);
                Self { network: PoolingNetwork { norm, ..config.init(device) } }
            }
        }
    )*};
}

poolings! {
    /// [`TemporalPooling::Late`].
    LatePooling: |_| TemporalPooling::Late,
        "Late pooling", "fully connected layers on the topmost map of each frame, then the maximum over time";
    /// [`TemporalPooling::Slow`].
    SlowPooling: |time| TemporalPooling::Slow(Windows::of_clips(time)),
        "Slow pooling", "the maximum over windows of the topmost map, then over all of them, with a layer between";
    /// [`TemporalPooling::Local`].
    LocalPooling: |time| TemporalPooling::Local(Windows::of_clips(time)),
        "Local pooling", "the maximum over windows of the topmost map, classified side by side";
    /// [`TemporalPooling::TimeConvolution`].
    TimeConvolution: |time| TemporalPooling::TimeConvolution(Windows::of_clips(time)),
        "Time-domain convolution", "a convolution over space and time on the topmost map, then the maximum over time";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_numbers, assert_panics};

    /// Of 1, 3, 2, 0, 5, 4, windows of three every two: 1 3 2 and 2 0 5. A last one of 5 4 is not
    /// whole.
    #[test]
    fn windows_by_hand() {
        let sequence = Tensor::<3>::from_data([[[1.0f32], [3.0], [2.0], [0.0], [5.0], [4.0]]], &Device::flex());
        assert_numbers(Windows::new(3, 2).max(sequence.clone()), &[3.0, 5.0]);
        assert_panics("clips of 6 steps", || Windows::new(7, 2).max(sequence));
        assert_eq!(
            [120, 20, 16, 3, 1].map(Windows::of_clips),
            [(10, 5), (10, 5), (8, 4), (1, 1), (1, 1)].map(|(f, s)| Windows::new(f, s))
        );
    }

    /// On maps of 1024×7×7 from 30 frames with 101 classes, five windows of ten. fc1 of 50,176
    /// inputs: 205,524,992; fc2 16,781,312; classifier 413,797, local on 5·4096: 2,068,581;
    /// time-domain convolution 256·(1024·90 + 1) = 23,593,216 and fc1 of 12,544: 51,384,320. One
    /// factor of the normalisation.
    #[test]
    fn parameters_on_thirty_frames() {
        let windows = Windows::new(10, 5);
        for (pooling, parameters) in [
            (TemporalPooling::Late, 205_524_992 + 16_781_312 + 413_797 + 1),
            (TemporalPooling::Slow(windows), 205_524_992 + 16_781_312 + 413_797 + 1),
            (TemporalPooling::Local(windows), 205_524_992 + 16_781_312 + 2_068_581 + 1),
            (TemporalPooling::TimeConvolution(windows), 23_593_216 + 51_384_320 + 16_781_312 + 413_797 + 1),
        ] {
            let top = Level::new("top".into(), 1024, 7, 7);
            let model = PoolingNetworkConfig::new(pooling, top, 30, 101).init(&Device::flex());
            assert_eq!(model.num_params(), parameters, "{pooling:?}");
        }
    }
}
