//! The gradients of one step, from one batch or from several.

use std::time::Instant;

use anyhow::Result;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use gru_rcn::classifier::ClipClassifier;

use super::{Fit, mix};
use crate::checkpoint::EpochSums;
use crate::gradients::{clip_global_norm, global_norm, scale};
use crate::percepts::Batch;

/// What became of the batches of one step.
pub(super) struct Group {
    /// Batches taken from the order.
    pub(super) batches: usize,
    /// Places of the clips learnt from.
    pub(super) clips: Vec<usize>,
    /// Losses of the batches.
    pub(super) losses: Vec<f64>,
    /// Norm of the gradients before they were clipped.
    pub(super) norm: f32,
    /// What the step adds to the epoch.
    pub(super) sums: EpochSums,
    /// The gradients, averaged over the clips and clipped; nothing if there was no clip or something was not finite.
    pub(super) gradients: Option<GradientsParams>,
}

impl Group {
    /// Whether there is nothing to learn from because a loss or a gradient was not finite.
    pub(super) fn is_nonfinite(&self) -> bool {
        self.gradients.is_none() && !self.clips.is_empty()
    }

    /// Mean loss over the clips.
    pub(super) fn loss(&self) -> f64 {
        self.sums.mean_loss()
    }
}

impl Fit<'_> {
    /// Takes the batches of one step and computes its gradients; nothing at the end of the order. `steps` are those before.
    pub(super) fn gather<M: ClipClassifier>(
        &self,
        model: &M,
        batches: &mut dyn Iterator<Item = Result<Batch>>,
        steps: u64,
    ) -> Result<Option<Group>> {
        let several = self.training.accumulate > 1;
        let started = Instant::now();
        let mut group = Group {
            batches: 0,
            clips: Vec::new(),
            losses: Vec::new(),
            norm: 0.0,
            sums: EpochSums::default(),
            gradients: None,
        };
        let mut gradients = GradientsAccumulator::new();
        for part in 0..self.training.accumulate {
            let asked = Instant::now();
            let Some(batch) = batches.next() else { break };
            let batch = batch?;
            group.batches += 1;
            group.sums.wait += asked.elapsed().as_secs_f64();
            group.sums.bad += batch.bad;
            let clips = batch.clips.len();
            if clips == 0 {
                continue;
            }
            // Dropout is a function of (seed, step, part) alone, so that a resumed run draws the same.
            let draw = mix(self.seed, steps);
            self.device.seed(if part == 0 { draw } else { mix(draw, part as u64) });
            let outcome = self.replicas.batch(model, batch.percepts, &batch.classes, self.loss)?;
            let value = outcome.loss;
            group.losses.push(value);
            group.clips.extend(batch.clips);
            group.sums.loss += value * clips as f64;
            group.sums.correct += count_correct(&outcome.log_probabilities, &batch.classes)?;
            group.sums.clips += clips;
            if group.sums.loss.is_finite() {
                // Batches may differ in size: sums of gradients are added, and divided by the number of clips at the end.
                let sums = match several {
                    true => scale(model, outcome.gradients, clips as f32),
                    false => outcome.gradients,
                };
                gradients.accumulate(model, sums);
            }
        }
        if group.batches == 0 {
            return Ok(None);
        }
        if !group.clips.is_empty() && group.sums.loss.is_finite() {
            let mut gradients = gradients.grads();
            if several {
                gradients = scale(model, gradients, 1.0 / group.clips.len() as f32);
            }
            group.norm = global_norm(model, &gradients);
            if self.training.clip_norm > 0.0 {
                gradients = clip_global_norm(model, gradients, group.norm, self.training.clip_norm);
            }
            group.gradients = group.norm.is_finite().then_some(gradients);
        }
        group.sums.seconds = started.elapsed().as_secs_f64();
        Ok(Some(group))
    }
}

fn count_correct(log_probabilities: &Tensor<2>, classes: &[usize]) -> Result<usize> {
    let width = log_probabilities.dims()[1];
    let values = log_probabilities.clone().try_into_data()?.try_into_vec::<f32>()?;
    let right = |(row, &class): (&[f32], &usize)| {
        row.iter().enumerate().all(|(other, value)| other == class || *value < row[class])
    };
    Ok(values.chunks(width).zip(classes).filter(|&(row, class)| right((row, class))).count())
}
