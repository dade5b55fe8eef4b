//! A progress bar below the lines of [`Plain`].

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Event, Observer, Plain};

/// Stage, epoch and step with a bar; the current values and the time left on a second line.
const TEMPLATE: &str = "{prefix}  {wide_bar}\n{wide_msg}";

/// A progress bar with the current step, and a line above it for every finished epoch.
///
/// The terminal stays in its ordinary mode: finished epochs remain in its history, and Ctrl-C stays
/// a signal.
pub(crate) struct Terminal {
    lines: Plain<Above>,
    bars: MultiProgress,
    bar: Option<ProgressBar>,
}

impl Default for Terminal {
    fn default() -> Self {
        let bars = MultiProgress::new();
        let above = Above { bars: bars.clone(), line: Vec::new() };
        // The bar shows the steps, so that no line has to.
        Self { lines: Plain::new(above, Duration::MAX), bars, bar: None }
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

/// Writes whole lines to standard error, above the bar.
struct Above {
    bars: MultiProgress,
    line: Vec<u8>,
}

impl Write for Above {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(part);
        Ok(part.len())
    }

    /// The bar is removed while a line is written, so the line must be complete by now.
    fn flush(&mut self) -> std::io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.bars.suspend(|| std::io::stderr().write_all(&line))
    }
}
