//! CNNs that turn frames into percepts.
//!
//! A backbone is configured with the names of its *taps*, the depths whose maps it returns. Every
//! network of the crate is one file in `cnn/` and one line in `cnn.rs`. A network of your own
//! implements [`Backbone`].

mod batch_norm;
mod cnn;
mod error;
mod graph;
mod layers;
mod pixels;

pub use cnn::*;
pub use error::BackboneConfigError;
pub use layers::{LayerKind, LayerShape};
pub(crate) use layers::{Plan, he, he_conv, he_linear, zero_bias, zeros};
pub use pixels::Pixels;

use std::collections::BTreeMap;

use burn::store::burn_pack;
use burn::tensor::{Device, Tensor};

use crate::percepts::{Level, Percepts};

/// The tensors of a weight file by their names in the file. Values are read on demand.
pub type FileTensors = BTreeMap<String, burn_pack::Tensor>;

/// A CNN over single frames whose maps at several depths can be tapped.
///
/// The first three methods are all that a recognizer needs. The others describe a network that can
/// be fine-tuned and whose weights come in files; their defaults are those of a network with fixed
/// taps and without a classifier of its own.
pub trait Backbone {
    /// The levels of its taps, bottom up, for frames of the configured size.
    fn levels(&self) -> Vec<Level>;

    /// The normalisation of 8-bit pixels that its weights were trained with.
    fn pixels(&self) -> Pixels;

    /// The maps at the taps, bottom up, computed in the precision of the frames.
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
        Percepts::of_clips(clips, |frames| self.taps(frames))
    }

    /// Replaces the taps.
    ///
    /// # Errors
    ///
    /// If a tap is unknown or none is given; the network keeps its taps then.
    fn set_taps<S: AsRef<str>>(&mut self, taps: &[S]) -> Result<(), BackboneConfigError> {
        let known: Vec<String> = self.levels().into_iter().map(|level| level.name).collect();
        match taps.iter().map(AsRef::as_ref).eq(known.iter().map(String::as_str)) {
            true => Ok(()),
            false => Err(BackboneConfigError::FixedTaps { known }),
        }
    }

    /// Number of classes of its own classifier; 0 without one.
    fn num_classes(&self) -> usize {
        0
    }

    /// Classifies single frames by the network's own classifier.
    ///
    /// # Shapes
    ///
    /// - frames: `[batch, channel, height, width]`
    /// - output: logits `[batch, class]`
    ///
    /// # Panics
    ///
    /// If the network has no classifier.
    fn forward(&self, _frames: Tensor<4>) -> Tensor<2> {
        panic!("this backbone has no classifier of its own")
    }

    /// Classifies single frames by their maps at the topmost tap, which
    /// [`taps`](Self::taps) returns last: all layers above it are computed, with the same result as
    /// [`forward`](Self::forward).
    ///
    /// # Shapes
    ///
    /// - top: `[batch, channel, height, width]`
    /// - output: logits `[batch, class]`
    ///
    /// # Panics
    ///
    /// If the network has no classifier.
    fn classify_top(&self, _top: Tensor<4>) -> Tensor<2> {
        panic!("this backbone has no classifier of its own")
    }

    /// Gives the network a new classifier for `classes` classes, for fine-tuning: weights from
    /// N(0, `std`²), zero biases. All other weights stay. Wang et al. 2015 take `std` = 0.001.
    ///
    /// # Panics
    ///
    /// If the network has no classifier.
    fn replace_classifier(&mut self, _classes: usize, _std: f64, _device: &Device) {
        panic!("this backbone has no classifier of its own")
    }

    /// Drop probabilities in training the network itself, bottom up. The taps are never dropped.
    fn dropout(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Replaces the drop probabilities.
    ///
    /// # Errors
    ///
    /// If their number is not that of [`dropout`](Self::dropout), or one is outside `[0, 1)`; the
    /// network keeps its own then.
    fn set_dropout(&mut self, probabilities: &[f64]) -> Result<(), BackboneConfigError> {
        error::check_dropout(probabilities, self.dropout().len())
    }

    /// The same network for frames of `channels` channels (cross-modality initialisation, Wang et
    /// al. 2015): the kernels of the first layer are averaged over its input channels, and each of
    /// the new channels gets the average. All other weights stay. The normalisation of pixels
    /// becomes that of 8-bit flow, in which 128 codes no motion, at the mean contrast of the old
    /// channels.
    ///
    /// The average is not divided by the number of channels, so a stack of ten fields gives the
    /// first layer up to ten times the input of a grey frame.
    ///
    /// # Panics
    ///
    /// If the network does not implement it.
    fn across_modality(self, _channels: usize) -> Self
    where
        Self: Sized,
    {
        panic!("this backbone cannot change its number of input channels")
    }

    /// The network's layers from input to classifier, at the configured frame size, for an estimate
    /// of memory or cost; empty if unknown.
    fn layers(&self) -> Vec<LayerShape> {
        Vec::new()
    }

    /// Key prefixes of a weight file in the layout of the network's PyTorch original, each with the
    /// prefix of the same layer here, without the trailing dot: a parameter `OURS.rest` is
    /// `THEIRS.rest` in the file.
    fn key_prefixes(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Prefix of the classifier in such a file, the one layer whose size depends on the classes;
    /// empty without a classifier.
    fn classifier_key(&self) -> &'static str {
        ""
    }

    /// Converts the tensors of such a file, under the file's own keys, into the network's, where the two
    /// differ by more than names.
    fn convert_weights(&self, _tensors: &mut FileTensors) {}
}

#[cfg(test)]
mod tests;
