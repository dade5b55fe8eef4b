//! Numbers that depend on a seed alone.

use burn::tensor::{Device, Tensor, TensorData};

/// Uniform noise in -1 to 1, by a linear congruential generator.
pub(crate) fn noise<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut state = seed;
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| value()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
