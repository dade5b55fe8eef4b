//! Recurrent layers over percepts: the convolutional GRU and the paper's arrangements of it.

mod conv_gru;
#[cfg(test)]
mod gradients;
mod gru_rcn;
pub(crate) mod initial;
mod stacking;

pub use conv_gru::{ConvGru, ConvGruConfig, ConvGruOutput, ConvGruTrace};
pub use gru_rcn::{Form, GruRcn, GruRcnConfig, GruRcnConfigError, GruRcnState};
pub use stacking::pool_to;
