//! A network's layers and taps, derived from its configuration, and layers with drawn weights.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use crate::percepts::Level;

/// Kind of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// A 2-D convolution with a bias.
    Conv {
        /// Side of the square kernel.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Groups of channels; as many as input channels for a depthwise convolution.
        groups: usize,
    },
    /// A convolution over space and time with a bias; the frames of a map are counted as channels.
    Conv3d {
        /// Side of the cubic kernel.
        kernel: usize,
    },
    /// A fully connected layer with a bias.
    Linear,
    /// A maximum or mean over windows.
    Pool,
    /// ReLU or ReLU6.
    Activation,
    /// Maps side by side in one; the input is the first of them.
    Concat,
    /// The sum of two maps of the same shape.
    Add,
}

/// One layer of a network for a single frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Name, unique within the network.
    pub name: String,
    /// Kind.
    pub kind: LayerKind,
    /// Shape of the input, `[channel, height, width]`.
    pub input: [usize; 3],
    /// Shape of the output, `[channel, height, width]`.
    pub output: [usize; 3],
    /// Number of parameters, biases included.
    pub parameters: usize,
}

/// The layers of a network, and the levels of all its taps.
///
/// Counts saturate, so that no size in a configuration can overflow.
pub(crate) struct Plan {
    /// Shape of the map after the last layer.
    pub(crate) shape: [usize; 3],
    /// Layers, from input to classifier.
    pub(crate) layers: Vec<LayerShape>,
    /// Levels of all taps, bottom up.
    pub(crate) levels: Vec<Level>,
}

impl Plan {
    pub(crate) fn new(channels: usize, [height, width]: [usize; 2]) -> Self {
        Self { shape: [channels, height, width], layers: Vec::new(), levels: Vec::new() }
    }

    fn push(&mut self, name: impl Into<String>, kind: LayerKind, output: [usize; 3], parameters: usize) {
        self.layers.push(LayerShape { name: name.into(), kind, input: self.shape, output, parameters });
        self.shape = output;
    }

    /// Height and width of the map after the last layer.
    pub(crate) fn size(&self) -> [usize; 2] {
        [self.shape[1], self.shape[2]]
    }

    /// A convolution to `channels` maps of `size`, of one group.
    pub(crate) fn conv(
        &mut self,
        name: impl Into<String>,
        channels: usize,
        kernel: usize,
        stride: usize,
        size: [usize; 2],
    ) {
        self.grouped_conv(name, channels, [kernel, stride, 1], size);
    }

    /// A convolution with kernel, stride and number of groups.
    pub(crate) fn grouped_conv(
        &mut self,
        name: impl Into<String>,
        channels: usize,
        [kernel, stride, groups]: [usize; 3],
        [height, width]: [usize; 2],
    ) {
        let fan_in = (self.shape[0] / groups.max(1)).saturating_mul(kernel * kernel);
        let parameters = channels.saturating_mul(fan_in.saturating_add(1));
        self.push(name, LayerKind::Conv { kernel, stride, groups }, [channels, height, width], parameters);
    }

    pub(crate) fn linear(&mut self, name: impl Into<String>, outputs: usize) {
        let inputs = self.shape.iter().fold(1usize, |product, &side| product.saturating_mul(side));
        let parameters = outputs.saturating_mul(inputs.saturating_add(1));
        self.push(name, LayerKind::Linear, [outputs, 1, 1], parameters);
    }

    pub(crate) fn pool(&mut self, name: impl Into<String>, [height, width]: [usize; 2]) {
        self.push(name, LayerKind::Pool, [self.shape[0], height, width], 0);
    }

    pub(crate) fn activation(&mut self, name: impl Into<String>) {
        self.push(name, LayerKind::Activation, self.shape, 0);
    }

    /// Joins the present map with others of `channels` channels together.
    pub(crate) fn concat(&mut self, name: impl Into<String>, channels: usize) {
        let [own, height, width] = self.shape;
        self.push(name, LayerKind::Concat, [own + channels, height, width], 0);
    }

    pub(crate) fn add(&mut self, name: impl Into<String>) {
        self.push(name, LayerKind::Add, self.shape, 0);
    }

    /// The convolutions in the order of the layers, with weights from He's normal distribution, zero biases,
    /// and the padding of a kernel by its side.
    pub(super) fn convs<'a>(
        &'a self,
        padding: impl Fn(usize) -> PaddingConfig2d + 'a,
        device: &'a Device,
    ) -> impl Iterator<Item = Conv2d> + 'a {
        self.layers.iter().filter_map(move |layer| {
            let LayerKind::Conv { kernel, stride, groups } = layer.kind else { return None };
            let channels = [layer.input[0], layer.output[0]];
            Some(he_conv(channels, [kernel, stride, groups], padding(kernel), device))
        })
    }

    /// Makes the present map a tap.
    pub(crate) fn tap(&mut self, name: impl Into<String>) {
        let [channels, height, width] = self.shape;
        self.levels.push(Level::new(name.into(), channels, height, width));
    }
}

pub(crate) fn he() -> Initializer {
    Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: false }
}

/// Burn draws biases from the weights' distribution; those of a CNN are zero.
pub(crate) fn zero_bias(outputs: usize, device: &Device) -> Option<Param<Tensor<1>>> {
    Some(Initializer::Zeros.init([outputs], device))
}

/// The same number of zeros on every side of a map.
pub(crate) fn zeros(count: usize) -> PaddingConfig2d {
    PaddingConfig2d::Explicit(count, count, count, count)
}

/// A convolution from input to output channels with kernel, stride and number of groups: weights
/// from He's normal distribution, zero biases.
pub(crate) fn he_conv(
    channels: [usize; 2],
    [kernel, stride, groups]: [usize; 3],
    padding: PaddingConfig2d,
    device: &Device,
) -> Conv2d {
    let mut conv = Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_groups(groups)
        .with_padding(padding)
        .with_initializer(he())
        .init(device);
    conv.bias = zero_bias(channels[1], device);
    conv
}

/// A linear layer with weights from He's normal distribution and zero biases.
pub(crate) fn he_linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs).with_initializer(he()).init(device);
    linear.bias = zero_bias(outputs, device);
    linear
}

/// Weights of a new classifier, from N(0, `std`²).
pub(super) fn classifier_weight<const D: usize>(shape: [usize; D], std: f64, device: &Device) -> Param<Tensor<D>> {
    Initializer::Normal { mean: 0.0, std }.init(shape, device)
}
