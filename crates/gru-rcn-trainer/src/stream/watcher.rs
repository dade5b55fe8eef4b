//! Turns frames into answers.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use burn::tensor::{Device, FloatDType, Tensor};
use gru_rcn::classifier::{GruRcnClassifier, StreamState};
use gru_rcn::head::EnsembleLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::Frames;
use gru_rcn_metrics::at_temperature;

use super::whole_microseconds;
use crate::percepts::FrozenCnn;

/// What the model says of an interval of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Seconds since the first frame.
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// One of every class.
    pub(crate) probabilities: Vec<f32>,
}

/// How a model goes through a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// With its hidden state carried from frame to frame; the interval of an answer ends with the frame
    /// `lag` steps before the newest one.
    FrameByFrame { lag: usize },
    /// By windows of this many steps.
    Windows(usize),
}

/// Makes the maps that a model takes in.
pub(crate) struct Taps<'a> {
    pub(crate) cnn: &'a FrozenCnn,
    /// Positions of the model's levels among those of the CNN.
    pub(crate) levels: Vec<usize>,
    pub(crate) device: &'a Device,
    pub(crate) dtype: FloatDType,
    /// Number of parts that frames are divided into, which go through the CNN side by side.
    pub(crate) parts: usize,
}

impl Taps<'_> {
    /// The maps of pictures of one size, each `[1, channel, height, width]`.
    pub(crate) fn maps(&self, pictures: &[Frames]) -> Result<Vec<Vec<Tensor<4>>>> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let clips = pictures.chunks(pictures.len().div_ceil(self.parts).max(1)).map(|part| {
            let data = part.iter().flat_map(|picture| &picture.data).copied().collect();
            let Frames { height, width, channels, .. } = part[0];
            Ok(Frames::new(data, part.len(), height, width, channels)?)
        });
        let clips: Vec<Frames> = clips.collect::<Result<_>>()?;
        let parts: Vec<&[Frames]> = clips.iter().map(std::slice::from_ref).collect();
        let mut maps = Vec::with_capacity(pictures.len());
        for percepts in self.cnn.side_by_side(&parts, self.device, self.dtype) {
            let percepts = percepts.select(&self.levels);
            let step = |t: usize| percepts.maps.iter().map(move |map| map.clone().narrow(1, t, 1).squeeze_dim(1));
            maps.extend((0..percepts.time()).map(|t| step(t).collect()));
        }
        Ok(maps)
    }
}

/// A model on one stream.
pub(crate) struct Watcher {
    model: GruRcnClassifier,
    /// Temperature of the probabilities.
    temperature: f64,
    pass: Pass,
    /// Steps from one answer to the next.
    stride: usize,
    /// Seconds from the last step to the next, as far as they are known.
    interval: f64,
    state: StreamState,
    /// Those after the last step, where the model goes frame by frame.
    logits: Option<EnsembleLogits>,
    /// Times of the last steps, as many as a window has, and for windows their maps.
    ring: VecDeque<(f64, Vec<Tensor<4>>)>,
    /// Steps since the last answer.
    since: usize,
    /// End of the last answer.
    end: Option<f64>,
}

impl Watcher {
    pub(crate) fn new(model: GruRcnClassifier, temperature: f64, pass: Pass, stride: usize) -> Self {
        Self {
            model,
            temperature,
            pass,
            stride,
            interval: 0.0,
            state: StreamState::default(),
            logits: None,
            ring: VecDeque::new(),
            since: 0,
            end: None,
        }
    }

    /// Number of the last steps that an answer depends on or holds for.
    pub(crate) fn window(&self) -> usize {
        match self.pass {
            Pass::FrameByFrame { lag } => lag + 1,
            Pass::Windows(steps) => steps,
        }
    }

    /// Sets the duration of a step, until two steps show it.
    pub(crate) fn expect_interval(&mut self, seconds: f64) {
        self.interval = seconds;
    }

    /// Takes in the maps of the frame at `time`, and answers if an answer is due.
    pub(crate) fn step(&mut self, time: f64, mut maps: Vec<Tensor<4>>) -> Result<Option<Answer>> {
        if let Some((before, _)) = self.ring.back().filter(|(before, _)| time > *before) {
            self.interval = time - before;
        }
        if let Pass::FrameByFrame { .. } = self.pass {
            self.logits = Some(self.model.step(std::mem::take(&mut maps), &mut self.state));
        }
        if self.ring.len() == self.window() {
            self.ring.pop_front();
        }
        self.end.get_or_insert(time);
        self.ring.push_back((time, maps));
        self.since += 1;
        if self.ring.len() < self.window() || self.since < self.stride {
            return Ok(None);
        }
        let end = match self.pass {
            Pass::FrameByFrame { .. } => self.time_of(1),
            Pass::Windows(steps) => self.time_of((steps - self.stride) / 2 + self.stride),
        };
        self.answer(end).map(Some)
    }

    /// The answer for the time from the last one to `end`, that of the stream. A stream shorter than a
    /// window is filled up with its last frame, as clips are in training.
    pub(crate) fn finish(&mut self, end: f64) -> Result<Option<Answer>> {
        let (Some(last), Some(from)) = (self.ring.back().cloned(), self.end) else { return Ok(None) };
        while self.ring.len() < self.window() {
            self.ring.push_back(last.clone());
        }
        if end > from { self.answer(end).map(Some) } else { Ok(None) }
    }

    /// The time at which step `n` of the ring begins; for the number after the last one, at which that ends.
    fn time_of(&self, n: usize) -> f64 {
        let last = self.ring.back().map_or(0.0, |(time, _)| *time);
        self.ring.get(n).map_or(whole_microseconds(last + self.interval), |(time, _)| *time)
    }

    fn answer(&mut self, end: f64) -> Result<Answer> {
        let logits = match &self.logits {
            Some(logits) => logits.clone(),
            None => {
                let levels = self.ring[0].1.len();
                let window = |level: usize| {
                    let steps = self.ring.iter().map(|(_, maps)| maps[level].clone().unsqueeze_dim::<5>(1));
                    Tensor::cat(steps.collect(), 1)
                };
                self.model.forward(Percepts::new((0..levels).map(window).collect()))
            }
        };
        let probabilities = logits.probabilities().try_into_data()?.try_into_vec::<f32>()?;
        ensure!(
            probabilities.iter().all(|probability| probability.is_finite()),
            "the model gives no finite probabilities; its weights are damaged"
        );
        let start = self.end.replace(end).unwrap_or(end);
        self.since = 0;
        Ok(Answer { start, end, probabilities: at_temperature(&probabilities, self.temperature) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;
    use gru_rcn::classifier::GruRcnClassifierConfig;
    use gru_rcn::percepts::{Level, NormRule, PerceptNormConfig};
    use gru_rcn::recurrent::{Form, GruRcnConfig};

    /// A model of two levels, and maps of this number of frames.
    fn model(form: Form, rule: NormRule, frames: usize) -> (GruRcnClassifier, Vec<Vec<Tensor<4>>>) {
        let device = Device::flex();
        device.seed(3);
        let levels = vec![Level::new("low".into(), 3, 4, 4), Level::new("high".into(), 5, 2, 2)];
        let recurrent = GruRcnConfig::new(levels, vec![4, 6]).with_form(form);
        let norm = PerceptNormConfig::new().with_rule(rule);
        let mut model = GruRcnClassifierConfig::new(recurrent, 3).with_norm(norm).init(&device);
        for layer in &mut model.heads.classifiers {
            layer.weight = layer.weight.clone().map(|weight| weight * 100.0);
        }
        let draw = |channels: usize, side: usize| {
            Tensor::<4>::random([1, channels, side, side], Distribution::Normal(0.0, 1.0), &device)
        };
        (model, (0..frames).map(|_| vec![draw(3, 4), draw(5, 2)]).collect())
    }

    /// The answers of a stream with a frame a second.
    fn answers(pass: Pass, stride: usize, model: &GruRcnClassifier, frames: &[Vec<Tensor<4>>]) -> Vec<Answer> {
        let mut watcher = Watcher::new(model.clone(), 1.0, pass, stride);
        let mut found = Vec::new();
        for (t, maps) in frames.iter().enumerate() {
            found.extend(watcher.step(t as f64, maps.clone()).unwrap());
        }
        found.extend(watcher.finish(frames.len() as f64).unwrap());
        found
    }

    fn pieces(answers: &[Answer]) -> Vec<(f64, f64)> {
        answers.iter().map(|answer| (answer.start, answer.end)).collect()
    }

    /// The answer after frame n is that for a window of the frames 1 to n.
    #[test]
    fn frame_by_frame_is_the_window_of_all_frames_so_far() {
        for (form, rule) in [
            (Form::Independent, NormRule::Difference),
            (Form::Independent, NormRule::CausalCentre),
            (Form::Stacked, NormRule::Scale),
        ] {
            let (model, frames) = model(form, rule, 6);
            let one_by_one = answers(Pass::FrameByFrame { lag: 0 }, 1, &model, &frames);
            assert_eq!(one_by_one.len(), 6);
            let apart = |a: &Answer, b: &Answer| {
                a.probabilities.iter().zip(&b.probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            for n in 1..=6 {
                let window = answers(Pass::Windows(n), n, &model, &frames[..n]);
                assert!(apart(&window[0], &one_by_one[n - 1]) < 1e-5, "{form:?} {rule:?} {n}");
            }
            // The answers do depend on the frames.
            assert!(one_by_one.windows(2).all(|pair| apart(&pair[0], &pair[1]) > 1e-3), "{form:?} {rule:?}");
        }
    }

    /// Windows of four frames, an answer after every two. The frames 0 to 3 answer for 0 to 2, the frames 2
    /// to 5 for 3 and 4, and at the end 3 to 6 for the rest.
    #[test]
    fn answers_of_windows_lie_end_to_end() {
        let (model, frames) = model(Form::Bidirectional, NormRule::Centre, 7);
        let found = answers(Pass::Windows(4), 2, &model, &frames);
        assert_eq!(pieces(&found), [(0.0, 3.0), (3.0, 5.0), (5.0, 7.0)]);
        let last = answers(Pass::Windows(4), 4, &model, &frames[3..]);
        assert_eq!(last[0].probabilities, found[2].probabilities);
        // A stream shorter than a window repeats its last frame.
        let short = answers(Pass::Windows(4), 1, &model, &frames[..2]);
        assert_eq!(pieces(&short), [(0.0, 2.0)]);
        let repeated = [0, 1, 1, 1].map(|t: usize| frames[t].clone());
        assert_eq!(short[0].probabilities, answers(Pass::Windows(4), 4, &model, &repeated)[0].probabilities);
    }

    #[test]
    fn answers_frame_by_frame_lie_end_to_end() {
        let (model, frames) = model(Form::Independent, NormRule::Difference, 3);
        let by_two = answers(Pass::FrameByFrame { lag: 0 }, 2, &model, &frames);
        assert_eq!(pieces(&by_two), [(0.0, 2.0), (2.0, 3.0)]);
        // With a lag of one, the answer after the second frame holds for the first.
        let late = answers(Pass::FrameByFrame { lag: 1 }, 1, &model, &frames);
        assert_eq!(pieces(&late), [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]);
        assert_eq!(late[0].probabilities, by_two[0].probabilities);
        assert_eq!(
            (&late[1].probabilities, &late[2].probabilities),
            (&by_two[1].probabilities, &by_two[1].probabilities)
        );
        // The first frame lasts as long as the stream says.
        let mut watcher = Watcher::new(model, 1.0, Pass::FrameByFrame { lag: 0 }, 1);
        watcher.expect_interval(0.04);
        let answer = watcher.step(0.0, frames[0].clone()).unwrap().unwrap();
        assert_eq!((answer.start, answer.end), (0.0, 0.04));
        assert_eq!(watcher.finish(0.04).unwrap(), None);
    }
}
