//! Initial weights: drawn on the CPU, whatever device trains them.
//!
//! Each of Burn's backends has random numbers of its own, so that the same seed would start other models on other devices.
//! Drawn on the CPU and then moved, a recipe starts from the same weights everywhere, and runs on two backends can be
//! compared step by step.

use burn::module::Module;
use burn::tensor::Device;

/// Where models are to be built for [`drawn`].
pub fn device() -> Device {
    Device::flex().autodiff()
}

/// A model, built on [`device`] from the numbers that `seed` gives, ready to be trained on another device.
pub fn drawn<M: Module>(seed: u64, target: &Device, build: impl FnOnce() -> M) -> M {
    device().seed(seed);
    moved(build().materialize(), target)
}

fn moved<M: Module>(model: M, target: &Device) -> M {
    if *target == device() { model } else { model.fork(&target.clone().autodiff()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};

    fn weights(model: Linear) -> Vec<f32> {
        model.weight.val().into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    #[cfg(feature = "ndarray")]
    fn the_same_on_another_backend() {
        #[allow(deprecated)]
        let other = Device::ndarray();
        // Not drawn twice: other tests draw from the same generator at the same time.
        let model = LinearConfig::new(3, 2).init(&device());
        let moved = moved(model.clone(), &other);
        assert_eq!(moved.weight.val().device(), other);
        assert!(moved.weight.val().is_require_grad());
        assert_eq!(weights(moved), weights(model));
    }

    #[test]
    fn the_cpu_keeps_what_was_drawn() {
        let model = drawn(5, &Device::flex(), || LinearConfig::new(3, 2).init(&device()));
        assert!(model.weight.val().is_require_grad());
        assert_eq!(weights(model).len(), 6);
    }
}
