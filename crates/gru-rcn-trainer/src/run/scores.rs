//! Class probabilities of every clip: their metrics and their files.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gru_rcn::weights::sort_metadata;
use gru_rcn_data::base::read_file;
use gru_rcn_data::without_extension;
use gru_rcn_metrics::Predictions;
use safetensors::SafeTensors;

use super::dir::write_atomically;

/// Most bytes of a file of scores: a million clips of a thousand classes.
const MOST_BYTES: u64 = 4 << 30;

/// Class probabilities of a list of clips, of the model and of each of its classifiers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    pub(crate) classes: usize,
    /// `[clip, class]`.
    pub(crate) probabilities: Vec<f32>,
    /// Per level `[clip, class]`.
    pub(crate) levels: Vec<Vec<f32>>,
    pub(crate) targets: Vec<usize>,
}

impl Scores {
    pub(crate) fn predictions(&self) -> Result<Predictions> {
        Ok(Predictions::new(self.classes, self.probabilities.clone(), self.targets.clone())?)
    }

    /// Top-1 accuracy of each classifier on its own.
    pub(crate) fn level_accuracies(&self) -> Vec<f64> {
        self.levels
            .iter()
            .filter_map(|level| Predictions::new(self.classes, level.clone(), self.targets.clone()).ok())
            .map(|predictions| predictions.top_k(1))
            .collect()
    }

    /// Writes `probabilities [clip, class]` and `targets [clip]` as safetensors, with the names of
    /// clips and classes in the metadata. Fusion and scripts read this file.
    pub(crate) fn save(&self, path: &Path, ids: &[String], classes: &[String]) -> Result<()> {
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
        write_atomically(path, &bytes)
    }
}

/// The scores of a file that [`Scores::save`] wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SavedScores {
    /// The scores of the whole model; the file has none of single levels.
    pub(crate) scores: Scores,
    pub(crate) clips: Vec<String>,
    pub(crate) classes: Vec<String>,
}

impl SavedScores {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let bytes = read_file(path, MOST_BYTES)?;
        Self::parse(&bytes).with_context(|| format!("{} is not a file of scores", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let names = |key: &str| -> Result<Vec<String>> {
            let text = metadata.metadata().as_ref().and_then(|entries| entries.get(key));
            Ok(serde_json::from_str(text.with_context(|| format!("its metadata have no {key}"))?)?)
        };
        let (clips, classes) = (names("clips")?, names("classes")?);
        let file = SafeTensors::deserialize(bytes)?;
        let (probabilities, targets) = (file.tensor("probabilities")?, file.tensor("targets")?);
        ensure!(
            probabilities.shape() == [clips.len(), classes.len()] && targets.shape() == [clips.len()],
            "{} clips and {} classes have probabilities {:?} and targets {:?}",
            clips.len(),
            classes.len(),
            probabilities.shape(),
            targets.shape()
        );
        use safetensors::Dtype::{F32, I64};
        ensure!((probabilities.dtype(), targets.dtype()) == (F32, I64), "its tensors are not of F32 and I64");
        let scores = Scores {
            classes: classes.len(),
            probabilities: probabilities.data().as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
            levels: Vec::new(),
            targets: targets.data().as_chunks().0.iter().map(|eight| i64::from_le_bytes(*eight) as usize).collect(),
        };
        Ok(Self { scores, clips, classes })
    }

    /// The positions in this file of the other file's clips, in that file's order. A video and the
    /// frames that were extracted from it are the same clip.
    pub(crate) fn order_of(&self, other: &Self) -> Result<Vec<usize>> {
        ensure!(
            self.classes == other.classes,
            "its classes are {}, not {}",
            self.classes.join(", "),
            other.classes.join(", ")
        );
        ensure!(self.clips.len() == other.clips.len(), "it has {} clips, not {}", self.clips.len(), other.clips.len());
        let places: HashMap<&str, usize> =
            self.clips.iter().enumerate().map(|(place, id)| (without_extension(id), place)).collect();
        let place = |(id, class): (&String, &usize)| {
            let place = *places.get(without_extension(id)).with_context(|| format!("it has no clip {id}"))?;
            let own = self.scores.targets[place];
            ensure!(own == *class, "{id} is of class {own} there and of class {class} here");
            Ok(place)
        };
        other.clips.iter().zip(&other.scores.targets).map(place).collect()
    }
}

/// The most probable classes with their probabilities, the most probable first.
pub(crate) fn top_classes<'a>(
    probabilities: &[f32],
    classes: &'a [String],
    count: usize,
) -> impl Iterator<Item = (&'a str, f32)> {
    let mut ranked: Vec<(&str, f32)> = classes.iter().map(String::as_str).zip(probabilities.iter().copied()).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.into_iter().take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(clips: &[&str], targets: &[usize]) -> SavedScores {
        let probabilities = targets.iter().flat_map(|&target| [1.0 - target as f32, target as f32]).collect();
        SavedScores {
            scores: Scores { classes: 2, probabilities, levels: Vec::new(), targets: targets.to_vec() },
            clips: clips.iter().map(|id| id.to_string()).collect(),
            classes: vec!["fight".into(), "none".into()],
        }
    }

    #[test]
    fn scores_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.safetensors");
        let scores = saved(&["a/1.mp4", "b/2.mp4"], &[0, 1]);
        scores.scores.save(&path, &scores.clips, &scores.classes).unwrap();
        assert_eq!(SavedScores::load(&path).unwrap(), scores);
        std::fs::write(&path, b"words").unwrap();
        assert!(SavedScores::load(&path).unwrap_err().to_string().contains("not a file of scores"));
    }

    #[test]
    fn clips_are_matched_in_any_order() {
        let first = saved(&["a/1.mp4", "b/2.mp4", "b/v1.5"], &[0, 1, 1]);
        assert_eq!(saved(&["b/2", "b/v1.5", "a/1"], &[1, 1, 0]).order_of(&first).unwrap(), [2, 0, 1]);
        let fault = |other: SavedScores| other.order_of(&first).unwrap_err().to_string();
        assert!(fault(saved(&["b/2", "b/v1.5", "a/3"], &[1, 1, 0])).contains("no clip a/1.mp4"));
        assert!(fault(saved(&["b/2", "b/v1.5", "a/1"], &[1, 1, 1])).contains("a/1.mp4 is of class 1"));
        assert!(fault(saved(&["b/2"], &[1])).contains("1 clips, not 3"));
        let mut classes = first.clone();
        classes.classes.reverse();
        assert!(fault(classes).contains("none, fight"));
    }
}
