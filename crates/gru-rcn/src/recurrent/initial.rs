//! Initial values of fused weights, drawn gate by gate.

use burn::module::{Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, Shape, Tensor};

/// A convolution weight `[gates * out, in, kernel, kernel]` whose `gates` blocks are drawn one by one, each as the weight
/// `[out, in, kernel, kernel]` of a convolution of its own: fusing gates into one convolution must not change what they
/// are drawn from.
pub(super) fn fused(
    initializer: Initializer,
    gates: usize,
    [out, input, kernel]: [usize; 3],
    device: &Device,
) -> Param<Tensor<4>> {
    let shape = [out, input, kernel, kernel];
    let (fan_in, fan_out) = (input * kernel * kernel, out * kernel * kernel);
    Param::uninitialized(
        ParamId::new(),
        move |device: &Device, require_grad| {
            let blocks = (0..gates)
                .map(|_| initializer.init_with::<4, _>(shape, Some(fan_in), Some(fan_out), device).val())
                .collect();
            // Detached: a parameter must be a leaf of the autodiff graph.
            let weight = Tensor::cat(blocks, 0).detach();
            if require_grad { weight.require_grad() } else { weight }
        },
        device.clone(),
        true,
        Shape::new([gates * out, input, kernel, kernel]),
    )
}
