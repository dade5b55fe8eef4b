//! A progress bar below the lines of [`Plain`].

use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{EpochReport, Plain, Progress, StagePlan, StepReport};

/// The stage, epoch and step with a bar; the current values and the time left on a second line.
const TEMPLATE: &str = "{prefix}  {wide_bar}\n{wide_msg}";

/// A progress bar with the current step, and a line above it for every finished epoch.
///
/// The terminal stays in its ordinary mode: finished epochs remain in its history, and Ctrl-C stays
/// a signal.
pub struct Terminal {
    lines: Plain<Above>,
    bars: MultiProgress,
    bar: Option<ProgressBar>,
}

impl Default for Terminal {
    fn default() -> Self {
        let bars = MultiProgress::new();
        let above = Above { bars: bars.clone(), line: Vec::new() };
        // The bar shows the steps, so that no line has to.
        Self { lines: Plain::new(above).with_interval(Duration::MAX), bars, bar: None }
    }
}

impl Progress for Terminal {
    fn start(&mut self, plan: &StagePlan) {
        self.clear();
        self.lines.start(plan);
        let style = ProgressStyle::with_template(TEMPLATE).expect("a valid template").progress_chars("━╸╌");
        let steps = (plan.epochs * plan.steps_per_epoch) as u64;
        self.bar = Some(self.bars.add(ProgressBar::new(steps).with_style(style)));
    }

    fn step(&mut self, report: &StepReport) {
        self.lines.step(report);
        let (Some(bar), Some(stage)) = (&self.bar, self.lines.stage()) else { return };
        bar.set_prefix(stage.position_text(report));
        bar.set_message(stage.values_text(report));
        bar.set_position(stage.position() as u64);
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.lines.epoch(report);
    }

    fn message(&mut self, text: &str) {
        self.lines.message(text);
    }

    fn finish(&mut self) {
        self.clear();
        self.lines.finish();
    }

    fn leave(&mut self) {
        self.clear();
        self.lines.leave();
    }
}

impl Terminal {
    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
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

    /// The bar is taken away for the moment of writing, so a line must be complete by now.
    fn flush(&mut self) -> std::io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.bars.suspend(|| std::io::stderr().write_all(&line))
    }
}
