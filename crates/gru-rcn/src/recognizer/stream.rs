//! A stream of frames on a GPU, with a few launches per frame.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Recognizer;
use crate::backbone::Backbone;
use crate::classifier::{GruRcnClassifier, StreamState};
use crate::head::EnsembleLogits;
use crate::replay::Replay;

/// A recognizer on one stream. It gives what [`Recognizer::step`] gives; where the device can
/// record, the CNN and the recurrent layers are replayed, see [`Replay`].
///
/// The normalisation between the two is not recorded: the rule `causal_centre` divides by the
/// number of frames, which a record would keep.
#[derive(Debug)]
pub struct Stream {
    classifier: GruRcnClassifier,
    taps: Replay,
    step: Replay,
    state: StreamState,
}

impl Stream {
    /// A stream before its first frame.
    pub fn new<B: Module + Backbone + 'static>(model: &Recognizer<B, GruRcnClassifier>) -> Self {
        let (backbone, classifier) = (model.backbone.clone(), model.classifier.clone());
        let step = move |mut maps: Vec<Tensor<4>>| {
            let hidden = maps.split_off(maps.len() / 2);
            let mut next = classifier.recurrent.step(maps, Some(hidden));
            let logits = classifier.heads.forward(next.clone()).logits;
            next.push(logits.unsqueeze_dim(0));
            next
        };
        Self {
            classifier: model.classifier.clone(),
            taps: Replay::new(move |mut frame| backbone.taps(frame.remove(0))),
            step: Replay::new(step),
            state: StreamState::default(),
        }
    }

    /// Takes in a frame, `[batch, channel, height, width]`, and classifies all frames so far.
    ///
    /// # Panics
    ///
    /// In the bi-directional form and with the rule `centre`, which need the whole clip.
    pub fn step(&mut self, frame: Tensor<4>) -> EnsembleLogits {
        let maps = self.taps.call(vec![frame]);
        let Some(hidden) = self.state.hidden.take() else {
            return self.classifier.step(maps, &mut self.state);
        };
        let mut input = self.classifier.normalised(maps, &mut self.state.norm);
        input.extend(hidden);
        let mut output = self.step.call(input);
        let logits = output.pop().expect("the logits are the last of the output");
        self.state.hidden = Some(output);
        EnsembleLogits::new(logits.squeeze_dim(0))
    }
}
