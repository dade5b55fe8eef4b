//! Initial weights: drawn on the CPU, whatever device trains them.
//!
//! Each of Burn's backends has random numbers of its own, so that the same seed would start other models on other devices.
//! Drawn on the CPU and then moved, a recipe starts from the same weights everywhere, and runs on two backends can be
//! compared step by step.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

/// Where models are to be built for [`drawn`].
pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// A model, built on [`device`] from the numbers that `seed` gives, ready to be trained on another device.
pub(crate) fn drawn<M: Module>(seed: u64, target: &Device, build: impl FnOnce() -> M) -> M {
    device().seed(seed);
    moved(materialized(build()), target)
}

/// The same module with all its parameters drawn now, under the seed just set. Burn draws a parameter when it is first used,
/// which may be after another seed was set, and `materialize` leaves it at that.
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
    fn burn_draws_late_and_this_materialized() {
        let linear = || LinearConfig::new(4, 4).init(&Device::flex());
        assert!(!linear().materialize().weight.is_initialized());
        let linear = materialized(linear());
        assert!(linear.weight.is_initialized() && linear.bias.is_some_and(|bias| bias.is_initialized()));
    }

    #[test]
    fn the_cpu_keeps_what_was_drawn() {
        let model = drawn(5, &Device::flex(), || LinearConfig::new(3, 2).init(&device()));
        assert!(model.weight.val().is_require_grad());
        assert_eq!(weights(model).len(), 6);
    }
}
