//! A trained recognizer with its description, and the errors of describing, saving and opening one.

use std::path::PathBuf;

use burn::tensor::Tensor;

use super::{Recognizer, RecognizerDescription, RecognizerInput, Stream};
use crate::backbone::{BackboneConfigError, Cnn};
use crate::classifier::{GruRcnClassifier, StreamState};
use crate::head::EnsembleLogits;
use crate::recurrent::GruRcnConfigError;
use crate::weights::WeightsError;

/// Why a recognizer could not be described, saved, opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecognizerError {
    /// A weight file is missing, unreadable or of another model.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weight file has no description.
    #[error(
        "{}: no description of the recognizer in this file, so an earlier version wrote it; the program `gru-rcn` still \
         reads its run, and training again writes the description",
        path.display()
    )]
    NoDescription {
        /// The file.
        path: PathBuf,
    },
    /// The description has another layout.
    #[error("the description of the recognizer has {}, this version reads {known}", match found {
        Some(found) => format!("version {found}"),
        None => "no version".into(),
    })]
    Version {
        /// Version in the file, if it has one.
        found: Option<u64>,
        /// Version that is read.
        known: u32,
    },
    /// The CNN's configuration is invalid.
    #[error("the recognizer's CNN: {0}")]
    Backbone(#[from] BackboneConfigError),
    /// The recurrent layers' configuration is invalid.
    #[error("the recognizer's recurrent layers: {0}")]
    Recurrent(#[from] GruRcnConfigError),
    /// The parts of the description do not fit each other.
    #[error("the description of the recognizer is inconsistent: {reason}")]
    Inconsistent {
        /// What does not fit.
        reason: String,
    },
    /// The recognizer was asked to take in a stream, but needs whole clips.
    #[error("this recognizer needs whole clips: its form is bidirectional or its normalisation rule is `centre`")]
    NeedsClips,
}

/// A recognizer as it was trained, with its description; see [`Recognizer::open`].
#[derive(Clone, Debug)]
pub struct TrainedRecognizer {
    /// The model.
    pub model: Recognizer<Cnn, GruRcnClassifier>,
    /// The description.
    pub description: RecognizerDescription,
}

impl TrainedRecognizer {
    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - clips: `[batch, time, channel, height, width]`, normalised by [`input`](Self::input)'s
    ///   pixels
    pub fn forward(&self, clips: Tensor<5>) -> EnsembleLogits {
        self.model.forward(clips)
    }

    /// Takes in one frame of a stream, `[batch, channel, height, width]`, and classifies all frames
    /// so far.
    ///
    /// # Errors
    ///
    /// If the recognizer needs whole clips.
    pub fn step(&self, frame: Tensor<4>, state: &mut StreamState) -> Result<EnsembleLogits, RecognizerError> {
        match self.description.takes_streams() {
            true => Ok(self.model.step(frame, state)),
            false => Err(RecognizerError::NeedsClips),
        }
    }

    /// A stream with the results of [`step`](Self::step), which a GPU that can record replays.
    ///
    /// # Errors
    ///
    /// If the recognizer needs whole clips.
    pub fn stream(&self) -> Result<Stream, RecognizerError> {
        match self.description.takes_streams() {
            true => Ok(Stream::new(&self.model)),
            false => Err(RecognizerError::NeedsClips),
        }
    }

    /// Names of the classes, in the order of the logits.
    pub fn classes(&self) -> &[String] {
        &self.description.classes
    }

    /// The frames that the recognizer takes.
    pub fn input(&self) -> RecognizerInput {
        self.description.input()
    }
}

#[cfg(test)]
mod tests {
    use super::super::MODEL;
    use super::*;
    use crate::backbone::{Backbone, Vgg16Config};
    use crate::classifier::GruRcnClassifierConfig;
    use crate::head::Pooling;
    use crate::percepts::{NormRule, PerceptNormConfig};
    use crate::recurrent::{Form, GruRcnConfig};
    use crate::testing::{assert_same, device, drawn, redrawn};
    use crate::weights::{self, export_torchvision};
    use burn::tensor::DType;
    use serde_json::{Value, json};

    const CLASSES: [&str; 3] = ["a", "b", "c"];

    fn recognizer(form: Form, rule: NormRule) -> Recognizer<Cnn, GruRcnClassifier> {
        let device = device();
        let backbone = Cnn::from(Vgg16Config::small(5, [32, 48]).with_taps(["pool1", "pool3"]).init(&device));
        let recurrent = GruRcnConfig::new(backbone.levels(), vec![3, 4]).with_form(form).with_kernel_size(5);
        let norm = PerceptNormConfig::new().with_rule(rule).with_gain(0.5);
        let config = GruRcnClassifierConfig::new(recurrent, 3).with_norm(norm).with_pooling(Pooling::Max);
        Recognizer { backbone, classifier: redrawn(config.init(&device), 1, 0.4, DType::F32) }
    }

    #[test]
    fn a_saved_recognizer_gives_the_same_answers() {
        let (folder, device) = (tempfile::tempdir().unwrap(), device());
        let clip = drawn::<5>(3, [2, 4, 3, 32, 48], &device);
        for (form, rule, streams) in [
            (Form::Independent, NormRule::CausalCentre, true),
            (Form::Stacked, NormRule::AbsDifference, true),
            (Form::Stacked, NormRule::Centre, false),
            (Form::Bidirectional, NormRule::Scale, false),
        ] {
            let saved = recognizer(form, rule);
            saved.save(folder.path(), CLASSES).unwrap();
            let opened = Recognizer::open(folder.path(), &device).unwrap();
            assert_same(opened.forward(clip.clone()).logits, saved.forward(clip.clone()).logits);
            assert_eq!(opened.classes(), CLASSES);
            let RecognizerInput { channels, height, width, pixels } = opened.input();
            assert_eq!(([channels, height, width], pixels), ([3, 32, 48], saved.backbone.pixels()));
            let frame = clip.clone().narrow(1, 0, 1).squeeze_dim::<4>(1);
            let (mut state, mut expected) = (StreamState::default(), StreamState::default());
            match opened.step(frame.clone(), &mut state) {
                Ok(found) => {
                    assert_same(found.logits.clone(), saved.step(frame.clone(), &mut expected).logits);
                    assert_same(opened.stream().unwrap().step(frame).logits, found.logits);
                }
                Err(error) => assert!(!streams && matches!(error, RecognizerError::NeedsClips), "{error}"),
            }
            assert_eq!(opened.stream().is_ok(), streams);
        }
    }

    /// A CNN with more taps than the classifier looks at, trained jointly: its file has another
    /// name.
    #[test]
    fn taps_that_the_classifier_does_not_use_are_dropped() {
        let (folder, device) = (tempfile::tempdir().unwrap(), device());
        let Recognizer { mut backbone, classifier } = recognizer(Form::Independent, NormRule::Scale);
        let before = backbone.levels();
        backbone.set_taps(&["pool1", "pool2", "pool3", "fc7"]).unwrap();
        let classes = CLASSES.map(String::from).to_vec();
        let description = RecognizerDescription::new(&backbone, true, &classifier, classes).unwrap();
        let metadata = [("system", "gru_rcn".into()), ("recipe", "test".into()), description.metadata()];
        weights::export(&classifier, &folder.path().join(MODEL), &metadata).unwrap();
        export_torchvision(&backbone, &folder.path().join("backbone-joint.safetensors")).unwrap();
        let opened = Recognizer::open(folder.path(), &device).unwrap();
        assert_eq!(opened.model.backbone.levels(), before);
        assert!(opened.description.joint);
    }

    #[test]
    fn parts_that_do_not_fit_are_not_described() {
        let model = recognizer(Form::Independent, NormRule::Scale);
        let folder = tempfile::tempdir().unwrap();
        let error = model.save(folder.path(), ["a"]).unwrap_err().to_string();
        assert_eq!(error, "the description of the recognizer is inconsistent: 1 class names for 3 classes");
        let other = Cnn::from(Vgg16Config::small(5, [64, 64]).init(&device()));
        let classes = CLASSES.map(String::from).to_vec();
        let error = RecognizerDescription::new(&other, false, &model.classifier, classes).unwrap_err();
        assert!(error.to_string().contains("the CNN has the levels"), "{error}");
    }

    #[test]
    fn a_file_without_a_description_says_what_to_do() {
        let (folder, model) = (tempfile::tempdir().unwrap(), recognizer(Form::Independent, NormRule::Scale));
        let missing = Recognizer::open(folder.path(), &device()).unwrap_err();
        assert!(matches!(missing, RecognizerError::Weights(WeightsError::NotFound { .. })), "{missing}");
        weights::export(&model.classifier, &folder.path().join(MODEL), &[("system", "gru_rcn".into())]).unwrap();
        let error = Recognizer::open(folder.path(), &device()).unwrap_err().to_string();
        assert!(error.contains("the program `gru-rcn` still reads its run"), "{error}");
    }

    /// Each of these is an error and none a panic, whatever the file claims.
    #[test]
    fn hostile_files_are_errors() {
        let (folder, device) = (tempfile::tempdir().unwrap(), device());
        let model = recognizer(Form::Independent, NormRule::Scale);
        model.save(folder.path(), CLASSES).unwrap();
        let path = folder.path().join(MODEL);
        let good = weights::metadata(&path).unwrap()[RecognizerDescription::KEY].clone();
        let with = |text: &str| {
            weights::export(&model.classifier, &path, &[(RecognizerDescription::KEY, text.into())]).unwrap();
            Recognizer::open(folder.path(), &device).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(with(&good), Ok(()));
        let huge = json!(1u64 << 40);
        for (pointer, value) in [
            ("/version", json!(2)),
            ("/version", json!("one")),
            ("/classes", json!(["a"])),
            ("/classifier/num_classes", json!(0)),
            ("/classifier/num_classes", json!(4)),
            ("/classifier/num_classes", json!(-1)),
            ("/classifier/dropout", json!(7.0)),
            ("/classifier/recurrent/hidden", json!([3, 0])),
            ("/classifier/recurrent/hidden", json!([3, 4, 5])),
            ("/classifier/recurrent/hidden", json!([3, 5])),
            ("/classifier/recurrent/kernel_size", json!(4)),
            ("/classifier/recurrent/kernel_size", json!(3)),
            ("/classifier/recurrent/kernel_size", huge.clone()),
            ("/classifier/recurrent/levels", json!([])),
            ("/classifier/recurrent/levels/0/channels", json!(9)),
            ("/classifier/recurrent/form", json!("bidirectional")),
            ("/classifier/recurrent/form", json!("Sideways")),
            ("/cnn/Vgg16/stages", json!([])),
            ("/cnn/Vgg16/stages", json!([[32768, 32768], [32768, 32768]])),
            ("/cnn/Vgg16/stages", Value::Array(vec![json!([1, 8]); 100])),
            ("/cnn/Vgg16/stages/0/1", huge.clone()),
            ("/cnn/Vgg16/input_size", json!([0, 0])),
            ("/cnn/Vgg16/input_size", huge.clone()),
            ("/cnn/Vgg16/in_channels", json!(20)),
            ("/cnn/Vgg16/fc_width", json!(32768)),
            ("/cnn/Vgg16/grid", json!([0, 0])),
            ("/cnn/Vgg16/dropout", json!([2.0, -1.0])),
            ("/cnn/Vgg16/tap_names", json!(["pool1", "pool9"])),
            ("/cnn/Vgg16/pixels/std", json!([0.5, 0.5, 0.0])),
            ("/cnn", json!({ "AlexNet": {} })),
        ] {
            let mut description: Value = serde_json::from_str(&good).unwrap();
            *description.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}: {good}")) = value.clone();
            let error = with(&description.to_string()).expect_err(&format!("{pointer}: {value}"));
            println!("{pointer}: {error:.120}");
        }
        for text in ["", "{", "null", "[]", &"[".repeat(10_000), &good[..good.len() - 1]] {
            with(text).unwrap_err();
        }
        // A file cut short, one with a header longer than itself, and one of bytes.
        with(&good).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for broken in [&whole[..whole.len() / 2], &whole[..100], &whole[..4], &[], &[0xff; 64]] {
            std::fs::write(&path, broken).unwrap();
            Recognizer::open(folder.path(), &device).unwrap_err();
        }
        // A CNN of another shape.
        std::fs::write(&path, &whole).unwrap();
        let other = Cnn::from(Vgg16Config::small(6, [32, 48]).init(&device));
        export_torchvision(&other, &folder.path().join("backbone.safetensors")).unwrap();
        let error = Recognizer::open(folder.path(), &device).unwrap_err();
        assert!(matches!(error, RecognizerError::Weights(WeightsError::Mismatch { .. })), "{error}");
    }
}
