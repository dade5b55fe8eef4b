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

use anyhow::{Context as _, Result, anyhow, bail};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn_data::balanced_order;

use crate::context::Session;
use crate::observe::{
    Epoch, Event, LevelAccuracy, NonfiniteStep, StageStarted, Step, TrainMetrics, ValidationMetrics, number_or_word,
};
use crate::percepts::Source;
use crate::recipe::{Nonfinite, Sampling, SelectWeights};
use crate::run::checkpoint::{Checkpoints, EpochSums, Position, State, weights, with_weights};
use crate::scoring::{Scorable, ViewBatch, score, single_view};
use crate::signals::{Interrupted, StopFlag};
use optimizer::{learning_rate, optimizer, rates_by_group};
use saving::{Saver, check_room};
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

/// The parts of a training that change from step to step beside its [`State`].
struct Progress<'a> {
    epochs: usize,
    saver: Saver<'a>,
    epoch: Throughput,
    stage: Throughput,
}

/// Speed, as far as this process has measured it.
struct Throughput {
    began: Instant,
    steps: u64,
    clips: usize,
    wait: f64,
}

impl Throughput {
    fn new() -> Self {
        Self { began: Instant::now(), steps: 0, clips: 0, wait: 0.0 }
    }

    fn add(&mut self, outcome: &StepOutcome) {
        self.steps += 1;
        self.clips += outcome.sums.clips;
        self.wait += outcome.sums.wait;
    }

    fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64().max(1e-9)
    }
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
        let (context, training) = (self.context, &self.stage.training);
        let checkpoints = Checkpoints::new(context.dir.checkpoints(&self.stage.key), context.fingerprint.clone());
        let mut state = self.start(model, &checkpoints)?;
        check_room(context, &self.stage, &state)?;
        context.dir.rewind(&self.stage.key, state.position.epochs, state.position.steps)?;
        let epochs = training.most_epochs(train.len());
        context.observers.send(Event::StageStarted(StageStarted {
            stage: self.stage.key.clone(),
            name: self.stage.name.clone(),
            epochs,
            steps_per_epoch: training.steps_per_epoch(train.len()),
            clips_per_epoch: train.len(),
            classifies: M::CLASSIFIES,
            steps_done: state.position.steps,
        }));
        let saver = Saver::new(context, &self.stage.name, training, checkpoints);
        let mut progress = Progress { epochs, saver, epoch: Throughput::new(), stage: Throughput::new() };
        while !self.is_finished(&state.position, epochs) {
            if context.stop.is_set() {
                return Err(progress.saver.interrupted());
            }
            state = self.train_epoch(state, train, &mut progress)?;
            let started = Instant::now();
            let valid = state.model.valid();
            let validated = self.validate(&valid, validation);
            match validated.and_then(|metrics| Ok(ValidationMetrics { score: score(&valid)?, ..metrics })) {
                Ok(validated) => {
                    context.dir.check_there()?;
                    state.position.sums.seconds += started.elapsed().as_secs_f64();
                    self.close_epoch(&mut state, validated, epochs)?;
                    progress.saver.save(&state);
                }
                Err(error) => {
                    progress.saver.save(&state);
                    return Err(if error.is::<Interrupted>() { progress.saver.interrupted() } else { error });
                }
            }
        }
        context.observers.send(Event::StageFinished);
        let best = state.best.context("a training without an epoch has no best weights")?;
        Ok(Trained { model: with_weights(&state.model, best)?.valid(), position: state.position })
    }

    /// The state that training starts from: the newest checkpoint, or the model as it is.
    fn start<M: ClipClassifier>(&self, model: M, checkpoints: &Checkpoints) -> Result<State<M>> {
        let (context, name) = (self.context, &self.stage.name);
        let optimizer = optimizer(&self.stage.training)?;
        let mut damaged = 0;
        let loaded = checkpoints.load_newest(&model, &optimizer, |warning| {
            damaged += 1;
            context.message(warning);
        })?;
        let Some(loaded) = loaded else {
            if damaged > 0 {
                context.message(format!("warning: {name}: no checkpoint is whole, so this training starts anew"));
            }
            return Ok(State { model, optimizer, best: None, position: Position::default() });
        };
        let Position { steps, epochs, batches, .. } = loaded.position;
        let within = if batches > 0 { format!(" and {batches} batches of the next") } else { String::new() };
        context.message(format!("{name}: resuming after epoch {epochs}{within}, step {steps}"));
        Ok(loaded)
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
        train: &dyn Source<M::Input>,
        progress: &mut Progress<'_>,
    ) -> Result<State<M>> {
        let training = &self.stage.training;
        let epoch = state.position.epochs as u64 + 1;
        let class_weights = training.class_weights.of(&self.stage.classes, train.targets());
        let (batch, done) = (training.batch, state.position.batches);
        let mut batches = match training.sampling {
            Sampling::Shuffled => train.epoch(self.seed, epoch, batch, done),
            Sampling::Balanced => {
                let order = balanced_order(self.seed, epoch, train.targets());
                train.batches(order.into_iter().skip(done * batch).collect(), Some(epoch), batch)
            }
        };
        progress.epoch = Throughput::new();
        while training.steps.is_none_or(|most| state.position.steps < most) {
            let (model, steps, weights) = (&state.model, state.position.steps, class_weights.as_deref());
            match accumulate_gradients(self.context, &self.stage, weights, self.seed, model, &mut *batches, steps) {
                Ok(Some(outcome)) => state = self.step(state, outcome, train, progress)?,
                Ok(None) => break,
                Err(error) => {
                    progress.saver.save(&state);
                    return Err(error);
                }
            }
        }
        Ok(state)
    }

    /// Takes one optimizer step, unless its loss or gradients are not finite.
    fn step<M: ClipClassifier>(
        &self,
        mut state: State<M>,
        mut outcome: StepOutcome,
        train: &dyn Source<M::Input>,
        progress: &mut Progress<'_>,
    ) -> Result<State<M>> {
        self.context.dir.check_there()?;
        let position = &state.position;
        let rate = learning_rate(&self.stage.training, position.epochs, progress.epochs, position.steps);
        if outcome.is_nonfinite() {
            if let Err(error) = self.skip(&outcome, position, train) {
                progress.saver.save(&state);
                return Err(error);
            }
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
        self.report_step(&outcome, rate, &state.position, train.len(), progress);
        let stop = self.context.stop.is_set();
        if stop || progress.saver.is_due(&state.position) {
            progress.saver.save(&state);
        }
        if stop { Err(progress.saver.interrupted()) } else { Ok(state) }
    }

    fn report_step(
        &self,
        outcome: &StepOutcome,
        rate: f64,
        position: &Position,
        clips: usize,
        progress: &mut Progress<'_>,
    ) {
        progress.epoch.add(outcome);
        progress.stage.add(outcome);
        let training = &self.stage.training;
        let all = training.steps.unwrap_or((progress.epochs * training.steps_per_epoch(clips)) as u64);
        let seconds_per_step = progress.stage.seconds() / progress.stage.steps as f64;
        let seconds = progress.epoch.seconds();
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
            return mean_loss(model, batches, stop);
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

/// What validation says of a model that learns without labels: its loss, and no accuracy.
fn mean_loss<M: ClipClassifier>(
    model: &M,
    batches: impl Iterator<Item = Result<ViewBatch<M::Input>>>,
    stop: &StopFlag,
) -> Result<ValidationMetrics> {
    let mut losses: Vec<f32> = Vec::new();
    for batch in batches {
        if stop.is_set() {
            bail!(stop.interrupted());
        }
        let of_clips = model.logits(batch?.input).logits.narrow(0, 0, 1);
        losses.extend(of_clips.try_into_data()?.try_into_vec::<f32>()?);
    }
    let loss = losses.iter().copied().map(f64::from).sum::<f64>() / losses.len() as f64;
    Ok(ValidationMetrics { loss, ..ValidationMetrics::default() })
}

#[cfg(test)]
mod tests;
