//! Any of the crate's backbones, chosen at run time.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::cross_modality::flow_pixels;
use super::{Backbone, BackboneConfigError, Pixels, SqueezeNet, SqueezeNetConfig, Vgg16, Vgg16Config};
use crate::percepts::Level;

/// Configuration of [`Cnn`].
#[derive(Config, Debug)]
pub enum CnnConfig {
    /// VGG-16 at any size.
    Vgg16(Vgg16Config),
    /// SqueezeNet 1.0.
    SqueezeNet(SqueezeNetConfig),
}

/// A backbone chosen at run time.
#[derive(Module, Debug)]
// A program has one or two of them; some hundred bytes do not matter beside their weights.
#[allow(clippy::large_enum_variant)]
pub enum Cnn {
    /// VGG-16 at any size.
    Vgg16(Vgg16),
    /// SqueezeNet 1.0.
    SqueezeNet(SqueezeNet),
}

impl CnnConfig {
    /// Checks that every tap exists and that frames are large enough.
    pub fn validate(&self) -> Result<(), BackboneConfigError> {
        match self {
            Self::Vgg16(config) => config.validate(),
            Self::SqueezeNet(config) => config.validate(),
        }
    }

    /// The same network with another number of classes.
    pub fn with_num_classes(self, classes: usize) -> Self {
        match self {
            Self::Vgg16(config) => Self::Vgg16(config.with_num_classes(classes)),
            Self::SqueezeNet(config) => Self::SqueezeNet(config.with_num_classes(classes)),
        }
    }

    /// Classes of the network's own classifier.
    pub fn num_classes(&self) -> usize {
        match self {
            Self::Vgg16(config) => config.num_classes,
            Self::SqueezeNet(config) => config.num_classes,
        }
    }

    /// The configuration of [`Cnn::across_modality`]'s result.
    pub fn across_modality(self, channels: usize) -> Self {
        match self {
            Self::Vgg16(config) => {
                let pixels = flow_pixels(&config.pixels, channels);
                Self::Vgg16(config.with_in_channels(channels).with_pixels(pixels))
            }
            Self::SqueezeNet(config) => {
                let pixels = flow_pixels(&config.pixels, channels);
                Self::SqueezeNet(config.with_in_channels(channels).with_pixels(pixels))
            }
        }
    }

    /// The levels of the taps, bottom up.
    pub fn levels(&self) -> Vec<Level> {
        match self {
            Self::Vgg16(config) => config.levels(),
            Self::SqueezeNet(config) => config.levels(),
        }
    }

    /// A network with freshly drawn weights.
    ///
    /// # Panics
    ///
    /// If the configuration is wrong.
    pub fn init(&self, device: &Device) -> Cnn {
        match self {
            Self::Vgg16(config) => Cnn::Vgg16(config.init(device)),
            Self::SqueezeNet(config) => Cnn::SqueezeNet(config.init(device)),
        }
    }
}

impl Cnn {
    /// The same network with other taps, which must be among those of its architecture.
    pub fn with_taps(mut self, taps: Vec<String>) -> Self {
        match &mut self {
            Self::Vgg16(cnn) => cnn.config.taps = taps,
            Self::SqueezeNet(cnn) => cnn.config.taps = taps,
        }
        self
    }

    /// What it was built from, and what has been changed since.
    pub fn config(&self) -> CnnConfig {
        match self {
            Self::Vgg16(cnn) => CnnConfig::Vgg16(cnn.config.clone()),
            Self::SqueezeNet(cnn) => CnnConfig::SqueezeNet(cnn.config.clone()),
        }
    }

    /// Classifies single frames by the network's own classifier: `[batch, channel, height, width]` to logits
    /// `[batch, class]`.
    pub fn forward(&self, frames: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Vgg16(cnn) => cnn.forward(frames),
            Self::SqueezeNet(cnn) => cnn.forward(frames),
        }
    }
}

impl Backbone for Cnn {
    fn levels(&self) -> Vec<Level> {
        match self {
            Self::Vgg16(cnn) => cnn.levels(),
            Self::SqueezeNet(cnn) => cnn.levels(),
        }
    }

    fn pixels(&self) -> Pixels {
        match self {
            Self::Vgg16(cnn) => cnn.pixels(),
            Self::SqueezeNet(cnn) => cnn.pixels(),
        }
    }

    fn taps(&self, frames: Tensor<4>) -> Vec<Tensor<4>> {
        match self {
            Self::Vgg16(cnn) => cnn.taps(frames),
            Self::SqueezeNet(cnn) => cnn.taps(frames),
        }
    }
}
