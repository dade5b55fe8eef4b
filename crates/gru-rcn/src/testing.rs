//! Numbers that depend on a seed alone, and comparisons, for the unit tests.
//!
//! Burn's own random numbers come from one generator for all threads of a test run, so they differ
//! from run to run.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};

/// The CPU, or where the build has another backend, that one: `--features gru-rcn-trainer/wgpu-untuned`
/// on the command line. `BURN_DEVICE=flex` is the CPU in such a build too. Tests that need float64,
/// bfloat16 or bytes stay on the CPU.
pub(crate) fn device() -> Device {
    Device::default()
}

/// Uniform values in (-1, 1) by SplitMix64.
pub(crate) fn values(seed: u64, count: usize) -> Vec<f64> {
    let word = |n: u64| {
        let mut z = seed.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (1..=count as u64).map(|n| (word(n) >> 11) as f64 * (-52f64).exp2() - 1.0).collect()
}

/// A tensor of such values in a given precision.
pub(crate) fn drawn_as<const D: usize>(seed: u64, shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values(seed, shape.iter().product()), shape), (device, dtype))
}

/// A float32 tensor of such values.
pub(crate) fn drawn<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    drawn_as(seed, shape, DType::F32, device)
}

/// A module with all its weights replaced by such values times `scale`, each tensor of a seed of
/// its own.
pub(crate) fn redrawn<M: Module>(module: M, seed: u64, scale: f64, dtype: DType) -> M {
    module.map(&mut Redraw { seed: 1000 * seed, scale, dtype })
}

struct Redraw {
    seed: u64,
    scale: f64,
    dtype: DType,
}

impl ModuleMapper for Redraw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.seed += 1;
        let (seed, scale, dtype) = (self.seed, self.scale, self.dtype);
        param.map(|weight| {
            let drawn = drawn_as(seed, weight.dims(), dtype, &weight.device()) * scale;
            if weight.is_require_grad() { drawn.require_grad() } else { drawn }
        })
    }
}

/// Ids and values of a module's parameters, or with `gradients` the gradients of those that have
/// one.
pub(crate) fn parameters<M: Module>(module: &M, gradients: Option<&Gradients>) -> Vec<(ParamId, TensorData)> {
    let mut parameters = Collect(gradients, Vec::new());
    module.visit(&mut parameters);
    parameters.1
}

struct Collect<'a>(Option<&'a Gradients>, Vec<(ParamId, TensorData)>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = self.0.map_or(Some(param.val()), |gradients| param.val().grad(gradients));
        self.1.extend(tensor.map(|tensor| (param.id, tensor.into_data())));
    }
}

/// The values of a float32 tensor.
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// The largest difference of two tensors of the same shape.
pub(crate) fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).abs().max().into_scalar::<f32>()
}

/// Asserts that two tensors agree to a few roundings of float32 values of magnitude 1.
#[track_caller]
pub(crate) fn assert_same<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    let worst = difference(a, b);
    assert!(worst <= 2e-6, "they differ by {worst}");
}

/// Asserts that values are what was derived by hand.
#[track_caller]
pub(crate) fn assert_numbers<const D: usize>(found: Tensor<D>, expected: &[f32]) {
    let found = numbers(found);
    let close = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 2e-6);
    assert!(close, "{found:?} instead of {expected:?}");
}

/// Asserts that a call panics with a message that contains `expected`.
#[track_caller]
pub(crate) fn assert_panics<T>(expected: &str, call: impl FnOnce() -> T) {
    let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) else {
        panic!("no panic with \"{expected}\"")
    };
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    let message = formatted.or(payload.downcast_ref::<&str>().copied()).expect("a panic has a message");
    assert!(message.contains(expected), "\"{message}\" instead of \"{expected}\"");
}
