//! One batch on several devices: each takes a part of the clips, and the gradients are summed on
//! the first.
//!
//! This is the simplest form of data-parallel training. In every step the weights are copied from
//! the first device to the others. Each device computes forward and backward over its part in a
//! thread of its own. The gradients, weighted by clips, are summed: by Burn's all-reduce between
//! devices that can move data to each other, else on the first device, after copies to it. The
//! optimizer of the first device takes the step. The result is that of one device, except for the
//! order of sums and for dropout, which each device draws from its own numbers. Several devices pay
//! off where a step is long compared with the copies: 19 million float32 weights out and their
//! gradients back are 150 MB per device and step.

use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::distributed::{CollectiveTensor, ReduceOperation, all_reduce};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::LossKind;
use gru_rcn::input::ClipInput;

/// The devices of a training, the first of which holds the model and the optimizer.
#[derive(Clone, Debug)]
pub(crate) struct Replicas {
    first: Device,
    others: Vec<Device>,
    all_reduce: bool,
}

/// What is minimised.
#[derive(Clone, Copy)]
pub(crate) struct Objective<'a> {
    pub(crate) loss: LossKind,
    /// The weight of each class; none where all count alike.
    pub(crate) class_weights: Option<&'a [f32]>,
}

pub(crate) struct BatchGradients {
    /// Mean loss over the clips.
    pub(crate) loss: f64,
    /// Log-probabilities `[batch, class]`, on the first device.
    pub(crate) log_probabilities: Tensor<2>,
    /// Gradients of that mean loss, on the first device.
    pub(crate) gradients: GradientsParams,
}

impl Replicas {
    /// The devices of a training; the model is on `first`. Tests list a device several times.
    pub(crate) fn new(first: Device, others: Vec<Device>) -> Self {
        let all_reduce = can_all_reduce(&first, &others);
        Self { first, others, all_reduce }
    }

    /// How the gradients are summed, if there are several devices.
    pub(crate) fn line(&self) -> Option<&'static str> {
        (!self.others.is_empty()).then_some(match self.all_reduce {
            true => "gradients of the devices are summed by all-reduce (NCCL)",
            false => "gradients of the devices are copied to the first and summed there",
        })
    }

    /// Forward and backward over a batch; `input` is on the plain device, `model` on autodiff's.
    pub(crate) fn batch<M: ClipClassifier>(
        &self,
        model: &M,
        input: M::Input,
        targets: &[usize],
        objective: Objective,
    ) -> Result<BatchGradients> {
        if self.others.is_empty() {
            return forward_backward(model, input, targets, objective, 1.0);
        }
        let parts = parts(targets.len(), 1 + self.others.len());
        let share = |clips: usize| clips as f32 / targets.len() as f32;
        let on_one = |model: &M, input: M::Input, (start, clips): (usize, usize)| {
            forward_backward(model, input, &targets[start..start + clips], objective, share(clips))
        };
        let outcomes = std::thread::scope(|scope| {
            let others = self.others.iter().zip(&parts[1..]).map(|(device, &part)| {
                let (model, input) = (model.clone(), input.narrow(part.0, part.1));
                scope.spawn(move || {
                    let replica = model.fork(&device.clone().autodiff());
                    let outcome = on_one(&replica, input.to_device(device), part)?;
                    let gradients = match self.all_reduce {
                        true => outcome.gradients,
                        false => outcome.gradients.to_device(&self.first.clone().autodiff(), &replica),
                    };
                    let log_probabilities = outcome.log_probabilities.to_device(&self.first);
                    anyhow::Ok(BatchGradients { gradients, log_probabilities, ..outcome })
                })
            });
            let threads: Vec<_> = others.collect();
            let own = on_one(model, input.narrow(parts[0].0, parts[0].1), parts[0]);
            let panicked = || anyhow::anyhow!("the thread of another device has panicked; its message is above");
            let others = threads.into_iter().map(|thread| thread.join().map_err(|_| panicked()).flatten());
            std::iter::once(own).chain(others).collect::<Result<Vec<BatchGradients>>>()
        })?;
        let (mut mean, mut log_probabilities, mut parts) = (0.0, Vec::new(), Vec::new());
        for outcome in outcomes {
            mean += outcome.loss * f64::from(share(outcome.log_probabilities.dims()[0]));
            log_probabilities.push(outcome.log_probabilities);
            parts.push(outcome.gradients);
        }
        let gradients = if self.all_reduce && parts.len() > 1 {
            let devices = std::iter::once(&self.first).chain(&self.others).take(parts.len());
            sum_by_all_reduce(model, parts, devices.cloned().collect())?
        } else {
            let mut sum = GradientsAccumulator::new();
            parts.into_iter().for_each(|part| sum.accumulate(model, part));
            sum.grads()
        };
        Ok(BatchGradients { loss: mean, log_probabilities: Tensor::cat(log_probabilities, 0), gradients })
    }
}

/// Whether Burn's all-reduce works between the devices: several of one CubeCL runtime that moves
/// data between its devices. In Burn 0.22.1 that is CUDA where the library NCCL is found.
#[cfg(feature = "_gpu")]
fn can_all_reduce(first: &Device, others: &[Device]) -> bool {
    use burn::backend::{CubeDevice, DispatchDevice};
    let cube = |device: &Device| match device.as_dispatch() {
        DispatchDevice::Cube(cube) => Some(cube.clone()),
        _ => None,
    };
    let devices: Option<Vec<CubeDevice>> = std::iter::once(first).chain(others).map(cube).collect();
    // One device cannot take part twice.
    let distinct = |devices: &[CubeDevice]| (1..devices.len()).all(|n| !devices[..n].contains(&devices[n]));
    devices.is_some_and(|devices| {
        let same = devices.iter().all(|device| device.runtime() == devices[0].runtime());
        devices.len() > 1 && same && distinct(&devices) && devices[0].client().has_device_transport()
    })
}

#[cfg(not(feature = "_gpu"))]
fn can_all_reduce(_: &Device, _: &[Device]) -> bool {
    false
}

/// The sum of the gradients that each device has of the same model, on the first of the devices.
fn sum_by_all_reduce<M: Module>(
    model: &M,
    parts: Vec<GradientsParams>,
    devices: Vec<Device>,
) -> Result<GradientsParams> {
    let mut reduction = AllReduce { parts, devices, sum: GradientsParams::new() };
    model.visit(&mut reduction);
    // The next step must not reuse memory of a sum that is still on its way to another device.
    for device in &reduction.devices[1..] {
        device.sync().context("the gradients of the devices cannot be summed")?;
    }
    Ok(reduction.sum)
}

struct AllReduce {
    parts: Vec<GradientsParams>,
    devices: Vec<Device>,
    sum: GradientsParams,
}

impl ModuleVisitor for AllReduce {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Every device ran the same model, so all or none have a gradient of the parameter.
        let parts: Vec<Tensor<D>> = self.parts.iter_mut().filter_map(|part| part.remove(param.id)).collect();
        // Every device has to join before the sum of one is waited for.
        let sums: Vec<CollectiveTensor<D>> =
            parts.into_iter().map(|part| all_reduce(part, ReduceOperation::Sum, self.devices.clone())).collect();
        let sums: Vec<Tensor<D>> = sums.into_iter().map(CollectiveTensor::resolve).collect();
        if let Some(sum) = sums.into_iter().next() {
            self.sum.register(param.id, sum);
        }
    }
}

/// Loss and gradients on one device; the gradients are those of the mean loss times `share`.
fn forward_backward<M: ClipClassifier>(
    model: &M,
    input: M::Input,
    targets: &[usize],
    objective: Objective,
    share: f32,
) -> Result<BatchGradients> {
    let device = input.device();
    let labels: Vec<i32> = targets.iter().map(|&class| class as i32).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), &device);
    let logits = model.logits(input.autodiff());
    let loss = match objective.class_weights {
        Some(weights) => {
            let weights: Vec<f32> = targets.iter().map(|&class| weights[class]).collect();
            logits.weighted_loss(labels, M::LOSS.unwrap_or(objective.loss), &weights)
        }
        None => model.loss(&logits, labels, objective.loss),
    };
    let value = loss.clone().try_into_scalar::<f32>().context("the loss cannot be read from the device")?;
    let scaled = if share == 1.0 { loss } else { loss.mul_scalar(share) };
    Ok(BatchGradients {
        loss: f64::from(value),
        log_probabilities: logits.log_probabilities().inner(),
        gradients: GradientsParams::from_grads(scaled.backward(), model),
    })
}

/// First clip and number of clips of each of at most `count` parts; none is empty, the larger ones come
/// first.
fn parts(clips: usize, count: usize) -> Vec<(usize, usize)> {
    let (count, mut start) = (count.min(clips), 0);
    (0..count)
        .map(|part| {
            let length = clips / count + usize::from(part < clips % count);
            start += length;
            (start - length, length)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;
    use gru_rcn::classifier::{GruRcnClassifier, GruRcnClassifierConfig};
    use gru_rcn::percepts::{Level, Percepts};
    use gru_rcn::recurrent::GruRcnConfig;

    #[test]
    fn parts_by_hand() {
        assert_eq!(parts(5, 2), [(0, 3), (3, 2)]);
        assert_eq!(parts(1, 3), [(0, 1)]);
    }

    struct Gradients<'a>(&'a GradientsParams, Vec<Vec<f32>>);

    impl ModuleVisitor for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1.push(gradient.into_data().try_into_vec::<f32>().unwrap());
            }
        }
    }

    fn outcome(
        replicas: &Replicas,
        model: &GruRcnClassifier,
        percepts: &Percepts,
        clips: usize,
        class_weights: Option<&[f32]>,
    ) -> (BatchGradients, Vec<Vec<f32>>) {
        let targets: Vec<usize> = (0..clips).map(|clip| clip % 3).collect();
        let objective = Objective { loss: LossKind::Mixture, class_weights };
        let outcome = replicas.batch(model, percepts.narrow(0, clips), &targets, objective).unwrap();
        let mut gradients = Gradients(&outcome.gradients, Vec::new());
        model.visit(&mut gradients);
        let values = gradients.1;
        (outcome, values)
    }

    /// Five clips on two and three devices, and fewer clips than devices.
    #[test]
    fn several_devices_give_the_gradients_of_one() {
        let device = Device::flex();
        let levels = vec![Level::new("low".into(), 3, 4, 4), Level::new("top".into(), 4, 1, 1)];
        let config = GruRcnClassifierConfig::new(GruRcnConfig::new(levels, vec![4, 5]), 3).with_dropout(0.0);
        let model = config.init(&device.clone().autodiff());
        let map = |channels, side| Tensor::random([5, 3, channels, side, side], Distribution::Default, &device);
        let percepts = Percepts::new(vec![map(3, 4), map(4, 1)]);
        let weights = Some(&[0.5, 3.0, 1.0][..]);
        for (others, clips, weights) in [(1, 5, None), (2, 5, weights), (2, 2, None)] {
            let one = Replicas::new(device.clone(), Vec::new());
            let several = Replicas::new(device.clone(), vec![device.clone(); others]);
            let (expected, exact) = outcome(&one, &model, &percepts, clips, weights);
            let (found, summed) = outcome(&several, &model, &percepts, clips, weights);
            assert!(several.line().is_some_and(|line| line.contains("copied to the first")) && one.line().is_none());
            assert!((expected.loss - found.loss).abs() < 1e-6);
            let off = (expected.log_probabilities - found.log_probabilities).abs().max().into_scalar::<f32>();
            assert!(off < 1e-6, "log-probabilities are off by {off}");
            assert_eq!(summed.len(), exact.len());
            for (summed, exact) in summed.iter().zip(&exact) {
                let largest = exact.iter().fold(1e-6f32, |largest, g| largest.max(g.abs()));
                let worst = summed.iter().zip(exact).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
                assert!(worst < 1e-5 * largest, "a gradient of size {largest} is off by {worst}");
            }
        }
    }
}
