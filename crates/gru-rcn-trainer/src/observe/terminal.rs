//! A progress bar below the lines of [`Plain`].

use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Event, Observer, Plain};
use crate::output::note;

/// Stage, epoch and step with a bar; the current values and the time left on a second line.
const TEMPLATE: &str = "{prefix}  {wide_bar}\n{wide_msg}";

/// A progress bar with the current step, and a line above it for every finished epoch.
///
/// The terminal stays in its ordinary mode: finished epochs remain in its history, and Ctrl-C stays
/// a signal.
pub(crate) struct Terminal {
    /// Its lines are written above the bar.
    lines: Plain,
    bars: MultiProgress,
    bar: Option<ProgressBar>,
}

impl Default for Terminal {
    fn default() -> Self {
        let bars = MultiProgress::new();
        let above = bars.clone();
        // The bar is removed while a line is written. It shows the steps, so that no line has to.
        let lines = Plain::new(move |line| above.suspend(|| note!("{line}")), Duration::MAX);
        Self { lines, bars, bar: None }
    }
}

impl Observer for Terminal {
    fn observe(&mut self, event: &Event) -> Result<()> {
        if matches!(event, Event::StageStarted(_) | Event::StageFinished | Event::RunEnded)
            && let Some(bar) = self.bar.take()
        {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.lines.observe(event)?;
        match event {
            Event::StageStarted(stage) => {
                let style = ProgressStyle::with_template(TEMPLATE).context("the progress bar's template")?;
                let steps = (stage.epochs * stage.steps_per_epoch) as u64;
                let bar = ProgressBar::new(steps).with_style(style.progress_chars("━╸╌"));
                self.bar = Some(self.bars.add(bar));
            }
            Event::Step(step) => {
                if let (Some(bar), Some((position, values))) = (&self.bar, self.lines.step_texts(step)) {
                    bar.set_prefix(position);
                    bar.set_message(values);
                    bar.set_position(step.steps);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
