//! Scoring: class probabilities of clips, averaged over the views of each.
//!
//! There is one engine, [`score`]. It takes batches whose rows are views of clips, gives every
//! batch to every model, and averages the probabilities of each clip's views. A clip that is scored
//! as it is has one view; [`single_view`] makes such batches of any source, [`views`] makes those
//! of a test with several views, such as the paper's 25 × 10.

pub(crate) mod views;

use anyhow::{Result, bail};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::EnsembleLogits;

use crate::percepts::Source;
use crate::run::scores::Scores;
use crate::signals::StopFlag;

/// Views of clips that are scored together.
pub(crate) struct ViewBatch<I> {
    /// What models take in, a row per view.
    pub(crate) input: I,
    /// Which clip each row is a view of, and how often the view occurs.
    pub(crate) rows: Vec<View>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Place of the clip in the list.
    pub(crate) clip: usize,
    /// How often the view occurs among those of the clip.
    pub(crate) times: usize,
}

/// A trained model, as far as scoring needs it.
pub(crate) trait Scorable<I> {
    /// The logits of each of its classifiers.
    fn logits(&self, input: I) -> EnsembleLogits;
}

impl<M: ClipClassifier> Scorable<M::Input> for M {
    fn logits(&self, input: M::Input) -> EnsembleLogits {
        ClipClassifier::logits(self, input)
    }
}

/// Scores clips with these true classes by each of the models. `progress` gets the number of clips
/// whose views have all been scored, as far as batches come in the order of the clips.
/// The error is [`Interrupted`](crate::signals::Interrupted) if a stop was requested.
pub(crate) fn score<I: Clone>(
    models: &[&dyn Scorable<I>],
    batches: impl Iterator<Item = Result<ViewBatch<I>>>,
    targets: &[usize],
    stop: &StopFlag,
    progress: impl FnMut(usize),
) -> Result<Vec<Scores>> {
    let (scores, missing) = score_readable(models, batches, targets, stop, progress)?;
    match missing.first() {
        Some(clip) => bail!("clip {clip} of {} has no view to score", targets.len()),
        None => Ok(scores),
    }
}

/// The same for batches that lack the clips that could not be read: the scores of the others, and
/// the places of those.
pub(crate) fn score_readable<I: Clone>(
    models: &[&dyn Scorable<I>],
    batches: impl Iterator<Item = Result<ViewBatch<I>>>,
    targets: &[usize],
    stop: &StopFlag,
    mut progress: impl FnMut(usize),
) -> Result<(Vec<Scores>, Vec<usize>)> {
    if targets.is_empty() {
        bail!("there are no clips to score");
    }
    let mut sums: Vec<Sums> = models.iter().map(|_| Sums::default()).collect();
    let mut views = vec![0; targets.len()];
    for batch in batches {
        let ViewBatch { input, rows } = batch?;
        if stop.is_set() {
            bail!(stop.interrupted());
        }
        for (model, sums) in models.iter().zip(&mut sums) {
            sums.add(&model.logits(input.clone()), &rows, targets.len())?;
        }
        rows.iter().for_each(|row| views[row.clip] += row.times);
        progress(rows.last().map_or(0, |row| row.clip + 1));
    }
    let missing = (0..targets.len()).filter(|&clip| views[clip] == 0).collect();
    Ok((sums.iter().map(|sums| sums.means(&views, targets)).collect(), missing))
}

/// All clips of a source as they are evaluated, each as one view; those that the source skips have
/// none.
pub(crate) fn single_view<I>(source: &dyn Source<I>, batch: usize) -> impl Iterator<Item = Result<ViewBatch<I>>> + '_ {
    source.evaluation(batch).filter_map(|batch| match batch {
        Ok(batch) => {
            let rows = batch.clips.into_iter().map(|clip| View { clip, times: 1 }).collect();
            batch.input.map(|input| Ok(ViewBatch { input, rows }))
        }
        Err(error) => Some(Err(error)),
    })
}

/// Sums of one model's probabilities over the views of each clip, in float64: the mean of one view
/// is that view's probability to the bit.
#[derive(Default)]
struct Sums {
    classes: usize,
    /// `[clip, class]`
    probabilities: Vec<f64>,
    /// Of each classifier alone, `[clip, class]`.
    levels: Vec<Vec<f64>>,
}

impl Sums {
    fn add(&mut self, logits: &EnsembleLogits, rows: &[View], clips: usize) -> Result<()> {
        let [levels, count, classes] = logits.logits.dims();
        self.classes = classes;
        self.probabilities.resize(clips * classes, 0.0);
        self.levels.resize(levels, vec![0.0; clips * classes]);
        let probabilities = logits.probabilities().try_into_data()?.try_into_vec::<f32>()?;
        let each = logits.member_log_probabilities().exp().try_into_data()?.try_into_vec::<f32>()?;
        let add = |sums: &mut [f64], values: &[f32]| {
            for (row, values) in rows.iter().zip(values.chunks(classes)) {
                let sums = &mut sums[row.clip * classes..][..classes];
                sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += row.times as f64 * f64::from(value));
            }
        };
        add(&mut self.probabilities, &probabilities);
        for (sums, values) in self.levels.iter_mut().zip(each.chunks(count * classes)) {
            add(sums, values);
        }
        Ok(())
    }

    /// The means of the clips that have views.
    fn means(&self, views: &[usize], targets: &[usize]) -> Scores {
        let means = |sums: &[f64]| -> Vec<f32> {
            let clips = sums.chunks(self.classes.max(1)).zip(views).filter(|(_, views)| **views > 0);
            clips.flat_map(|(sums, &views)| sums.iter().map(move |sum| (sum / views as f64) as f32)).collect()
        };
        Scores {
            classes: self.classes,
            probabilities: means(&self.probabilities),
            levels: self.levels.iter().map(|level| means(level)).collect(),
            targets: targets.iter().zip(views).filter(|(_, views)| **views > 0).map(|(target, _)| *target).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;

    /// Gives back what it takes in, as the logits of one classifier.
    struct Echo;

    impl Scorable<Tensor<2>> for Echo {
        fn logits(&self, input: Tensor<2>) -> EnsembleLogits {
            EnsembleLogits::new(input.unsqueeze_dim(0))
        }
    }

    fn batch(logits: Vec<f32>, rows: &[(usize, usize)]) -> Result<ViewBatch<Tensor<2>>> {
        let input = Tensor::from_data(TensorData::new(logits, [rows.len(), 2]), &Device::flex());
        Ok(ViewBatch { input, rows: rows.iter().map(|&(clip, times)| View { clip, times }).collect() })
    }

    /// Two classes, one classifier. Clip 0 has a view with logits 0, 0 (probabilities ½, ½) that
    /// occurs three times and one with ln 3, 0 (¾, ¼) once: the mean is (3·½ + ¾) / 4 = 0.5625.
    /// Clip 1 has one view, in another batch.
    #[test]
    fn views_count_as_often_as_they_occur() {
        let three = 3f32.ln();
        let batches =
            [batch(vec![0.0, 0.0, three, 0.0], &[(0, 3), (0, 1)]), batch(vec![0.0, three], &[(1, 1)])].into_iter();
        let scores = score(&[&Echo as &dyn Scorable<_>], batches, &[1, 0], &StopFlag::default(), |_| ()).unwrap();
        let p = &scores[0].probabilities;
        assert!((p[0] - 0.5625).abs() < 1e-6 && (p[3] - 0.75).abs() < 1e-6, "{p:?}");
        assert!((scores[0].levels[0][1] - 0.4375).abs() < 1e-6);
        assert_eq!((scores[0].classes, &scores[0].targets[..]), (2, &[1, 0][..]));
    }

    /// Clip 1 could not be read: the others keep their places.
    #[test]
    fn readable_clips_are_scored_without_the_others() {
        let batches = || [batch(vec![0.0, 9.0], &[(0, 1)]), batch(vec![9.0, 0.0], &[(2, 1)])].into_iter();
        let (models, stop) = ([&Echo as &dyn Scorable<_>], StopFlag::default());
        let (scores, missing) = score_readable(&models, batches(), &[1, 0, 0], &stop, |_| ()).unwrap();
        assert_eq!((&scores[0].targets[..], &missing[..]), (&[1, 0][..], &[1][..]));
        assert_eq!(scores[0].predictions().unwrap().summary().top1, 1.0);
        let (scores, missing) = score_readable(&models, [].into_iter(), &[1, 0], &stop, |_| ()).unwrap();
        assert!(scores[0].targets.is_empty() && missing == [0, 1]);
    }

    #[test]
    fn a_clip_without_a_view_is_an_error() {
        let score = |batches: Vec<Result<ViewBatch<Tensor<2>>>>, targets: &[usize]| {
            score(&[&Echo as &dyn Scorable<_>], batches.into_iter(), targets, &StopFlag::default(), |_| ())
                .unwrap_err()
                .to_string()
        };
        assert!(score(vec![batch(vec![0.0, 0.0], &[(0, 1)])], &[0, 1]).contains("clip 1 of 2"));
        assert!(score(Vec::new(), &[]).contains("no clips to score"));
    }
}
