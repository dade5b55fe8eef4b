//! Recurrent layers over percepts: the convolutional GRU and the paper's arrangements of it.

mod conv_gru;
#[cfg(test)]
mod gradients;
mod gru_rcn;
mod initial;
#[cfg(feature = "flex")]
mod operator;
mod stacking;

pub use conv_gru::{ConvGru, ConvGruConfig, ConvGruOutput};
pub use gru_rcn::{Form, GruRcn, GruRcnConfig, GruRcnConfigError, GruRcnState};
pub use stacking::pool_to;

/// Without Burn's CPU backend there is nothing that the operators could serve.
#[cfg(not(feature = "flex"))]
mod operator {
    use burn::nn::conv::Conv2d;
    use burn::tensor::Tensor;

    use super::ConvGru;

    pub(super) fn serves<const D: usize>(_: &Tensor<D>) -> bool {
        false
    }

    pub(super) fn conv(_: Tensor<5>, _: &Conv2d) -> Tensor<4> {
        unreachable!("nothing is served")
    }

    pub(super) fn conv_gru(_: Tensor<4>, _: &ConvGru, _: Option<Tensor<4>>, _: usize, _: bool) -> Tensor<5> {
        unreachable!("nothing is served")
    }
}
