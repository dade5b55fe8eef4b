//! The whole model: clip in, class probabilities out.

mod description;
mod stream;
mod trained;

pub use description::{RecognizerDescription, RecognizerInput};
pub use stream::Stream;
pub use trained::{RecognizerError, TrainedRecognizer};

use std::path::Path;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Int, Tensor};

use crate::backbone::{Backbone, Cnn};
use crate::classifier::{ClipClassifier, GruRcnClassifier, StreamState};
use crate::head::{EnsembleLogits, LossKind};
use crate::input::PixelClips;
use crate::percepts::Percepts;
use crate::weights::{self, export_torchvision, import_torchvision};

/// The classifier's weight file in a run folder, which also holds the description.
const MODEL: &str = "model.safetensors";

/// A backbone with a classifier of its percepts.
///
/// The device of the backbone decides whether it is trained with the rest. On the autodiff device,
/// as after [`Module::train`] of the whole, gradients reach it. On the plain device, with the
/// classifier alone on the autodiff device, it is frozen: its maps are computed outside the graph,
/// its activations are not kept, and no optimizer can change it. The constants of the percept
/// normalisation are fixed in both cases.
#[derive(Module, Debug)]
pub struct Recognizer<B: Module + Backbone, C: ClipClassifier<Input = Percepts>> {
    /// The CNN that looks at single frames.
    pub backbone: B,
    /// Classifier of its percepts.
    pub classifier: C,
}

impl<B: Module + Backbone, C: ClipClassifier<Input = Percepts>> Recognizer<B, C> {
    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`, normalised as the backbone's
    ///   [`pixels`](Backbone::pixels) say
    pub fn forward(&self, clips: Tensor<5>) -> EnsembleLogits {
        self.classifier.logits(self.backbone.percepts(clips))
    }
}

/// Trained like any classifier of clips, from pixels.
impl<B, C> ClipClassifier for Recognizer<B, C>
where
    B: Module + ModuleDisplay + Backbone,
    C: ClipClassifier<Input = Percepts> + ModuleDisplay,
{
    type Input = PixelClips;

    const CLASSIFIES: bool = C::CLASSIFIES;

    const LOSS: Option<LossKind> = C::LOSS;

    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        self.forward(clips.pixels)
    }

    fn loss(&self, logits: &EnsembleLogits, targets: Tensor<1, Int>, asked: LossKind) -> Tensor<1> {
        self.classifier.loss(logits, targets, asked)
    }
}

impl<B: Module + Backbone> Recognizer<B, GruRcnClassifier> {
    /// Takes in one frame of a stream, `[batch, channel, height, width]`, and classifies all frames
    /// so far.
    ///
    /// # Panics
    ///
    /// In the bi-directional form and with the rule `centre`, which need the whole clip.
    ///
    /// [`Stream`] does the same with fewer launches on a GPU.
    pub fn step(&self, frame: Tensor<4>, state: &mut StreamState) -> EnsembleLogits {
        self.classifier.step(self.backbone.taps(frame), state)
    }
}

impl Recognizer<Cnn, GruRcnClassifier> {
    /// Opens the recognizer in the folder of a training run: `model.safetensors`, which holds the
    /// description, and `backbone.safetensors` or, for a CNN that was trained jointly,
    /// `backbone-joint.safetensors`.
    ///
    /// # Errors
    ///
    /// If a file is missing or unreadable, if `model.safetensors` has no description, or if the
    /// description and the tensors are not of the same model.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Int, Tensor};
    /// use gru_rcn::prelude::*;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let run = folder.path();
    /// let device = Device::flex();
    /// let backbone = Cnn::from(Vgg16Config::small(2, [32, 32]).with_taps(["pool2", "fc7"]).init(&device));
    /// let recurrent = GruRcnConfig::new(backbone.levels(), vec![4, 8]);
    /// let norm = PerceptNormConfig::new().with_rule(NormRule::CausalCentre);
    /// let classifier = GruRcnClassifierConfig::new(recurrent, 2).with_norm(norm).init(&device);
    /// Recognizer { backbone, classifier }.save(run, ["left", "right"])?;
    ///
    /// let recognizer = Recognizer::open(run, &device)?;
    /// assert_eq!(recognizer.classes(), ["left", "right"]);
    /// let RecognizerInput { channels, height, width, pixels } = recognizer.input();
    /// let bytes = Tensor::<5, Int>::full([1, 3, height, width, channels], 128, &device);
    /// let clip = pixels.normalise(bytes);
    /// let probabilities = recognizer.forward(clip.clone()).probabilities();
    /// assert_eq!(probabilities.dims(), [1, 2]);
    ///
    /// let mut state = StreamState::default();
    /// for t in 0..3 {
    ///     let frame = clip.clone().narrow(1, t, 1).squeeze_dim(1);
    ///     let so_far = recognizer.step(frame, &mut state)?.probabilities();
    ///     assert_eq!(so_far.dims(), [1, 2]);
    /// }
    /// # Ok::<(), RecognizerError>(())
    /// ```
    pub fn open(run: &Path, device: &Device) -> Result<TrainedRecognizer, RecognizerError> {
        let path = run.join(MODEL);
        let metadata = weights::metadata(&path)?;
        let text = metadata.get(RecognizerDescription::KEY);
        let text = text.ok_or_else(|| RecognizerError::NoDescription { path: path.clone() })?;
        let description = RecognizerDescription::parse(text)?;
        let backbone = import_torchvision(description.cnn.init(device), &run.join(description.backbone_file()))?;
        let classifier = weights::import(description.classifier.init(device), &path)?;
        Ok(TrainedRecognizer { model: Recognizer { backbone, classifier }, description })
    }

    /// Writes `backbone.safetensors` and `model.safetensors` with the description into an existing
    /// folder, which [`open`](Self::open) reads. `classes` are the names of the classes in the
    /// order of the logits.
    ///
    /// # Errors
    ///
    /// If the number of names is not that of the classes, or if a file cannot be written.
    pub fn save(
        &self,
        run: &Path,
        classes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), RecognizerError> {
        let classes = classes.into_iter().map(Into::into).collect();
        let description = RecognizerDescription::new(&self.backbone, false, &self.classifier, classes)?;
        export_torchvision(&self.backbone, &run.join(description.backbone_file()))?;
        weights::export(&self.classifier, &run.join(MODEL), &[description.metadata()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Vgg16, Vgg16Config};
    use crate::baselines::PerceptLstm;
    use crate::classifier::GruRcnClassifierConfig;
    use crate::input::ClipInput;
    use crate::percepts::{NormRule, PerceptNormConfig};
    use crate::recurrent::{Form, GruRcnConfig};
    use crate::testing::{assert_same, device, difference, drawn, parameters, redrawn};
    use burn::module::{ModuleVisitor, Param};
    use burn::optim::{AdamConfig, GradientsParams};
    use burn::tensor::DType;

    fn recognizer(form: Form, rule: NormRule) -> Recognizer<Vgg16, GruRcnClassifier> {
        let device = device();
        // Drawn from a seed, for unlucky weights leave a layer without a gradient.
        let backbone = redrawn(Vgg16Config::small(3, [32, 32]).init(&device), 2, 0.3, DType::F32);
        let recurrent = GruRcnConfig::new(backbone.levels(), vec![3, 3, 4, 4, 6]).with_form(form);
        let norm = PerceptNormConfig::new().with_rule(rule).with_gain(0.5);
        let classifier = GruRcnClassifierConfig::new(recurrent, 3).with_norm(norm).init(&device);
        Recognizer { backbone, classifier: redrawn(classifier, 1, 0.4, DType::F32) }
    }

    /// The output after frame t is that for the clip that ends there.
    #[test]
    fn a_stream_equals_the_clip() {
        let clip = drawn::<5>(3, [2, 4, 3, 32, 32], &device());
        for form in [Form::Independent, Form::Stacked] {
            use NormRule::{AbsDifference, CausalCentre, Difference, Identity, Scale};
            for rule in [CausalCentre, Difference, AbsDifference, Scale, Identity] {
                let model = recognizer(form, rule);
                let (mut state, mut stream) = (StreamState::default(), Stream::new(&model));
                let mut before = None;
                for t in 0..4 {
                    let frame = clip.clone().narrow(1, t, 1).squeeze_dim::<4>(1);
                    let found = model.step(frame.clone(), &mut state).logits;
                    assert_same(stream.step(frame).logits, found.clone());
                    assert_same(found.clone(), model.forward(clip.clone().narrow(1, 0, t + 1)).logits);
                    // The output does depend on the frame.
                    let before = before.replace(found.clone());
                    assert!(before.is_none_or(|before| difference(before, found) > 1e-4), "{form:?} {rule:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "needs the whole clip")]
    fn a_stream_cannot_be_centred() {
        let frame = Tensor::zeros([1, 3, 32, 32], &device());
        recognizer(Form::Independent, NormRule::Centre).step(frame, &mut StreamState::default());
    }

    #[test]
    fn a_model_without_classes_has_none_over_a_backbone() {
        const { assert!(!<Recognizer<Vgg16, PerceptLstm> as ClipClassifier>::CLASSIFIES) }
    }

    /// The bytes of all parameters of a module.
    fn bytes<M: Module>(module: &M) -> Vec<Vec<u8>> {
        parameters(module, None).into_iter().map(|(_, data)| data.as_bytes().to_vec()).collect()
    }

    /// Parameters of a module with a gradient that is not zero.
    fn moved<M: Module>(module: &M, gradients: &GradientsParams) -> usize {
        struct Moved<'a>(&'a GradientsParams, usize);
        impl ModuleVisitor for Moved<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let largest = |gradient: Tensor<D>| gradient.abs().max().into_scalar::<f32>();
                self.1 += usize::from(self.0.get::<D>(param.id).is_some_and(|gradient| largest(gradient) > 0.0));
            }
        }
        let mut moved = Moved(gradients, 0);
        module.visit(&mut moved);
        moved.1
    }

    /// Number of the CNN's parameters with a gradient for two clips, and the model after a step of
    /// Adam.
    fn stepped(model: Recognizer<Vgg16, GruRcnClassifier>) -> (usize, Recognizer<Vgg16, GruRcnClassifier>) {
        let pixels = PixelClips { pixels: drawn(3, [2, 4, 3, 32, 32], &device()) };
        let targets = Tensor::<1, Int>::from_ints([0, 2], &device());
        let joint = model.backbone.convs[0].weight.val().is_autodiff();
        let logits = model.logits(if joint { pixels.autodiff() } else { pixels });
        let loss = model.loss(&logits, targets.autodiff(), LossKind::PerHead);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        (moved(&model.backbone, &gradients), AdamConfig::new().init().step(1e-3, model, gradients))
    }

    /// Joint: of the small network's four convolutions and fc-6 and fc-7, weights and biases,
    /// twelve parameters, each has a gradient; fc-8 is above the highest tap and has none. The
    /// normalisation keeps its constants, bit by bit.
    #[test]
    fn jointly_trained_gradients_reach_the_cnn() {
        let model = recognizer(Form::Independent, NormRule::Scale).train();
        let (before, scales) = (bytes(&model.backbone), bytes(&model.classifier.norm));
        let (moved, after) = stepped(model);
        assert_eq!(moved, 12);
        let changed = bytes(&after.backbone).iter().zip(&before).filter(|(after, before)| after != before).count();
        assert_eq!(changed, 12);
        assert_eq!(bytes(&after.classifier.norm), scales);
    }

    /// Frozen: the CNN stays on the plain device, gets no gradient, and is the same to the last bit
    /// after a step that moves the rest.
    #[test]
    fn a_frozen_cnn_stays_outside_autodiff() {
        let Recognizer { backbone, classifier } = recognizer(Form::Independent, NormRule::Scale);
        let model = Recognizer { backbone, classifier: classifier.train() };
        assert!(!model.backbone.percepts(drawn(3, [1, 2, 3, 32, 32], &device())).top().is_autodiff());
        let (before, head) = (bytes(&model.backbone), bytes(&model.classifier.heads));
        let (moved, after) = stepped(model);
        assert_eq!(moved, 0);
        assert_eq!(bytes(&after.backbone), before);
        assert_ne!(bytes(&after.classifier.heads), head);
    }
}
