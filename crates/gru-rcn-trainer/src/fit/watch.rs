//! What a training writes down while it runs: metrics, progress, steps not taken, events for TensorBoard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::step::Group;
use crate::checkpoint::Position;
use crate::progress::{EpochReport, Progress, StepReport};
use crate::run_dir::RunDir;
use crate::tensorboard::EventWriter;

/// Time between two lines of `progress.jsonl`.
const INTERVAL: Duration = Duration::from_secs(10);

/// One line per epoch.
const METRICS: &str = "metrics.jsonl";

/// One line every few seconds.
const PROGRESS: &str = "progress.jsonl";

/// One line per step that was not taken.
const NONFINITE: &str = "nonfinite.jsonl";

/// Keeps the records of one stage.
pub(super) struct Watch<'a> {
    run: &'a RunDir,
    key: &'a str,
    /// Lines that found no room yet, by file.
    waiting: BTreeMap<&'static str, String>,
    events: Option<EventWriter>,
    /// Most steps of the stage.
    total_steps: u64,
    /// Batches of a step.
    accumulate: usize,
    last_line: Instant,
    epoch: Pace,
    stage: Pace,
}

/// How fast it goes, by what this process did.
struct Pace {
    began: Instant,
    steps: u64,
    clips: usize,
    wait: f64,
}

impl Pace {
    fn new() -> Self {
        Self { began: Instant::now(), steps: 0, clips: 0, wait: 0.0 }
    }

    fn add(&mut self, group: &Group) {
        self.steps += 1;
        self.clips += group.sums.clips;
        self.wait += group.sums.wait;
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64().max(1e-9)
    }
}

impl<'a> Watch<'a> {
    /// Takes up the records of a stage at a place, without what they tell of later ones.
    pub(super) fn new(
        run: &'a RunDir,
        key: &'a str,
        position: &Position,
        total_steps: u64,
        accumulate: usize,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        run.rewind(METRICS, key, |line| line["epoch"].as_u64() <= Some(position.epochs as u64))?;
        for name in [PROGRESS, NONFINITE] {
            run.rewind(name, key, |line| line["steps"].as_u64() <= Some(position.steps))?;
        }
        let first = if position.steps > 0 { position.steps + 1 } else { 0 };
        let events = EventWriter::create(&run.path("tensorboard").join(key), first);
        let events = events.inspect_err(|error| progress.message(&format!("warning: no events: {error:#}"))).ok();
        Ok(Self {
            run,
            key,
            waiting: BTreeMap::new(),
            events,
            total_steps,
            accumulate,
            last_line: Instant::now(),
            epoch: Pace::new(),
            stage: Pace::new(),
        })
    }

    /// An epoch, or the rest of one, begins.
    pub(super) fn epoch_begins(&mut self) {
        self.epoch = Pace::new();
    }

    /// A step is done; `position` is after it.
    pub(super) fn step(&mut self, group: &Group, rate: f64, position: &Position, progress: &mut dyn Progress) {
        self.epoch.add(group);
        self.stage.add(group);
        let seconds = self.epoch.seconds();
        let report = StepReport {
            epoch: position.epochs + 1,
            step: position.batches.div_ceil(self.accumulate),
            loss: group.loss(),
            accuracy: position.sums.accuracy(),
            clips_per_second: self.epoch.clips as f64 / seconds,
            data_wait: self.epoch.wait / seconds,
        };
        progress.step(&report);
        if self.last_line.elapsed() >= INTERVAL {
            self.interval(&report, group.norm, rate, position, progress);
        }
    }

    fn interval(
        &mut self,
        report: &StepReport,
        norm: f32,
        rate: f64,
        position: &Position,
        progress: &mut dyn Progress,
    ) {
        self.last_line = Instant::now();
        let pace = self.stage.seconds() / self.stage.steps.max(1) as f64;
        let left = pace * self.total_steps.saturating_sub(position.steps) as f64;
        let line = json!({
            "stage": self.key, "epoch": report.epoch, "step": report.step, "steps": position.steps,
            "loss": report.loss, "mean_loss": position.sums.mean_loss(), "accuracy": report.accuracy,
            "gradient_norm": norm, "learning_rate": rate, "clips_per_second": report.clips_per_second,
            "data_wait": report.data_wait, "seconds_left": left, "bad_clips": position.sums.bad,
        });
        self.write(PROGRESS, &line, progress);
        let scalars = [
            ("step/loss", report.loss),
            ("step/gradient_norm", f64::from(norm)),
            ("step/learning_rate", rate),
            ("step/clips_per_second", report.clips_per_second),
            ("step/data_wait", report.data_wait),
        ];
        self.events(position.steps, &scalars, progress);
    }

    /// A step was not taken.
    pub(super) fn nonfinite(
        &mut self,
        group: &Group,
        clips: Vec<String>,
        position: &Position,
        progress: &mut dyn Progress,
    ) {
        // JSON has no numbers that are not finite: they are words.
        let value = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        let losses: Vec<Value> = group.losses.iter().copied().map(value).collect();
        let line = json!({
            "stage": self.key, "epoch": position.epochs + 1, "steps": position.steps + 1,
            "losses": losses, "gradient_norm": value(f64::from(group.norm)), "clips": clips,
        });
        self.write(NONFINITE, &line, progress);
    }

    /// An epoch is over.
    pub(super) fn epoch(&mut self, line: &Value, report: &EpochReport, steps: u64, progress: &mut dyn Progress) {
        self.write(METRICS, line, progress);
        let mut scalars = vec![
            ("epoch/train_loss", report.train_loss),
            ("epoch/train_accuracy", report.train_accuracy),
            ("epoch/validation_loss", report.validation_loss),
            ("epoch/validation_accuracy", report.validation_accuracy),
        ];
        let levels: Vec<(String, f64)> =
            report.levels.iter().map(|(level, accuracy)| (format!("level/{level}"), *accuracy)).collect();
        scalars.extend(levels.iter().map(|(tag, accuracy)| (tag.as_str(), *accuracy)));
        self.events(steps, &scalars, progress);
    }

    /// Appends a line, with those that found no room before. A full disk is no reason to stop: it may be emptied before
    /// the training ends.
    fn write(&mut self, name: &'static str, line: &Value, progress: &mut dyn Progress) {
        let waiting = self.waiting.entry(name).or_default();
        waiting.push_str(&format!("{line}\n"));
        match self.run.append(name, waiting) {
            Ok(()) => waiting.clear(),
            Err(error) => progress.message(&format!("warning: {error:#}; it is tried again with the next line")),
        }
    }

    fn events(&mut self, step: u64, scalars: &[(&str, f64)], progress: &mut dyn Progress) {
        let Some(events) = &mut self.events else { return };
        if let Err(error) = events.scalars(step, scalars) {
            progress.message(&format!("warning: no more events for TensorBoard: {error:#}"));
            self.events = None;
        }
    }

    /// The stage is over: what found no room to the end is lost.
    pub(super) fn finish(self) {
        for (name, lines) in self.waiting.iter().filter(|(_, lines)| !lines.is_empty()) {
            self.run.note_loss(format!("{} lines of {name}, stage {}", lines.lines().count(), self.key));
        }
    }
}
