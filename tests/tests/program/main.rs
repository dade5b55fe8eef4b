//! The whole program, driven as people and scripts drive it: arguments in; files, documents, messages and exit codes out.
//!
//! All tests share two things that take seconds to make, [`micro`] and [`clips`]; each is made by the first test that asks.

mod backends;
mod bad_clips;
mod bad_data;
mod bad_usage;
mod clips;
mod decoder;
mod earlier;
mod finetune;
mod folder;
mod fuse;
mod harness;
mod memory;
mod micro;
mod motion;
mod overnight;
mod prepared;
mod real_clips;
mod refit;
mod resume;
mod tiny;
mod views;
