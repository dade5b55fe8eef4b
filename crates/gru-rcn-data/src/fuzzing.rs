//! What fuzz targets call of the private readers; compiled for them alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::DataError;
use crate::dataset::{of_msvd, official};
use crate::manifest::{Layout, journal, read_failures};
pub use crate::video::ffmpeg_output;

/// Official lists, and captions of the clips that they name.
///
/// # Errors
/// Those of both.
pub fn official_lists(layout: Layout, folder: &Path, captions: &[PathBuf]) -> Result<(), DataError> {
    let lists = official(layout, folder, &BTreeSet::new())?;
    captions.iter().try_for_each(|path| of_msvd(path, folder, &lists, &mut Vec::new()).map(drop))
}

/// The same file as a journal and as a list of failures.
pub fn journal_and_failures(path: &Path) {
    let _ = (journal::read(path), read_failures(path));
}
