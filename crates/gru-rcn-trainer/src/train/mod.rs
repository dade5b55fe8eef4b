//! Training of one model with early stopping on validation log-probability: epochs, steps,
//! checkpoints.
//!
//! A training can be stopped between any two steps and resumed later: everything that it depends on
//! is either in a [`checkpoint`](crate::run::checkpoint) or a function of seed, epoch, step and
//! clip. One step is [`Trainer::step`]: gradients of the micro-batches and their norm ([`step`]), then
//! the optimizer and its learning rate ([`optimizer`]).

mod optimizer;
mod saving;
mod stage;
mod step;

pub(crate) use stage::Stage;

use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn_data::balanced_order;

use crate::context::Session;
use crate::device::replicas::Objective;
use crate::observe::{
    Epoch, Event, LevelAccuracy, NonfiniteStep, StageStarted, Step, TrainMetrics, ValidationMetrics, number_or_word,
};
use crate::percepts::Source;
use crate::recipe::{Nonfinite, Sampling, SelectWeights};
use crate::run::checkpoint::{EpochSums, Position, State, weights, with_weights};
use crate::scoring::{Scorable, mean_loss, score, single_view};
use crate::signals::Interrupted;
use optimizer::{learning_rate, optimizer, rates_by_group};
use saving::Saver;
use step::{StepOutcome, accumulate_gradients};

/// A trained model.
pub(crate) struct Trained<M> {
    /// With the weights of `training.keep`, on the plain device.
    pub(crate) model: M,
    pub(crate) position: Position,
}

pub(crate) struct Trainer<'a> {
    context: &'a Session,
    stage: Stage,
    seed: u64,
}

/// What the steps of a training share beside its [`State`].
struct Progress<'a, I> {
    train: &'a dyn Source<I>,
    /// The weight of each class in the loss; none where all count alike.
    class_weights: Option<Vec<f32>>,
    /// Most epochs.
    epochs: usize,
    saver: Saver<'a>,
    /// When this process began with the stage, and the steps that it has taken since.
    began: Instant,
    steps: u64,
    /// When this process began with the epoch, and the sums since.
    epoch_began: Instant,
    epoch: EpochSums,
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(context: &'a Session, stage: Stage) -> Self {
        let seed = context.stage_seed(&stage.key);
        Self { context, stage, seed }
    }

    /// Trains a model on the autodiff device, from the newest checkpoint if there is one. The last
    /// good state is saved before any error; that of a requested stop is [`Interrupted`].
    pub(crate) fn run<M: ClipClassifier>(
        &self,
        model: M,
        train: &dyn Source<M::Input>,
        validation: &dyn Source<M::Input>,
    ) -> Result<Trained<M>> {
        self.run_selecting(model, train, validation, |_| Ok(None))
    }

    /// The same, where the weights that are kept are those with the greatest `score`, a function of
    /// the model on the plain device; patience waits for the validation loss all the same.
    pub(crate) fn run_selecting<M: ClipClassifier>(
        &self,
        model: M,
        train: &dyn Source<M::Input>,
        validation: &dyn Source<M::Input>,
        score: impl Fn(&M) -> Result<Option<f64>>,
    ) -> Result<Trained<M>> {
        let (context, stage) = (self.context, &self.stage);
        let saver = Saver::new(context, stage);
        let mut state = saver.start(model, optimizer(&stage.training)?)?;
        let epochs = stage.training.most_epochs(train.len());
        context.observers.send(Event::StageStarted(StageStarted {
            stage: stage.key.clone(),
            name: stage.name.clone(),
            epochs,
            steps_per_epoch: stage.training.steps_per_epoch(train.len()),
            clips_per_epoch: train.len(),
            classifies: M::CLASSIFIES,
            steps_done: state.position.steps,
        }));
        let mut progress = Progress {
            train,
            class_weights: stage.training.class_weights.of(&stage.classes, train.targets()),
            epochs,
            saver,
            began: Instant::now(),
            steps: 0,
            epoch_began: Instant::now(),
            epoch: EpochSums::default(),
        };
        while !self.is_finished(&state.position, epochs) {
            if context.stop.is_set() {
                return Err(progress.saver.interrupted());
            }
            state = self.train_epoch(state, &mut progress)?;
            let started = Instant::now();
            let valid = state.model.valid();
            let validated = self
                .validate(&valid, validation)
                .and_then(|metrics| Ok(ValidationMetrics { score: score(&valid)?, ..metrics }))
                .inspect_err(|_| progress.saver.save(&state))
                .map_err(|error| if error.is::<Interrupted>() { progress.saver.interrupted() } else { error })?;
            context.dir.check_there()?;
            state.position.sums.seconds += started.elapsed().as_secs_f64();
            self.close_epoch(&mut state, validated, epochs)?;
            progress.saver.save(&state);
        }
        context.observers.send(Event::StageFinished);
        let best = state.best.context("a training without an epoch has no best weights")?;
        Ok(Trained { model: with_weights(&state.model, best)?.valid(), position: state.position })
    }

    fn is_finished(&self, position: &Position, epochs: usize) -> bool {
        let waited = position.epochs - position.best_epoch;
        let early = position.epochs > 0 && self.stage.training.is_patience_over(waited, position.steps);
        position.batches == 0 && (position.epochs >= epochs || early)
    }

    /// Takes the steps that are left of the running epoch.
    fn train_epoch<M: ClipClassifier>(
        &self,
        mut state: State<M>,
        progress: &mut Progress<M::Input>,
    ) -> Result<State<M>> {
        let (train, training) = (progress.train, &self.stage.training);
        let epoch = state.position.epochs as u64 + 1;
        let (batch, done) = (training.batch, state.position.batches);
        let mut batches = match training.sampling {
            Sampling::Shuffled => train.epoch(self.seed, epoch, batch, done),
            Sampling::Balanced => {
                let order = balanced_order(self.seed, epoch, train.targets());
                train.batches(order.into_iter().skip(done * batch).collect(), Some(epoch), batch)
            }
        };
        (progress.epoch_began, progress.epoch) = (Instant::now(), EpochSums::default());
        while training.steps.is_none_or(|most| state.position.steps < most) {
            let objective = Objective { loss: self.stage.loss, class_weights: progress.class_weights.as_deref() };
            let outcome = accumulate_gradients(self, objective, &state.model, state.position.steps, &mut batches)
                .inspect_err(|_| progress.saver.save(&state))?;
            let Some(outcome) = outcome else { break };
            state = self.step(state, outcome, progress)?;
        }
        Ok(state)
    }

    /// Takes one optimizer step, unless its loss or gradients are not finite.
    fn step<M: ClipClassifier>(
        &self,
        mut state: State<M>,
        mut outcome: StepOutcome,
        progress: &mut Progress<M::Input>,
    ) -> Result<State<M>> {
        self.context.dir.check_there()?;
        let position = &state.position;
        let rate = learning_rate(&self.stage.training, position.epochs, progress.epochs, position.steps);
        if outcome.is_nonfinite() {
            self.skip(&outcome, position, progress.train).inspect_err(|_| progress.saver.save(&state))?;
            // A value that is not a number must not become part of the sums.
            outcome.sums = EpochSums { loss: 0.0, correct: 0, clips: 0, skipped: 1, ..outcome.sums };
        }
        if let Some(gradients) = outcome.gradients.take() {
            state.model = state.optimizer.step(rates_by_group(rate, &self.stage.lr_factors), state.model, gradients);
        }
        state.position.skipped += outcome.sums.skipped;
        state.position.batches += outcome.micro_batches;
        state.position.steps += 1;
        state.position.sums.add(&outcome.sums);
        self.report_step(&outcome, rate, &state.position, progress);
        let stop = self.context.stop.is_set();
        if stop || progress.saver.is_due(&state.position) {
            progress.saver.save(&state);
        }
        if stop { Err(progress.saver.interrupted()) } else { Ok(state) }
    }

    fn report_step<I>(&self, outcome: &StepOutcome, rate: f64, position: &Position, progress: &mut Progress<I>) {
        progress.steps += 1;
        progress.epoch.add(&outcome.sums);
        let training = &self.stage.training;
        let steps_per_epoch = training.steps_per_epoch(progress.train.len());
        let all = training.steps.unwrap_or((progress.epochs * steps_per_epoch) as u64);
        let seconds_since = |began: Instant| began.elapsed().as_secs_f64().max(1e-9);
        let seconds_per_step = seconds_since(progress.began) / progress.steps as f64;
        let seconds = seconds_since(progress.epoch_began);
        self.context.observers.send(Event::Step(Step {
            stage: self.stage.key.clone(),
            epoch: position.epochs + 1,
            step: position.batches.div_ceil(training.accumulate),
            steps: position.steps,
            loss: outcome.sums.mean_loss(),
            mean_loss: position.sums.mean_loss(),
            accuracy: position.sums.accuracy(),
            gradient_norm: outcome.norm,
            learning_rate: rate,
            clips_per_second: progress.epoch.clips as f64 / seconds,
            data_wait: progress.epoch.wait / seconds,
            seconds_left: seconds_per_step * all.saturating_sub(position.steps) as f64,
            bad_clips: position.sums.bad,
        }));
    }

    /// Records a step that is not finite; an error if it may not be skipped.
    fn skip<I>(&self, outcome: &StepOutcome, position: &Position, train: &dyn Source<I>) -> Result<()> {
        let (name, step) = (&self.stage.name, position.steps + 1);
        self.context.observers.send(Event::NonfiniteStep(NonfiniteStep {
            stage: self.stage.key.clone(),
            epoch: position.epochs + 1,
            steps: step,
            losses: outcome.losses.iter().copied().map(number_or_word).collect(),
            gradient_norm: number_or_word(f64::from(outcome.norm)),
            clips: outcome.clips.iter().map(|&clip| train.id(clip)).collect(),
        }));
        if matches!(self.stage.training.nonfinite, Nonfinite::Skip(most) if position.skipped < most) {
            self.context.message(format!(
                "warning: {name}: step {step} is skipped, its loss or gradients are not finite; see nonfinite.jsonl"
            ));
            return Ok(());
        }
        let what = match outcome.losses.iter().find(|loss| !loss.is_finite()) {
            Some(loss) => format!("the loss is {loss}"),
            None => format!("the norm of the gradients is {}", outcome.norm),
        };
        let skipped = match position.skipped {
            0 => String::new(),
            skipped => format!(", after {skipped} such steps that were skipped"),
        };
        Err(anyhow!(
            "{name}: {what} at epoch {}, step {step}{skipped}; the step was not taken, the state before it is saved in {}, \
             and nonfinite.jsonl names the clips. A smaller training.learning_rate or training.clip_norm=5 helps; \
             training.nonfinite={{ skip = N }} skips up to N such steps",
            position.epochs + 1,
            self.context.dir
        ))
    }

    fn validate<M: ClipClassifier>(&self, model: &M, validation: &dyn Source<M::Input>) -> Result<ValidationMetrics> {
        let (batches, stop) = (single_view(validation, self.stage.training.batch), &self.context.stop);
        if !M::CLASSIFIES {
            return Ok(ValidationMetrics { loss: mean_loss(model, batches, stop)?, ..Default::default() });
        }
        let scores = score(&[model as &dyn Scorable<_>], batches, validation.targets(), stop, |_| ())?.swap_remove(0);
        let level = |(level, accuracy): (&String, f64)| LevelAccuracy { level: level.clone(), accuracy };
        let summary = scores.predictions()?.summary();
        Ok(ValidationMetrics {
            loss: summary.nll,
            accuracy: summary.top1,
            levels: self.stage.levels.iter().zip(scores.level_accuracies()?).map(level).collect(),
            score: None,
        })
    }

    fn close_epoch<M: ClipClassifier>(
        &self,
        state: &mut State<M>,
        validation: ValidationMetrics,
        epochs: usize,
    ) -> Result<()> {
        let position = &mut state.position;
        let sums = std::mem::take(&mut position.sums);
        // The rate of the last step.
        let rate = learning_rate(&self.stage.training, position.epochs, epochs, position.steps.saturating_sub(1));
        position.batches = 0;
        position.epochs += 1;
        position.seconds += sums.seconds;
        let lowest = self.stage.training.keep == SelectWeights::Last
            || position.best_loss.is_none_or(|loss| validation.loss < loss);
        if lowest {
            position.best_loss = Some(validation.loss);
            position.best_epoch = position.epochs;
        }
        let best = match validation.score {
            Some(score) => position.best_score.is_none_or(|highest| score > highest),
            None => lowest,
        };
        if best {
            position.best_score = validation.score;
            state.best = Some(weights(&state.model)?);
        }
        let epoch = Epoch {
            stage: self.stage.key.clone(),
            epoch: position.epochs,
            steps: position.steps,
            seconds: sums.seconds,
            learning_rate: rate,
            train: TrainMetrics { loss: sums.mean_loss(), accuracy: sums.accuracy(), clips: sums.clips },
            validation,
            bad_clips: sums.bad,
            nonfinite_steps: sums.skipped,
            data_wait_seconds: sums.wait,
            best,
        };
        position.curve.push(epoch.point());
        self.context.observers.send(Event::Epoch(epoch));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
