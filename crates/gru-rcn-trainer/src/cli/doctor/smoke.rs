//! A small computation that a healthy backend does correctly: a ConvGRU forward and backward,
//! compared with the CPU backend.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, FloatDType, Gradients, Tensor, TensorData};
use gru_rcn::recurrent::ConvGruConfig;
use serde::{Deserialize, Serialize};

use gru_rcn_data::base::SplitMix64;

/// Largest allowed difference from the CPU backend, relative to the largest value of a tensor.
/// float32 agrees to 1e-6. CUDA rounds the inputs of its convolutions to TF32, ten bits: 5e-4 for
/// each, and more after three time steps.
const TOLERANCE: f64 = 5e-3;

const CHANNELS: usize = 5;
const HIDDEN: usize = 7;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Smoke {
    /// Whether output and gradients agree with those of the CPU.
    pub(crate) ok: bool,
    /// Duration in seconds, compilation of kernels included.
    pub(crate) seconds: f64,
    /// Largest difference of output and gradients, relative to the largest value of its tensor.
    pub(crate) difference: f64,
    /// Whether `--dtype bf16` is possible.
    pub bf16: bool,
}

/// Computes on a device and compares with the CPU.
/// A broken driver may also panic or end the process.
pub(super) fn smoke(device: &Device) -> Result<Smoke> {
    let started = Instant::now();
    let found = numbers(device)?;
    let seconds = started.elapsed().as_secs_f64();
    let difference = largest_difference(&found, &numbers(&Device::flex())?);
    let bf16 = device.supports_dtype(FloatDType::BF16);
    Ok(Smoke { ok: difference <= TOLERANCE, seconds, difference, bf16 })
}

/// The output and the gradients of all weights; input and weights are the same on every device.
fn numbers(device: &Device) -> Result<Vec<Vec<f32>>> {
    let device = device.clone().autodiff();
    let layer = ConvGruConfig::new(CHANNELS, HIDDEN).init(&device).map(&mut Redraw(10));
    let clip = Tensor::<5>::from_data(drawn(1, [2, 3, CHANNELS, 9, 9]), &device);
    let factors = Tensor::<5>::from_data(drawn(2, [2, 3, HIDDEN, 9, 9]), &device);
    let output = layer.forward(clip, None).sequence;
    let gradients = (output.clone() * factors).sum().backward();
    let mut collect = Collect { gradients: &gradients, found: vec![read(output.inner())] };
    layer.visit(&mut collect);
    collect.found.into_iter().collect()
}

/// Replaces every weight by numbers that are not drawn by the backend.
struct Redraw(u64);

impl ModuleMapper for Redraw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let seed = self.0;
        param.map(|weight| {
            let drawn = Tensor::from_data(drawn(seed, weight.dims()), &weight.device()) * 0.3;
            drawn.detach().require_grad()
        })
    }
}

/// Uniform values in (-1, 1).
fn drawn<const D: usize>(seed: u64, shape: [usize; D]) -> TensorData {
    let value = |n| (SplitMix64::at(seed, n) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    TensorData::new((0..shape.iter().product::<usize>() as u64).map(value).collect::<Vec<f32>>(), shape)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    Ok(tensor.try_into_data()?.try_into_vec::<f32>()?)
}

struct Collect<'a> {
    gradients: &'a Gradients,
    found: Vec<Result<Vec<f32>>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).context("a weight has no gradient");
        self.found.push(gradient.and_then(read));
    }
}

/// The largest difference; infinite if shapes differ or if a value is not a number.
fn largest_difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    let mut worst = if found.len() == expected.len() { 0f64 } else { f64::INFINITY };
    for (found, expected) in found.iter().zip(expected) {
        let largest = expected.iter().fold(0f64, |largest, value| largest.max(f64::from(value.abs())));
        let off = found.iter().zip(expected).map(|(f, e)| f64::from((f - e).abs()) / largest);
        let off = off.fold(0f64, |worst, off| if off.is_finite() { worst.max(off) } else { f64::INFINITY });
        worst = worst.max(if found.len() == expected.len() { off } else { f64::INFINITY });
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_agrees_with_itself() {
        let smoke = smoke(&Device::flex()).unwrap();
        assert!(smoke.ok && smoke.difference == 0.0 && smoke.bf16, "{smoke:?}");
    }

    /// Off by 0.5 where the largest value is 4: an eighth.
    #[test]
    fn differences_by_hand() {
        let expected = [vec![1.0, -4.0], vec![2.0]];
        assert_eq!(largest_difference(&[vec![1.5, -4.0], vec![2.0]], &expected), 0.125);
        assert_eq!(largest_difference(&[vec![f32::NAN, -4.0], vec![2.0]], &expected), f64::INFINITY);
        assert_eq!(largest_difference(&[vec![1.0], vec![2.0]], &expected), f64::INFINITY);
        assert_eq!(largest_difference(&[vec![1.0, -4.0]], &expected), f64::INFINITY);
    }
}
