//! Lines for pipes, log files and those who prefer them.

use super::{EpochReport, Progress, StagePlan, StepReport, level_list, percent, spoken};
use std::io::{Stderr, Write};
use std::time::{Duration, Instant};

/// How often a long epoch shows that it is alive.
const INTERVAL: Duration = Duration::from_secs(5);

/// One line per epoch, and one every few seconds within a long one.
///
/// A line holds values, never only a bar: a log is read afterwards. Lines that cannot be written
/// are dropped, since a closed pipe is no reason to lose a training.
pub struct Plain<W: Write = Stderr> {
    out: W,
    interval: Duration,
    stage: Option<Stage>,
}

/// The stage under way, as far as it has got.
pub(super) struct Stage {
    plan: StagePlan,
    began: Instant,
    last_line: Instant,
    /// Steps taken since `began`; a resumed stage has taken others before.
    steps: usize,
    /// The last step, counted from the beginning of the stage.
    position: usize,
}

impl Default for Plain {
    fn default() -> Self {
        Self::new(std::io::stderr())
    }
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, interval: INTERVAL, stage: None }
    }

    /// Sets how long an epoch is silent at most.
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The stage under way.
    pub(super) fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
        if let Some(stage) = &mut self.stage {
            stage.last_line = Instant::now();
        }
    }
}

impl Stage {
    /// The last step, counted from the beginning of the stage.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Stage, epoch and step.
    pub(super) fn position_text(&self, report: &StepReport) -> String {
        format!("{}  step {}/{}", self.epoch_of(report.epoch), report.step, self.plan.steps_per_epoch)
    }

    /// The values of a step and the time left.
    pub(super) fn values_text(&self, report: &StepReport) -> String {
        format!(
            "loss {:.4}  accuracy {}  {:.0} clips/s  waiting for data {:.0} %{}",
            report.loss,
            percent(report.accuracy),
            report.clips_per_second,
            report.data_wait * 100.0,
            self.left()
        )
    }

    fn epoch_of(&self, epoch: usize) -> String {
        let width = self.plan.epochs.to_string().len();
        format!("{} epoch {epoch:>width$}/{}", self.plan.name, self.plan.epochs)
    }

    /// The time that the rest of the stage takes at the pace so far, validation included; nothing
    /// before there is a pace and after the last step.
    fn left(&self) -> String {
        let total = self.plan.epochs * self.plan.steps_per_epoch;
        let rest = total.saturating_sub(self.position);
        if rest == 0 || self.steps == 0 {
            return String::new();
        }
        let pace = self.began.elapsed().as_secs_f64() / self.steps as f64;
        format!("  {} left", spoken(pace * rest as f64))
    }
}

impl<W: Write> Progress for Plain<W> {
    fn start(&mut self, plan: &StagePlan) {
        let now = Instant::now();
        self.stage = Some(Stage { plan: plan.clone(), began: now, last_line: now, steps: 0, position: 0 });
        self.line(&format!(
            "{}: up to {} epochs of {} steps over {} clips",
            plan.name, plan.epochs, plan.steps_per_epoch, plan.clips_per_epoch
        ));
    }

    fn step(&mut self, report: &StepReport) {
        let Some(stage) = &mut self.stage else { return };
        stage.steps += 1;
        stage.position = (report.epoch - 1) * stage.plan.steps_per_epoch + report.step;
        if stage.last_line.elapsed() < self.interval {
            return;
        }
        let line = format!("{}  {}", stage.position_text(report), stage.values_text(report));
        self.line(&line);
    }

    fn epoch(&mut self, report: &EpochReport) {
        let Some(stage) = &self.stage else { return };
        let mut line = format!(
            "{}  train loss {:.4} accuracy {}  validation loss {:.4} accuracy {}",
            stage.epoch_of(report.epoch),
            report.train_loss,
            percent(report.train_accuracy),
            report.validation_loss,
            percent(report.validation_accuracy),
        );
        if report.levels.len() > 1 {
            line += &format!(" ({})", level_list(&report.levels));
        }
        if report.best {
            line += "  best so far";
        }
        line += &format!("  {}{}", spoken(report.seconds), stage.left());
        self.line(&line);
    }

    fn message(&mut self, text: &str) {
        self.line(text);
    }

    fn finish(&mut self) {
        let Some(stage) = self.stage.take() else { return };
        let seconds = stage.began.elapsed().as_secs_f64();
        match stage.steps {
            0 => self.line(&format!("{}: nothing left to train", stage.plan.name)),
            _ => self.line(&format!("{}: finished after {}", stage.plan.name, spoken(seconds))),
        }
    }

    fn leave(&mut self) {
        // The error that follows says why.
        self.stage = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(interval: Duration) -> String {
        let mut out = Vec::new();
        let mut plain = Plain::new(&mut out).with_interval(interval);
        plain.start(&StagePlan { name: "GRU-RCN".into(), epochs: 10, steps_per_epoch: 2, clips_per_epoch: 64 });
        plain.step(&StepReport {
            epoch: 3,
            step: 1,
            loss: 1.25,
            accuracy: 0.5,
            clips_per_second: 212.4,
            data_wait: 0.031,
        });
        plain.epoch(&EpochReport {
            stage: "GRU-RCN".into(),
            epoch: 3,
            train_loss: 1.0,
            train_accuracy: 0.625,
            validation_loss: 1.5,
            validation_accuracy: 0.25,
            best: true,
            seconds: 4.0,
            levels: vec![("pool3".into(), 0.125), ("pool4".into(), 0.5)],
        });
        plain.message("the learning rate is now 0.0001");
        plain.finish();
        plain.finish();
        drop(plain);
        String::from_utf8(out).unwrap()
    }

    /// A resumed stage: the first step told is of epoch 3.
    #[test]
    fn an_epoch_is_one_line_with_all_values() {
        let text = told(Duration::from_secs(3_600));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "GRU-RCN: up to 10 epochs of 2 steps over 64 clips");
        assert!(lines[1].starts_with(
            "GRU-RCN epoch  3/10  train loss 1.0000 accuracy 62.5 %  validation loss 1.5000 \
             accuracy 25.0 % (pool3 12.5 %, pool4 50.0 %)  best so far  4.0 s  "
        ));
        assert!(lines[1].ends_with(" left"));
        assert_eq!(lines[2], "the learning rate is now 0.0001");
        assert!(lines[3].starts_with("GRU-RCN: finished after "));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_long_epoch_shows_its_steps() {
        let text = told(Duration::ZERO);
        assert!(text.contains(
            "epoch  3/10  step 1/2  loss 1.2500  accuracy 50.0 %  212 clips/s  \
             waiting for data 3 %  "
        ));
    }

    /// Two steps in ten seconds of a stage of 4 · 5 = 20, resumed at step 8: ten are left, that
    /// is fifty seconds. The clock runs a little further, so only whole seconds are compared.
    #[test]
    fn the_time_left_is_that_of_this_session() {
        let now = Instant::now();
        let began = now.checked_sub(Duration::from_secs(10)).unwrap_or(now);
        let plan = StagePlan { name: "x".into(), epochs: 4, steps_per_epoch: 5, clips_per_epoch: 5 };
        let stage = Stage { plan, began, last_line: now, steps: 2, position: 10 };
        if began != now {
            assert_eq!(stage.left(), "  50 s left");
        }
    }
}
