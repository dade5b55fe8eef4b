//! CPU operators where the model's time goes: convolutional networks forward, and the ConvGRU
//! forward and backward.
//!
//! Everything is `f32`, channels-last: a map is `[frame, height, width, channel]`.

mod conv;
pub mod conv3x3;
pub mod conv_gru;
pub mod gemm;
mod layout;
pub mod network;
mod pool;
mod sigmoid;
mod simd;
pub mod square;
pub mod winograd;

pub use network::{Layer, Network, NetworkError, Plan};
pub use simd::{Activation, lanes};
