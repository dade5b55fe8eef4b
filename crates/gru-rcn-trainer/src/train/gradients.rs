//! The norm of all gradients together, and clipping by it. Burn's own clipping works tensor by
//! tensor.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.square().sum());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register::<D>(param.id, gradient * self.factor);
        }
    }
}

/// The Euclidean norm of all gradients of a module.
pub(super) fn global_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f32 {
    let mut squares = Squares { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    if squares.sums.is_empty() {
        return 0.0;
    }
    Tensor::cat(squares.sums, 0).sum().sqrt().into_scalar::<f32>()
}

/// Multiplies all gradients of a module by the same factor.
pub(super) fn scale<M: Module>(module: &M, mut gradients: GradientsParams, factor: f32) -> GradientsParams {
    module.visit(&mut Scale { gradients: &mut gradients, factor });
    gradients
}

/// Scales all gradients by the same factor, such that their norm is at most `largest`.
pub(super) fn clip_global_norm<M: Module>(
    module: &M,
    gradients: GradientsParams,
    norm: f32,
    largest: f32,
) -> GradientsParams {
    if norm > largest { scale(module, gradients, largest / norm) } else { gradients }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Initializer, LinearConfig};
    use burn::tensor::{Device, TensorData};

    /// y = w1 x1 + w2 x2 + b with x = (2, 2): the gradient is (2, 2, 1), its norm 3; clipped to 1.5
    /// it is (1, 1, 0.5).
    #[test]
    fn clipping_scales_all_gradients_alike() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(2, 1).with_initializer(Initializer::Ones).init(&device);
        let x = Tensor::<2>::from_data(TensorData::from([[2.0, 2.0]]), &device);
        let gradients = GradientsParams::from_grads(linear.forward(x).sum().backward(), &linear);
        let norm = global_norm(&linear, &gradients);
        assert!((norm - 3.0).abs() < 1e-6);
        let clipped = clip_global_norm(&linear, gradients, norm, 1.5);
        let weight = clipped.get::<2>(linear.weight.id).unwrap().into_data().try_into_vec::<f32>().unwrap();
        assert!(weight.iter().all(|w| (w - 1.0).abs() < 1e-6), "{weight:?}");
        assert!((global_norm(&linear, &clipped) - 1.5).abs() < 1e-6);
    }
}
