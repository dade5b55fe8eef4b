//! Description of a trained recognizer, part of its weight file.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RecognizerError;
use crate::backbone::{Cnn, CnnConfig, Pixels};
use crate::classifier::{GruRcnClassifier, GruRcnClassifierConfig};
use crate::percepts::NormRule;
use crate::recurrent::Form;

/// The layout that this version writes and reads.
const VERSION: u32 = 1;

/// Largest number in a description: beyond any size in use, and far below any whose products
/// overflow.
const MOST: u64 = 1 << 15;

/// What a program needs beside the weights to use a trained recognizer.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct RecognizerDescription {
    /// Layout of the description.
    pub version: u32,
    /// The CNN, its taps being the levels that are recurred over.
    pub cnn: CnnConfig,
    /// Whether the CNN was trained jointly with the classifier. Its weights are then in
    /// `backbone-joint.safetensors`, otherwise in `backbone.safetensors`.
    pub joint: bool,
    /// Levels, hidden sizes, form, kernel, normalisation rule and pooling.
    pub classifier: GruRcnClassifierConfig,
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
}

/// The frames that a recognizer takes.
#[derive(Clone, Debug, PartialEq)]
pub struct RecognizerInput {
    /// Channels of a frame: 3 for RGB, otherwise a stack of flow fields, two channels each.
    pub channels: usize,
    /// Height of a frame, pixels.
    pub height: usize,
    /// Width of a frame, pixels.
    pub width: usize,
    /// Normalisation of 8-bit pixels.
    pub pixels: Pixels,
}

impl RecognizerDescription {
    /// Key of the description in the metadata of `model.safetensors`.
    pub const KEY: &str = "recognizer";

    /// The description of a classifier over a CNN, which may have further taps.
    ///
    /// # Errors
    ///
    /// If the classifier's levels are not among the CNN's, or if the number of class names is not
    /// that of the classifier's classes.
    pub fn new(
        cnn: &Cnn,
        joint: bool,
        classifier: &GruRcnClassifier,
        classes: Vec<String>,
    ) -> Result<Self, RecognizerError> {
        let classifier = classifier.config();
        let taps: Vec<String> = classifier.recurrent.levels.iter().map(|level| level.name.clone()).collect();
        let description = Self { version: VERSION, cnn: cnn.config().with_taps(taps), joint, classifier, classes };
        description.validate()?;
        Ok(description)
    }

    /// Key and value for the metadata of the classifier's weight file.
    pub fn metadata(&self) -> (&'static str, String) {
        (Self::KEY, serde_json::to_string(self).expect("a description is plain data"))
    }

    /// Reads the value that [`metadata`](Self::metadata) wrote.
    ///
    /// # Errors
    ///
    /// If it is not such a value, of another version, or inconsistent.
    pub fn parse(text: &str) -> Result<Self, RecognizerError> {
        let unreadable = |error: serde_json::Error| RecognizerError::Inconsistent { reason: error.to_string() };
        let value: Value = serde_json::from_str(text).map_err(unreadable)?;
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            version => return Err(RecognizerError::Version { found: version, known: VERSION }),
        }
        check_sizes(&value)?;
        let description: Self = serde_json::from_value(value).map_err(unreadable)?;
        description.validate()?;
        Ok(description)
    }

    /// Name of the CNN's weight file.
    pub fn backbone_file(&self) -> &'static str {
        if self.joint { "backbone-joint.safetensors" } else { "backbone.safetensors" }
    }

    /// The frames that the recognizer takes.
    pub fn input(&self) -> RecognizerInput {
        let [height, width] = self.cnn.input_size();
        RecognizerInput { channels: self.cnn.in_channels(), height, width, pixels: self.cnn.pixels().clone() }
    }

    /// Whether the recognizer can take in a stream frame by frame: neither its form nor its
    /// normalisation needs the whole clip.
    pub fn takes_streams(&self) -> bool {
        self.classifier.recurrent.form != Form::Bidirectional && self.classifier.norm.rule != NormRule::Centre
    }

    /// Checks that the parts fit each other.
    fn validate(&self) -> Result<(), RecognizerError> {
        self.cnn.validate()?;
        self.classifier.recurrent.validate()?;
        let ensure =
            |holds: bool, reason: String| if holds { Ok(()) } else { Err(RecognizerError::Inconsistent { reason }) };
        let (found, expected) = (self.cnn.levels(), &self.classifier.recurrent.levels);
        ensure(found == *expected, format!("the CNN has the levels {found:?}, the classifier {expected:?}"))?;
        let (names, classes) = (self.classes.len(), self.classifier.num_classes);
        ensure(names == classes && classes > 0, format!("{names} class names for {classes} classes"))?;
        let RecognizerInput { channels, pixels, .. } = self.input();
        let fits = pixels.mean.len() == channels && pixels.std.len() == channels && pixels.std.iter().all(|&s| s > 0.0);
        ensure(fits, format!("{pixels:?} is no normalisation of {channels} channels"))?;
        let dropout = self.classifier.dropout;
        ensure((0.0..=1.0).contains(&dropout), format!("the drop probability is {dropout}"))
    }
}

/// Refuses numbers and lists that are too large for any network, before anything is built of them.
fn check_sizes(value: &Value) -> Result<(), RecognizerError> {
    let too_large = |what: String| Err(RecognizerError::Inconsistent { reason: format!("{what} is too large") });
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|n| n > MOST) => too_large(number.to_string()),
        Value::Array(items) if items.len() as u64 > MOST => too_large(format!("a list of {}", items.len())),
        Value::Array(items) => items.iter().try_for_each(check_sizes),
        Value::Object(fields) => fields.values().try_for_each(check_sizes),
        _ => Ok(()),
    }
}
