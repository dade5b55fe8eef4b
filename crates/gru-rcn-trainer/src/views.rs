//! Scoring by several views of each clip, whose probabilities are averaged.
//!
//! The paper's 250 views of 10 frames are 2,500 frames through the CNN for one clip. Here a clip is decoded once, views that
//! are the same are computed once, and views with the same crop share the maps of the frames that they have in common:
//! neighbouring starts are taken together, as many as keep a bounded number of frames in memory.

use anyhow::{Result, bail};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::backbone::Cnn;
use gru_rcn::head::LevelLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{ClipPlan, ClipViews, Sample, ViewRule, ordered};

use crate::evaluate::Scores;
use crate::percepts::{Reading, chunk_of, lanes, side_by_side};

/// Most views whose maps are given to a model at once.
const VIEWS_AT_ONCE: usize = 16;

/// A model: percepts of all levels of the CNN to the logits of its classifiers.
pub type Model<'a> = Box<dyn Fn(Percepts) -> LevelLogits + 'a>;

/// Scores models on clips by several views.
pub struct ViewScorer<'a> {
    /// The CNN, on the plain device.
    pub cnn: &'a Cnn,
    /// How clips are read.
    pub reading: &'a Reading,
    /// The views.
    pub rule: ViewRule,
    /// The device of CNN and models.
    pub device: &'a Device,
}

/// Views with the same crop and some frames in common.
struct Piece {
    /// All their frames, each once.
    frames: ClipPlan,
    /// Positions of each view's frames among these, and how often the view occurs.
    views: Vec<(Vec<i32>, usize)>,
}

/// Sums of one clip's probabilities over its views, for one model.
#[derive(Default)]
struct Sums {
    views: usize,
    model: Vec<f64>,
    levels: Vec<Vec<f64>>,
}

impl ViewScorer<'_> {
    /// The scores of each model. `done` is told the number of clips finished; `stop` is asked between clips, and ends it
    /// with `None`.
    pub fn score(
        &self,
        samples: &[Sample],
        models: &[Model<'_>],
        mut done: impl FnMut(usize),
        stop: impl Fn() -> bool,
    ) -> Result<Option<Vec<Scores>>> {
        if samples.is_empty() {
            bail!("there are no clips to score");
        }
        let mut scores = vec![Scores::default(); models.len()];
        let (worker, rule, bytes) = (self.reading.clone(), self.rule, self.reading.bytes_of(1));
        let clips =
            ordered(samples.to_vec(), move |_| bytes, self.reading.loader, move |sample| worker.views(sample, rule));
        for (clip, views) in clips.enumerate() {
            let sums = self.clip(&views?, models)?;
            for (scores, sums) in scores.iter_mut().zip(sums) {
                sums.add_to(scores, samples[clip].class);
            }
            done(clip + 1);
            if stop() {
                return Ok(None);
            }
        }
        Ok(Some(scores))
    }

    /// The probabilities of one model for one clip, averaged over its views.
    pub fn probabilities(&self, views: &ClipViews, model: Model<'_>) -> Result<Vec<f32>> {
        let mut scores = Scores::default();
        for sums in self.clip(views, &[model])? {
            sums.add_to(&mut scores, 0);
        }
        Ok(scores.probabilities)
    }

    fn clip(&self, views: &ClipViews, models: &[Model<'_>]) -> Result<Vec<Sums>> {
        let mut sums: Vec<Sums> = models.iter().map(|_| Sums::default()).collect();
        for pieces in pieces(views.plans(), self.frames_at_once()).chunks(lanes(self.reading)) {
            for (piece, percepts) in pieces.iter().zip(self.percepts(views, pieces)?) {
                let percepts = piece.select(&percepts, self.device);
                for (model, sums) in models.iter().zip(&mut sums) {
                    sums.take(&model(percepts.clone()), &piece.views)?;
                }
            }
        }
        Ok(sums)
    }

    /// Frames whose maps are in memory together, for each thread that runs the CNN.
    fn frames_at_once(&self) -> usize {
        let [height, width] = self.reading.planner.input_size;
        chunk_of(height * width).max(self.reading.planner.temporal.frames())
    }

    /// The percepts of each piece's frames; on a CPU each in a thread of its own, as elsewhere.
    fn percepts(&self, views: &ClipViews, pieces: &[Piece]) -> Result<Vec<Percepts>> {
        let clips = pieces.iter().map(|piece| views.cut(&piece.frames)).collect::<Result<Vec<_>, _>>()?;
        Ok(side_by_side(self.cnn, clips.chunks(1), self.device, self.reading.dtype))
    }
}

/// Divides views among pieces of at most `most` frames each; a view is never divided. Views of a piece have the same crop.
fn pieces(plans: &[(ClipPlan, usize)], most: usize) -> Vec<Piece> {
    let mut crops: Vec<Vec<&(ClipPlan, usize)>> = Vec::new();
    for view in plans {
        let same = |other: &Vec<&(ClipPlan, usize)>| (other[0].0.crop, other[0].0.flip) == (view.0.crop, view.0.flip);
        match crops.iter_mut().find(|other| same(other)) {
            Some(crop) => crop.push(view),
            None => crops.push(vec![view]),
        }
    }
    let mut pieces = Vec::new();
    for crop in crops {
        let mut left = crop.as_slice();
        while let [first, rest @ ..] = left {
            let (mut union, mut taken) = (united(&[], &first.0.frames), 1);
            for (plan, _) in rest {
                let more = united(&union, &plan.frames);
                if more.len() > most || taken == VIEWS_AT_ONCE {
                    break;
                }
                (union, taken) = (more, taken + 1);
            }
            let place = |t: &usize| union.partition_point(|other| other < t) as i32;
            let views = left[..taken].iter().map(|(plan, times)| (plan.frames.iter().map(place).collect(), *times));
            let views = views.collect();
            pieces.push(Piece { frames: ClipPlan { frames: union, ..first.0.clone() }, views });
            left = &left[taken..];
        }
    }
    pieces
}

/// The numbers of both, ascending, each once.
fn united(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}

impl Piece {
    /// From the maps of all frames `[1, frame, …]` to those of the views `[view, time, …]`.
    fn select(&self, percepts: &Percepts, device: &Device) -> Percepts {
        let (views, time) = (self.views.len(), self.views[0].0.len());
        let indices: Vec<i32> = self.views.iter().flat_map(|(frames, _)| frames.iter().copied()).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [views * time]), device);
        let maps = percepts.maps.iter().map(|map| {
            let [_, frames, channels, height, width] = map.dims();
            let frames = map.clone().reshape([frames, channels, height, width]);
            frames.select(0, indices.clone()).reshape([views, time, channels, height, width])
        });
        Percepts::new(maps.collect())
    }
}

impl Sums {
    /// Adds the probabilities of some views, each as often as it occurs.
    fn take(&mut self, logits: &LevelLogits, views: &[(Vec<i32>, usize)]) -> Result<()> {
        let [levels, count, classes] = logits.logits.dims();
        self.model.resize(classes, 0.0);
        self.levels.resize(levels, vec![0.0; classes]);
        let model = logits.probabilities().try_into_data()?.try_into_vec::<f32>()?;
        let each = logits.level_log_probabilities().exp().try_into_data()?.try_into_vec::<f32>()?;
        for (view, &(_, times)) in views.iter().enumerate() {
            let add = |sums: &mut Vec<f64>, values: &[f32]| {
                let row = &values[view * classes..(view + 1) * classes];
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += times as f64 * f64::from(value));
            };
            add(&mut self.model, &model);
            for (sums, values) in self.levels.iter_mut().zip(each.chunks(count * classes)) {
                add(sums, values);
            }
            self.views += times;
        }
        Ok(())
    }

    /// Appends the clip's mean probabilities.
    fn add_to(&self, scores: &mut Scores, class: usize) {
        let mean = |sums: &[f64]| -> Vec<f32> { sums.iter().map(|sum| (sum / self.views as f64) as f32).collect() };
        scores.classes = self.model.len();
        scores.levels.resize(self.levels.len(), Vec::new());
        scores.probabilities.extend(mean(&self.model));
        for (level, sums) in scores.levels.iter_mut().zip(&self.levels) {
            level.extend(mean(sums));
        }
        scores.targets.push(class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gru_rcn_data::{Crop, PhotometricDraw, Stream};

    fn view(first: usize, time: usize, flip: bool) -> (ClipPlan, usize) {
        let (crop, photometric) = (Crop::whole(4, 4), PhotometricDraw::IDENTITY);
        let frames = (first..first + time).collect();
        (ClipPlan { stream: Stream::Rgb, frames, crop, flip, photometric, output: [4, 4] }, 1)
    }

    // Clips of 4 frames from 0, 2, 4, 6, 8, at most 8 frames together: 0 to 7 holds three of them (0, 2, 4), 6 to 11 the
    // other two; and the same for the mirror images.
    #[test]
    fn neighbouring_views_share_their_frames() {
        let mut plans: Vec<(ClipPlan, usize)> = Vec::new();
        for first in [0, 2, 4, 6, 8] {
            plans.extend([view(first, 4, false), view(first, 4, true)]);
        }
        let found = pieces(&plans, 8);
        let frames: Vec<(usize, usize, bool, usize)> =
            found.iter().map(|p| (p.frames.frames[0], p.frames.frames.len(), p.frames.flip, p.views.len())).collect();
        assert_eq!(frames, [(0, 8, false, 3), (6, 6, false, 2), (0, 8, true, 3), (6, 6, true, 2)]);
        // The view from 8 on lies behind the two frames 6 and 7.
        assert_eq!(found[1].views[1], (vec![2, 3, 4, 5], 1));
        // A view longer than the bound is a piece of its own.
        assert_eq!(pieces(&plans, 1).len(), 10);
        // Frames that repeat are held once.
        let mut short = view(0, 4, false);
        short.0.frames = vec![0, 1, 1, 1];
        let found = pieces(&[short], 8);
        assert_eq!((&found[0].frames.frames, &found[0].views[0].0), (&vec![0, 1], &vec![0, 1, 1, 1]));
    }

    // Two classes, one classifier; a view with logits 0, 0 (probabilities ½, ½) that occurs three times and one with
    // ln 3, 0 (¾, ¼) once: the mean is (3·½ + ¾) / 4 = 0.5625.
    #[test]
    fn views_count_as_often_as_they_occur() {
        let device = Device::flex();
        let logits = Tensor::<3>::from_data(TensorData::new(vec![0.0f32, 0.0, 3f32.ln(), 0.0], [1, 2, 2]), &device);
        let (mut sums, mut scores) = (Sums::default(), Scores::default());
        sums.take(&LevelLogits { logits }, &[(vec![0], 3), (vec![1], 1)]).unwrap();
        sums.add_to(&mut scores, 1);
        assert!((scores.probabilities[0] - 0.5625).abs() < 1e-6, "{:?}", scores.probabilities);
        assert!((scores.levels[0][1] - 0.4375).abs() < 1e-6);
        assert_eq!((scores.classes, scores.targets), (2, vec![1]));
    }
}
