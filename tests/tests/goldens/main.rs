//! Compares with numbers that PyTorch computed; `tests/peers/README.md` lists the scripts that made
//! them.
//!
//! The goldens were computed in float64 and rounded once, so the remaining deviation is this
//! crate's own float32 rounding. Run with `--nocapture` to see the worst deviation of each subject.

mod adadelta;
mod baselines;
mod captioner;
mod conv_gru;
mod counter;
mod golden;
mod googlenet;
mod gru_rcn;
mod imagenet;
mod vgg16;
