//! Checks whether a data set of images is complete and intact.
//!
//! [`verify`] checks the number of files against the manifest, decodes every image to its end, and
//! compares sizes and hashes. A folder made by other tools, without a manifest, is checked for
//! consistency: numbers without gaps from 0 or 1, one size, one flow field less than frames. The
//! result is a list of [`Fault`]s; an error means that nothing could be verified.
//!
//! Images are not trusted. A header beyond the limits is refused before memory is allocated, files are
//! read up to a limit, and links are followed only inside the data set.
//!
//! The hash of a clip is SHA-256 over its files in the order frame 0, frame 1, x 0, y 0, frame 2, x
//! 1, y 1 and so on, each preceded by its length in bytes as a 64-bit little-endian number.

mod files;
mod foreign;
mod image;
mod prepared;
mod report;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub use report::{Fault, FaultKind, VerifyReport, write_quarantine};

use crate::base::{DataError, canonical_folder, for_each};
use crate::manifest::{MANIFEST, ledgers};

/// Settings of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Folder of optical flow, if it lies outside the data set. For folders without a manifest.
    pub flow: Option<PathBuf>,
    /// Further lists whose lines must name clips; those in `splits/` are always checked.
    pub lists: Vec<PathBuf>,
    /// Most pixels of a side. Default 8192.
    pub max_side: u32,
    /// Most bytes of an image file. Default 64 MiB.
    pub max_file: u64,
    /// Number of clips that are verified at the same time; 0 is one for each processor.
    pub workers: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { flow: None, lists: Vec::new(), max_side: 8192, max_file: 64 << 20, workers: 0 }
    }
}

/// Verifies the data set in `root`, with a manifest or without.
///
/// `progress` gets the number of verified clips and of all clips. Setting `cancel` stops after the
/// clips under way; the report is then marked as interrupted.
///
/// # Errors
/// [`DataError::NotFound`] and [`DataError::BadDataset`] if there is no data set.
pub fn verify(
    root: &Path,
    options: &VerifyOptions,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<VerifyReport, DataError> {
    let real = canonical_folder(root, "a data set is a folder")?;
    if real.join(MANIFEST).is_file() {
        prepared::verify(&real, options, cancel, progress)
    } else if let Some((ledger, _)) = ledgers(&real)?.first() {
        let name = ledger.file_name().unwrap_or_default().to_string_lossy();
        let detail = format!("there is {name} and no {MANIFEST}; run `prepare` to its end, and `merge` for shards");
        let fault = Fault { clip: String::new(), kind: FaultKind::Unfinished, detail };
        Ok(VerifyReport { clips: 0, faults: vec![fault], interrupted: false })
    } else {
        foreign::verify(&real, options, cancel, progress)
    }
}

/// A report of the faults that `one` finds in each of `clips`.
fn check_all<T: Sync>(
    clips: &[T],
    options: &VerifyOptions,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
    one: impl Fn(&T) -> Vec<Fault> + Sync,
) -> Result<VerifyReport, DataError> {
    let mut report = VerifyReport::default();
    for_each(clips, options.workers, cancel, one, |_, found| {
        report.faults.extend(found);
        report.clips += 1;
        progress(report.clips, clips.len());
        Ok(())
    })?;
    report.interrupted = report.clips < clips.len();
    Ok(report)
}

#[cfg(test)]
mod tests;
