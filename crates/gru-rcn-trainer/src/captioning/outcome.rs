//! The results of a captioner's run: its captions, scores, card and report.

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn::captioner::{Captioner, Decoding, Vocabulary};
use gru_rcn_data::{Sample, Split};
use gru_rcn_metrics::caption::ParaphraseTable;
use serde_json::{Map, Value, json};

use super::CaptionedClips;
use super::encoder::Encoder;
use super::features::ClipFeatures;
use super::metrics::{Metric, metrics};
use super::model::describe;
use super::trained::cut_pictures;
use crate::context::Session;
use crate::output::{describe as words_of, say};
use crate::recipe::{CaptionRecipe, to_toml};
use crate::report::{CaptionReport, CaptionedClip};
use crate::run::card::{CaptionerResult, RunCard};
use crate::run::dir::{RunDir, write_json};

/// Number of the worst clips that the report shows, and of the best.
const SHOWN: usize = 6;
/// References and frames of each clip shown.
const REFERENCES: usize = 3;
const STRIP: usize = 8;

/// Captions of the clips of a part, scored.
pub(crate) struct Tested {
    pub(crate) split: Split,
    /// One of each clip, in the order of the part.
    pub(crate) captions: Vec<String>,
    pub(crate) metrics: Vec<Metric>,
}

/// A captioner with all that it takes to score its captions.
pub(super) struct Scorer<'a> {
    /// On the plain device.
    pub(super) captioner: &'a Captioner,
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) decoding: Decoding,
    pub(super) table: Option<&'a ParaphraseTable>,
    pub(super) device: &'a Device,
}

impl Scorer<'_> {
    /// The most probable caption of each clip.
    pub(super) fn captions(&self, features: &[ClipFeatures]) -> Vec<String> {
        let sentences = describe(self.captioner, features, &self.decoding, self.device);
        sentences.iter().map(|of_clip| self.vocabulary.text(&of_clip[0].words)).collect()
    }

    /// Captions of the clips of a part, scored.
    pub(super) fn test(&self, clips: &CaptionedClips, split: Split, features: &[ClipFeatures]) -> Result<Tested> {
        let captions = self.captions(features);
        let metrics = metrics(&clips.corpus(split, &captions)?, self.table);
        Ok(Tested { split, captions, metrics })
    }
}

impl Tested {
    /// The metrics of all clips together, by their keys.
    pub(crate) fn result(&self) -> Vec<(String, f64)> {
        self.metrics.iter().map(|metric| (metric.key.to_owned(), metric.scores.corpus)).collect()
    }

    /// The clips with their captions and scores.
    pub(crate) fn to_json(&self, samples: &[Sample]) -> Value {
        let scores = |clip: usize| -> Map<String, Value> {
            self.metrics.iter().map(|metric| (metric.key.to_owned(), json!(metric.scores.clips[clip]))).collect()
        };
        let clips = samples.iter().zip(&self.captions).enumerate();
        clips
            .map(|(n, (sample, caption))| json!({"clip": sample.id, "caption": caption, "scores": scores(n)}))
            .collect()
    }

    /// Writes captions and references in COCO's format, which `score-captions` reads.
    pub(crate) fn save(&self, dir: &RunDir, clips: &CaptionedClips) -> Result<()> {
        let (samples, name) = (clips.dataset.split(self.split), self.split.to_string());
        let image = |sample: &Sample| clips.image(&sample.id).clone();
        let hypotheses: Vec<Value> = samples
            .iter()
            .zip(&self.captions)
            .map(|(sample, caption)| json!({"image_id": image(sample), "caption": caption}))
            .collect();
        let annotations: Vec<Value> = samples
            .iter()
            .flat_map(|sample| {
                clips.references(&sample.id).iter().map(|text| json!({"image_id": image(sample), "caption": text}))
            })
            .collect();
        write_json(&dir.captions(&name), &hypotheses)?;
        write_json(&dir.references(&name), &json!({ "annotations": annotations }))
    }
}

/// Writes captions, card and report of a run whose captioner is tested; returns the card.
pub(super) fn write(
    session: &Session,
    recipe: &CaptionRecipe,
    clips: &CaptionedClips,
    encoders: &[Encoder],
    mut card: RunCard,
    tested: &Tested,
    result: CaptionerResult,
) -> Result<RunCard> {
    let dir = &session.dir;
    dir.check_there()?;
    tested.save(dir, clips)?;
    let curve = result.curve.clone();
    card.seconds = session.clock.take();
    if let Some(captioner) = &mut card.captioner {
        captioner.result = Some(result);
    }
    let shown = shown(tested);
    let show = |&clip: &usize| -> Option<CaptionedClip> {
        let sample = &clips.dataset.split(tested.split)[clip];
        let frames_jpeg = match cut_pictures(&encoders[0].loader, sample, STRIP) {
            Ok(frames) => frames,
            Err(error) => {
                session.message(format!("warning: the report does not show {}: {}", sample.id, words_of(&error)));
                return None;
            }
        };
        Some(CaptionedClip {
            id: sample.id.clone(),
            caption: tested.captions[clip].clone(),
            references: clips.references(&sample.id).iter().take(REFERENCES).cloned().collect(),
            scores: tested.metrics.iter().map(|metric| (metric.name.to_owned(), metric.scores.clips[clip])).collect(),
            frames_jpeg,
        })
    };
    let report = CaptionReport {
        title: format!("Captions of {}", card.data.name),
        subtitle: recipe.about.clone(),
        run_card: card.entries(),
        clips: tested.captions.len(),
        metrics: tested.metrics.iter().map(|metric| (metric.name.to_owned(), metric.scores.corpus)).collect(),
        curve,
        worst: shown[0].iter().filter_map(show).collect(),
        best: shown[1].iter().filter_map(show).collect(),
        recipe: to_toml(recipe)?,
        notes: card.notes.clone(),
    };
    report.write(dir)?;
    dir.write_card(&card)?;
    Ok(card)
}

/// Whether nothing is left to compute of a resumed run.
pub(super) fn finished(dir: &RunDir, card: &RunCard) -> bool {
    let files = [dir.model(), dir.captions("test"), dir.report(), dir.report_data()];
    card.captioner.as_ref().is_some_and(|card| card.result.is_some()) && files.iter().all(|file| file.is_file())
}

/// The clips of the lowest METEOR and those of the highest, none in both.
fn shown(tested: &Tested) -> [Vec<usize>; 2] {
    let meteor = tested.metrics.iter().find(|metric| metric.name.starts_with("METEOR")).expect("METEOR is computed");
    let mut order: Vec<usize> = (0..tested.captions.len()).collect();
    order.sort_by(|&a, &b| meteor.scores.clips[a].total_cmp(&meteor.scores.clips[b]));
    let (others, best) = order.split_at(order.len().saturating_sub(SHOWN));
    [others.iter().take(SHOWN).copied().collect(), best.iter().rev().copied().collect()]
}

/// The metrics of a part, as lines.
pub(crate) fn print_result(clips: usize, part: &str, metrics: &[(String, f64)]) -> Result<()> {
    say!("{clips} {part} clips")?;
    for (name, value) in metrics {
        say!("  {name:28} {value:8.4}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gru_rcn_metrics::caption::Scores;

    /// Of nine clips the six best by METEOR are shown and the three others; of one clip that one.
    #[test]
    fn no_clip_is_shown_twice() {
        let tested = |values: &[f64]| Tested {
            split: Split::Test,
            captions: vec![String::new(); values.len()],
            metrics: vec![Metric {
                key: "meteor",
                name: "METEOR",
                scores: Scores { corpus: 0.0, clips: values.to_vec() },
            }],
        };
        let values = [0.5, 0.1, 0.9, 0.3, 0.2, 0.7, 0.8, 0.6, 0.4];
        assert_eq!(shown(&tested(&values)), [vec![1, 4, 3], vec![2, 6, 5, 7, 0, 8]]);
        assert_eq!(shown(&tested(&[0.0])), [vec![], vec![0]]);
        assert_eq!(shown(&tested(&[0.1; 20])).map(|clips| clips.len()), [6, 6]);
    }
}
