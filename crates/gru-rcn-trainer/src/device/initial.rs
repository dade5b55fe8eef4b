//! Initial weights: drawn on the CPU, on whatever device they are trained.
//!
//! Each of Burn's backends has its own random numbers, so the same seed would give other weights on
//! another device. Weights are therefore drawn on the CPU and then moved. A recipe starts from the
//! same weights everywhere, and runs on two backends can be compared step by step.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

/// The device on which models are built for [`drawn`].
pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// A model that `build` makes on [`device`] from `seed`, moved to `target` for training.
pub(crate) fn drawn<M: Module>(seed: u64, target: &Device, build: impl FnOnce() -> M) -> M {
    device().seed(seed);
    moved(materialized(build()), target)
}

/// The same module with all its parameters drawn now. Burn draws a parameter at its first use,
/// possibly after another seed was set; Burn's own `materialize` does not change that.
pub(crate) fn materialized<M: Module>(module: M) -> M {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let _ = param.val();
        }
    }
    module.visit(&mut Draw);
    module
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
    #[cfg(feature = "wgpu-untuned")]
    fn weights_are_the_same_on_another_backend() {
        let other = Device::wgpu_options().init().expect("this test needs a graphics driver");
        // Drawn once only: other tests draw from the same generator at the same time.
        let model = LinearConfig::new(3, 2).init(&device());
        let moved = moved(model.clone(), &other);
        assert_eq!(moved.weight.val().device(), other);
        assert!(moved.weight.val().is_require_grad());
        assert_eq!(weights(moved), weights(model));
    }

    #[test]
    fn burn_draws_at_first_use_and_materialized_draws_now() {
        let linear = || LinearConfig::new(4, 4).init(&Device::flex());
        assert!(!linear().materialize().weight.is_initialized());
        let linear = materialized(linear());
        assert!(linear.weight.is_initialized() && linear.bias.is_some_and(|bias| bias.is_initialized()));
    }

    #[test]
    fn models_for_the_cpu_keep_their_gradients_enabled() {
        let model = drawn(5, &Device::flex(), || LinearConfig::new(3, 2).init(&device()));
        assert!(model.weight.val().is_require_grad());
        assert_eq!(weights(model).len(), 6);
    }
}
