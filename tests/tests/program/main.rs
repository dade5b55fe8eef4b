//! Tests of the whole program as people and scripts use it: arguments in; files, documents,
//! messages and exit codes out.
//!
//! Tests share runs that take seconds to make, such as those of [`micro`], [`tiny`] and [`clips`]. The
//! first test that needs one makes it.

mod backends;
mod bad_clips;
mod bad_data;
mod bad_files;
mod bad_usage;
mod baselines;
mod built_in;
mod captioned;
mod captions;
mod clips;
mod decoder;
mod earlier;
mod examples;
mod explain;
mod finetune;
mod folder;
mod fuse;
mod harness;
mod many;
#[cfg(target_os = "linux")]
mod memory;
mod micro;
mod motion;
mod overnight;
mod packaging;
mod percepts;
mod prepared;
mod recognizer;
mod refit;
mod resume;
#[cfg(unix)]
mod soak;
mod stills;
mod table1;
mod tiny;
mod views;
mod watch;
