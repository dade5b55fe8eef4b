//! What a report shows, as data.

use gru_rcn_metrics::Classification;
use serde::{Deserialize, Serialize};

/// Everything a report shows.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RunReport {
    /// The name of the experiment.
    pub title: String,
    /// One or two sentences on the task and the data; may be empty.
    #[serde(default)]
    pub subtitle: String,
    /// Names and values that tell how to get this result again: versions, seed, device, data.
    pub run_card: Vec<(String, String)>,
    /// The names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// The systems compared. The first is the one the report is about.
    pub systems: Vec<SystemResult>,
    /// Counts of test clips of the first system, `confusion[truth][predicted]`.
    pub confusion: Vec<Vec<usize>>,
    /// Some test clips with what the first system said.
    pub gallery: Vec<GalleryClip>,
    /// The resolved recipe, as TOML.
    pub recipe: String,
}

/// One system, trained and tested.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SystemResult {
    /// The name to show, such as "GRU-RCN".
    pub name: String,
    /// The name in files, such as `gru_rcn`.
    pub key: String,
    /// The number of parameters that were trained.
    pub parameters: usize,
    /// The result on the test clips.
    pub test: Classification,
    /// Top-1 test accuracy of the classifier of every level alone; empty where there is one only.
    #[serde(default)]
    pub levels: Vec<(String, f64)>,
    /// The course of training.
    #[serde(default)]
    pub curve: Vec<EpochPoint>,
    /// Epochs of the training on training and validation clips that came after it, whose last weights were tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refit: Option<usize>,
}

/// One epoch of training.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EpochPoint {
    /// Counted from one.
    pub epoch: usize,
    /// Mean loss over the training clips.
    pub train_loss: f64,
    /// Accuracy over the training clips, a fraction.
    pub train_accuracy: f64,
    /// Mean loss over the validation clips.
    pub validation_loss: f64,
    /// Accuracy over the validation clips, a fraction.
    pub validation_accuracy: f64,
    /// Whether it was the best epoch so far. The last one marked is the one that was kept.
    pub best: bool,
}

/// One test clip and what the system said about it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GalleryClip {
    /// The name of the clip.
    pub id: String,
    /// The name of its true class.
    pub truth: String,
    /// The most probable classes with their probabilities, the most probable first.
    pub top: Vec<(String, f32)>,
    /// Frames in their order, JPEG in Base64, as [`jpeg_base64`](super::jpeg_base64) makes them.
    pub frames_jpeg: Vec<String>,
}

impl GalleryClip {
    /// Whether the most probable class is the true one.
    pub fn is_right(&self) -> bool {
        self.top.first().is_some_and(|(class, _)| *class == self.truth)
    }
}
