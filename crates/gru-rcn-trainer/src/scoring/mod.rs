//! Scoring: class probabilities of clips, averaged over the views of each.
//!
//! There is one engine, [`score`]. It takes batches whose rows are views of clips, gives every
//! batch to every model, and averages the probabilities of each clip's views, or for a CNN on single
//! frames their logits. A clip that is scored as it is has one view; [`single_view`] makes such batches
//! of any source, [`views`] makes those of a test with several views, such as the paper's 25 × 10. A
//! model that learns without labels has no probabilities; [`mean_loss`] is its score.

pub(crate) mod views;

use anyhow::{Result, bail};
use burn::tensor::FloatDType;
use gru_rcn::class_activation::ClassActivation;
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

    /// Where and when it finds a class; see [`ClipClassifier::class_activation`].
    fn class_activation(&self, _input: I, _class: usize) -> Vec<ClassActivation> {
        Vec::new()
    }

    /// What is averaged over its classifiers and over the views of a clip.
    fn mean_of(&self) -> MeanOf {
        MeanOf::Probabilities
    }
}

/// What is averaged to classify a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MeanOf {
    /// Probabilities, as the paper has it for its recurrent models.
    #[default]
    Probabilities,
    /// Logits; the probabilities are the softmax of their mean. Wang et al. 2015, whose protocol the paper
    /// follows, test their CNNs in this way. The mean of the probabilities is kept beside it.
    Logits,
}

impl<M: ClipClassifier> Scorable<M::Input> for M {
    fn logits(&self, input: M::Input) -> EnsembleLogits {
        ClipClassifier::logits(self, input)
    }

    fn class_activation(&self, input: M::Input, class: usize) -> Vec<ClassActivation> {
        ClipClassifier::class_activation(self, input, class)
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

/// [`score`] for batches without the clips that could not be read: the scores of the others, and the places
/// of the missing ones.
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
    let mut sums: Vec<Sums> = models.iter().map(|model| Sums::new(model.mean_of())).collect();
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

/// The mean over clips of the first loss of a model that learns without labels.
pub(crate) fn mean_loss<M: ClipClassifier>(
    model: &M,
    batches: impl Iterator<Item = Result<ViewBatch<M::Input>>>,
    stop: &StopFlag,
) -> Result<f64> {
    let mut losses: Vec<f32> = Vec::new();
    for batch in batches {
        if stop.is_set() {
            bail!(stop.interrupted());
        }
        let of_clips = ClipClassifier::logits(model, batch?.input).logits.narrow(0, 0, 1);
        losses.extend(of_clips.try_into_data()?.try_into_vec::<f32>()?);
    }
    Ok(losses.iter().copied().map(f64::from).sum::<f64>() / losses.len() as f64)
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
    mean_of: MeanOf,
    classes: usize,
    /// Of the means over the classifiers, `[clip, class]`; only where these are averaged.
    logits: Vec<f64>,
    /// `[clip, class]`
    probabilities: Vec<f64>,
    /// Of each classifier alone, `[clip, class]`.
    levels: Vec<Vec<f64>>,
}

impl Sums {
    fn new(mean_of: MeanOf) -> Self {
        Self { mean_of, ..Self::default() }
    }

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
        if self.mean_of == MeanOf::Logits {
            let mean = logits.logits.clone().cast(FloatDType::F32).mean_dim(0);
            self.logits.resize(clips * classes, 0.0);
            add(&mut self.logits, &mean.try_into_data()?.try_into_vec::<f32>()?);
        }
        for (sums, values) in self.levels.iter_mut().zip(each.chunks(count * classes)) {
            add(sums, values);
        }
        Ok(())
    }

    /// The means of the clips that have views.
    fn means(&self, views: &[usize], targets: &[usize]) -> Scores {
        let clips: Vec<usize> = (0..views.len()).filter(|&clip| views[clip] > 0).collect();
        let row = |clip: usize| clip * self.classes..(clip + 1) * self.classes;
        let means = |sums: &[f64]| -> Vec<f32> {
            let of_clip = |&clip: &usize| {
                let views = views[clip] as f64;
                sums[row(clip)].iter().map(move |sum| (sum / views) as f32)
            };
            clips.iter().flat_map(of_clip).collect()
        };
        let of_logits = |&clip: &usize| softmax(&self.logits[row(clip)], views[clip]);
        let of_probabilities = means(&self.probabilities);
        let (probabilities, mean_probabilities) = match self.mean_of {
            MeanOf::Probabilities => (of_probabilities, None),
            MeanOf::Logits => (clips.iter().flat_map(of_logits).collect(), Some(of_probabilities)),
        };
        Scores {
            classes: self.classes,
            probabilities,
            mean_probabilities,
            levels: self.levels.iter().map(|level| means(level)).collect(),
            targets: clips.iter().map(|&clip| targets[clip]).collect(),
        }
    }
}

/// The softmax of the means of logits, given as their sums over `views` views.
fn softmax(sums: &[f64], views: usize) -> impl Iterator<Item = f32> {
    let highest = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = sums.iter().map(|sum| ((sum - highest) / views as f64).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(move |power| (power / total) as f32)
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

    /// Two frames as members, with the logits (0, 0) and (2 ln 3, 0): their mean is (ln 3, 0), of
    /// probabilities ¾ and ¼, while those of the frames are ½ and 9/10, of mean 7/10. A second view
    /// that occurs three times has twice (0, 0): the mean of the logits is (ln 3, 0) / 4, and that of
    /// the probabilities (7/10 + 3·½) / 4 = 0.55.
    #[test]
    fn logits_are_averaged_before_the_softmax() {
        struct Frames;
        impl Scorable<Tensor<3>> for Frames {
            fn logits(&self, input: Tensor<3>) -> EnsembleLogits {
                EnsembleLogits::new(input)
            }

            fn mean_of(&self) -> MeanOf {
                MeanOf::Logits
            }
        }
        let three = 3f32.ln();
        let score = |logits: Vec<f32>, rows: &[usize]| {
            let input = Tensor::from_data(TensorData::new(logits, [2, rows.len(), 2]), &Device::flex());
            let rows = rows.iter().map(|&times| View { clip: 0, times }).collect();
            let batches = [Ok(ViewBatch { input, rows })].into_iter();
            let scores = score(&[&Frames as &dyn Scorable<_>], batches, &[0], &StopFlag::default(), |_| ()).unwrap();
            let means = scores[0].mean_probabilities.clone().unwrap();
            assert_eq!(scores[0].by_mean_probabilities().unwrap().unwrap().probabilities, means);
            [scores[0].probabilities[0], means[0]]
        };
        let near = |found: [f32; 2], expected: [f32; 2]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        };
        near(score(vec![0.0, 0.0, 2.0 * three, 0.0], &[1]), [0.75, 0.7]);
        let quarter = 3f32.powf(0.25);
        let two = vec![0.0, 0.0, 0.0, 0.0, 2.0 * three, 0.0, 0.0, 0.0];
        near(score(two, &[1, 3]), [quarter / (quarter + 1.0), 0.55]);
        // A logit whose exponential no float holds.
        near(score(vec![2000.0, 0.0, 2000.0, 0.0], &[1]), [1.0, 1.0]);
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
