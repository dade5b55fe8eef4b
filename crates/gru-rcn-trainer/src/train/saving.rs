//! When a training is saved, and what happens if saving fails.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use burn::module::Module;
use gru_rcn_data::free_bytes;

use super::stage::Stage;
use crate::context::Session;
use crate::output::describe;
use crate::recipe::{OptimizerName, TrainingSection};
use crate::run::checkpoint::{Checkpoints, Position, State};

/// Saves a stage after some steps or minutes.
pub(super) struct Saver<'a> {
    context: &'a Session,
    name: &'a str,
    checkpoints: Checkpoints,
    steps: Option<u64>,
    minutes: Option<Duration>,
    last: Instant,
    /// Whether the newest attempt failed.
    pub(super) failed: bool,
}

impl<'a> Saver<'a> {
    /// Saves the stage of this name as its training section says.
    pub(super) fn new(
        context: &'a Session,
        name: &'a str,
        training: &TrainingSection,
        checkpoints: Checkpoints,
    ) -> Self {
        let minutes = training.checkpoint_minutes;
        let minutes = minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX));
        let steps = training.checkpoint_steps;
        Self { context, name, checkpoints, steps, minutes, last: Instant::now(), failed: false }
    }

    /// Whether to save now, within an epoch.
    pub(super) fn is_due(&self, position: &Position) -> bool {
        self.steps.is_some_and(|steps| position.steps.is_multiple_of(steps))
            || self.minutes.is_some_and(|minutes| self.last.elapsed() >= minutes)
    }

    /// Saves. If that fails, as on a full disk, the checkpoint before is still there and training
    /// continues: stopping would lose what is learnt, and there may be room the next time. The failure is
    /// reported at once, and again by the exit code.
    pub(super) fn save<M: Module>(&mut self, state: &State<M>) {
        let position = &state.position;
        let saved = self.context.dir.check_there().and_then(|()| self.checkpoints.save(state));
        self.last = Instant::now();
        self.failed = saved.is_err();
        if let Err(error) = saved {
            self.context.message(format!(
                "warning: {}. Training continues; the checkpoint before is still there, and saving is tried again",
                describe(&error)
            ));
            self.context.dir.note_loss(format!("the checkpoint of {} after step {}", self.name, position.steps));
        }
    }

    /// The error of a training that was asked to stop.
    pub(super) fn interrupted(&self) -> anyhow::Error {
        if self.failed {
            // Exit codes 130 and 143 promise that everything is saved.
            return anyhow!(
                "stopped as requested, but the newest state of {} could not be saved; --resume continues from the one \
                 before",
                self.name
            );
        }
        self.context.stop.interrupted().into()
    }
}

/// Refuses a training that cannot be saved: there must be room for two checkpoints, or for one more if
/// there are some already.
pub(super) fn check_room<M: Module>(context: &Session, stage: &Stage, state: &State<M>) -> Result<()> {
    let root = context.dir.root();
    let Some(free) = free_bytes(root) else { return Ok(()) };
    // Weights, those of the best epoch, and what the optimizer keeps of each, four bytes each; and the rest.
    let copies = match stage.training.optimizer {
        OptimizerName::Adam | OptimizerName::Adadelta => 4,
        OptimizerName::Sgd => 2 + u64::from(stage.training.momentum > 0.0),
    };
    let checkpoint = state.model.num_params() as u64 * 4 * copies + (64 << 10);
    let (needed, how_many) = if state.position.steps == 0 { (2, "two of them") } else { (1, "one more") };
    if free < needed * checkpoint {
        bail!(
            "{}: a checkpoint of {} takes about {:.1} MiB, and there are {:.1} MiB left on the disk; make room for \
             {how_many}, or train in another folder with `--run`",
            root.display(),
            stage.name,
            checkpoint as f64 / f64::from(1 << 20),
            free as f64 / f64::from(1 << 20)
        );
    }
    Ok(())
}
