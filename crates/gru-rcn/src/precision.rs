//! Computing in another precision than the weights are kept in.
//!
//! Weights, their gradients and the optimizer's state stay in float32. A layer computes in the
//! precision of its *input* and casts its weights where theirs is another. The cast is part of the
//! autodiff graph, so gradients have the weights' own precision, and a record does not depend on
//! the precision of training. Where the two agree, nothing is cast.

use std::borrow::Cow;

use burn::module::Param;
use burn::nn::Linear;
use burn::nn::conv::{Conv2d, Conv3d};
use burn::tensor::{DType, Tensor};

/// A weight in another precision, for one use.
fn cast<const D: usize>(weight: &Param<Tensor<D>>, dtype: DType) -> Param<Tensor<D>> {
    Param::initialized(weight.id, weight.val().cast(dtype))
}

/// A convolution with its weights in `dtype`.
pub(crate) fn conv_in(layer: &Conv2d, dtype: DType) -> Cow<'_, Conv2d> {
    if layer.weight.val().dtype() == dtype {
        return Cow::Borrowed(layer);
    }
    Cow::Owned(Conv2d {
        weight: cast(&layer.weight, dtype),
        bias: layer.bias.as_ref().map(|bias| cast(bias, dtype)),
        ..layer.clone()
    })
}

/// Applies a convolution in the precision of its input.
pub(crate) fn conv(layer: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    conv_in(layer, input.dtype()).forward(input)
}

/// Applies a convolution over space and time in the precision of its input.
pub(crate) fn conv3d(layer: &Conv3d, input: Tensor<5>) -> Tensor<5> {
    let dtype = input.dtype();
    if layer.weight.val().dtype() == dtype {
        return layer.forward(input);
    }
    let bias = layer.bias.as_ref().map(|bias| cast(bias, dtype));
    Conv3d { weight: cast(&layer.weight, dtype), bias, ..layer.clone() }.forward(input)
}

/// Applies a linear layer in the precision of its input.
pub(crate) fn linear<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    let dtype = input.dtype();
    if layer.weight.val().dtype() == dtype {
        return layer.forward(input);
    }
    let bias = layer.bias.as_ref().map(|bias| cast(bias, dtype));
    Linear { weight: cast(&layer.weight, dtype), bias }.forward(input)
}

#[cfg(test)]
mod tests;
