//! Cross-modality initialisation (Wang et al. 2015): from RGB to stacks of optical flow.

use burn::module::Param;
use burn::nn::conv::Conv2d;

use super::Pixels;

/// Normalisation of a stack of flow fields for a network that was trained on colours.
pub(super) fn flow_pixels(colours: &Pixels, channels: usize) -> Pixels {
    let std = colours.std.iter().sum::<f32>() / colours.std.len() as f32;
    Pixels { mean: vec![128.0 / 255.0; channels], std: vec![std; channels] }
}

/// Turns a network's first convolution and its configuration into those for `channels` channels.
pub(super) fn widen(first: &mut Conv2d, in_channels: &mut usize, pixels: &mut Pixels, channels: usize) {
    let mean = first.weight.val().mean_dim(1);
    first.weight = Param::from_tensor(mean.repeat_dim(1, channels));
    *pixels = flow_pixels(pixels, channels);
    *in_channels = channels;
}
