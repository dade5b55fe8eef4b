//! Training of one system on batches of percepts, with early stopping on validation log-probability.
//!
//! A training can be stopped between any two steps and gone on with later: everything that it depends on is either in a
//! [`checkpoint`](crate::checkpoint) or a function of seed, epoch, step and clip.

mod optimizer;
mod saving;
mod step;
mod watch;

use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::ParamGroup;
use burn::tensor::Device;
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::LossKind;
use serde_json::json;

use crate::checkpoint::{Checkpoints, EpochSums, Position, weights, with_weights};
use crate::evaluate::{Scores, score};
use crate::parallel::Replicas;
use crate::percepts::{Source, Watched};
use crate::progress::{EpochReport, Progress, StagePlan};
use crate::rates;
use crate::recipe::{Nonfinite, TrainingSection};
use crate::report::EpochPoint;
use crate::run_dir::RunDir;
use crate::signals::StopFlag;
use optimizer::{learning_rate, optimizer};
use saving::{Saver, State};
use step::Group;
use watch::Watch;

/// Which weights of a training are its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those of the epoch with the best validation log-probability.
    Best,
    /// Those of the last epoch, whatever validation says.
    Last,
}

/// What training needs to know beside the model and its clips.
pub struct Fit<'a> {
    /// The stage's name in files.
    pub key: &'a str,
    /// The stage's name for people.
    pub name: &'a str,
    /// Names of the model's classifiers; empty if it has but one.
    pub levels: Vec<String>,
    /// How to train.
    pub training: &'a TrainingSection,
    /// Which weights are its result.
    pub keep: Keep,
    /// The loss asked for.
    pub loss: LossKind,
    /// Parameters that learn at another rate, and the factor of theirs.
    pub rate_factors: Vec<(ParamGroup, f64)>,
    /// Seed of order, augmentation and dropout.
    pub seed: u64,
    /// The plain device.
    pub device: &'a Device,
    /// That device and those that share a batch with it.
    pub replicas: &'a Replicas,
    /// Where checkpoints and metrics go.
    pub run: &'a RunDir,
    /// Asked for a stop?
    pub stop: &'a StopFlag,
}

/// A trained system.
pub struct Trained<M> {
    /// With the weights that [`Fit::keep`] asks for, on the plain device.
    pub model: M,
    /// Its course.
    pub course: Position,
}

/// The error of a run that was asked to stop; everything done so far is saved.
#[derive(Debug)]
pub struct Interrupted {
    /// The exit code of whatever asked: 130 for Ctrl-C, 143 for SIGTERM.
    pub exit_code: u8,
    /// What to do to go on.
    pub advice: &'static str,
}

impl Interrupted {
    /// Of a training run, which goes on from what it saved.
    pub fn training(exit_code: u8) -> Self {
        Self { exit_code, advice: "go on with --resume" }
    }
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stopped as asked; {}", self.advice)
    }
}

impl std::error::Error for Interrupted {}

impl Fit<'_> {
    /// Trains a model that lives on the autodiff device, going on from the newest checkpoint if there is one.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] after a stop was asked for and everything is saved. Whatever else stops training, the last good state
    /// is saved before.
    pub fn run<M: ClipClassifier>(
        &self,
        model: M,
        train: &dyn Source,
        validation: &dyn Source,
        progress: &mut dyn Progress,
    ) -> Result<Trained<M>> {
        let checkpoints = Checkpoints::new(self.run.path("checkpoints").join(self.key), self.run.identity().clone());
        let mut state = self.begin(model, &checkpoints, progress)?;
        self.check_room(&state)?;
        let mut saver = Saver::new(self, checkpoints);
        let epochs = self.training.most_epochs(train.len());
        let steps_per_epoch = self.training.steps_per_epoch(train.len());
        let most_steps = self.training.steps.unwrap_or((epochs * steps_per_epoch) as u64);
        let accumulate = self.training.accumulate;
        let mut watch = Watch::new(self.run, self.key, &state.position, most_steps, accumulate, progress)?;
        progress.start(&StagePlan {
            name: self.name.to_string(),
            epochs,
            steps_per_epoch,
            clips_per_epoch: train.len(),
        });
        while !self.finished(&state.position, epochs) {
            if self.stop_asked(progress) {
                return Err(self.interrupted(&saver));
            }
            state = self.rest_of_epoch(state, train, epochs, &mut saver, &mut watch, progress)?;
            let started = Instant::now();
            let scores = score(&state.model.valid(), &Watched::new(validation, self.stop), self.training.batch);
            let scores = match scores {
                Ok(scores) => scores,
                Err(error) => {
                    saver.save(self, &state, progress);
                    return Err(if error.is::<Interrupted>() { self.interrupted(&saver) } else { error });
                }
            };
            state.position.sums.seconds += started.elapsed().as_secs_f64();
            self.close_epoch(&mut state, &scores, epochs, &mut watch, progress)?;
            saver.save(self, &state, progress);
        }
        watch.finish();
        progress.finish();
        let best = state.best.context("a training without an epoch has no best weights")?;
        Ok(Trained { model: with_weights(&state.model, best)?.valid(), course: state.position })
    }

    /// Where training begins: at the newest checkpoint, or at the model as it is.
    fn begin<M: ClipClassifier>(
        &self,
        model: M,
        checkpoints: &Checkpoints,
        progress: &mut dyn Progress,
    ) -> Result<State<M>> {
        let optimizer = optimizer(self.training)?;
        let mut damaged = 0;
        let loaded = checkpoints.load_newest(&model, &optimizer, |warning| {
            damaged += 1;
            progress.message(warning);
        })?;
        match loaded {
            Some(loaded) => {
                let (steps, epochs, batches) = (loaded.position.steps, loaded.position.epochs, loaded.position.batches);
                let within = match batches {
                    0 => String::new(),
                    batches => format!(" and {batches} batches of the next"),
                };
                progress.message(&format!("{}: going on after epoch {epochs}{within}, step {steps}", self.name));
                Ok(State {
                    model: loaded.model,
                    optimizer: loaded.optimizer,
                    best: loaded.best,
                    position: loaded.position,
                })
            }
            None => {
                if damaged > 0 {
                    progress.message(&format!(
                        "warning: {}: no checkpoint is whole, so this training begins anew",
                        self.name
                    ));
                }
                Ok(State { model, optimizer, best: None, position: Position::default() })
            }
        }
    }

    fn finished(&self, position: &Position, epochs: usize) -> bool {
        let waited = position.epochs > 0 && position.epochs - position.best_epoch >= self.training.patience;
        position.batches == 0 && (position.epochs >= epochs || waited)
    }

    /// Takes what steps of the running epoch are left.
    fn rest_of_epoch<M: ClipClassifier>(
        &self,
        mut state: State<M>,
        train: &dyn Source,
        epochs: usize,
        saver: &mut Saver,
        watch: &mut Watch,
        progress: &mut dyn Progress,
    ) -> Result<State<M>> {
        let epoch = state.position.epochs as u64 + 1;
        let mut batches = train.epoch(self.seed, epoch, self.training.batch, state.position.batches);
        watch.epoch_begins();
        while self.training.steps.is_none_or(|most| state.position.steps < most) {
            let mut group = match self.gather(&state.model, &mut *batches, state.position.steps) {
                Ok(Some(group)) => group,
                Ok(None) => break,
                Err(error) => {
                    saver.save(self, &state, progress);
                    return Err(error);
                }
            };
            let rate = learning_rate(self.training, state.position.epochs, epochs, state.position.steps);
            if group.is_nonfinite() {
                let clips = group.clips.iter().map(|&clip| train.id(clip)).collect();
                watch.nonfinite(&group, clips, &state.position, progress);
                if !self.may_skip(&state.position) {
                    saver.save(self, &state, progress);
                    return Err(self.nonfinite(&group, &state.position));
                }
                progress.message(&format!(
                    "warning: {}: step {} is left out, its loss or gradients are not finite; see nonfinite.jsonl",
                    self.name,
                    state.position.steps + 1
                ));
                // What is not a number must not become part of the sums.
                group.sums = EpochSums { loss: 0.0, correct: 0, clips: 0, skipped: 1, ..group.sums };
            }
            if let Some(gradients) = group.gradients.take() {
                state.model = state.optimizer.step(rates::by_group(rate, &self.rate_factors), state.model, gradients);
            }
            state.position.skipped += group.sums.skipped;
            state.position.batches += group.batches;
            state.position.steps += 1;
            state.position.sums.add(&group.sums);
            watch.step(&group, rate, &state.position, progress);
            let stop = self.stop_asked(progress);
            if stop || saver.is_due(&state.position) {
                saver.save(self, &state, progress);
            }
            if stop {
                return Err(self.interrupted(saver));
            }
        }
        Ok(state)
    }

    /// Whether a step that is not finite may be left out.
    fn may_skip(&self, position: &Position) -> bool {
        matches!(self.training.nonfinite, Nonfinite::Skip(most) if position.skipped < most)
    }

    fn nonfinite(&self, group: &Group, position: &Position) -> anyhow::Error {
        let what = match group.losses.iter().find(|loss| !loss.is_finite()) {
            Some(loss) => format!("the loss is {loss}"),
            None => format!("the norm of the gradients is {}", group.norm),
        };
        let skipped = match position.skipped {
            0 => String::new(),
            skipped => format!(", after {skipped} such steps that were left out"),
        };
        anyhow::anyhow!(
            "{}: {what} at epoch {}, step {}{skipped}; the step was not taken, the state before it is saved in {}, and \
             nonfinite.jsonl names the clips. A smaller training.learning_rate or training.clip_norm=5 helps; \
             training.nonfinite={{ skip = N }} leaves out up to N such steps",
            self.name,
            position.epochs + 1,
            position.steps + 1,
            self.run.root().display()
        )
    }

    /// Whether a signal or the person who watches asked for a stop.
    fn stop_asked(&self, progress: &dyn Progress) -> bool {
        if progress.should_stop() {
            self.stop.set_if_unset();
        }
        self.stop.is_set()
    }

    /// The error of a training that was asked to stop.
    fn interrupted(&self, saver: &Saver) -> anyhow::Error {
        if saver.has_failed() {
            // Not what exit codes 130 and 143 promise.
            return anyhow::anyhow!(
                "stopped as asked, but the newest state of {} could not be saved; --resume goes on from the one before",
                self.name
            );
        }
        Interrupted::training(self.stop.exit_code()).into()
    }

    fn close_epoch<M: ClipClassifier>(
        &self,
        state: &mut State<M>,
        scores: &Scores,
        epochs: usize,
        watch: &mut Watch,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let validation = scores.predictions()?.summary();
        let position = &mut state.position;
        let sums = std::mem::take(&mut position.sums);
        // As of its last step.
        let rate = learning_rate(self.training, position.epochs, epochs, position.steps.saturating_sub(1));
        position.batches = 0;
        position.epochs += 1;
        position.seconds += sums.seconds;
        let best = self.keep == Keep::Last || position.best_loss.is_none_or(|loss| validation.nll < loss);
        if best {
            position.best_loss = Some(validation.nll);
            position.best_epoch = position.epochs;
            state.best = Some(weights(&state.model)?);
        }
        let point = EpochPoint {
            epoch: position.epochs,
            train_loss: sums.mean_loss(),
            train_accuracy: sums.accuracy(),
            validation_loss: validation.nll,
            validation_accuracy: validation.top1,
            best,
        };
        let levels: Vec<(String, f64)> = self.levels.iter().cloned().zip(scores.level_accuracies()).collect();
        let line = json!({
            "stage": self.key, "epoch": point.epoch, "steps": position.steps, "seconds": sums.seconds,
            "learning_rate": rate,
            "train": {"loss": point.train_loss, "accuracy": point.train_accuracy, "clips": sums.clips},
            "validation": {"loss": point.validation_loss, "accuracy": point.validation_accuracy,
                "levels": levels.iter().map(|(level, accuracy)| json!({"level": level, "accuracy": accuracy})).collect::<Vec<_>>()},
            "bad_clips": sums.bad, "nonfinite_steps": sums.skipped,
            "data_wait_seconds": sums.wait, "best": best,
        });
        let report = EpochReport {
            stage: self.name.to_string(),
            epoch: point.epoch,
            train_loss: point.train_loss,
            train_accuracy: point.train_accuracy,
            validation_loss: point.validation_loss,
            validation_accuracy: point.validation_accuracy,
            best,
            seconds: sums.seconds,
            levels,
        };
        watch.epoch(&line, &report, position.steps, progress);
        progress.epoch(&report);
        position.curve.push(point);
        Ok(())
    }
}

/// One well-mixed word of two (SplitMix64's finaliser).
pub fn mix(seed: u64, step: u64) -> u64 {
    let mut z = seed.wrapping_add(step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
