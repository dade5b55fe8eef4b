//! Burn's own dashboard, driven from our loop.
//!
//! `burn-train` draws it for its learner. The same renderer is public and takes the same events
//! from anybody: metrics by name, the position in the epoch, the end. What differs here:
//!
//! - It is opened with the first step and closed at the end of the stage, so that every stage has
//!   its own axes, and the lines that follow are on the ordinary screen.
//! - It takes Ctrl-C for a key and ignores it, as terminals in raw mode do. Here Ctrl-C stays a
//!   signal, with the meaning that it has everywhere else in the program.

use super::{EpochReport, Progress, StagePlan, StepReport, level_list, percent, spoken};
use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger;
use burn::train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Whether the dashboard has the terminal at this moment.
static OPEN: AtomicBool = AtomicBool::new(false);

const LOSS: &str = "Loss";
const ACCURACY: &str = "Accuracy";
const SPEED: &str = "Clips per second";
const WAIT: &str = "Waiting for data";
const LEVELS: &str = "Levels";

/// The dashboard of `burn-train`.
///
/// The key `q` offers to stop after the current step, which [`Progress::should_stop`] then tells,
/// or to be killed at once, which ends the program by a panic as it does under Burn's learner.
#[derive(Default)]
pub struct Terminal {
    interrupter: Interrupter,
    stage: Option<Stage>,
    /// What was said while the dashboard had the terminal.
    messages: Vec<String>,
}

struct Stage {
    plan: StagePlan,
    began: Instant,
    /// `None` until the first step, which tells where a resumed stage goes on.
    dashboard: Option<TuiMetricsRendererWrapper>,
    steps: usize,
    epochs: usize,
    best: Option<EpochReport>,
}

impl Progress for Terminal {
    fn start(&mut self, plan: &StagePlan) {
        self.finish();
        self.stage =
            Some(Stage { plan: plan.clone(), began: Instant::now(), dashboard: None, steps: 0, epochs: 0, best: None });
    }

    fn step(&mut self, report: &StepReport) {
        let Some(stage) = &mut self.stage else { return };
        let dashboard =
            stage.dashboard.get_or_insert_with(|| open(&stage.plan, report.epoch, self.interrupter.clone()));
        stage.steps += 1;
        // By the second step the drawing thread has surely put the terminal into raw mode.
        if stage.steps == 2 {
            keep_signals();
        }
        if stage.steps == 1 || report.step == 1 {
            // The renderer is told which epoch ended, and shows the next.
            dashboard.update_epoch(report.epoch.saturating_sub(1));
            dashboard.start_split("train", stage.plan.clips_per_epoch);
        }
        dashboard.update_train(value(LOSS, report.loss, format!("{:.4}", report.loss)));
        dashboard.update_train(percentage(ACCURACY, report.accuracy));
        let speed = report.clips_per_second;
        dashboard.update_train(value(SPEED, speed, format!("{speed:.0}")));
        dashboard.update_train(percentage(WAIT, report.data_wait));
        let steps = stage.plan.steps_per_epoch.max(1);
        let clips = report.step.min(steps) * stage.plan.clips_per_epoch / steps;
        dashboard.update_split(clips);
    }

    fn epoch(&mut self, report: &EpochReport) {
        let Some(stage) = &mut self.stage else { return };
        stage.epochs += 1;
        if report.best {
            stage.best = Some(report.clone());
        }
        let Some(dashboard) = &mut stage.dashboard else { return };
        let (mut loss, mut accuracy) = (format!("{:.4}", report.validation_loss), percent(report.validation_accuracy));
        if let Some(best) = &stage.best {
            loss += &format!(", best {:.4} in epoch {}", best.validation_loss, best.epoch);
            accuracy += &format!(", best {}", percent(best.validation_accuracy));
        }
        dashboard.update_valid(value(LOSS, report.validation_loss, loss));
        dashboard.update_valid(value(ACCURACY, report.validation_accuracy * 100.0, accuracy));
        if report.levels.len() > 1 {
            dashboard.update_valid(MetricState::Generic(entry(LEVELS, level_list(&report.levels))));
        }
        dashboard.end_split();
    }

    fn message(&mut self, text: &str) {
        if OPEN.load(Ordering::Relaxed) {
            self.messages.push(text.to_owned());
        } else {
            eprintln!("{text}");
        }
    }

    fn finish(&mut self) {
        let Some(mut stage) = self.stage.take() else { return };
        // Dropping closes it and waits until the terminal is as it was.
        drop(stage.dashboard.take());
        OPEN.store(false, Ordering::Relaxed);
        eprintln!("{}", stage.summary());
        for message in self.messages.drain(..) {
            eprintln!("{message}");
        }
    }

    fn should_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.finish();
        }
    }
}

impl Stage {
    fn summary(&self) -> String {
        if self.steps == 0 {
            return format!("{}: nothing left to train", self.plan.name);
        }
        let epochs = if self.epochs == 1 { "epoch" } else { "epochs" };
        let seconds = self.began.elapsed().as_secs_f64();
        let mut line = format!("{}: {} {epochs} in {}", self.plan.name, self.epochs, spoken(seconds));
        if let Some(best) = &self.best {
            line += &format!(
                ", best in epoch {}: validation loss {:.4} accuracy {}",
                best.epoch,
                best.validation_loss,
                percent(best.validation_accuracy)
            );
        }
        line
    }
}

/// Takes the terminal, with the first step in `epoch`.
fn open(plan: &StagePlan, epoch: usize, interrupter: Interrupter) -> TuiMetricsRendererWrapper {
    OPEN.store(true, Ordering::Relaxed);
    // Epochs before a resumption count for the bar but not for the pace.
    let before = Some(epoch.saturating_sub(1)).filter(|epochs| *epochs > 0);
    let mut dashboard = TuiMetricsRendererWrapper::new(interrupter, before);
    for (name, unit, higher_is_better) in
        [(LOSS, "", false), (ACCURACY, "%", true), (SPEED, "", true), (WAIT, "%", false)]
    {
        let unit = (!unit.is_empty()).then(|| unit.to_owned());
        let attributes = NumericAttributes { unit, higher_is_better };
        dashboard.register_metric(definition(name, MetricAttributes::Numeric(attributes)));
    }
    dashboard.register_metric(definition(LEVELS, MetricAttributes::None));
    let clips = Some(plan.clips_per_epoch);
    TrainingProgressLogger::start(&mut dashboard, plan.epochs, epoch, clips, Some(&plan.name));
    dashboard
}

fn definition(name: &str, attributes: MetricAttributes) -> MetricDefinition {
    MetricDefinition { metric_id: id(name), name: Arc::new(name.to_owned()), description: None, attributes }
}

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.to_owned()))
}

fn entry(name: &str, shown: String) -> MetricEntry {
    MetricEntry::new(id(name), SerializedEntry::new(shown.clone(), shown))
}

/// A point of a curve, and its text; a value that is no number has no point.
fn value(name: &str, value: f64, shown: String) -> MetricState {
    let point = value.is_finite().then_some(NumericEntry::Value(value));
    MetricState::Numeric(entry(name, shown), point)
}

fn percentage(name: &str, fraction: f64) -> MetricState {
    value(name, fraction * 100.0, percent(fraction))
}

/// Lets Ctrl-C be a signal again while the terminal is in raw mode.
fn keep_signals() {
    stty("isig");
}

/// Gives the terminal back to the shell, where a program is about to leave without unwinding: on a
/// second Ctrl-C. Does nothing while the dashboard is closed.
pub fn restore_terminal() {
    if OPEN.swap(false, Ordering::Relaxed) {
        // Mouse reports off, cursor on, ordinary screen.
        let mut out = std::io::stdout();
        let _ = out.write_all(b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[?25h\x1b[?1049l");
        let _ = out.flush();
        stty("sane");
    }
}

/// Changes the terminal of this process. What fails leaves it as it is, and is not worth a word.
fn stty(setting: &str) {
    let mut command = Command::new("stty");
    command.arg(setting).stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.status();
}
