//! Adadelta against torch's over twelve steps.

use burn::optim::Optimizer;
use burn::tensor::{Device, Tensor};
use gru_rcn::optim::AdadeltaConfig;

use crate::counter::drawn;
use crate::golden::{Golden, Worst, keys};

const SEED: u64 = 20_121_222;

#[test]
fn adadelta_matches() {
    let device = Device::flex();
    let golden = Golden::open("adadelta.safetensors");
    for (name, rho, epsilon, rate) in [("authors", 0.95, 1e-6, 1.0), ("others", 0.8, 1e-4, 0.3)] {
        let optimizer = AdadeltaConfig::new().with_rho(rho).with_epsilon(epsilon).build();
        let (mut weight, mut state) = (Tensor::<2>::zeros([3, 4], &device), None);
        let mut weights = Vec::new();
        for step in 0..12 {
            let gradient = drawn(SEED, &format!("gradient.{step}"), [3, 4], 1.0, &device) / 2f32.powi(step);
            (weight, state) = optimizer.step(rate, weight, gradient, state);
            weights.push(weight.clone());
        }
        let weights = Tensor::stack::<3>(weights, 0);
        Worst::of(format!("Adadelta, {name}"), &golden).check(weights, &keys(name, &["weights"]));
    }
}
