//! The module `operator` of a build without Burn's CPU backend: no tensor is served.

use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

pub(crate) fn serves<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

pub(crate) fn serves_layer(_: &Tensor<4>, _: &Conv2d) -> bool {
    false
}

pub(crate) fn conv(_: Tensor<5>, _: &Conv2d) -> Tensor<4> {
    unreachable!("nothing is served")
}

pub(crate) fn conv_layer(_: Tensor<4>, _: &Conv2d, _: bool) -> Tensor<4> {
    unreachable!("nothing is served")
}

pub(crate) fn conv_gru(_: Tensor<4>, _: [&Conv2d; 2], _: Option<Tensor<4>>, _: usize, _: bool) -> Tensor<5> {
    unreachable!("nothing is served")
}
