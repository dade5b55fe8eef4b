//! Trains, evaluates and reports GRU-RCN models: the library behind the program `gru-rcn`.
//!
//! One run goes through these modules in order:
//!
//! 1. [`cli`] reads the arguments, [`recipe`] the experiment, [`backend`] the device.
//! 2. [`data`] lists the clips, [`backbone`] builds the CNN and, where the recipe says so, trains it on single frames.
//! 3. [`percepts`] runs the frozen CNN over the clips, once for all epochs or anew in each, and hands out batches.
//! 4. [`fit`] trains one system on the percepts, with [`checkpoint`]s; [`systems`] says which systems there are.
//! 5. [`evaluate`] scores them on the test clips, [`views`] by several views of each, [`report`] shows it, [`run_dir`] keeps it.
//!
//! [`verbs`] holds what each command does with these.

pub mod backbone;
pub mod backend;
pub mod checkpoint;
pub mod cli;
pub mod data;
pub mod device_fault;
pub mod evaluate;
pub mod fit;
pub mod gradients;
pub mod identity;
pub mod initial;
pub mod memory;
pub mod parallel;
pub mod percepts;
pub mod precision;
pub mod progress;
pub mod rates;
pub mod recipe;
#[cfg(feature = "remote")]
pub mod remote;
pub mod report;
pub mod run_card;
pub mod run_dir;
pub mod signals;
pub mod systems;
pub mod tensorboard;
pub mod verbs;
pub mod views;

pub use cli::main;
