//! `run.json`: what a run was made of and what came out, enough to judge it and to use its model.

use gru_rcn_metrics::Classification;
use serde::{Deserialize, Serialize};

use crate::report::SystemResult;

/// The run card.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct RunCard {
    /// Version of this file's layout.
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// Version of Burn.
    pub burn: String,
    /// The recipe's name.
    pub recipe: String,
    /// The seed.
    pub seed: u64,
    /// The backend.
    pub backend: String,
    /// What the model and the CNN computed in, f32 or bf16; weights are float32 always.
    #[serde(default = "float32")]
    pub dtype: String,
    /// The data.
    pub data: DataCard,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Number of classes of the CNN's own classifier.
    pub cnn_classes: usize,
    /// Seconds of each part of the work, training stages apart.
    pub seconds: Vec<(String, f64)>,
    /// Training clips that could not be read and were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_clips: Vec<String>,
    /// The systems with their test results; empty until they are scored.
    pub systems: Vec<SystemResult>,
}

fn float32() -> String {
    "f32".into()
}

/// What the clips were.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DataCard {
    /// Name of the data set.
    pub name: String,
    /// Hash over classes and clips.
    pub fingerprint: String,
    /// Training clips.
    pub train: usize,
    /// Validation clips.
    pub validation: usize,
    /// Test clips.
    pub test: usize,
}

/// Version of the layout that this program writes and reads.
pub const VERSION: u32 = 1;

impl RunCard {
    /// Names and values for the report.
    pub fn entries(&self) -> Vec<(String, String)> {
        let data = &self.data;
        let mut entries = vec![
            ("Program".to_string(), format!("gru-rcn {} on Burn {}", self.program, self.burn)),
            ("Recipe".into(), self.recipe.clone()),
            ("Seed".into(), self.seed.to_string()),
            ("Backend".into(), format!("{}, {}", self.backend, self.dtype)),
            ("Data".into(), format!("{} ({})", data.name, data.fingerprint)),
            (
                "Clips".into(),
                format!("{} for training, {} for validation, {} for testing", data.train, data.validation, data.test),
            ),
        ];
        if !self.bad_clips.is_empty() {
            entries.push(("Left out, unreadable".into(), self.bad_clips.join(", ")));
        }
        for (what, seconds) in &self.seconds {
            entries.push((what.clone(), format!("{seconds:.1} s")));
        }
        entries
    }

    /// The test result of a system by its name in files.
    pub fn test(&self, key: &str) -> Option<&Classification> {
        self.systems.iter().find(|system| system.key == key).map(|system| &system.test)
    }
}
