//! CPU operators where the model's time goes: convolutional networks forward, and the ConvGRU
//! forward and backward.
//!
//! Everything is `f32`, channels-last: a map is `[frame, height, width, channel]`. [`Network`]
//! takes and returns frames in planes `[channel, height, width]`, as decoders and PyTorch have
//! them. The vector code is written once for all instruction sets and chosen at run time (AVX2,
//! AVX-512, NEON, scalar). The split of the work, and with it every bit of the results, is
//! independent of the number of threads; it may differ from one instruction set to another.
//!
//! ```
//! use gru_rcn_ops::{Activation, Layer, Network};
//!
//! let conv = Layer::Conv {
//!     input: 0,
//!     weight: vec![0.5; 8 * 3 * 3 * 3],
//!     bias: vec![0.0; 8],
//!     out_channels: 8,
//!     kernel: [3, 3],
//!     stride: [2, 2],
//!     padding: [1; 4],
//!     groups: 1,
//!     activation: Activation::Relu,
//!     add: None,
//! };
//! let pool = Layer::AvgPoolTo { input: 1, size: [1, 1] };
//! let network = Network::new(3, vec![conv, pool])?;
//!
//! // Both values of frames of 32×48, the map and its averages.
//! let plan = network.plan([32, 48], &[1, 2])?;
//! assert_eq!(plan.tap_shapes(), [[16, 24, 8], [1, 1, 8]]);
//! let mut outputs = vec![Vec::new(), Vec::new()];
//! plan.run(&vec![1.0; 2 * 3 * 32 * 48], 2, &mut outputs);
//! assert_eq!(outputs[1].len(), 2 * 8);
//! # Ok::<(), gru_rcn_ops::NetworkError>(())
//! ```

#![forbid(unsafe_code)]

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

pub use layout::{channels_first, channels_last};
pub use network::{Layer, Network, NetworkError, Plan};
pub use simd::{Activation, lanes};

/// Whether a program that has other operators should use these: unless the environment variable
/// `GRU_RCN_OPERATORS` is `off`. It is meant for comparisons, and read once.
pub fn enabled() -> bool {
    static ENABLED: std::sync::LazyLock<bool> =
        std::sync::LazyLock::new(|| std::env::var_os("GRU_RCN_OPERATORS").is_none_or(|value| value != "off"));
    *ENABLED
}
