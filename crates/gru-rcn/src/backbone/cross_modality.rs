//! From a network for RGB to one for stacks of optical flow (cross-modality initialisation, Wang et al. 2015).

use burn::module::Param;
use burn::nn::conv::Conv2d;

use super::{Cnn, Pixels};

impl Cnn {
    /// The same network for frames of `channels` channels: the kernels of the first layer are averaged over its present
    /// input channels and given to each of the new ones. All other weights stay. The normalisation of pixels becomes that of
    /// 8-bit flow, in which 128 codes no motion, at the mean contrast of the old channels.
    ///
    /// The average is not divided among the channels, so a stack of ten fields gives the first layer up to ten times the
    /// input that a grey frame would.
    pub fn across_modality(self, channels: usize) -> Self {
        match self {
            Self::Vgg16(mut cnn) => {
                cnn.config.in_channels = channels;
                cnn.config.pixels = flow_pixels(&cnn.config.pixels, channels);
                if let Some(first) = cnn.convs.first_mut() {
                    average(first, channels);
                }
                Self::Vgg16(cnn)
            }
            Self::SqueezeNet(mut cnn) => {
                cnn.config.in_channels = channels;
                cnn.config.pixels = flow_pixels(&cnn.config.pixels, channels);
                average(&mut cnn.conv1, channels);
                Self::SqueezeNet(cnn)
            }
        }
    }
}

/// The normalisation of a stack of flow fields for a network that was trained with another one on colours.
pub(super) fn flow_pixels(colours: &Pixels, channels: usize) -> Pixels {
    let std = colours.std.iter().sum::<f32>() / colours.std.len() as f32;
    Pixels { mean: vec![128.0 / 255.0; channels], std: vec![std; channels] }
}

fn average(conv: &mut Conv2d, channels: usize) {
    let mean = conv.weight.val().mean_dim(1);
    conv.weight = Param::from_tensor(mean.repeat_dim(1, channels));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Backbone, CnnConfig, SqueezeNetConfig, Vgg16Config};
    use crate::testing::{assert_same, drawn};
    use burn::tensor::{Device, Tensor};

    fn networks(device: &Device) -> [Cnn; 2] {
        let small = Vgg16Config::small(3, [32, 32]);
        let squeezenet = SqueezeNetConfig::new().with_input_size([32, 32]);
        [CnnConfig::Vgg16(small), CnnConfig::SqueezeNet(squeezenet)].map(|config| config.init(device))
    }

    /// The sum over 20 equal channels x of the mean of three kernels is 20/3 of the sum over three equal channels, so
    /// channels of 3/20 x give what three channels of x gave, but for rounding.
    #[test]
    fn equal_channels_see_the_mean_kernel() {
        let device = Device::flex();
        for cnn in networks(&device) {
            let grey = drawn::<4>(1, [2, 1, 32, 32], &device);
            let before = cnn.taps(grey.clone().repeat_dim(1, 3));
            let after = cnn.across_modality(20).taps(grey.repeat_dim(1, 20) * 0.15);
            for (before, after) in before.into_iter().zip(after) {
                let scale = before.clone().abs().max().into_scalar::<f32>();
                assert!((before - after).abs().max().into_scalar::<f32>() < 1e-5 * scale);
            }
        }
    }

    /// 128 is no motion, and becomes zero.
    #[test]
    fn rest_is_zero() {
        let device = Device::flex();
        for cnn in networks(&device) {
            let still = Tensor::full([1, 1, 32, 32, 20], 128, &device);
            assert_same(
                cnn.across_modality(20).pixels().normalise(still),
                Tensor::<5>::zeros([1, 1, 20, 32, 32], &device),
            );
        }
    }
}
