//! From frames to answers.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use burn::tensor::{Device, FloatDType, Tensor};
use gru_rcn::classifier::{GruRcnClassifier, StreamState};
use gru_rcn::head::EnsembleLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::Frames;
use gru_rcn_metrics::at_temperature;

use crate::percepts::FrozenCnn;

/// What the model says of a piece of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Seconds since the first frame.
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// Of every class.
    pub(crate) probabilities: Vec<f32>,
}

/// How a model goes through a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// With its hidden state carried from frame to frame.
    FrameByFrame,
    /// By windows of this many steps.
    Windows(usize),
}

/// A model on one stream.
pub(crate) struct Watcher<'a> {
    cnn: &'a FrozenCnn,
    model: GruRcnClassifier,
    /// Positions of the levels that the model takes in, of all of the CNN.
    levels: Vec<usize>,
    device: &'a Device,
    dtype: FloatDType,
    /// What probabilities are scaled by.
    temperature: f64,
    pass: Pass,
    /// Steps from one answer to the next.
    stride: usize,
    /// Seconds from the last step to the next, as far as it is known.
    interval: f64,
    state: StreamState,
    /// After the last step, frame by frame.
    logits: Option<EnsembleLogits>,
    /// Times and maps of the last steps, as many as a window has.
    ring: VecDeque<(f64, Vec<Tensor<4>>)>,
    /// Steps since the last answer.
    since: usize,
    /// Where the last answer ends.
    end: Option<f64>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(
        (cnn, model, levels): (&'a FrozenCnn, GruRcnClassifier, Vec<usize>),
        (device, dtype): (&'a Device, FloatDType),
        temperature: f64,
        pass: Pass,
        stride: usize,
    ) -> Self {
        Self {
            cnn,
            model,
            levels,
            device,
            dtype,
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

    /// The steps of a window; one frame by frame.
    pub(crate) fn window(&self) -> usize {
        match self.pass {
            Pass::FrameByFrame => 1,
            Pass::Windows(steps) => steps,
        }
    }

    /// Says how long a step lasts before two of them tell it.
    pub(crate) fn expect_interval(&mut self, seconds: f64) {
        self.interval = seconds;
    }

    /// The maps of pictures of one size, each `[1, channel, height, width]`; `parts` of them go
    /// through the CNN side by side.
    pub(crate) fn maps(&self, pictures: &[Frames], parts: usize) -> Result<Vec<Vec<Tensor<4>>>> {
        let clips = pictures.chunks(pictures.len().div_ceil(parts).max(1)).map(|part| {
            let data = part.iter().flat_map(|picture| &picture.data).copied().collect();
            let Frames { height, width, channels, .. } = part[0];
            Ok(Frames::new(data, part.len(), height, width, channels)?)
        });
        let clips: Vec<Frames> = clips.collect::<Result<_>>()?;
        let parts: Vec<&[Frames]> = clips.iter().map(std::slice::from_ref).collect();
        let percepts = self.cnn.side_by_side(&parts, self.device, self.dtype);
        let step = |percepts: &Percepts, t: usize| -> Vec<Tensor<4>> {
            percepts.maps.iter().map(|map| map.clone().narrow(1, t, 1).squeeze_dim(1)).collect()
        };
        Ok(percepts
            .into_iter()
            .map(|percepts| percepts.select(&self.levels))
            .flat_map(|percepts| (0..percepts.time()).map(|t| step(&percepts, t)).collect::<Vec<_>>())
            .collect())
    }

    /// Takes in the maps of the frame at `time` and answers if that is due.
    pub(crate) fn step(&mut self, time: f64, maps: Vec<Tensor<4>>) -> Result<Option<Answer>> {
        if let Some((before, _)) = self.ring.back().filter(|(before, _)| time > *before) {
            self.interval = time - before;
        }
        if self.pass == Pass::FrameByFrame {
            self.logits = Some(self.model.step(maps.clone(), &mut self.state));
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
            Pass::FrameByFrame => self.time_of(1),
            Pass::Windows(steps) => self.time_of((steps - self.stride) / 2 + self.stride),
        };
        self.answer(end).map(Some)
    }

    /// The answer for what follows the last one, at the end of the stream. A stream that is shorter
    /// than a window is filled up with its last frame, as clips are in training.
    pub(crate) fn finish(&mut self) -> Result<Option<Answer>> {
        let (Some(last), Some(from)) = (self.ring.back().cloned(), self.end) else { return Ok(None) };
        let end = self.time_of(self.ring.len());
        while self.ring.len() < self.window() {
            self.ring.push_back(last.clone());
        }
        if end > from { self.answer(end).map(Some) } else { Ok(None) }
    }

    /// When step `n` of those in the ring begins; beyond the last one, how long that lasts.
    fn time_of(&self, n: usize) -> f64 {
        let last = self.ring.back().map_or(0.0, |(time, _)| *time);
        self.ring.get(n).map_or(last + self.interval, |(time, _)| *time)
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
