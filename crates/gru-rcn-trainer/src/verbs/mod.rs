//! The commands of the program, one file each.

pub mod compare_backends;
pub mod doctor;
pub mod evaluate;
pub mod features;
pub mod flow;
pub mod fuse;
pub mod predict;
pub mod prepare;
pub mod report;
pub mod train;
mod trained;
pub mod verify;

pub use trained::TrainedRun;

/// The error of work that was done and found faults: exit code 1.
#[derive(Debug)]
pub struct Faults(pub String);

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Faults {}
