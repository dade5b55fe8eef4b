//! The commands of the program, one file each.

pub mod evaluate;
pub mod predict;
pub mod report;
pub mod train;
mod trained;

pub use trained::TrainedRun;
