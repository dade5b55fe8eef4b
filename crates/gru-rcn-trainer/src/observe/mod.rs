//! The events of a run and their observers.
//!
//! A run reports what happens as [`Event`]s; each [`Observer`] takes what it needs. There are a
//! progress bar on a terminal, plain lines on a pipe, the files `metrics.jsonl`, `progress.jsonl` and
//! `nonfinite.jsonl`, and event files for TensorBoard. All of them see the same [`Epoch`].

mod json_lines;
mod plain;
mod tensorboard;
mod terminal;
mod time;

pub(crate) use json_lines::JsonLines;
pub(crate) use plain::Plain;
use tensorboard::TensorBoard;
pub(crate) use terminal::Terminal;
pub(crate) use time::{Interval, Pace, duration};

use std::cell::RefCell;
use std::io::IsTerminal;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::output::{describe, note};
use crate::run::card::EpochPoint;
use crate::run::dir::RunDir;

/// Asks for plain lines on a terminal too, if set to anything but the empty string.
const PLAIN_VARIABLE: &str = "GRU_RCN_PLAIN";

/// Something that happened.
///
/// Events come in this order: [`StageStarted`](Self::StageStarted), then steps and epochs as they
/// happen, then [`StageFinished`](Self::StageFinished); and again for the next stage. A stage may
/// start in the middle of an epoch, when training is resumed. Messages may come at any time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Message(String),
    StageStarted(StageStarted),
    Step(Step),
    /// A step was skipped because its loss or gradients were not finite.
    NonfiniteStep(NonfiniteStep),
    /// An epoch ended, its validation included.
    Epoch(Epoch),
    StageFinished,
    /// The program ends, possibly within a stage.
    RunEnded,
}

/// A training stage to come.
#[derive(Clone, Debug)]
pub(crate) struct StageStarted {
    /// Its name in files.
    pub(crate) stage: String,
    /// Its name for people, such as "GRU-RCN".
    pub(crate) name: String,
    /// Largest number of epochs, those before a resumption included.
    pub(crate) epochs: usize,
    pub(crate) steps_per_epoch: usize,
    pub(crate) clips_per_epoch: usize,
    /// Whether it learns classes; without them there is no accuracy.
    pub(crate) classifies: bool,
    /// Steps that were taken before a resumption.
    pub(crate) steps_done: u64,
}

/// One optimizer step; a line of `progress.jsonl`.
#[derive(Serialize, Clone, Debug, Default)]
pub(crate) struct Step {
    pub(crate) stage: String,
    /// The epoch, from one.
    pub(crate) epoch: usize,
    /// The step within the epoch, from one.
    pub(crate) step: usize,
    /// Steps of the stage so far.
    pub(crate) steps: u64,
    /// Mean loss over the clips of the step.
    pub(crate) loss: f64,
    /// Mean loss over the clips of the epoch so far.
    pub(crate) mean_loss: f64,
    /// Accuracy over the clips of the epoch so far, a fraction.
    pub(crate) accuracy: f64,
    /// Norm of all gradients before clipping.
    pub(crate) gradient_norm: f32,
    pub(crate) learning_rate: f64,
    /// Training clips a second, in this epoch and process.
    pub(crate) clips_per_second: f64,
    /// Share of the time spent waiting for clips, in this epoch and process, a fraction.
    pub(crate) data_wait: f64,
    /// Seconds until the last step of the stage, at the pace so far.
    pub(crate) seconds_left: f64,
    /// Clips of the epoch so far that could not be read.
    pub(crate) bad_clips: usize,
}

/// A step that was not taken; a line of `nonfinite.jsonl`.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct NonfiniteStep {
    pub(crate) stage: String,
    pub(crate) epoch: usize,
    /// The step, counted over the stage, from one.
    pub(crate) steps: u64,
    pub(crate) losses: Vec<Value>,
    pub(crate) gradient_norm: Value,
    pub(crate) clips: Vec<String>,
}

/// One epoch, after its validation; a line of `metrics.jsonl`.
#[derive(Serialize, Clone, Debug, Default)]
pub(crate) struct Epoch {
    pub(crate) stage: String,
    pub(crate) epoch: usize,
    pub(crate) steps: u64,
    /// Duration, validation included.
    pub(crate) seconds: f64,
    /// The learning rate of the last step.
    pub(crate) learning_rate: f64,
    pub(crate) train: TrainMetrics,
    pub(crate) validation: ValidationMetrics,
    pub(crate) bad_clips: usize,
    pub(crate) nonfinite_steps: u64,
    pub(crate) data_wait_seconds: f64,
    pub(crate) best: bool,
}

#[derive(Serialize, Clone, Debug, Default)]
pub(crate) struct TrainMetrics {
    pub(crate) loss: f64,
    /// Accuracy, a fraction.
    pub(crate) accuracy: f64,
    pub(crate) clips: usize,
}

#[derive(Serialize, Clone, Debug, Default)]
pub(crate) struct ValidationMetrics {
    /// Mean negative log-probability.
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
    /// Accuracy of the classifier of each level alone; empty if there is one only.
    pub(crate) levels: Vec<LevelAccuracy>,
    /// What the best weights are chosen by, if not the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<f64>,
}

#[derive(Serialize, Clone, Debug)]
pub(crate) struct LevelAccuracy {
    pub(crate) level: String,
    /// A fraction.
    pub(crate) accuracy: f64,
}

impl Epoch {
    /// Its point of the learning curve, which is kept with the run.
    pub(crate) fn point(&self) -> EpochPoint {
        EpochPoint {
            epoch: self.epoch,
            train_loss: self.train.loss,
            train_accuracy: self.train.accuracy,
            validation_loss: self.validation.loss,
            validation_accuracy: self.validation.accuracy,
            validation_score: self.validation.score,
            best: self.best,
        }
    }
}

/// Follows a run.
pub(crate) trait Observer {
    /// Takes an event. An error does not stop training; it is reported to the other observers.
    fn observe(&mut self, event: &Event) -> Result<()>;
}

/// All observers of a run. They do not write to standard output, which is for results.
#[derive(Default)]
pub(crate) struct Observers {
    list: RefCell<Vec<Box<dyn Observer>>>,
}

impl Observers {
    /// The observers of a run in this folder, with plain lines instead of a progress bar if `plain`.
    pub(crate) fn of_run(dir: &RunDir, plain: bool) -> Self {
        Self::new(vec![
            for_person(plain),
            Box::new(JsonLines::new(dir.clone())),
            Box::new(TensorBoard::new(dir.clone())),
        ])
    }

    /// These observers; the first shows messages.
    pub(crate) fn new(list: Vec<Box<dyn Observer>>) -> Self {
        Self { list: RefCell::new(list) }
    }

    /// Sends to all observers; one that fails is reported to the others as a warning.
    pub(crate) fn send(&self, event: Event) {
        let mut list = self.list.borrow_mut();
        let warnings: Vec<String> =
            list.iter_mut().filter_map(|observer| observer.observe(&event).err()).map(|e| describe(&e)).collect();
        for warning in warnings {
            let message = Event::Message(format!("warning: {warning}"));
            for observer in list.iter_mut() {
                // A failure to report a failure has nowhere to go.
                let _ = observer.observe(&message);
            }
        }
    }

    pub(crate) fn message(&self, text: impl Into<String>) {
        self.send(Event::Message(text.into()));
    }
}

/// A progress bar on a terminal; plain lines elsewhere, with `plain` or [`PLAIN_VARIABLE`].
fn for_person(plain: bool) -> Box<dyn Observer> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    let person = std::io::stderr().is_terminal();
    if plain || set(PLAIN_VARIABLE) || dumb || !person {
        Box::new(Plain::new(|line| note!("{line}"), plain::INTERVAL))
    } else {
        Box::new(Terminal::default())
    }
}

/// A fraction in percent: `92.4 %`.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// JSON has no numbers that are not finite; such a number is written as a word.
pub(crate) fn number_or_word(value: f64) -> Value {
    if value.is_finite() { value.into() } else { value.to_string().into() }
}
