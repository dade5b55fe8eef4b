//! The whole model: clip in, class probabilities out.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::backbone::Backbone;
use crate::classifier::{ClipClassifier, GruRcnClassifier, StreamState};
use crate::head::LevelLogits;

/// A backbone with a classifier of its percepts.
#[derive(Module, Debug)]
pub struct Recognizer<B: Module + Backbone, C: ClipClassifier> {
    /// The CNN that looks at single frames.
    pub backbone: B,
    /// What classifies its percepts.
    pub classifier: C,
}

impl<B: Module + Backbone, C: ClipClassifier> Recognizer<B, C> {
    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`, normalised as the backbone's
    ///   [`pixels`](Backbone::pixels) say
    pub fn forward(&self, clips: Tensor<5>) -> LevelLogits {
        self.classifier.logits(self.backbone.percepts(clips))
    }
}

impl<B: Module + Backbone> Recognizer<B, GruRcnClassifier> {
    /// Takes in one frame of a stream, `[batch, channel, height, width]`, and classifies what has been seen so far.
    ///
    /// # Panics
    ///
    /// In the bi-directional form and with the rule `centre`, which need the whole clip.
    pub fn step(&self, frame: Tensor<4>, state: &mut StreamState) -> LevelLogits {
        self.classifier.step(self.backbone.taps(frame), state)
    }
}
