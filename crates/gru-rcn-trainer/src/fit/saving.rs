//! When a training is saved, and what becomes of it if that fails.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use gru_rcn_data::free_bytes;

use super::Fit;
use crate::checkpoint::{Checkpoints, Position};
use crate::progress::Progress;
use crate::recipe::OptimizerName;

/// All that a checkpoint holds.
pub(super) struct State<M> {
    pub(super) model: M,
    pub(super) optimizer: ModuleOptimizer,
    /// Weights of the best epoch.
    pub(super) best: Option<Vec<u8>>,
    pub(super) position: Position,
}

/// Saves a stage now and then.
pub(super) struct Saver {
    checkpoints: Checkpoints,
    steps: u64,
    minutes: Option<Duration>,
    last: Instant,
    /// Whether the newest attempt failed.
    failed: bool,
}

impl Saver {
    pub(super) fn new(fit: &Fit, checkpoints: Checkpoints) -> Self {
        let minutes = fit.training.checkpoint_minutes;
        let minutes = (minutes > 0.0).then(|| Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX));
        Self { checkpoints, steps: fit.training.checkpoint_steps, minutes, last: Instant::now(), failed: false }
    }

    /// Whether it is time, within an epoch.
    pub(super) fn is_due(&self, position: &Position) -> bool {
        let by_steps = self.steps > 0 && position.steps.is_multiple_of(self.steps);
        by_steps || self.minutes.is_some_and(|minutes| self.last.elapsed() >= minutes)
    }

    /// Saves. If that fails, as on a full disk, the checkpoint before is still there and training goes on: what is learnt
    /// would be lost by stopping, and there may be room the next time. It is told at once and again by the exit code.
    pub(super) fn save<M: Module>(&mut self, fit: &Fit, state: &State<M>, progress: &mut dyn Progress) {
        let saved = self.checkpoints.save(&state.model, &state.optimizer, state.best.as_deref(), &state.position);
        self.last = Instant::now();
        self.failed = saved.is_err();
        if let Err(error) = saved {
            progress.message(&format!(
                "warning: {error:#}. Training goes on; what was saved before is still there, and it is tried again"
            ));
            fit.run.note_loss(format!("the checkpoint of {} after step {}", fit.name, state.position.steps));
        }
    }

    /// Whether what was saved last is what there is.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}

impl Fit<'_> {
    /// Refuses to begin what cannot be saved: there must be room for two checkpoints, or for one more where there are some.
    pub(super) fn check_room<M: Module>(&self, state: &State<M>) -> Result<()> {
        let Some(free) = free_bytes(self.run.root()) else { return Ok(()) };
        // Weights, those of the best epoch, and what the optimizer keeps of each, all of four bytes; and the rest.
        let copies = match self.training.optimizer {
            OptimizerName::Adam => 4,
            OptimizerName::Sgd => 2 + u64::from(self.training.momentum > 0.0),
        };
        let checkpoint = state.model.num_params() as u64 * 4 * copies + (64 << 10);
        let (needed, many) = if state.position.steps == 0 { (2, "two of them") } else { (1, "one more") };
        if free < needed * checkpoint {
            bail!(
                "{}: a checkpoint of {} takes about {:.1} MiB, and there are {:.1} MiB left on the disk; make room for {many}, \
                 or train in another folder with `--run`",
                self.run.root().display(),
                self.name,
                checkpoint as f64 / f64::from(1 << 20),
                free as f64 / f64::from(1 << 20)
            );
        }
        Ok(())
    }
}
