//! The program `gru-rcn`: trains, evaluates and reports GRU-RCN models.
//!
//! Imports go down only:
//!
//! ```text
//! cli          one file per verb
//! stream       a model on a stream of frames: answers, events, their files
//! captioning   the story of captions: encoders, features, decoder, metrics
//! experiment   the story of `train`: CNN, percepts, systems, test, outcome; finished runs opened again
//! explain      where and when a system finds a class
//! train        epochs and steps      scoring  probabilities      report  the page      preflight  checks
//! percepts     from clips to batches
//! context      what every part of a run needs
//! run, observe, device, recipe       files of a run; observers; devices; the TOML of an experiment
//! signals, output      Ctrl-C and exit codes; lines to standard output and error
//! ```
//!
//! The libraries to build on are `gru-rcn`, `gru-rcn-data`, `gru-rcn-flow`, `gru-rcn-metrics` and
//! `gru-rcn-ops`; nothing here is public but [`main`].

// They panic where the reader is gone or a disk is full; `say!` and `note!` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod captioning;
mod cli;
mod context;
mod device;
mod experiment;
mod explain;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod observe;
mod output;
mod percepts;
mod preflight;
mod recipe;
mod report;
mod run;
mod scoring;
mod signals;
mod stream;
mod train;

use std::process::ExitCode;

/// Runs the program with the arguments of the process.
///
/// # Safety
///
/// It sets an environment variable by which Burn selects its default device. Call it first in
/// `main`, while the process has no other thread.
pub unsafe fn main() -> ExitCode {
    // SAFETY: the caller guarantees the same.
    unsafe { cli::main() }
}
