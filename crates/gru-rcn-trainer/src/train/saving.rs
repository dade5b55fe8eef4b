//! When a training is saved, and what happens if saving fails.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use burn::module::Module;
use gru_rcn_data::free_bytes;

use super::Trainer;
use crate::recipe::{OptimizerName, TrainingSection};
use crate::run::checkpoint::{Checkpoints, Position, State};

/// Saves a stage after some steps or minutes.
pub(super) struct Saver {
    checkpoints: Checkpoints,
    steps: Option<u64>,
    minutes: Option<Duration>,
    last: Instant,
    /// Whether the newest attempt failed.
    pub(super) failed: bool,
}

impl Saver {
    pub(super) fn new(training: &TrainingSection, checkpoints: Checkpoints) -> Self {
        let minutes = training.checkpoint_minutes;
        let minutes = minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX));
        Self { checkpoints, steps: training.checkpoint_steps, minutes, last: Instant::now(), failed: false }
    }

    /// Whether to save now, within an epoch.
    pub(super) fn is_due(&self, position: &Position) -> bool {
        self.steps.is_some_and(|steps| position.steps.is_multiple_of(steps))
            || self.minutes.is_some_and(|minutes| self.last.elapsed() >= minutes)
    }
}

impl Trainer<'_> {
    /// Saves. If that fails, as on a full disk, the checkpoint before is still there and training
    /// continues: stopping would lose what is learnt, and there may be room the next time. The
    /// failure is reported at once, and again by the exit code.
    pub(super) fn save<M: Module>(&self, saver: &mut Saver, state: &State<M>) {
        let (context, position) = (self.context, &state.position);
        let saved = saver.checkpoints.save(state);
        saver.last = Instant::now();
        saver.failed = saved.is_err();
        if let Err(error) = saved {
            context.message(format!(
                "warning: {error:#}. Training continues; the checkpoint before is still there, and saving is tried again"
            ));
            context.dir.note_loss(format!("the checkpoint of {} after step {}", self.stage.name, position.steps));
        }
    }

    /// Refuses a training that cannot be saved: there must be room for two checkpoints, or for one
    /// more if there are some already.
    pub(super) fn check_room<M: Module>(&self, state: &State<M>) -> Result<()> {
        let Some(free) = free_bytes(self.context.dir.root()) else { return Ok(()) };
        // Weights, best weights, and what the optimizer keeps of each, four bytes each; and the
        // rest.
        let copies = match self.stage.training.optimizer {
            OptimizerName::Adam => 4,
            OptimizerName::Sgd => 2 + u64::from(self.stage.training.momentum > 0.0),
        };
        let checkpoint = state.model.num_params() as u64 * 4 * copies + (64 << 10);
        let (needed, how_many) = if state.position.steps == 0 { (2, "two of them") } else { (1, "one more") };
        if free < needed * checkpoint {
            bail!(
                "{}: a checkpoint of {} takes about {:.1} MiB, and there are {:.1} MiB left on the disk; make room for {how_many}, \
                 or train in another folder with `--run`",
                self.context.dir,
                self.stage.name,
                checkpoint as f64 / f64::from(1 << 20),
                free as f64 / f64::from(1 << 20)
            );
        }
        Ok(())
    }
}
