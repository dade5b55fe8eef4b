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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Vgg16Config;
    use crate::classifier::GruRcnClassifierConfig;
    use crate::percepts::{NormRule, PerceptNormConfig};
    use crate::recurrent::{Form, GruRcnConfig};
    use crate::testing::{assert_same, difference, drawn, redrawn};
    use burn::tensor::{DType, Device};

    fn recognizer(form: Form, rule: NormRule) -> Recognizer<crate::backbone::Vgg16, GruRcnClassifier> {
        let device = Device::flex();
        let backbone = Vgg16Config::small(3, [32, 32]).init(&device);
        let recurrent = GruRcnConfig::new(backbone.levels(), vec![3, 3, 4, 4, 6]).with_form(form);
        let norm = PerceptNormConfig::new().with_rule(rule).with_gain(0.5);
        let classifier = GruRcnClassifierConfig::new(recurrent, 3).with_norm(norm).init(&device);
        Recognizer { backbone, classifier: redrawn(classifier, 1, 0.4, DType::F32) }
    }

    /// Frame by frame, the answer after frame t is that for the clip that ends there.
    #[test]
    fn a_stream_equals_the_clip() {
        let clip = drawn::<5>(3, [2, 4, 3, 32, 32], &Device::flex());
        for form in [Form::Independent, Form::Stacked] {
            for rule in [NormRule::CausalCentre, NormRule::AbsDifference, NormRule::Scale, NormRule::Identity] {
                let model = recognizer(form, rule);
                let mut state = StreamState::default();
                let mut before = None;
                for t in 0..4 {
                    let found = model.step(clip.clone().narrow(1, t, 1).squeeze_dim(1), &mut state).logits;
                    assert_same(found.clone(), model.forward(clip.clone().narrow(1, 0, t + 1)).logits);
                    // The answer does depend on what is seen.
                    let before = before.replace(found.clone());
                    assert!(before.is_none_or(|before| difference(before, found) > 1e-4), "{form:?} {rule:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "needs the whole clip")]
    fn a_stream_cannot_be_centred() {
        let frame = Tensor::zeros([1, 3, 32, 32], &Device::flex());
        recognizer(Form::Independent, NormRule::Centre).step(frame, &mut StreamState::default());
    }
}
