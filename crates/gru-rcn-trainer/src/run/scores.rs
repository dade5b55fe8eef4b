//! Class probabilities of every clip: their metrics and their files.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
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
    /// The means of the probabilities, `[clip, class]`, where `probabilities` are made of the means
    /// of logits.
    pub(crate) mean_probabilities: Option<Vec<f32>>,
    pub(crate) targets: Vec<usize>,
}

impl Scores {
    pub(crate) fn predictions(&self) -> Result<Predictions> {
        Ok(Predictions::new(self.classes, self.probabilities.clone(), self.targets.clone())?)
    }

    /// Top-1 accuracy of each classifier on its own.
    pub(crate) fn level_accuracies(&self) -> Result<Vec<f64>> {
        let accuracy =
            |level: &Vec<f32>| Ok(Predictions::new(self.classes, level.clone(), self.targets.clone())?.top_k(1));
        self.levels.iter().map(accuracy).collect()
    }

    /// The predictions by the means of the probabilities, where these are others.
    pub(crate) fn by_mean_probabilities(&self) -> Result<Option<Predictions>> {
        let predictions = |means: &Vec<f32>| Predictions::new(self.classes, means.clone(), self.targets.clone());
        Ok(self.mean_probabilities.as_ref().map(predictions).transpose()?)
    }

    /// Writes `probabilities [clip, class]` and `targets [clip]` as safetensors, with the names of
    /// clips and classes, the rule of views and what the clips are in the metadata. Fusion and
    /// scripts read this file.
    pub(crate) fn save(&self, path: &Path, labels: &ScoreLabels) -> Result<()> {
        use safetensors::tensor::{Dtype, TensorView};
        let probabilities: Vec<u8> = self.probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
        let targets: Vec<u8> = self.targets.iter().flat_map(|&t| (t as i64).to_le_bytes()).collect();
        let clips = self.targets.len();
        let tensors = [
            ("probabilities", TensorView::new(Dtype::F32, vec![clips, self.classes], &probabilities)?),
            ("targets", TensorView::new(Dtype::I64, vec![clips], &targets)?),
        ];
        let metadata = [
            ("clips".to_string(), serde_json::to_string(labels.ids)?),
            ("classes".to_string(), serde_json::to_string(labels.classes)?),
            ("views".to_string(), labels.views.to_string()),
            ("part".to_string(), labels.part.to_string()),
        ];
        let mut bytes = safetensors::serialize(tensors, Some(metadata.into_iter().collect()))?;
        sort_metadata(&mut bytes);
        write_atomically(path, &bytes)
    }
}

/// The average of predictions on the same clips by these weights, of which only the proportions matter.
pub(crate) fn average(predictions: &[Predictions], weights: &[f64]) -> Result<Predictions> {
    let (first, total) = (predictions.first().context("name predictions to average")?, weights.iter().sum::<f64>());
    let mut sum = vec![0.0; first.probabilities.len()];
    for (predictions, weight) in predictions.iter().zip(weights) {
        for (sum, &probability) in sum.iter_mut().zip(&predictions.probabilities) {
            *sum += weight / total * f64::from(probability);
        }
    }
    let mean = sum.into_iter().map(|probability| probability as f32).collect();
    Ok(Predictions::new(first.classes, mean, first.targets.clone())?)
}

/// The metadata of a file of scores.
pub(crate) struct ScoreLabels<'a> {
    pub(crate) ids: &'a [String],
    pub(crate) classes: &'a [String],
    /// By which views the clips were scored, such as `25x10`.
    pub(crate) views: &'a str,
    /// Which clips these are, for people.
    pub(crate) part: &'a str,
}

/// The scores of a file that [`Scores::save`] wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SavedScores {
    /// The scores of the whole model; the file has none of single levels.
    pub(crate) scores: Scores,
    pub(crate) clips: Vec<String>,
    pub(crate) classes: Vec<String>,
    /// By which views; files of earlier versions do not say it.
    pub(crate) views: Option<String>,
}

impl SavedScores {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let bytes = read_file(path, MOST_BYTES)?;
        Self::parse(&bytes).with_context(|| format!("{} is not a file of scores", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let entry = |key: &str| metadata.metadata().as_ref()?.get(key);
        let names = |key: &str| -> Result<Vec<String>> {
            Ok(serde_json::from_str(entry(key).with_context(|| format!("its metadata have no {key}"))?)?)
        };
        let (clips, classes, views) = (names("clips")?, names("classes")?, entry("views").cloned());
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
            mean_probabilities: None,
            targets: targets.data().as_chunks().0.iter().map(|eight| i64::from_le_bytes(*eight) as usize).collect(),
        };
        Ok(Self { scores, clips, classes, views })
    }

    /// Its predictions, in the order of another file's clips, which must be the same.
    pub(crate) fn predictions_like(&self, other: &Self) -> Result<Predictions> {
        let (classes, order) = (self.scores.classes, self.order_of(other)?);
        let row = |&clip: &usize| self.scores.probabilities[clip * classes..][..classes].iter().copied();
        let targets = order.iter().map(|&clip| self.scores.targets[clip]).collect();
        Ok(Predictions::new(classes, order.iter().flat_map(row).collect(), targets)?)
    }

    /// The positions in this file of the other file's clips, in that file's order. Clips of the same
    /// name are the same; so are a video and the frames that were extracted from it, where no other
    /// clip is called like them.
    pub(crate) fn order_of(&self, other: &Self) -> Result<Vec<usize>> {
        ensure!(
            self.classes == other.classes,
            "its classes are {}, not {}",
            self.classes.join(", "),
            other.classes.join(", ")
        );
        ensure!(self.clips.len() == other.clips.len(), "it has {} clips, not {}", self.clips.len(), other.clips.len());
        let (own, theirs) = (Places::of(&self.clips)?, Places::of(&other.clips)?);
        let place = |(id, class): (&String, &usize)| {
            let stem = without_extension(id);
            let place = match (own.by_id.get(id.as_str()), own.of_stem(stem), theirs.of_stem(stem)) {
                (Some(place), ..) => *place,
                (None, [place], [_]) => *place,
                (None, [], _) => bail!("it has no clip {id}"),
                _ => bail!("it has no clip {id}, and more than one clip is called {stem}"),
            };
            let own = self.scores.targets[place];
            ensure!(own == *class, "{id} is of class {own} there and of class {class} here");
            Ok(place)
        };
        other.clips.iter().zip(&other.scores.targets).map(place).collect()
    }
}

/// Where the clips of a list are.
struct Places<'a> {
    by_id: HashMap<&'a str, usize>,
    by_stem: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Places<'a> {
    fn of(clips: &'a [String]) -> Result<Self> {
        let (mut by_id, mut by_stem) = (HashMap::new(), HashMap::<_, Vec<usize>>::new());
        for (place, id) in clips.iter().enumerate() {
            ensure!(by_id.insert(id.as_str(), place).is_none(), "the clip {id} occurs twice in one file");
            by_stem.entry(without_extension(id)).or_default().push(place);
        }
        Ok(Self { by_id, by_stem })
    }

    fn of_stem(&self, stem: &str) -> &[usize] {
        self.by_stem.get(stem).map_or(&[], Vec::as_slice)
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
            scores: Scores { classes: 2, probabilities, targets: targets.to_vec(), ..Scores::default() },
            clips: clips.iter().map(|id| id.to_string()).collect(),
            classes: vec!["fight".into(), "none".into()],
            views: Some("1x1".into()),
        }
    }

    #[test]
    fn scores_survive_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.safetensors");
        let scores = saved(&["a/1.mp4", "b/2.mp4"], &[0, 1]);
        let labels = ScoreLabels { ids: &scores.clips, classes: &scores.classes, views: "1x1", part: "test clips" };
        scores.scores.save(&path, &labels).unwrap();
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
        assert!(fault(saved(&["b/2", "b/2", "a/1"], &[1, 1, 0])).contains("b/2 occurs twice"));
    }

    /// Two videos that differ in their extension alone are two clips.
    #[test]
    fn equal_stems_are_told_apart() {
        let first = saved(&["a/x.avi", "a/x.mp4"], &[0, 1]);
        assert_eq!(first.order_of(&first).unwrap(), [0, 1]);
        assert_eq!(saved(&["a/x.mp4", "a/x.avi"], &[1, 0]).order_of(&first).unwrap(), [1, 0]);
        // Frames may be those of either video, and one video is not the same clip twice.
        for other in [["a/x", "a/y"], ["a/x.avi", "a/x"], ["a/x.mkv", "a/x.mp4"]] {
            let message = saved(&other, &[0, 1]).order_of(&first).unwrap_err().to_string();
            assert!(message.contains("more than one clip is called a/x"), "{message}");
            let message = first.order_of(&saved(&other, &[0, 1])).unwrap_err().to_string();
            assert!(message.contains("it has no clip a/"), "{message}");
        }
    }

    /// Two clips of two classes. The first gives the true class 0.9 and 0.4, the second 0.3 and 0.7; in
    /// equal parts 0.6 and 0.55.
    #[test]
    fn averages_by_hand() {
        let predictions =
            |p: [f32; 2]| Predictions::new(2, p.iter().flat_map(|p| [*p, 1.0 - p]).collect(), vec![0, 0]).unwrap();
        let members = [predictions([0.9, 0.4]), predictions([0.3, 0.7])];
        let top1 = |weights: [f64; 2]| average(&members, &weights).unwrap().top_k(1);
        assert_eq!([top1([1.0, 0.0]), top1([1.0, 1.0]), top1([0.0, 2.0])], [0.5, 1.0, 0.5]);
        let mean = average(&members, &[3.0, 1.0]).unwrap().probabilities;
        assert!((mean[0] - 0.75).abs() < 1e-6 && (mean[2] - 0.475).abs() < 1e-6, "{mean:?}");
    }
}
