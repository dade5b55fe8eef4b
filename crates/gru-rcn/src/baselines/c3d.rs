//! C3D (Tran et al., *Learning Spatiotemporal Features with 3D Convolutional Networks*, ICCV 2015):
//! 3×3×3 convolutions over clips of 16 frames.
//!
//! Layers as in the released `c3d_sport1m_feature_extractor_frm.prototxt`. Pools round up: of 7×7
//! cells pool5 leaves 4×4, which ports reach by padding it. The first pool keeps the number of
//! frames.
//!
//! Deviations: convolutions and fully connected layers from He's normal distribution with zero
//! biases, in place of N(0, 0.01²), N(0, 0.005²) and biases of 1; pixels in -1 to 1 instead of
//! bytes minus a mean volume. The smaller net that the authors train from scratch on UCF-101 is not
//! built.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, PaddingConfig3d};
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::features::add_fully_connected;
use super::{BaselineError, PixelBaseline, PixelOptions, no_zeros, scaled};
use crate::backbone::{LayerKind, LayerShape, Plan, he, he_linear, zero_bias};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, linear};
use crate::input::PixelClips;
use crate::precision;

/// Convolutions before each pool.
const STAGES: [usize; 5] = [1, 1, 2, 2, 2];

/// Configuration of [`C3d`].
#[derive(Config, Debug)]
pub struct C3dConfig {
    /// Number of classes; 487 for Sports-1M.
    #[config(default = 101)]
    pub num_classes: usize,
    /// Channels of a frame.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Frames of a clip.
    #[config(default = 16)]
    pub frames: usize,
    /// Height and width of a frame, pixels.
    #[config(default = "[112, 112]")]
    pub input_size: [usize; 2],
    /// Channels of conv1a, conv2a, conv3a, conv3b, conv4a, conv4b, conv5a and conv5b.
    #[config(default = "[64, 128, 256, 256, 512, 512, 512, 512]")]
    pub channels: [usize; 8],
    /// Units of fc6 and fc7.
    #[config(default = 4096)]
    pub units: usize,
    /// Drop probability after fc6 and fc7.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// Eight convolutions over space and time, five pools, three fully connected layers.
#[derive(Module, Debug)]
pub struct C3d {
    /// conv1a to conv5b.
    pub convs: Vec<Conv3d>,
    /// From the flattened map, in the order channel, time, row, column.
    pub fc6: Linear,
    /// The second layer.
    pub fc7: Linear,
    /// The classifier.
    pub fc8: Linear,
    /// Dropout after fc6 and fc7.
    pub dropout: Dropout,
}

impl C3dConfig {
    fn of(options: &PixelOptions) -> Result<Self, BaselineError> {
        let own = Self::new();
        let config = Self {
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

    /// The map under fc6, `[channel, time, height, width]`: five halvings of space and four of
    /// time, all rounded up.
    fn top(&self) -> [usize; 4] {
        let halved = |side: usize, times| (0..times).fold(side, |side, _| side.div_ceil(2));
        let [height, width] = self.input_size.map(|side| halved(side, STAGES.len()));
        [self.channels[7], halved(self.frames, STAGES.len() - 1), height, width]
    }

    /// Checks that no count is zero, and that frames have a pixel for every window of 2×2.
    pub fn validate(&self) -> Result<(), BaselineError> {
        let counts = [("classes", self.num_classes), ("input channels", self.in_channels), ("frames", self.frames)];
        no_zeros(C3d::NAME, &counts, self.channels.iter().chain([&self.units]))?;
        match self.input_size.iter().all(|&side| side > 16) {
            true => Ok(()),
            false => Err(BaselineError::FramesTooSmall { system: C3d::NAME, size: self.input_size, own: [112, 112] }),
        }
    }

    /// A network with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If [`validate`](Self::validate) fails.
    pub fn init(&self, device: &Device) -> C3d {
        self.validate().unwrap_or_else(|error| panic!("{error}"));
        let inputs = [self.in_channels].into_iter().chain(self.channels);
        let conv = |(input, output): (usize, usize)| {
            let config = Conv3dConfig::new([input, output], [3, 3, 3])
                .with_padding(PaddingConfig3d::Explicit(1, 1, 1))
                .with_initializer(he());
            Conv3d { bias: zero_bias(output, device), ..config.init(device) }
        };
        C3d {
            convs: inputs.zip(self.channels).map(conv).collect(),
            fc6: he_linear(self.top().iter().product(), self.units, device),
            fc7: he_linear(self.units, self.units, device),
            fc8: linear(self.units, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

/// The maximum over 2×2 cells, and with `over_time` over pairs of frames; the last window may hang
/// over the edge. Burn 0.22 has no pool over three dimensions.
fn pool(maps: Tensor<5>, over_time: bool) -> Tensor<5> {
    let [batch, channels, time, height, width] = maps.dims();
    let maps = match (over_time, time % 2) {
        (false, _) => maps,
        // A frame of its own counts twice.
        (true, 1) => pairs(Tensor::cat(vec![maps.clone(), maps.narrow(2, time - 1, 1)], 2)),
        (true, _) => pairs(maps),
    };
    let time = maps.dims()[2];
    let options = MaxPoolOptions::new([2, 2]).with_stride([2, 2]).with_ceil_mode(true);
    let maps = max_pool2d(maps.reshape([batch, channels * time, height, width]), options);
    let [_, _, height, width] = maps.dims();
    maps.reshape([batch, channels, time, height, width])
}

/// The maximum over pairs of frames.
fn pairs(maps: Tensor<5>) -> Tensor<5> {
    let [batch, channels, time, height, width] = maps.dims();
    let pairs = maps.reshape([batch * channels, time / 2, 2, height * width]);
    let [first, second] = [0, 1].map(|frame| pairs.clone().narrow(2, frame, 1));
    first.max_pair(second).reshape([batch, channels, time / 2, height, width])
}

impl C3d {
    /// The descriptor of each clip, for a linear classifier: fc6 after its ReLU, without dropout, divided by
    /// its L2 norm. It is zero if all units are.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`
    /// - output: `[batch, unit]`
    pub fn descriptors(&self, clips: Tensor<5>) -> Tensor<2> {
        unit_length(self.fc6(clips))
    }

    /// The descriptor of a video as Tran et al. have it: the mean of fc6 over its clips, 16 frames at
    /// every eighth, divided by its L2 norm.
    ///
    /// # Shapes
    ///
    /// - clips of one video: `[clip, time, channel, height, width]`
    /// - output: `[unit]`
    pub fn descriptor(&self, clips: Tensor<5>) -> Tensor<1> {
        unit_length(self.fc6(clips).mean_dim(0)).squeeze_dim(0)
    }

    fn fc6(&self, clips: Tensor<5>) -> Tensor<2> {
        let mut x = clips.swap_dims(1, 2);
        let mut convs = self.convs.iter();
        for (stage, count) in STAGES.into_iter().enumerate() {
            for conv in convs.by_ref().take(count) {
                x = relu(precision::conv3d(conv, x));
            }
            x = pool(x, stage > 0);
        }
        relu(precision::linear(&self.fc6, x.flatten::<2>(1, 4)))
    }

    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`
    /// - output: logits `[batch, class]`
    pub fn forward(&self, clips: Tensor<5>) -> Tensor<2> {
        let x = self.dropout.forward(self.fc6(clips));
        let x = self.dropout.forward(relu(precision::linear(&self.fc7, x)));
        precision::linear(&self.fc8, x)
    }
}

/// Vectors divided by their L2 norms; a vector of zeros stays as it is.
fn unit_length(vectors: Tensor<2>) -> Tensor<2> {
    let norms = vectors.clone().square().sum_dim(1).sqrt();
    vectors / norms.clamp_min(f32::MIN_POSITIVE)
}

impl ClipClassifier for C3d {
    type Input = PixelClips;

    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        EnsembleLogits::new(self.forward(clips.pixels).unsqueeze_dim(0))
    }
}

impl PixelBaseline for C3d {
    const NAME: &'static str = "C3D";
    const ABOUT: &'static str = "convolutions over space and time";

    fn from_options(options: &PixelOptions, device: &Device) -> Result<Self, BaselineError> {
        Ok(C3dConfig::of(options)?.init(device))
    }

    fn layers(options: &PixelOptions) -> Result<Vec<LayerShape>, BaselineError> {
        let config = C3dConfig::of(options)?;
        let (mut depth, mut time) = (config.in_channels, config.frames);
        let mut plan = Plan::new(depth * time, config.input_size);
        let mut channels = config.channels.into_iter();
        for (stage, count) in STAGES.into_iter().enumerate() {
            for channels in channels.by_ref().take(count) {
                let name = format!("conv{}_{channels}", plan.layers.len());
                plan.conv(name, channels * time, 3, 1, plan.size());
                if let Some(conv) = plan.layers.last_mut() {
                    conv.kind = LayerKind::Conv3d { kernel: 3 };
                    conv.parameters = channels * (27 * depth + 1);
                }
                plan.activation(format!("relu{}", plan.layers.len()));
                depth = channels;
            }
            if stage > 0 {
                time = time.div_ceil(2);
                plan.shape[0] = depth * time;
            }
            plan.pool(format!("pool{}", stage + 1), plan.size().map(|side| side.div_ceil(2)));
        }
        add_fully_connected(&mut plan, &[config.units, config.units, config.num_classes]);
        Ok(plan.layers)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_numbers, drawn, redrawn};

    /// Sums of the layers, biases included: convolutions 5,248 + 221,312 + 884,992 + 1,769,728 +
    /// 3,539,456 + 3·7,078,400; fully connected 33,558,528 on 512×1×4×4, 16,781,312, and 413,797 or
    /// 1,995,239.
    #[test]
    fn parameters_of_both_data_sets() {
        let parameters = |config: C3dConfig| config.init(&Device::flex()).num_params();
        assert_eq!(parameters(C3dConfig::new()), 78_409_573);
        assert_eq!(parameters(C3dConfig::new().with_num_classes(487)), 79_991_015);
    }

    /// Three frames of 1×3 cells: 1 5 2, 4 3 0, -1 -2 6. Over time, pairs are 4 5 2 and -1 -2 6;
    /// over space, windows of two with the last cell of its own.
    #[test]
    fn pools_round_up() {
        let clip = [[[[[1.0f32, 5.0, 2.0]], [[4.0, 3.0, 0.0]], [[-1.0, -2.0, 6.0]]]]];
        let clip = Tensor::<5>::from_data(clip, &Device::flex()).repeat_dim(3, 2);
        assert_numbers(pool(clip.clone(), true), &[5.0, 2.0, -1.0, 6.0]);
        assert_numbers(pool(clip, false), &[5.0, 2.0, 4.0, 0.0, -1.0, 6.0]);
    }

    /// A video of the same clip twice has the descriptor of the clip, of length 1.
    #[test]
    fn descriptors_are_normalised_means() {
        let device = Device::flex();
        let config = C3dConfig::new().with_frames(2).with_input_size([17, 18]).with_channels([4; 8]).with_units(12);
        // Of a seed, because in so narrow a network all units may be dead.
        let model = redrawn(config.init(&device), 3, 0.2, DType::F32);
        let clip = drawn::<5>(5, [1, 2, 3, 17, 18], &device);
        let once = model.descriptor(clip.clone());
        assert_numbers(once.clone().square().sum(), &[1.0]);
        let twice = model.descriptor(clip.clone().repeat_dim(0, 2));
        assert_numbers(once.clone() - twice, &[0.0; 12]);
        assert_numbers(model.descriptors(clip).squeeze_dim::<1>(0) - once, &[0.0; 12]);
    }
}
