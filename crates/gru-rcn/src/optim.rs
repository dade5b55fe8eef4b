//! Adadelta, which Burn 0.22.1 does not have, as one of its optimizers.

use burn::config::Config;
use burn::optim::{LearningRate, ModuleOptimizer, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// Configuration of [`Adadelta`].
///
/// ```
/// use burn::grad_clipping::GradientClipping;
/// use gru_rcn::optim::AdadeltaConfig;
///
/// let optimizer = AdadeltaConfig::new().init().with_grad_clipping(GradientClipping::Norm(10.0));
/// # let _ = optimizer;
/// ```
#[derive(Config, Debug)]
pub struct AdadeltaConfig {
    /// ρ, the share of the running means that a step keeps.
    #[config(default = 0.95)]
    pub rho: f64,
    /// ε, added under both roots; it sets the size of the first steps.
    #[config(default = 1e-6)]
    pub epsilon: f64,
}

/// Zeiler's *ADADELTA: An Adaptive Learning Rate Method* (arXiv 1212.5701, algorithm 1) with the
/// learning rate η of PyTorch's implementation; with η = 1 it is the paper's.
///
/// ```text
/// G ← ρ G + (1 - ρ) g²        Δ = √(D + ε) / √(G + ε) · g
/// D ← ρ D + (1 - ρ) Δ²        θ ← θ - η Δ
/// ```
#[derive(Clone, Debug)]
pub struct Adadelta {
    rho: f64,
    epsilon: f64,
}

/// The running means of a parameter.
#[derive(Clone, Debug)]
pub struct AdadeltaState<const D: usize> {
    /// G, of the squared gradients.
    pub gradients: Tensor<D>,
    /// D, of the squared steps.
    pub steps: Tensor<D>,
}

impl AdadeltaConfig {
    /// An optimizer of single tensors, for groups of parameters.
    pub fn build(&self) -> Adadelta {
        Adadelta { rho: self.rho, epsilon: self.epsilon }
    }

    /// An optimizer of a whole module.
    pub fn init(&self) -> ModuleOptimizer {
        self.build().into()
    }
}

impl Optimizer for Adadelta {
    type State<const D: usize> = AdadeltaState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdadeltaState<D>>,
    ) -> (Tensor<D>, Option<AdadeltaState<D>>) {
        let AdadeltaState { gradients, steps } =
            state.unwrap_or_else(|| AdadeltaState { gradients: tensor.zeros_like(), steps: tensor.zeros_like() });
        let mean = |mean: Tensor<D>, new: &Tensor<D>| mean * self.rho + new.clone().square() * (1.0 - self.rho);
        let gradients = mean(gradients, &grad);
        let step = (steps.clone() + self.epsilon).sqrt() / (gradients.clone() + self.epsilon).sqrt() * grad;
        let steps = mean(steps, &step);
        (tensor - step * lr, Some(AdadeltaState { gradients, steps }))
    }

    fn to_device<const D: usize>(state: AdadeltaState<D>, device: &Device) -> AdadeltaState<D> {
        AdadeltaState { gradients: state.gradients.to_device(device), steps: state.steps.to_device(device) }
    }
}

/// By hand, because Burn's derive macro works only in Burn's own crates.
impl<const D: usize> RecordState for AdadeltaState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "gradients", self.gradients.clone().into_data());
        out.push_tensor(prefix, "steps", self.steps.clone().into_data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let mut take = |leaf| src.take_tensor(prefix, leaf).map(|data| Tensor::from_data(data, device));
        Some(Self { gradients: take("gradients")?, steps: take("steps")? })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::GradientsParams;

    use super::*;
    use crate::testing::{assert_numbers, difference};

    /// From θ = 0 with ρ = ½, ε = 0.01, η = 2 and the gradients 0.4 and 0.1. First G = 0.08, Δ =
    /// √(0.01 / 0.09) · 0.4 = 2/15, D = 2/225 and θ = -4/15. Then G = 0.04 + 0.005 = 0.045,
    /// Δ = √((2/225 + 0.01) / 0.055) · 0.1 = 0.058_603_3 and θ = -0.383_873_2.
    #[test]
    fn two_steps_by_hand() {
        let device = Device::flex();
        let optimizer = AdadeltaConfig::new().with_rho(0.5).with_epsilon(0.01).build();
        let gradient = |value: f32| Tensor::<1>::from_floats([value], &device);
        let (weight, state) = optimizer.step(2.0, gradient(0.0), gradient(0.4), None);
        assert_numbers(weight.clone(), &[-4.0 / 15.0]);
        let (weight, state) = optimizer.step(2.0, weight, gradient(0.1), state);
        assert_numbers(weight, &[-0.383_873_2]);
        assert_numbers(state.unwrap().gradients, &[0.045]);
    }

    /// A record holds both means: the third step after a record has been read is the same.
    #[test]
    fn resumes_from_a_record() {
        let device = Device::flex().autodiff();
        let mut model = LinearConfig::new(3, 2).init(&device);
        let gradients = |model: &Linear, scale: f32| {
            let loss = model.forward(Tensor::<2>::ones([2, 3], &device)).square().sum() * scale;
            GradientsParams::from_grads(loss.backward(), model)
        };
        let mut optimizer = AdadeltaConfig::new().init();
        for scale in [1.0, 0.1] {
            let gradients = gradients(&model, scale);
            model = optimizer.step(1.0, model, gradients);
        }
        let mut resumed = AdadeltaConfig::new().init().from_bytes(optimizer.into_bytes().unwrap()).unwrap();
        let mut fresh = AdadeltaConfig::new().init();
        let step = |optimizer: &mut ModuleOptimizer| {
            let gradients = gradients(&model, -0.3);
            optimizer.step(1.0, model.clone(), gradients).valid().weight.val()
        };
        let expected = step(&mut optimizer);
        assert_eq!(difference(step(&mut resumed), expected.clone()), 0.0);
        assert!(difference(step(&mut fresh), expected) > 0.0);
    }
}
