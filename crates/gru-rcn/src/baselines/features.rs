//! The convolutional part of the compared networks, as a list of layers.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{LocalResponseNormConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::BaselineError;
use crate::backbone::{LayerShape, Plan, he_conv, zeros};
use crate::percepts::per_frame;
use crate::{operator, precision};

/// One layer of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FeatureLayer {
    /// A convolution with a bias and a square kernel, then ReLU.
    Conv {
        /// Output channels.
        channels: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Zeros around the map.
        padding: FeaturePadding,
        /// Groups of channels.
        groups: usize,
    },
    /// Local response normalisation over five channels (Krizhevsky et al. 2012):
    /// `x / (k + alpha / 5 * Σ x²)^beta`.
    ///
    /// `alpha` is divided by the number of channels, as Caffe does. Krizhevsky's paper does not
    /// divide: its 1e-4 is 5e-4 here.
    Norm {
        /// Factor of the mean square.
        alpha: f64,
        /// Exponent.
        beta: f64,
        /// Constant.
        k: f64,
    },
    /// The maximum over square windows.
    Pool {
        /// Side of the window.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Whether the last window may extend past the edge, as in Caffe.
        ceil: bool,
    },
}

/// Zero padding of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeaturePadding {
    /// A number of zeros on every side.
    Zeros(usize),
    /// As many as leave `⌈side / stride⌉` cells, the larger half below and to the right.
    Same,
}

impl FeatureLayer {
    /// A convolution of one group.
    pub(super) fn conv(channels: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self::Conv { channels, kernel, stride, padding: FeaturePadding::Zeros(padding), groups: 1 }
    }

    /// The shape `[channel, height, width]` of its output; none if its input is too small for it.
    fn output(&self, [depth, height, width]: [usize; 3]) -> Option<[usize; 3]> {
        let (depth, side): (usize, &dyn Fn(usize) -> Option<usize>) = match *self {
            Self::Norm { .. } => return Some([depth, height, width]),
            Self::Conv { channels, kernel, stride, padding, .. } => (channels, &move |side: usize| match padding {
                FeaturePadding::Same => Some(side.div_ceil(stride)),
                FeaturePadding::Zeros(zeros) => Some((side + 2 * zeros).checked_sub(kernel)? / stride + 1),
            }),
            Self::Pool { kernel, stride, ceil } => (depth, &move |side: usize| windows(side, kernel, stride, ceil)),
        };
        Some([depth, side(height)?, side(width)?])
    }
}

/// Windows of `kernel` cells every `stride` cells; none if there is no room for one.
fn windows(side: usize, kernel: usize, stride: usize, ceil: bool) -> Option<usize> {
    let rest = side.checked_sub(kernel)?;
    Some(if ceil { rest.div_ceil(stride) } else { rest / stride } + 1)
}

/// The shape `[channel, height, width]` after the layers of a system, for frames of height and width `size`.
///
/// # Errors
///
/// If the frames are too small for the layers; `own` is the size in the authors' network.
pub(super) fn output(
    layers: &[FeatureLayer],
    in_channels: usize,
    size: [usize; 2],
    system: &'static str,
    own: [usize; 2],
) -> Result<[usize; 3], BaselineError> {
    let input = [in_channels, size[0], size[1]];
    let output = layers.iter().try_fold(input, |shape, layer| layer.output(shape));
    output.ok_or(BaselineError::FramesTooSmall { system, size, own })
}

/// Maps that the backward pass of a response normalisation needs: the input transposed, its
/// squares, their means there and back, the power and the quotient, less the input itself.
const MAPS_OF_NORM: usize = 5;

/// Adds layers to a plan of the layers of one frame, for frames that are large enough for them.
pub(super) fn add_to(plan: &mut Plan, layers: &[FeatureLayer]) {
    for layer in layers {
        let name = |kind: &str| format!("{kind}{}", plan.layers.len() + 1);
        let [_, height, width] = layer.output(plan.shape).unwrap_or_default();
        match *layer {
            FeatureLayer::Conv { channels, kernel, stride, groups, .. } => {
                plan.grouped_conv(name("conv"), channels, [kernel, stride, groups], [height, width]);
                plan.activation(format!("relu{}", plan.layers.len()));
            }
            FeatureLayer::Norm { .. } => {
                for map in 0..MAPS_OF_NORM {
                    plan.activation(format!("norm{}_{map}", plan.layers.len()));
                }
            }
            FeatureLayer::Pool { .. } => plan.pool(name("pool"), [height, width]),
        }
    }
}

/// Adds fully connected layers with these numbers of units, all but the last with ReLU.
pub(super) fn add_fully_connected(plan: &mut Plan, units: &[usize]) {
    for (index, &units) in units.iter().enumerate() {
        if index > 0 {
            plan.activation(format!("relu_fc{index}"));
        }
        plan.linear(format!("fc{}", index + 1), units);
    }
}

/// The layers of `steps` frames of a clip, side by side as channels.
pub(super) fn of_steps(layers: Vec<LayerShape>, steps: usize) -> Vec<LayerShape> {
    let times = |[channels, height, width]: [usize; 3]| [channels.saturating_mul(steps), height, width];
    layers
        .into_iter()
        .map(|layer| LayerShape { input: times(layer.input), output: times(layer.output), ..layer })
        .collect()
}

/// Convolutions with ReLU, normalisations and maxima, one after the other.
#[derive(Module, Debug)]
pub struct Features {
    /// The convolutions, bottom up.
    pub convs: Vec<Conv2d>,
    /// All layers, bottom up.
    #[module(skip)]
    pub layers: Vec<FeatureLayer>,
}

impl Features {
    /// Layers with weights from He's normal distribution and zero biases.
    pub(super) fn init(layers: Vec<FeatureLayer>, in_channels: usize, device: &Device) -> Self {
        let (mut depth, mut convs) = (in_channels, Vec::new());
        for layer in &layers {
            if let FeatureLayer::Conv { channels, kernel, stride, padding, groups } = *layer {
                let padding = match padding {
                    FeaturePadding::Same => PaddingConfig2d::Same,
                    FeaturePadding::Zeros(count) => zeros(count),
                };
                convs.push(he_conv([depth, channels], [kernel, stride, groups], padding, device));
                depth = channels;
            }
        }
        Self { convs, layers }
    }

    /// Maps of single frames, `[batch, channel, height, width]`.
    pub fn forward(&self, frames: Tensor<4>) -> Tensor<4> {
        let mut convs = self.convs.iter();
        self.layers.iter().fold(frames, |x, layer| match *layer {
            FeatureLayer::Conv { .. } => {
                let conv = convs.next().expect("a layer has its weights");
                match operator::serves_layer(&x, conv) {
                    true => operator::conv_layer(x, conv, true),
                    false => relu(precision::conv(conv, x)),
                }
            }
            FeatureLayer::Norm { alpha, beta, k } => {
                LocalResponseNormConfig::new(5).with_alpha(alpha).with_beta(beta).with_k(k).init().forward(x)
            }
            FeatureLayer::Pool { kernel, stride, ceil } => {
                max_pool2d(x, MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_ceil_mode(ceil))
            }
        })
    }

    /// Maps of every step of clips, `[batch, time, channel, height, width]`.
    pub fn forward_steps(&self, clips: Tensor<5>) -> Tensor<5> {
        per_frame(clips, |frames| self.forward(frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Caffe's pools round up, convolutions down; `Same` rounds up.
    #[test]
    fn sizes_by_hand() {
        let pool = |ceil| FeatureLayer::Pool { kernel: 3, stride: 2, ceil };
        assert_eq!(pool(true).output([7, 26, 109]), Some([7, 13, 54]));
        assert_eq!(pool(false).output([7, 26, 109]), Some([7, 12, 54]));
        assert_eq!(pool(true).output([7, 2, 9]), None);
        assert_eq!(FeatureLayer::conv(4, 5, 2, 1).output([7, 54, 2]), None);
        assert_eq!(FeatureLayer::conv(4, 5, 2, 1).output([7, 54, 55]), Some([4, 26, 27]));
        let same = FeatureLayer::Conv { channels: 4, kernel: 11, stride: 3, padding: FeaturePadding::Same, groups: 1 };
        assert_eq!(same.output([3, 170, 2]), Some([4, 57, 1]));
    }
}
