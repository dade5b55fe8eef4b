//! What every other module needs: errors, frames in memory, limits, stable random numbers, safe
//! files.

mod disk;
mod error;
mod frames;
mod limits;
mod parallel;
mod random;
mod split;

pub use disk::{FolderLock, free_bytes, sync_folder, write_atomically};
pub(crate) use disk::{PARTIAL, partial_sibling, remove, sync_folder_of};
pub use error::DataError;
pub use frames::Frames;
pub use limits::DecodeLimits;
pub(crate) use parallel::{for_each, panic_message, threads};
pub(crate) use random::Draws;
pub use random::{Fnv64, SplitMix64};
pub use split::Split;
