//! `run.json`: versions, data and results of a run, enough to judge it and to use its model.

use std::time::{SystemTime, UNIX_EPOCH};

use gru_rcn_data::Dataset;
use gru_rcn_metrics::{BINS, Classification, Comparison, Predictions};
use serde::{Deserialize, Serialize};

/// The run card.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct RunCard {
    pub(crate) version: u32,
    pub(crate) program: String,
    pub(crate) burn: String,
    pub(crate) recipe: String,
    pub(crate) seed: u64,
    /// When it was started or resumed last, milliseconds since 1970; absent in cards of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<u64>,
    pub(crate) backend: String,
    /// Precision of convolutions and gates, f32 or bf16; weights are always float32.
    #[serde(default = "float32")]
    pub(crate) dtype: String,
    /// Backend and precision of earlier sessions, in order, where they were others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) earlier_devices: Vec<String>,
    pub(crate) data: DataCard,
    /// Names of the classes, in the order of the labels.
    pub(crate) classes: Vec<String>,
    /// Number of classes of the CNN's own classifier.
    pub(crate) cnn_classes: usize,
    /// Whether these are the clips' classes, as the CNN learnt them from clips: its classifier is a
    /// system of the run then.
    #[serde(default)]
    pub(crate) cnn_is_system: bool,
    /// Seconds of each part of the work, one entry per training stage.
    pub(crate) seconds: Vec<(String, f64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bad_clips: Vec<String>,
    /// Test clips that could not be read, which no result counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed_test_clips: Vec<String>,
    /// What a reader of the results should know of the data: clips that are missing or in
    /// quarantine, classes without clips, groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// The systems with their test results; empty until they are scored.
    pub(crate) systems: Vec<SystemResult>,
    /// What a captioner's run has instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) captioner: Option<CaptionerCard>,
}

/// A captioner and its results.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct CaptionerCard {
    /// The encoders in words.
    pub(crate) encoders: Vec<String>,
    /// Features of a segment.
    pub(crate) features: usize,
    pub(crate) segments: usize,
    /// Words that it knows.
    pub(crate) vocabulary: usize,
    /// Training captions that it learns.
    pub(crate) captions: usize,
    /// By what its weights are chosen.
    pub(crate) select: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<CaptionerResult>,
}

/// Results of a trained captioner.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct CaptionerResult {
    pub(crate) parameters: usize,
    /// Lowest negative log-likelihood of a validation caption, in the mean over all.
    pub(crate) validation_nll: f64,
    pub(crate) curve: Vec<EpochPoint>,
    /// Metrics of the test captions by their keys.
    pub(crate) test: Vec<(String, f64)>,
}

fn float32() -> String {
    "f32".into()
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct DataCard {
    pub(crate) name: String,
    /// Hash over classes and clips.
    pub(crate) fingerprint: String,
    pub(crate) train: usize,
    pub(crate) validation: usize,
    pub(crate) test: usize,
}

impl DataCard {
    pub(crate) fn new(dataset: &Dataset, fingerprint: String) -> Self {
        Self {
            name: dataset.name.clone(),
            fingerprint,
            train: dataset.train.len(),
            validation: dataset.validation.len(),
            test: dataset.test.len(),
        }
    }

    /// Its clips, in a line.
    pub(crate) fn line(&self) -> String {
        let Self { name, train, validation, test, .. } = self;
        format!("{name}: {train} training, {validation} validation and {test} test clips")
    }
}

impl RunCard {
    /// The card of a run that begins now, without its classes.
    pub(crate) fn new(recipe: &str, seed: u64, devices: &str, dtype: String, data: DataCard) -> Self {
        Self {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            burn: BURN.into(),
            recipe: recipe.into(),
            seed,
            started: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64),
            backend: devices.into(),
            dtype,
            data,
            ..Self::default()
        }
    }

    /// Backend and precision of the latest training session.
    pub(crate) fn devices(&self) -> String {
        format!("{}, {}", self.backend, self.dtype)
    }

    /// Keeps the devices of the sessions before this one.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.earlier_devices.clone_from(&before.earlier_devices);
        if before.devices() != self.devices() {
            self.earlier_devices.push(before.devices());
        }
    }

    /// Names and values for the report.
    pub(crate) fn entries(&self) -> Vec<(String, String)> {
        let data = &self.data;
        let mut entries = vec![
            ("Program".to_string(), format!("gru-rcn {} on Burn {}", self.program, self.burn)),
            ("Recipe".into(), self.recipe.clone()),
            ("Seed".into(), self.seed.to_string()),
            (
                "Backend".into(),
                self.earlier_devices.iter().cloned().chain([self.devices()]).collect::<Vec<_>>().join("; then "),
            ),
            ("Data".into(), format!("{} ({})", data.name, data.fingerprint)),
            (
                "Clips".into(),
                format!("{} for training, {} for validation, {} for testing", data.train, data.validation, data.test),
            ),
        ];
        if let Some(captioner) = &self.captioner {
            let CaptionerCard { encoders, features, segments, vocabulary, captions, select, .. } = captioner;
            entries.push(("Encoders".into(), encoders.join("; ")));
            entries.push(("Features".into(), format!("{features} of each of {segments} segments")));
            entries.push(("Learnt".into(), format!("{captions} captions, {vocabulary} words")));
            entries.push(("Weights chosen by".into(), format!("validation {select}")));
        }
        if !self.bad_clips.is_empty() {
            entries.push(("Skipped, unreadable".into(), self.bad_clips.join(", ")));
        }
        if !self.failed_test_clips.is_empty() {
            entries.push(("Test clips that could not be read".into(), self.failed_test_clips.join(", ")));
        }
        for (what, seconds) in &self.seconds {
            entries.push((what.clone(), format!("{seconds:.1} s")));
        }
        entries
    }
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct SystemResult {
    /// The name for people, such as "GRU-RCN".
    pub(crate) name: String,
    /// The name in files, such as `gru_rcn`.
    pub(crate) key: String,
    pub(crate) parameters: usize,
    pub(crate) test: Classification,
    /// The result by the mean of the probabilities of frames and views, where `test` is by that of
    /// their logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mean_of_probabilities: Option<Classification>,
    /// The file of its scores, relative to the run folder; absent in cards of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scores: Option<String>,
    /// Top-1 test accuracy of the classifier of every level alone; empty if there is only one.
    #[serde(default)]
    pub(crate) levels: Vec<(String, f64)>,
    /// Temperature of its probabilities; absent in cards of earlier versions, and where nothing was
    /// fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
    #[serde(default)]
    pub(crate) curve: Vec<EpochPoint>,
    /// Epochs of the second training, on training and validation clips, whose last weights were
    /// tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refit: Option<usize>,
    /// The system that the run is about against this one, on the same test clips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Comparison>,
}

/// Temperature scaling of a system's probabilities.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Calibration {
    /// Fitted on the validation clips.
    pub(crate) temperature: f64,
    pub(crate) validation: CalibrationError,
    pub(crate) test: CalibrationError,
}

/// The expected calibration error of some clips.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct CalibrationError {
    pub(crate) clips: usize,
    /// Without scaling.
    pub(crate) before: f64,
    /// With it.
    pub(crate) after: f64,
}

impl CalibrationError {
    pub(crate) fn of(predictions: &Predictions, temperature: f64) -> Self {
        Self {
            clips: predictions.clips(),
            before: predictions.calibration_error(BINS),
            after: predictions.at_temperature(temperature).calibration_error(BINS),
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct EpochPoint {
    /// The epoch, counted from one.
    pub(crate) epoch: usize,
    pub(crate) train_loss: f64,
    /// Accuracy over the training clips, a fraction.
    pub(crate) train_accuracy: f64,
    pub(crate) validation_loss: f64,
    pub(crate) validation_accuracy: f64,
    /// What the weights were kept by, if not the validation loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validation_score: Option<f64>,
    /// Whether it was the best epoch so far. The weights of the last such epoch were kept.
    pub(crate) best: bool,
}

pub(crate) const BURN: &str = "0.22.1";

/// Version of the layout that this program writes and reads.
pub(crate) const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// Begun on one device, resumed on another, then twice on the first.
    #[test]
    fn devices_of_all_sessions_stay_in_the_card() {
        let card =
            |backend: &str, dtype: &str| RunCard { backend: backend.into(), dtype: dtype.into(), ..RunCard::default() };
        let mut before = card("cuda:0", "bf16");
        for (backend, dtype) in [("cpu", "f32"), ("cuda:0", "bf16"), ("cuda:0", "bf16")] {
            let mut now = card(backend, dtype);
            now.follow(&before);
            before = now;
        }
        assert_eq!(before.earlier_devices, ["cuda:0, bf16", "cpu, f32"]);
        let backend = before.entries().into_iter().find(|(name, _)| name == "Backend").unwrap().1;
        assert_eq!(backend, "cuda:0, bf16; then cpu, f32; then cuda:0, bf16");
    }
}
