//! The systems that the paper compares GRU-RCN with, on the same frozen CNN.

mod frame;
mod top_rnn;

pub use frame::{FrameClassifier, FrameClassifierConfig};
pub use top_rnn::{TopRnn, TopRnnConfig};
