//! CPU operators where the model's time goes: convolutional networks forward, and the ConvGRU
//! forward and backward.
//!
//! Everything is `f32`, channels-last: a map is `[frame, height, width, channel]`.

pub mod conv3x3;
pub mod conv_gru;
pub mod gemm;
mod simd;
pub mod winograd;

pub use simd::{Activation, lanes};
