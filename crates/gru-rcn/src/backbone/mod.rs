//! CNNs that turn frames into percepts.
//!
//! A backbone is configured with the names of its *taps*, the depths whose maps it hands over; taps are data, so that
//! any list of levels can be recurred over without touching code. A third backbone implements [`Backbone`].

mod cnn;
mod cross_modality;
mod pixels;
mod squeezenet;
mod taps;
mod transfer;
mod vgg16;

pub use cnn::{Cnn, CnnConfig};
pub use pixels::Pixels;
pub use squeezenet::{Fire, SqueezeNet, SqueezeNetConfig};
pub use taps::BackboneConfigError;
pub use vgg16::{Vgg16, Vgg16Config};

use crate::percepts::{Level, Percepts};
use burn::tensor::Tensor;

/// A CNN over single frames whose maps at several depths can be tapped.
pub trait Backbone {
    /// The levels of its taps, bottom up, for frames of the configured size.
    fn levels(&self) -> Vec<Level>;

    /// How 8-bit pixels are to be normalised for it.
    fn pixels(&self) -> Pixels;

    /// The maps at the taps, computed in the precision of the frames.
    ///
    /// # Shapes
    ///
    /// - frames: `[batch, channel, height, width]`
    /// - output, per tap: `[batch, channel, height, width]`
    fn taps(&self, frames: Tensor<4>) -> Vec<Tensor<4>>;

    /// The percepts of clips, all frames in one batch.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`
    /// - output, per level: `[batch, time, channel, height, width]`
    fn percepts(&self, clips: Tensor<5>) -> Percepts {
        let [batch, time, channels, height, width] = clips.dims();
        let maps = self.taps(clips.reshape([batch * time, channels, height, width]));
        let unfold = |map: Tensor<4>| {
            let [_, c, h, w] = map.dims();
            map.reshape([batch, time, c, h, w])
        };
        Percepts::new(maps.into_iter().map(unfold).collect())
    }
}

#[cfg(test)]
mod tests;
