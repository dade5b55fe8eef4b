//! The gradients of one step, from one micro-batch or from several.

use std::time::Instant;

use anyhow::Result;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use gru_rcn::classifier::ClipClassifier;

use super::gradients::{clip_global_norm, global_norm, scale};
use crate::context::Context;
use crate::percepts::Batch;
use crate::recipe::TrainingSection;
use crate::recipe::seed::batch_seed;
use crate::run::checkpoint::EpochSums;

/// Result of the micro-batches of one optimizer step.
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
    /// The gradients, averaged over the clips and clipped; none if there was no clip or if a value
    /// was not finite.
    pub(super) gradients: Option<GradientsParams>,
}

impl StepOutcome {
    /// Whether there are no gradients because a loss or a gradient was not finite.
    pub(super) fn is_nonfinite(&self) -> bool {
        self.gradients.is_none() && !self.clips.is_empty()
    }
}

/// Takes the micro-batches of one step and computes its gradients; none at the end of the order.
/// `steps` are the steps before this one.
pub(super) fn accumulate_gradients<M: ClipClassifier>(
    context: &Context,
    training: &TrainingSection,
    seed: u64,
    model: &M,
    batches: &mut dyn Iterator<Item = Result<Batch<M::Input>>>,
    steps: u64,
) -> Result<Option<StepOutcome>> {
    let several = training.accumulate > 1;
    let started = Instant::now();
    let mut outcome = StepOutcome {
        micro_batches: 0,
        clips: Vec::new(),
        losses: Vec::new(),
        norm: 0.0,
        sums: EpochSums::default(),
        gradients: None,
    };
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
        context.device.seed(batch_seed(seed, steps, micro_batch));
        let result = context.replicas.batch(model, input, &batch.targets, context.recipe.model.loss)?;
        outcome.losses.push(result.loss);
        outcome.clips.extend(batch.clips);
        outcome.sums.loss += result.loss * clips as f64;
        outcome.sums.correct += count_correct(&result.log_probabilities, &batch.targets)?;
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
    let correct = |(row, &target): (&[f32], &usize)| {
        row.iter().enumerate().all(|(other, value)| other == target || *value < row[target])
    };
    Ok(values.chunks(classes).zip(targets).filter(|&(row, target)| correct((row, target))).count())
}
