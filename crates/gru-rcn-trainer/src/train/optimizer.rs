//! Optimizers and learning rates of a recipe.
//!
//! The rate of a step is the product of three: the recipe's rate on its schedule, the factor of the
//! group that a parameter is in (the CNN, in joint training), and the factor of biases.

use anyhow::{Result, anyhow};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, LearningRate, ModuleOptimizer, Optimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use gru_rcn::optim::AdadeltaConfig;

use crate::recipe::{OptimizerName, Schedule, TrainingSection};

/// Names of parameters that are biases, in whatever module.
const BIASES: &str = r"(^|\.)bias$";

/// The optimizer of a recipe. Biases are a group of their own: they have no weight decay, and the recipe
/// may give them a factor of the learning rate.
pub(super) fn optimizer(training: &TrainingSection) -> Result<ModuleOptimizer> {
    match training.optimizer {
        OptimizerName::Adam => {
            grouped(training, |decay| AdamConfig::new().with_epsilon(1e-8).with_weight_decay(decay).build())
        }
        OptimizerName::Adadelta => grouped(training, |_| AdadeltaConfig::new().build()),
        OptimizerName::Sgd => {
            // As in Caffe, PyTorch and the papers; Burn's default dampens each gradient by a tenth.
            let momentum = MomentumConfig::new().with_momentum(training.momentum).with_dampening(0.0);
            let config = SgdConfig::new().with_momentum((training.momentum > 0.0).then_some(momentum));
            grouped(training, |decay| config.clone().with_weight_decay(decay).build())
        }
    }
}

/// The optimizer that `build` makes with the weight decay of the recipe, and without one for biases.
fn grouped<O: Optimizer>(
    training: &TrainingSection,
    build: impl Fn(Option<WeightDecayConfig>) -> O,
) -> Result<ModuleOptimizer> {
    let decay = (training.weight_decay > 0.0).then(|| WeightDecayConfig::new(training.weight_decay));
    let of_biases = ScaledRate { optimizer: build(None), factor: training.bias_lr_factor };
    let biases =
        ParamGroup::from_regex(BIASES).map_err(|error| anyhow!("the pattern of the biases' names: {error:?}"))?;
    Ok(ModuleOptimizer::from(build(decay)).with_group(biases, of_biases, None))
}

/// An optimizer that multiplies the learning rate by a factor.
#[derive(Clone)]
struct ScaledRate<O> {
    optimizer: O,
    factor: f64,
}

impl<O: Optimizer> Optimizer for ScaledRate<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.optimizer.step(rate * self.factor, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}

/// The learning rate of a step, after `epoch` of `epochs` epochs and `steps` steps.
pub(super) fn learning_rate(training: &TrainingSection, epoch: usize, epochs: usize, steps: u64) -> f64 {
    let factor = match training.schedule {
        // Half a cosine from the learning rate to the given fraction of it.
        Schedule::Cosine => {
            let last = training.final_lr_factor;
            let way = epoch as f64 / (epochs.max(2) - 1) as f64;
            last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * way).cos())
        }
        Schedule::Step { every, factor } => {
            factor.powi(i32::try_from(steps.checked_div(every).unwrap_or(0)).unwrap_or(i32::MAX))
        }
    };
    training.learning_rate * factor
}

/// The learning rate times the factor of each group; where groups overlap the last one counts.
pub(super) fn rates_by_group(rate: f64, factors: &[(ParamGroup, f64)]) -> ModuleLearningRate {
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
    use burn::optim::GradientsParams;
    use burn::tensor::TensorData;

    /// y = w x + b with w = 1, b = 0.5.
    fn line() -> Linear {
        let device = Device::flex().autodiff();
        let mut line = LinearConfig::new(1, 1).with_initializer(Initializer::Ones).init(&device);
        line.bias = Some(Initializer::Constant { value: 0.5 }.init([1], &device));
        line
    }

    /// Steps along y at these x: the gradients are x for the weight and 1 for the bias.
    fn walk(training: &TrainingSection, xs: &[f32], again: bool) -> [f32; 2] {
        let mut line = line();
        let mut steps = optimizer(training).unwrap();
        for &x in xs {
            let x = Tensor::<2>::from_data(TensorData::from([[x]]), &Device::flex()).autodiff();
            let gradients = GradientsParams::from_grads(line.forward(x).sum().backward(), &line);
            line = steps.step(training.learning_rate, line, gradients);
            if again {
                // As a run that is stopped and resumed after every step.
                steps = optimizer(training).unwrap().from_bytes(steps.into_bytes().unwrap()).unwrap();
            }
        }
        let value = |values: TensorData| values.try_into_vec::<f32>().unwrap()[0];
        [value(line.weight.val().into_data()), value(line.bias.unwrap().val().into_data())]
    }

    fn sgd() -> TrainingSection {
        TrainingSection {
            optimizer: OptimizerName::Sgd,
            learning_rate: 0.1,
            momentum: 0.5,
            weight_decay: 0.25,
            bias_lr_factor: 2.0,
            ..Default::default()
        }
    }

    /// Rate 0.1, momentum 0.5, decay 0.25, biases twice as fast and not decayed. Weight: g = 2 +
    /// 0.25 · 1 = 2.25, v = 2.25, w = 1 − 0.225 = 0.775; g = 4 + 0.25 · 0.775 = 4.19375, v = 0.5 ·
    /// 2.25 + 4.19375 = 5.31875, w = 0.775 − 0.531875 = 0.243125. Bias: v = 1, b = 0.5 − 0.2 = 0.3;
    /// v = 1.5, b = 0.3 − 0.3 = 0.
    #[test]
    fn gradient_descent_with_momentum_by_hand() {
        for again in [false, true] {
            let [w, b] = walk(&sgd(), &[2.0], again);
            assert!((w - 0.775).abs() < 1e-6 && (b - 0.3).abs() < 1e-6, "{w} {b}");
            let [w, b] = walk(&sgd(), &[2.0, 4.0], again);
            assert!((w - 0.243_125).abs() < 1e-6 && b.abs() < 1e-6, "{w} {b}");
        }
    }

    /// Each step is rate times gradient: 1 − 0.1 (2 + 4) = 0.4, and 0.5 − 0.2 (1 + 1) = 0.1.
    #[test]
    fn plain_gradient_descent_by_hand() {
        let training = TrainingSection { momentum: 0.0, weight_decay: 0.0, ..sgd() };
        let [w, b] = walk(&training, &[2.0, 4.0], true);
        assert!((w - 0.4).abs() < 1e-6 && (b - 0.1).abs() < 1e-6, "{w} {b}");
    }

    /// Adam's first step is the rate, whatever the gradient: 1 − 0.1, and twice that for the bias.
    #[test]
    fn adams_first_step_by_hand() {
        let training = TrainingSection { optimizer: OptimizerName::Adam, weight_decay: 0.0, ..sgd() };
        let [w, b] = walk(&training, &[2.0], false);
        assert!((w - 0.9).abs() < 1e-6 && (b - 0.3).abs() < 1e-6, "{w} {b}");
        assert_eq!(walk(&training, &[2.0, 4.0], true), walk(&training, &[2.0, 4.0], false));
    }

    /// Halfway along the cosine is the mean of 1 and 0.5. By steps: a tenth after each 10.
    #[test]
    fn rates_by_hand() {
        let cosine = TrainingSection { learning_rate: 0.1, final_lr_factor: 0.5, ..Default::default() };
        for (epoch, rate) in [(0, 0.1), (1, 0.075), (2, 0.05)] {
            assert!((learning_rate(&cosine, epoch, 3, 99) - rate).abs() < 1e-12);
        }
        let schedule = Schedule::Step { every: 10, factor: 0.1 };
        let falling = TrainingSection { learning_rate: 0.1, schedule, ..Default::default() };
        for (steps, rate) in [(0, 0.1), (9, 0.1), (10, 0.01), (29, 0.001)] {
            assert!((learning_rate(&falling, 7, 9, steps) - rate).abs() < 1e-12);
        }
    }

    #[derive(Module, Debug)]
    enum Cnn {
        Only(Linear),
    }

    #[derive(Module, Debug)]
    struct Both {
        backbone: Cnn,
        head: Linear,
    }

    /// Weights of 1 and gradients of 1: at rates of 0.5 and of a tenth of that they become 0.5 and
    /// 0.95. The names of parameters contain that of the enum's variant.
    #[test]
    fn a_group_has_a_learning_rate_of_its_own() {
        let device = Device::flex().autodiff();
        let linear = || LinearConfig::new(2, 2).with_bias(false).with_initializer(Initializer::Ones).init(&device);
        let both = Both { backbone: Cnn::Only(linear()), head: linear() };
        let x = Tensor::<2>::ones([1, 2], &device);
        let Cnn::Only(below) = &both.backbone;
        let loss = below.forward(x.clone()).sum() + both.head.forward(x).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &both);
        let group = ParamGroup::from_regex(r"^backbone\.").unwrap_or_else(|error| panic!("{error:?}"));
        let stepped = SgdConfig::new().init().step(rates_by_group(0.5, &[(group, 0.1)]), both, gradients);
        let values = |linear: &Linear| linear.weight.val().into_data().try_into_vec::<f32>().unwrap();
        let Cnn::Only(below) = &stepped.backbone;
        assert_eq!(values(&stepped.head), [0.5; 4]);
        assert!(values(below).iter().all(|w| (w - 0.95).abs() < 1e-6), "{:?}", values(below));
    }
}
