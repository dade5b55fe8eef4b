//! What models of this crate take in: percepts of a frozen CNN, or the pixels themselves.

use burn::tensor::{Device, Tensor};

use crate::percepts::Percepts;

/// A batch of clips in the form that a model takes in.
///
/// The methods are those that a training loop needs: it divides a batch among devices and enters it
/// into the autodiff graph.
pub trait ClipInput: Clone + Send + 'static {
    /// `clips` clips of the batch, from the clip `start` on.
    fn narrow(&self, start: usize, clips: usize) -> Self;

    /// The same batch on another device.
    fn to_device(self, device: &Device) -> Self;

    /// The same batch as a constant of the autodiff graph.
    fn autodiff(self) -> Self;

    /// The device that the batch is on.
    fn device(&self) -> Device;
}

impl ClipInput for Percepts {
    fn narrow(&self, start: usize, clips: usize) -> Self {
        Self { maps: self.maps.iter().map(|map| map.clone().narrow(0, start, clips)).collect() }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { maps: self.maps.into_iter().map(|map| map.to_device(device)).collect() }
    }

    fn autodiff(self) -> Self {
        Percepts::autodiff(self)
    }

    fn device(&self) -> Device {
        self.maps[0].device()
    }
}

/// A batch of clips as normalised pixels: RGB frames, or stacks of optical flow.
///
/// Models that contain a CNN are trained on these.
#[derive(Clone, Debug)]
pub struct PixelClips {
    /// `[batch, time, channel, height, width]`, normalised as the CNN's
    /// [`pixels`](crate::backbone::Backbone::pixels) say.
    pub pixels: Tensor<5>,
}

impl ClipInput for PixelClips {
    fn narrow(&self, start: usize, clips: usize) -> Self {
        Self { pixels: self.pixels.clone().narrow(0, start, clips) }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { pixels: self.pixels.to_device(device) }
    }

    fn autodiff(self) -> Self {
        Self { pixels: self.pixels.autodiff() }
    }

    fn device(&self) -> Device {
        self.pixels.device()
    }
}
