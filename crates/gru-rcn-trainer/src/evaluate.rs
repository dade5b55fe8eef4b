//! Scoring: class probabilities of every clip, and what they are worth.

use std::path::Path;

use anyhow::{Result, bail};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::weights::sort_metadata;
use gru_rcn_metrics::Predictions;

use crate::percepts::Source;

/// Class probabilities of a list of clips, of the model and of each of its classifiers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Number of classes.
    pub classes: usize,
    /// `[clip, class]`.
    pub probabilities: Vec<f32>,
    /// Per level `[clip, class]`.
    pub levels: Vec<Vec<f32>>,
    /// True classes.
    pub targets: Vec<usize>,
}

/// Scores all clips of a source by a model on the plain device.
pub fn score<M: ClipClassifier>(model: &M, source: &dyn Source, batch: usize) -> Result<Scores> {
    let mut scores = Scores::default();
    for batch in source.evaluation(batch) {
        let batch = batch?;
        let logits = model.logits(batch.percepts);
        let [levels, clips, classes] = logits.logits.dims();
        scores.classes = classes;
        scores.levels.resize(levels, Vec::new());
        let per_level = logits.level_log_probabilities().exp().try_into_data()?.try_into_vec::<f32>()?;
        for (level, values) in scores.levels.iter_mut().zip(per_level.chunks(clips * classes)) {
            level.extend_from_slice(values);
        }
        scores.probabilities.extend(logits.probabilities().try_into_data()?.try_into_vec::<f32>()?);
        scores.targets.extend(batch.classes);
    }
    if scores.targets.is_empty() {
        bail!("there are no clips to score");
    }
    Ok(scores)
}

impl Scores {
    /// The model's predictions.
    pub fn predictions(&self) -> Result<Predictions> {
        Ok(Predictions::new(self.classes, self.probabilities.clone(), self.targets.clone())?)
    }

    /// Top-1 accuracy of each classifier on its own.
    pub fn level_accuracies(&self) -> Vec<f64> {
        self.levels
            .iter()
            .filter_map(|level| Predictions::new(self.classes, level.clone(), self.targets.clone()).ok())
            .map(|predictions| predictions.top_k(1))
            .collect()
    }

    /// Writes `probabilities [clip, class]` and `targets [clip]` as safetensors, with the clips' names and the classes in
    /// the metadata, for fusion and for scripts.
    pub fn save(&self, path: &Path, ids: &[String], classes: &[String]) -> Result<()> {
        use safetensors::tensor::{Dtype, TensorView};
        let probabilities: Vec<u8> = self.probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
        let targets: Vec<u8> = self.targets.iter().flat_map(|&t| (t as i64).to_le_bytes()).collect();
        let clips = self.targets.len();
        let tensors = [
            ("probabilities", TensorView::new(Dtype::F32, vec![clips, self.classes], &probabilities)?),
            ("targets", TensorView::new(Dtype::I64, vec![clips], &targets)?),
        ];
        let metadata = [
            ("clips".to_string(), serde_json::to_string(ids)?),
            ("classes".to_string(), serde_json::to_string(classes)?),
        ];
        let mut bytes = safetensors::serialize(tensors, Some(metadata.into_iter().collect()))?;
        sort_metadata(&mut bytes);
        crate::run_dir::write_atomic(path, &bytes)
    }
}
