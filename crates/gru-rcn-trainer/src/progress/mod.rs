//! What a person sees while a model learns.
//!
//! The training loop tells a [`Progress`] what happens and asks it now and then whether it should
//! stop; it does not know who watches. [`detect`] chooses: on a terminal, [`Terminal`] shows a
//! progress bar below a line per epoch; on a pipe, in a log file or where no bar is wanted,
//! [`Plain`] writes lines with the values. Both write to standard error: results go to standard
//! output.

mod duration;
mod interval;
mod plain;
mod terminal;

pub use duration::spoken;
pub use interval::Interval;
pub use plain::Plain;
pub use terminal::Terminal;

use std::io::IsTerminal;

/// Set to anything but the empty string, this environment variable asks for plain lines.
pub const PLAIN_VARIABLE: &str = "GRU_RCN_PLAIN";

/// One training to come: the system of the report, or one of its baselines.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    /// What is trained, such as "GRU-RCN".
    pub name: String,
    /// How many epochs there are at most, those before a resumption included.
    pub epochs: usize,
    /// Optimizer steps in an epoch.
    pub steps_per_epoch: usize,
    /// Training clips in an epoch.
    pub clips_per_epoch: usize,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The epoch, from one.
    pub epoch: usize,
    /// The step within the epoch, from one.
    pub step: usize,
    /// Loss of the batch.
    pub loss: f64,
    /// Accuracy over the epoch so far, a fraction.
    pub accuracy: f64,
    /// Training clips a second, lately.
    pub clips_per_second: f64,
    /// The share of the time spent waiting for clips instead of computing, a fraction.
    pub data_wait: f64,
}

/// One epoch, after its validation.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// What is trained; the name of the plan.
    pub stage: String,
    /// The epoch, from one.
    pub epoch: usize,
    /// Mean loss over the training clips.
    pub train_loss: f64,
    /// Accuracy over the training clips, a fraction.
    pub train_accuracy: f64,
    /// Mean loss over the validation clips.
    pub validation_loss: f64,
    /// Accuracy over the validation clips, a fraction.
    pub validation_accuracy: f64,
    /// Whether this is the best epoch so far.
    pub best: bool,
    /// How long the epoch took, validation included.
    pub seconds: f64,
    /// Validation accuracy of the classifier of every level alone; may be empty.
    pub levels: Vec<(String, f64)>,
}

/// Somebody to tell about training.
///
/// The calls come in this order: [`start`](Self::start), then [`step`](Self::step) and
/// [`epoch`](Self::epoch) as they happen, then [`finish`](Self::finish); and again for the next
/// stage. A stage may begin in the middle of an epoch, when training is resumed.
pub trait Progress {
    /// A stage begins.
    fn start(&mut self, plan: &StagePlan);
    /// A step was taken.
    fn step(&mut self, report: &StepReport);
    /// An epoch ended.
    fn epoch(&mut self, report: &EpochReport);
    /// Something to tell in words. Whoever prints by other means while a stage runs spoils the
    /// picture on a terminal.
    fn message(&mut self, text: &str);
    /// The stage is over. Without a stage this does nothing.
    fn finish(&mut self);
    /// The program ends before the stage under way, if there is one, is over. Like [`finish`](Self::finish), but tells
    /// nothing of it.
    fn leave(&mut self) {
        self.finish();
    }
    /// Whether the person who watches asked to stop. The loop then finishes its step, saves and
    /// ends as it does on a signal.
    fn should_stop(&self) -> bool {
        false
    }
}

/// A progress bar where standard error is a terminal, plain lines elsewhere.
///
/// `plain` asks for lines in any case, as does the variable [`PLAIN_VARIABLE`].
pub fn detect(plain: bool) -> Box<dyn Progress> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    if plain || set(PLAIN_VARIABLE) || dumb || !std::io::stderr().is_terminal() {
        Box::new(Plain::default())
    } else {
        Box::new(Terminal::default())
    }
}

/// A fraction in percent.
fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// The levels in one line.
fn level_list(levels: &[(String, f64)]) -> String {
    let level = |(name, accuracy): &(String, f64)| format!("{name} {}", percent(*accuracy));
    levels.iter().map(level).collect::<Vec<_>>().join(", ")
}
