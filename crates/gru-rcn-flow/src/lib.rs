//! Dense optical flow between two images, in pure Rust.

pub mod colour;
pub mod dis;
pub mod error;
pub mod field;
pub mod flo;
pub mod image;
mod parallel;
pub mod quantise;
pub mod tv_l1;

pub use dis::{Dis, DisWorkspace};
pub use error::FlowError;
pub use field::Flow;
pub use image::Image;
pub use quantise::FlowCoding;
pub use tv_l1::{TvL1, TvL1Sequence};

/// The examples of the page compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod page {}
