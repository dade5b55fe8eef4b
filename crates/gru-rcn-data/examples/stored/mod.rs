//! What the measurements of stored frames have in common.

use std::error::Error;
use std::path::{Path, PathBuf};

use gru_rcn_data::{ClipSource, Sample};

/// A sample for each folder of frames in `root`, in the order of their names.
pub(crate) fn samples(root: &Path) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    let sample = |path: PathBuf| Sample {
        id: path.display().to_string(),
        class: 0,
        appearance: None,
        source: ClipSource::FrameFolder(path),
    };
    let samples: Vec<Sample> = folders.into_iter().map(sample).collect();
    if samples.is_empty() {
        return Err(format!("{} holds no folders of frames", root.display()).into());
    }
    Ok(samples)
}

/// Nanoseconds that this thread has run so far; other programs on the machine do not count. Not
/// known but on Linux.
pub(crate) fn processor_ns() -> Option<u64> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    line.split_whitespace().next()?.parse().ok()
}
