//! The files of a run that grow line by line.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use serde::Serialize;

use super::{Event, Interval, Observer};
use crate::output::describe;
use crate::run::dir::{METRICS, NONFINITE, PROGRESS, RunDir};

/// Seconds between two lines of `progress.jsonl`.
const INTERVAL: u64 = 10;

/// Writes `metrics.jsonl`, `progress.jsonl` and `nonfinite.jsonl`.
///
/// A full disk does not stop training, since room may be made in time: lines that could not be written
/// are written with the next one. Lines that are still unwritten at the end of a stage are lost, which
/// the run folder notes.
pub(crate) struct JsonLines {
    dir: RunDir,
    stage: String,
    unwritten: BTreeMap<&'static str, String>,
    progress: Interval,
}

impl JsonLines {
    pub(crate) fn new(dir: RunDir) -> Self {
        Self { dir, stage: String::new(), unwritten: BTreeMap::new(), progress: Interval::new(INTERVAL) }
    }

    fn write(&mut self, log: &'static str, line: &impl Serialize) -> Result<()> {
        let lines = self.unwritten.entry(log).or_default();
        lines.push_str(&format!("{}\n", serde_json::to_string(line)?));
        self.dir
            .append(log, lines)
            .map_err(|error| anyhow!("{}; it is tried again with the next line", describe(&error)))?;
        lines.clear();
        Ok(())
    }
}

impl Observer for JsonLines {
    fn observe(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::StageStarted(stage) => {
                self.stage = stage.stage.clone();
                self.progress = Interval::new(INTERVAL);
            }
            Event::Step(step) if self.progress.is_over() => self.write(PROGRESS, step)?,
            Event::NonfiniteStep(step) => self.write(NONFINITE, step)?,
            Event::Epoch(epoch) => self.write(METRICS, epoch)?,
            Event::StageFinished => {
                for (log, lines) in std::mem::take(&mut self.unwritten) {
                    if !lines.is_empty() {
                        let lines = lines.lines().count();
                        self.dir.note_loss(format!("{lines} lines of {log}, stage {}", self.stage));
                    }
                }
            }
            Event::Step(_) | Event::Message(_) | Event::RunEnded => {}
        }
        Ok(())
    }
}
