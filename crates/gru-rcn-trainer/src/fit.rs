//! Training of one system: Adam on batches of percepts, early stopping on validation log-probability.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::LossKind;
use serde_json::json;

use crate::checkpoint::{Checkpoints, Progress as Position};
use crate::evaluate::{Scores, score};
use crate::gradients::{clip_global_norm, global_norm};
use crate::percepts::Source;
use crate::progress::{EpochReport, Progress, StagePlan, StepReport};
use crate::rates;
use crate::recipe::TrainingSection;
use crate::report::EpochPoint;
use crate::run_dir::RunDir;
use crate::signals::StopFlag;

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
    /// The loss asked for.
    pub loss: LossKind,
    /// Parameters that learn at another rate, and the factor of theirs.
    pub rate_factors: Vec<(ParamGroup, f64)>,
    /// Seed of order, augmentation and dropout.
    pub seed: u64,
    /// The plain device.
    pub device: &'a Device,
    /// Where checkpoints and metrics go.
    pub run: &'a RunDir,
    /// Asked for a stop?
    pub stop: &'a StopFlag,
}

/// A trained system.
pub struct Trained<M> {
    /// With the best epoch's weights, on the plain device.
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

struct EpochSums {
    loss: f64,
    correct: usize,
    clips: usize,
    wait: f64,
}

impl Fit<'_> {
    /// Trains a model that lives on the autodiff device, going on from the newest checkpoint if there is one.
    pub fn run<M: ClipClassifier>(
        &self,
        model: M,
        train: &dyn Source,
        validation: &dyn Source,
        progress: &mut dyn Progress,
    ) -> Result<Trained<M>> {
        let checkpoints = Checkpoints::new(self.run.path("checkpoints").join(self.key));
        let decay = self.training.weight_decay;
        let decay = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
        let optimizer = AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).init();
        let (mut model, mut optimizer, mut position) = match checkpoints.load_newest(&model, &optimizer)? {
            Some((model, optimizer, position)) => {
                progress.message(&format!("{}: going on after epoch {}", self.name, position.epochs));
                (model, optimizer, position)
            }
            None => (model, optimizer, Position::default()),
        };
        self.run.rewind_metrics(self.key, position.epochs)?;
        progress.start(&StagePlan {
            name: self.name.to_string(),
            epochs: self.training.epochs,
            steps_per_epoch: train.len().div_ceil(self.training.batch),
            clips_per_epoch: train.len(),
        });
        while !self.finished(&position) {
            if self.stop.is_set() || progress.should_stop() {
                self.stop.set_if_unset();
                bail!(Interrupted::training(self.stop.exit_code()));
            }
            let started = Instant::now();
            let (trained, sums);
            (trained, optimizer, sums) = self.epoch(model, optimizer, train, &mut position, progress)?;
            model = trained;
            let scores = score(&model.valid(), validation, self.training.batch)?;
            position.seconds += started.elapsed().as_secs_f64();
            self.close_epoch(&mut position, &sums, &scores, started.elapsed().as_secs_f64(), progress)?;
            checkpoints.save(&model, &optimizer, &position)?;
        }
        progress.finish();
        let best = checkpoints.load_model(position.best_epoch, &model)?;
        Ok(Trained { model: best.valid(), course: position })
    }

    fn finished(&self, position: &Position) -> bool {
        position.epochs >= self.training.epochs
            || (position.epochs > 0 && position.epochs - position.best_epoch >= self.training.patience)
    }

    /// Half a cosine from the learning rate to the given fraction of it.
    fn learning_rate(&self, epoch: usize) -> f64 {
        let last = self.training.final_learning_rate;
        let way = epoch as f64 / (self.training.epochs.max(2) - 1) as f64;
        self.training.learning_rate * (last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * way).cos()))
    }

    fn epoch<M: ClipClassifier>(
        &self,
        mut model: M,
        mut optimizer: ModuleOptimizer,
        train: &dyn Source,
        position: &mut Position,
        progress: &mut dyn Progress,
    ) -> Result<(M, ModuleOptimizer, EpochSums)> {
        let epoch = position.epochs + 1;
        let rate = self.learning_rate(position.epochs);
        let mut sums = EpochSums { loss: 0.0, correct: 0, clips: 0, wait: 0.0 };
        let started = Instant::now();
        let mut batches = train.epoch(self.seed, epoch as u64, self.training.batch);
        for step in 1.. {
            let asked = Instant::now();
            let Some(batch) = batches.next() else { break };
            let batch = batch?;
            sums.wait += asked.elapsed().as_secs_f64();
            // Dropout is a function of (seed, step) alone, so that a resumed run draws the same.
            self.device.seed(mix(self.seed, position.steps));
            let targets = batch.targets(self.device);
            let logits = model.logits(batch.percepts.autodiff());
            let loss = model.loss(&logits, targets.clone(), self.loss);
            let value = f64::from(loss.clone().into_scalar::<f32>());
            if !value.is_finite() {
                bail!(
                    "{}: the loss is {value} at epoch {epoch}, step {step}; the last good state is in {}. A smaller \
                     training.learning_rate or training.clip_norm=5 helps",
                    self.name,
                    self.run.root().display()
                );
            }
            sums.correct += count_correct(&logits.log_probabilities().inner(), &batch.classes)?;
            sums.loss += value * batch.classes.len() as f64;
            sums.clips += batch.classes.len();
            let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
            if self.training.clip_norm > 0.0 {
                let norm = global_norm(&model, &gradients);
                gradients = clip_global_norm(&model, gradients, norm, self.training.clip_norm);
            }
            model = optimizer.step(rates::by_group(rate, &self.rate_factors), model, gradients);
            position.steps += 1;
            let seconds = started.elapsed().as_secs_f64();
            progress.step(&StepReport {
                epoch,
                step,
                loss: value,
                accuracy: sums.correct as f64 / sums.clips as f64,
                clips_per_second: sums.clips as f64 / seconds,
                data_wait: sums.wait / seconds,
            });
        }
        Ok((model, optimizer, sums))
    }

    fn close_epoch(
        &self,
        position: &mut Position,
        sums: &EpochSums,
        scores: &Scores,
        seconds: f64,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let validation = scores.predictions()?.summary();
        position.epochs += 1;
        let best = position.best_loss.is_none_or(|loss| validation.nll < loss);
        if best {
            position.best_loss = Some(validation.nll);
            position.best_epoch = position.epochs;
        }
        let point = EpochPoint {
            epoch: position.epochs,
            train_loss: sums.loss / sums.clips.max(1) as f64,
            train_accuracy: sums.correct as f64 / sums.clips.max(1) as f64,
            validation_loss: validation.nll,
            validation_accuracy: validation.top1,
            best,
        };
        let levels: Vec<(String, f64)> = self.levels.iter().cloned().zip(scores.level_accuracies()).collect();
        self.run
            .append_metrics(&json!({
                "stage": self.key, "epoch": point.epoch, "steps": position.steps, "seconds": seconds,
                "learning_rate": self.learning_rate(position.epochs - 1),
                "train": {"loss": point.train_loss, "accuracy": point.train_accuracy},
                "validation": {"loss": point.validation_loss, "accuracy": point.validation_accuracy,
                    "levels": levels.iter().map(|(level, accuracy)| json!({"level": level, "accuracy": accuracy})).collect::<Vec<_>>()},
                "data_wait_seconds": sums.wait, "best": best,
            }))
            .context("could not write the metrics")?;
        progress.epoch(&EpochReport {
            stage: self.name.to_string(),
            epoch: point.epoch,
            train_loss: point.train_loss,
            train_accuracy: point.train_accuracy,
            validation_loss: point.validation_loss,
            validation_accuracy: point.validation_accuracy,
            best,
            seconds,
            levels,
        });
        position.curve.push(point);
        Ok(())
    }
}

fn count_correct(log_probabilities: &burn::tensor::Tensor<2>, classes: &[usize]) -> Result<usize> {
    let width = log_probabilities.dims()[1];
    let values = log_probabilities.clone().into_data().try_into_vec::<f32>()?;
    let right = |(row, &class): (&[f32], &usize)| {
        row.iter().enumerate().all(|(other, value)| other == class || *value < row[class])
    };
    Ok(values.chunks(width).zip(classes).filter(|&(row, class)| right((row, class))).count())
}

/// One well-mixed word of two (SplitMix64's finaliser).
pub fn mix(seed: u64, step: u64) -> u64 {
    let mut z = seed.wrapping_add(step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
