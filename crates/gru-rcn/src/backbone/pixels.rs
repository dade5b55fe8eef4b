//! Normalisation of 8-bit pixels.

use burn::config::Config;
use burn::tensor::{FloatDType, Int, Tensor, TensorData};

/// Normalisation of 8-bit pixels: `(value / 255 - mean) / std` per channel. It must be that of the
/// weights in use.
#[derive(Config, Debug, PartialEq)]
pub struct Pixels {
    /// Mean per channel, of values in 0 to 1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, of values in 0 to 1.
    pub std: Vec<f32>,
}

impl Pixels {
    /// That of torchvision's ImageNet models, red, green, blue.
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// To the range -1 to 1, for networks trained from scratch and for flow (where 128, not 127.5,
    /// codes zero).
    pub fn symmetric(channels: usize) -> Self {
        Self { mean: vec![0.5; channels], std: vec![0.5; channels] }
    }

    /// The normalisation of stacks of optical flow for a network that was trained with this one: 128 codes
    /// no motion, and the standard deviation is the mean over these channels.
    pub(super) fn for_flow(&self, channels: usize) -> Self {
        let std = self.std.iter().sum::<f32>() / self.std.len() as f32;
        Self { mean: vec![128.0 / 255.0; channels], std: vec![std; channels] }
    }

    /// Normalises on the tensor's own device; upload the bytes, not floats.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, height, width, channel]`, values 0 to 255
    /// - output: `[batch, time, channel, height, width]`, float32
    ///
    /// # Panics
    ///
    /// If the number of channels is another.
    pub fn normalise(&self, clips: Tensor<5, Int>) -> Tensor<5> {
        let channels = clips.dims()[4];
        let expected = self.mean.len();
        assert!(channels == expected, "Pixels: frames of {channels} channels, expected {expected}");
        let device = clips.device();
        // One multiplication and one addition: value * 1 / (255 std) - mean / std.
        let factor: Vec<f32> = self.std.iter().map(|std| 1.0 / (255.0 * std)).collect();
        let offset: Vec<f32> = self.mean.iter().zip(&self.std).map(|(mean, std)| -mean / std).collect();
        let row = |values: Vec<f32>| {
            Tensor::<5>::from_data(TensorData::new(values, [1, 1, channels, 1, 1]), (&device, burn::tensor::DType::F32))
        };
        let planes = clips.cast(FloatDType::F32).permute([0, 1, 4, 2, 3]);
        planes * row(factor) + row(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device};

    /// Byte 255 is 1.0 and byte 0 is 0.0: with mean .5 and std .5 they become 1 and -1; with mean
    /// .25 and std .5 byte 51 (0.2) becomes -0.1.
    #[test]
    fn by_hand() {
        let device = Device::flex();
        let bytes = TensorData::new(vec![255u8, 51, 0, 51], [1, 1, 1, 2, 2]);
        let clips = Tensor::<5, Int>::from_data(bytes, (&device, DType::U8));
        let pixels = Pixels::new(vec![0.5, 0.25], vec![0.5, 0.5]);
        let out = pixels.normalise(clips);
        assert_eq!(out.dims(), [1, 1, 2, 1, 2]);
        let values = out.into_data().try_into_vec::<f32>().unwrap();
        for (value, expected) in values.iter().zip([1.0, -1.0, -0.1, -0.1]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }
}
