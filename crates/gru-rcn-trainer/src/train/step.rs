//! The gradients of one step, from one micro-batch or from several; their norm, and clipping by it.
//! Burn's own clipping works tensor by tensor.

use std::time::Instant;

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use gru_rcn::classifier::ClipClassifier;

use super::Trainer;
use crate::device::replicas::Objective;
use crate::percepts::Batches;
use crate::recipe::seed::batch_seed;
use crate::run::checkpoint::EpochSums;

/// Result of the micro-batches of one optimizer step.
#[derive(Default)]
pub(super) struct StepOutcome {
    /// Micro-batches taken from the order.
    pub(super) micro_batches: usize,
    /// Places of the clips that were trained on.
    pub(super) clips: Vec<usize>,
    pub(super) losses: Vec<f64>,
    /// Norm of the gradients before clipping.
    pub(super) norm: f32,
    /// What the step adds to the sums of the epoch.
    pub(super) sums: EpochSums,
    /// Averaged over the clips and clipped; none if there was no clip or a value was not finite.
    pub(super) gradients: Option<GradientsParams>,
}

impl StepOutcome {
    /// Whether there are no gradients because a loss or a gradient was not finite.
    pub(super) fn is_nonfinite(&self) -> bool {
        self.gradients.is_none() && !self.clips.is_empty()
    }
}

/// The gradients of one step after `steps` others; none at the end of the order.
pub(super) fn accumulate_gradients<M: ClipClassifier>(
    trainer: &Trainer,
    objective: Objective,
    model: &M,
    steps: u64,
    batches: &mut Batches<M::Input>,
) -> Result<Option<StepOutcome>> {
    let (session, training) = (trainer.context, &trainer.stage.training);
    let several = training.accumulate > 1;
    let started = Instant::now();
    let mut outcome = StepOutcome::default();
    let mut gradients = GradientsAccumulator::new();
    for micro_batch in 0..training.accumulate {
        let requested = Instant::now();
        let Some(batch) = batches.next() else { break };
        let batch = batch?;
        outcome.micro_batches += 1;
        outcome.sums.wait += requested.elapsed().as_secs_f64();
        outcome.sums.bad += batch.bad;
        let Some(input) = batch.input else { continue };
        let clips = batch.clips.len();
        // Dropout depends on (seed, step, micro-batch) alone, so that a resumed run draws the same.
        session.device.seed(batch_seed(trainer.seed, steps, micro_batch));
        let result = session.replicas.batch(model, input, &batch.targets, objective)?;
        outcome.losses.push(result.loss);
        outcome.clips.extend(batch.clips);
        outcome.sums.loss += result.loss * clips as f64;
        if M::CLASSIFIES {
            outcome.sums.correct += count_correct(&result.log_probabilities, &batch.targets)?;
        }
        outcome.sums.clips += clips;
        if outcome.sums.loss.is_finite() {
            // Micro-batches may differ in size: sums of gradients are added, and divided by the
            // number of clips at the end.
            let sums = if several { scale(model, result.gradients, clips as f32) } else { result.gradients };
            gradients.accumulate(model, sums);
        }
    }
    if outcome.micro_batches == 0 {
        return Ok(None);
    }
    if !outcome.clips.is_empty() && outcome.sums.loss.is_finite() {
        let mut gradients = gradients.grads();
        if several {
            gradients = scale(model, gradients, 1.0 / outcome.clips.len() as f32);
        }
        outcome.norm = global_norm(model, &gradients);
        if let Some(largest) = training.clip_norm {
            gradients = clip_global_norm(model, gradients, outcome.norm, largest);
        }
        outcome.gradients = outcome.norm.is_finite().then_some(gradients);
    }
    outcome.sums.seconds = started.elapsed().as_secs_f64();
    Ok(Some(outcome))
}

fn count_correct(log_probabilities: &Tensor<2>, targets: &[usize]) -> Result<usize> {
    let classes = log_probabilities.dims()[1];
    let values = log_probabilities.clone().try_into_data()?.try_into_vec::<f32>()?;
    let is_correct = |&(row, &target): &(&[f32], &usize)| {
        row.iter().enumerate().all(|(other, value)| other == target || *value < row[target])
    };
    Ok(values.chunks(classes).zip(targets).filter(is_correct).count())
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.square().sum());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register::<D>(param.id, gradient * self.factor);
        }
    }
}

fn global_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f32 {
    let mut squares = Squares { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    if squares.sums.is_empty() {
        return 0.0;
    }
    Tensor::cat(squares.sums, 0).sum().sqrt().into_scalar::<f32>()
}

fn scale<M: Module>(module: &M, mut gradients: GradientsParams, factor: f32) -> GradientsParams {
    module.visit(&mut Scale { gradients: &mut gradients, factor });
    gradients
}

/// Scales all gradients by the same factor, such that their norm is at most `largest`.
fn clip_global_norm<M: Module>(module: &M, gradients: GradientsParams, norm: f32, largest: f32) -> GradientsParams {
    if norm > largest { scale(module, gradients, largest / norm) } else { gradients }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Initializer, LinearConfig};
    use burn::tensor::{Device, TensorData};

    /// y = w1 x1 + w2 x2 + b at x = (2, 2): the gradient (2, 2, 1) of norm 3 is clipped to (1, 1,
    /// 0.5).
    #[test]
    fn clipping_scales_all_gradients_alike() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(2, 1).with_initializer(Initializer::Ones).init(&device);
        let x = Tensor::<2>::from_data(TensorData::from([[2.0, 2.0]]), &device);
        let gradients = GradientsParams::from_grads(linear.forward(x).sum().backward(), &linear);
        let norm = global_norm(&linear, &gradients);
        assert!((norm - 3.0).abs() < 1e-6);
        let clipped = clip_global_norm(&linear, gradients, norm, 1.5);
        let weight = clipped.get::<2>(linear.weight.id).unwrap().into_data().try_into_vec::<f32>().unwrap();
        assert!(weight.iter().all(|w| (w - 1.0).abs() < 1e-6), "{weight:?}");
        assert!((global_norm(&linear, &clipped) - 1.5).abs() < 1e-6);
    }
}
