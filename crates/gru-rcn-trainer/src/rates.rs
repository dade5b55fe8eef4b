//! Learning rates that differ by parameter.

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::ParamGroup;

/// The learning rate, and for the parameters of each group that rate times the group's factor. Where groups overlap the last
/// one counts.
pub fn by_group(rate: f64, factors: &[(ParamGroup, f64)]) -> ModuleLearningRate {
    let base = ModuleLrScheduler::new(rate);
    let with =
        |all: ModuleLrScheduler, (group, factor): &(ParamGroup, f64)| all.with_group(group.clone(), rate * factor);
    factors.iter().fold(base, with).step()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::nn::{Initializer, Linear, LinearConfig};
    use burn::optim::{GradientsParams, SgdConfig};
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    enum Cnn {
        Only(Linear),
    }

    #[derive(Module, Debug)]
    struct Both {
        backbone: Cnn,
        head: Linear,
    }

    /// Weights of 1; the gradient of the sum of x w is x = 1 for each. At a rate of 0.5, and of a tenth of that below, they
    /// become 0.5 and 0.95. The names of parameters have that of the enum's variant in them.
    #[test]
    fn a_group_learns_at_its_own_rate() {
        let device = Device::flex().autodiff();
        let linear = || LinearConfig::new(2, 2).with_bias(false).with_initializer(Initializer::Ones).init(&device);
        let both = Both { backbone: Cnn::Only(linear()), head: linear() };
        let x = Tensor::<2>::ones([1, 2], &device);
        let Cnn::Only(below) = &both.backbone;
        let loss = below.forward(x.clone()).sum() + both.head.forward(x).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &both);
        let group = ParamGroup::from_regex(r"^backbone\.").unwrap_or_else(|error| panic!("{error:?}"));
        let stepped = SgdConfig::new().init().step(by_group(0.5, &[(group, 0.1)]), both, gradients);
        let values = |linear: &Linear| linear.weight.val().into_data().try_into_vec::<f32>().unwrap();
        let Cnn::Only(below) = &stepped.backbone;
        assert_eq!(values(&stepped.head), [0.5; 4]);
        assert!(values(below).iter().all(|w| (w - 0.95).abs() < 1e-6), "{:?}", values(below));
    }
}
