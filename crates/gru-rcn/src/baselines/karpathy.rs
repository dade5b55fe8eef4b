//! The networks of Karpathy et al., *Large-scale Video Classification with Convolutional Neural
//! Networks* (CVPR 2014), at one resolution: single frame, early, late and slow fusion (section
//! 3.1).
//!
//! The paper prints neither padding nor ReLU. Its stream of 89×89 pixels without the last pool still
//! ends in 7×7 cells. Only convolutions that leave `⌈side / stride⌉` cells and pools that round down do
//! that, so these are used. The constants of the response normalisation are k 2, n 5, α 1e-4, β 0.5
//! with an α that is not divided by n.
//!
//! Deviations: weights from He's normal distribution; pixels in -1 to 1 instead of bytes minus 117;
//! the two streams of several resolutions are not built.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::features::{FeatureLayer, FeaturePadding, Features, add_fully_connected, add_to, of_steps, output};
use super::{BaselineError, PixelBaseline, PixelOptions, no_zeros, scaled, step_members};
use crate::backbone::{LayerShape, Plan, he_linear};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind, linear};
use crate::input::PixelClips;
use crate::precision;

/// How a network of Karpathy et al. combines the frames of a clip.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// Not at all: every frame is classified by itself.
    Single,
    /// In the first convolution, which sees the channels of all frames; ten in the paper.
    Early,
    /// In the first fully connected layer, on the maps of the first and of the last frame, 15 apart
    /// in the paper.
    Late,
    /// Step by step: the first convolution sees four frames at every second one, the second and the
    /// third two neighbouring maps each, which makes one map of ten frames.
    Slow,
}

impl Fusion {
    fn name(self) -> &'static str {
        match self {
            Self::Single => SingleFrame::NAME,
            Self::Early => EarlyFusion::NAME,
            Self::Late => LateFusion::NAME,
            Self::Slow => SlowFusion::NAME,
        }
    }
}

/// Frames that slow fusion makes one map of.
const SLOW_FRAMES: usize = 10;

/// Configuration of [`Karpathy`].
#[derive(Config, Debug)]
pub struct KarpathyConfig {
    /// How frames are combined.
    pub fusion: Fusion,
    /// Number of classes.
    #[config(default = 101)]
    pub num_classes: usize,
    /// Channels of a frame.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Frames of a clip; the size of early fusion depends on their number.
    #[config(default = 10)]
    pub frames: usize,
    /// Height and width of a frame, pixels.
    #[config(default = "[170, 170]")]
    pub input_size: [usize; 2],
    /// Channels of conv1 to conv5.
    #[config(default = "[96, 256, 384, 384, 256]")]
    pub channels: [usize; 5],
    /// Units of both fully connected layers.
    #[config(default = 4096)]
    pub units: usize,
    /// Drop probability on the inputs of the fully connected layers: one unit in ten is kept in
    /// training on UCF-101.
    #[config(default = 0.9)]
    pub dropout: f64,
}

/// Five convolutions and two fully connected layers. The fusions differ in where frames meet.
#[derive(Module, Debug)]
pub struct Karpathy {
    /// conv1, conv2, and conv3 to conv5, each with what follows them. In slow fusion the frames
    /// meet before each of the three.
    pub stages: [Features; 3],
    /// From the flattened maps, in the order frame, channel, row, column.
    pub fc6: Linear,
    /// The second layer.
    pub fc7: Linear,
    /// The classifier.
    pub fc8: Linear,
    /// Dropout on the inputs of fc-6, fc-7 and fc-8.
    pub dropout: Dropout,
    /// How frames are combined.
    #[module(skip)]
    pub fusion: Fusion,
}

impl KarpathyConfig {
    fn of(fusion: Fusion, options: &PixelOptions) -> Result<Self, BaselineError> {
        let own = Self::new(fusion);
        let config = Self {
            fusion,
            num_classes: options.num_classes,
            in_channels: options.in_channels,
            frames: options.frames,
            input_size: options.input_size,
            channels: own.channels.map(|channels| scaled(channels, options.width)),
            units: scaled(own.units, options.width),
            dropout: options.dropout.unwrap_or(own.dropout),
        };
        config.validate()?;
        Ok(config)
    }

    /// The layers for a clip; its maps are side by side as channels.
    fn plan(&self) -> Vec<LayerShape> {
        let steps = match self.fusion {
            Fusion::Single => [self.frames; 3],
            Fusion::Early => [1; 3],
            Fusion::Late => [2; 3],
            Fusion::Slow => [4, 2, 1],
        };
        let (mut layers, mut shape) = (Vec::new(), [self.in_channels, self.input_size[0], self.input_size[1]]);
        for ((stage, depth), steps) in self.stages().iter().zip(self.depths()).zip(steps) {
            let mut plan = Plan::new(depth, [shape[1], shape[2]]);
            add_to(&mut plan, stage);
            shape = plan.shape;
            layers.extend(of_steps(plan.layers, steps));
        }
        let mut plan = Plan::new(self.towers() * shape[0], [shape[1], shape[2]]);
        add_fully_connected(&mut plan, &[self.units, self.units, self.num_classes]);
        layers.extend(of_steps(plan.layers, if self.fusion == Fusion::Single { self.frames } else { 1 }));
        layers
    }

    /// Maps side by side under fc-6.
    fn towers(&self) -> usize {
        if self.fusion == Fusion::Late { 2 } else { 1 }
    }

    fn stages(&self) -> [Vec<FeatureLayer>; 3] {
        let norm = FeatureLayer::Norm { alpha: 5e-4, beta: 0.5, k: 2.0 };
        let pool = FeatureLayer::Pool { kernel: 2, stride: 2, ceil: false };
        let conv = |layer: usize, kernel, stride| FeatureLayer::Conv {
            channels: self.channels[layer],
            kernel,
            stride,
            padding: FeaturePadding::Same,
            groups: 1,
        };
        [
            vec![conv(0, 11, 3), norm, pool],
            vec![conv(1, 5, 1), norm, pool],
            vec![conv(2, 3, 1), conv(3, 3, 1), conv(4, 3, 1), pool],
        ]
    }

    /// Input channels of the three stages.
    fn depths(&self) -> [usize; 3] {
        let [c1, c2, ..] = self.channels;
        match self.fusion {
            Fusion::Single | Fusion::Late => [self.in_channels, c1, c2],
            Fusion::Early => [self.frames * self.in_channels, c1, c2],
            Fusion::Slow => [4 * self.in_channels, 2 * c1, 2 * c2],
        }
    }

    /// The map of one frame or clip under fc-6, `[channel, height, width]`, if the configuration is valid.
    fn top(&self) -> Result<[usize; 3], BaselineError> {
        let counts = [("classes", self.num_classes), ("input channels", self.in_channels), ("frames", self.frames)];
        no_zeros(self.fusion.name(), &counts, self.channels.iter().chain([&self.units]))?;
        if self.fusion == Fusion::Slow && self.frames != SLOW_FRAMES {
            return Err(BaselineError::Frames {
                system: self.fusion.name(),
                frames: self.frames,
                expected: SLOW_FRAMES,
            });
        }
        output(&self.stages().concat(), self.in_channels, self.input_size, self.fusion.name(), [170, 170])
    }

    /// Checks that frames are large enough and of the right number, and that no count is zero.
    pub fn validate(&self) -> Result<(), BaselineError> {
        self.top().map(drop)
    }

    /// A network with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> Karpathy {
        let inputs: usize = self.top().unwrap_or_else(|error| panic!("{error}")).iter().product();
        let ([first, second, third], [d1, d2, d3]) = (self.stages(), self.depths());
        Karpathy {
            stages: [(first, d1), (second, d2), (third, d3)]
                .map(|(layers, depth)| Features::init(layers, depth, device)),
            fc6: he_linear(self.towers() * inputs, self.units, device),
            fc7: he_linear(self.units, self.units, device),
            fc8: linear(self.units, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            fusion: self.fusion,
        }
    }
}

/// Neighbouring steps side by side as channels: `frames` of them, every `stride` steps, time
/// outermost.
fn windows(clips: Tensor<5>, frames: usize, stride: usize) -> Tensor<5> {
    let [batch, time, channels, height, width] = clips.dims();
    let window = |start| clips.clone().narrow(1, start, frames).reshape([batch, frames * channels, height, width]);
    Tensor::stack((0..=time - frames).step_by(stride).map(window).collect(), 1)
}

impl Karpathy {
    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`; ten frames for slow fusion, the configured
    ///   number for early fusion
    /// - output: logits `[1, batch, class]`, for single frames `[time, batch, class]`
    pub fn forward(&self, clips: Tensor<5>) -> EnsembleLogits {
        let [first, second, third] = &self.stages;
        let time = clips.dims()[1];
        let maps = |clips| third.forward_steps(second.forward_steps(first.forward_steps(clips)));
        let maps = match self.fusion {
            Fusion::Single => maps(clips),
            Fusion::Early => maps(windows(clips, time, 1)),
            Fusion::Late => {
                let ends = maps(Tensor::cat(vec![clips.clone().narrow(1, 0, 1), clips.narrow(1, time - 1, 1)], 1));
                windows(ends, 2, 1)
            }
            Fusion::Slow => {
                let maps = first.forward_steps(windows(clips, 4, 2));
                third.forward_steps(windows(second.forward_steps(windows(maps, 2, 2)), 2, 2))
            }
        };
        let x = self.dropout.forward(maps.flatten::<3>(2, 4));
        let x = self.dropout.forward(relu(precision::linear(&self.fc6, x)));
        let x = self.dropout.forward(relu(precision::linear(&self.fc7, x)));
        step_members(precision::linear(&self.fc8, x))
    }
}

impl ClipClassifier for Karpathy {
    type Input = PixelClips;

    /// Each frame that is classified is a training example of its own, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        self.forward(clips.pixels)
    }
}

/// A network of each fusion, as a baseline of its own.
macro_rules! fusions {
    ($($(#[$doc:meta])* $model:ident: $fusion:ident, $name:literal, $about:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Module, Debug)]
        pub struct $model {
            /// The network.
            pub network: Karpathy,
        }

        impl ClipClassifier for $model {
            type Input = PixelClips;

            const LOSS: Option<LossKind> = Karpathy::LOSS;

            fn logits(&self, clips: PixelClips) -> EnsembleLogits {
                self.network.logits(clips)
            }
        }

        impl PixelBaseline for $model {
            const NAME: &'static str = $name;
            const ABOUT: &'static str = $about;

            fn from_options(options: &PixelOptions, device: &Device) -> Result<Self, BaselineError> {
                Ok(Self { network: KarpathyConfig::of(Fusion::$fusion, options)?.init(device) })
            }

            fn layers(options: &PixelOptions) -> Result<Vec<LayerShape>, BaselineError> {
                Ok(KarpathyConfig::of(Fusion::$fusion, options)?.plan())
            }
        }
    )*};
}

fusions! {
    /// [`Karpathy`] on single frames; a clip's probability is the mean over its frames.
    SingleFrame: Single, "Single-frame CNN", "the network of Karpathy et al. on single frames, averaged over a clip";
    /// [`Karpathy`] with [`Fusion::Early`].
    EarlyFusion: Early, "Early fusion", "the network of Karpathy et al. on all frames stacked as channels";
    /// [`Karpathy`] with [`Fusion::Late`].
    LateFusion: Late, "Late fusion", "two towers of Karpathy et al., on the first and the last frame";
    /// [`Karpathy`] with [`Fusion::Slow`], for clips of ten frames.
    SlowFusion: Slow, "Slow fusion", "the network of Karpathy et al. whose first convolutions extend in time";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_numbers;

    /// Sums of the layers, biases included. Convolutions: conv1 34,944, early 348,576, slow
    /// 139,488; conv2 614,656, slow 1,229,056; conv3 885,120, slow 1,769,856; conv4 1,327,488,
    /// conv5 884,992. Fully connected: 51,384,320 on 256×7×7, late 102,764,544 on two of these,
    /// 16,781,312, and 413,797 for 101 classes or 1,995,239 for 487.
    #[test]
    fn parameters_of_all_fusions() {
        for (fusion, frames, of_101, of_487) in [
            (Fusion::Single, 1, 72_326_629, 73_908_071),
            (Fusion::Early, 10, 72_640_261, 74_221_703),
            (Fusion::Late, 16, 123_706_853, 125_288_295),
            (Fusion::Slow, 10, 73_930_309, 75_511_751),
        ] {
            for (classes, parameters) in [(101, of_101), (487, of_487)] {
                let config = KarpathyConfig::new(fusion).with_frames(frames).with_num_classes(classes);
                assert_eq!(config.init(&Device::flex()).num_params(), parameters, "{fusion:?}, {classes} classes");
            }
        }
    }

    /// Frames 0 to 5 of one channel and cell: windows of four at every second are 0 1 2 3 and 2 3 4
    /// 5.
    #[test]
    fn windows_by_hand() {
        let clip = Tensor::<5>::from_data(
            [[[[[0.0f32]]], [[[1.0]]], [[[2.0]]], [[[3.0]]], [[[4.0]]], [[[5.0]]]]],
            &Device::flex(),
        );
        assert_numbers(windows(clip, 4, 2), &[0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn clips_that_slow_fusion_cannot_take_are_refused() {
        let error = KarpathyConfig::new(Fusion::Slow).with_frames(16).validate().unwrap_err().to_string();
        assert!(error.contains("10 frames, not of 16"), "{error}");
        let small = KarpathyConfig::new(Fusion::Single).with_input_size([20, 170]).validate().unwrap_err().to_string();
        assert!(small.contains("20x170"), "{small}");
    }
}
