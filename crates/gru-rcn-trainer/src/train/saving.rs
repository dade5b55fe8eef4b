//! When a training is saved, what happens if saving fails, and where it starts again.

use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use gru_rcn_data::free_bytes;

use super::stage::Stage;
use crate::context::Session;
use crate::output::describe;
use crate::recipe::TrainingSection;
use crate::run::checkpoint::{Checkpoints, Position, State};

/// Saves a stage as its training section says, and finds what was saved of it.
pub(super) struct Saver<'a> {
    context: &'a Session,
    stage: &'a Stage,
    checkpoints: Checkpoints,
    last: Instant,
    /// Whether the newest attempt failed.
    failed: bool,
}

impl<'a> Saver<'a> {
    pub(super) fn new(context: &'a Session, stage: &'a Stage) -> Self {
        let checkpoints = Checkpoints::new(context.dir.checkpoints(&stage.key), context.fingerprint.clone());
        Self { context, stage, checkpoints, last: Instant::now(), failed: false }
    }

    /// The state that training starts from: the newest checkpoint, or the model as it is. An error if
    /// there is no room to save it again.
    pub(super) fn start<M: Module>(&self, model: M, optimizer: ModuleOptimizer) -> Result<State<M>> {
        let (context, name) = (self.context, &self.stage.name);
        let mut damaged = false;
        let loaded = self.checkpoints.load_newest(&model, &optimizer, |warning| {
            damaged = true;
            context.message(warning);
        })?;
        let state = match loaded {
            Some(loaded) => {
                let Position { steps, epochs, batches, .. } = loaded.position;
                let within = if batches > 0 { format!(" and {batches} batches of the next") } else { String::new() };
                context.message(format!("{name}: resuming after epoch {epochs}{within}, step {steps}"));
                loaded
            }
            None => {
                if damaged {
                    context.message(format!("warning: {name}: no checkpoint is whole, so this training starts anew"));
                }
                State { model, optimizer, best: None, position: Position::default() }
            }
        };
        self.check_room(&state)?;
        context.dir.rewind(&self.stage.key, state.position.epochs, state.position.steps)?;
        Ok(state)
    }

    /// Refuses a training that cannot be saved: there must be room for two checkpoints, or for one more
    /// if there are some already.
    fn check_room<M: Module>(&self, state: &State<M>) -> Result<()> {
        let (root, Stage { name, training, .. }) = (self.context.dir.root(), self.stage);
        let Some(free) = free_bytes(root) else { return Ok(()) };
        // Weights, those of the best epoch, and what the optimizer keeps of each, four bytes each; and the rest.
        let numbers = state.model.num_params() * (2 + training.moments());
        let checkpoint = 4 * numbers as u64 + (64 << 10);
        let (needed, how_many) = if state.position.steps == 0 { (2, "two of them") } else { (1, "one more") };
        if free < needed * checkpoint {
            bail!(
                "{}: a checkpoint of {name} takes about {:.1} MiB, and there are {:.1} MiB left on the disk; make room \
                 for {how_many}, or train in another folder with `--run`",
                root.display(),
                checkpoint as f64 / f64::from(1 << 20),
                free as f64 / f64::from(1 << 20)
            );
        }
        Ok(())
    }

    /// Whether to save now, within an epoch.
    pub(super) fn is_due(&self, position: &Position) -> bool {
        let TrainingSection { checkpoint_steps, checkpoint_minutes, .. } = &self.stage.training;
        checkpoint_steps.is_some_and(|steps| position.steps.is_multiple_of(steps))
            || checkpoint_minutes.is_some_and(|minutes| self.last.elapsed().as_secs_f64() >= 60.0 * minutes)
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
            self.context.dir.note_loss(format!("the checkpoint of {} after step {}", self.stage.name, position.steps));
        }
    }

    /// The error of a training that was asked to stop.
    pub(super) fn interrupted(&self) -> anyhow::Error {
        if self.failed {
            // Exit codes 130 and 143 promise that everything is saved.
            return anyhow!(
                "stopped as requested, but the newest state of {} could not be saved; --resume continues from the one \
                 before",
                self.stage.name
            );
        }
        self.context.stop.interrupted().into()
    }
}
