//! The two nets of Wang, Xiong, Wang and Qiao, *Towards Good Practices for Very Deep Two-Stream
//! ConvNets* (2015), row "Improved Two-Stream" of the paper's tables: VGG-16 on single frames, and
//! with 20 input channels on stacks of flow.
//!
//! The network is the crate's own [`Vgg16`]. Fine-tuning from ImageNet and the cross-modality start
//! of the flow net are the backbone's: a program that fine-tunes its backbone on the classes has
//! this system already. In the released code the rate of the new classifier is not raised.

use burn::module::Module;
use burn::tensor::Device;

use super::features::of_steps;
use super::{BaselineError, PixelBaseline, PixelOptions, each_frame, scaled};
use crate::backbone::{Backbone, LayerShape, Pixels, Vgg16, Vgg16Config};
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind};
use crate::input::PixelClips;

/// VGG-16 on every time step of a clip; a clip's probability is the mean over its steps.
#[derive(Module, Debug)]
pub struct VeryDeep {
    /// The network.
    pub network: Vgg16,
}

impl VeryDeep {
    /// Configuration of the RGB net.
    pub fn spatial() -> Vgg16Config {
        Vgg16Config::new().with_num_classes(101).with_dropout([0.9, 0.9])
    }

    /// Configuration of the flow net, on stacks of ten fields.
    pub fn temporal() -> Vgg16Config {
        Self::spatial().with_in_channels(20).with_dropout([0.9, 0.8]).with_pixels(Pixels::symmetric(20))
    }

    /// The top map is averaged to as many cells as five halvings leave of a frame, at most 7×7.
    fn config(options: &PixelOptions) -> Result<Vgg16Config, BaselineError> {
        let own = if options.in_channels == 3 { Self::spatial() } else { Self::temporal() };
        let config = Vgg16Config {
            num_classes: options.num_classes,
            in_channels: options.in_channels,
            input_size: options.input_size,
            stages: own.stages.iter().map(|&[convs, channels]| [convs, scaled(channels, options.width)]).collect(),
            grid: options.input_size.map(|side| (side / 32).min(7)),
            fc_width: scaled(own.fc_width, options.width),
            dropout: options.dropout.map_or(own.dropout, |probability| [probability; 2]),
            pixels: Self::pixels(options.in_channels),
            ..own
        };
        config.validate()?;
        Ok(config)
    }
}

impl ClipClassifier for VeryDeep {
    type Input = PixelClips;

    /// Each step is a training example of its own, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        each_frame(clips, |frames| self.network.forward(frames))
    }
}

impl PixelBaseline for VeryDeep {
    const NAME: &'static str = "Very deep two-stream CNN";
    const ABOUT: &'static str = "VGG-16 on single frames or stacks of flow, averaged over a clip";

    fn from_options(options: &PixelOptions, device: &Device) -> Result<Self, BaselineError> {
        Ok(Self { network: Self::config(options)?.init(device) })
    }

    fn layers(options: &PixelOptions) -> Result<Vec<LayerShape>, BaselineError> {
        Ok(of_steps(Self::config(options)?.layers(), options.frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torchvision's 138,357,544 with 1,000 classes, less 899 classes of 4,097 each; 20 input
    /// channels have 17·9·64 weights more than 3.
    #[test]
    fn parameters_of_both_nets() {
        assert_eq!(VeryDeep::spatial().init(&Device::flex()).num_params(), 134_674_341);
        assert_eq!(VeryDeep::temporal().init(&Device::flex()).num_params(), 134_684_133);
    }
}
