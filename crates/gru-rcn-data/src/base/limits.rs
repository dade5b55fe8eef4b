//! Bounds on the size of one clip and the time to decode it.

use std::path::Path;
use std::time::Duration;

use super::error::DataError;

/// Bounds on one file or folder of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most frames of one file; if only some frames are kept, most of those. Default 100 000.
    pub max_frames: usize,
    /// Most pixels of a side, before and after scaling. Default 8192.
    pub max_side: usize,
    /// Most pixels of a frame, before and after scaling. Default 33 554 432, which 8K video just fits:
    /// the optical flow between two such frames takes about 4 GB.
    pub max_pixels: usize,
    /// Most bytes of a decoded clip in memory. Default 2 GiB.
    pub max_bytes: usize,
    /// Longest time for decoding one file, without the time that the caller spends on the frames; if
    /// only some frames are kept, the longest time for each frame. Default 10 minutes.
    pub timeout: Duration,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_frames: 100_000,
            max_side: 8192,
            max_pixels: 1 << 25,
            max_bytes: 2 << 30,
            timeout: Duration::from_secs(600),
        }
    }
}

impl DecodeLimits {
    /// Checks `frames` frames of `frame_bytes` bytes each.
    pub(crate) fn check(&self, path: &Path, frames: usize, frame_bytes: usize) -> Result<(), DataError> {
        if frames > self.max_frames {
            return Err(too_large(path, "max_frames", self.max_frames));
        }
        if frames.checked_mul(frame_bytes).is_none_or(|bytes| bytes > self.max_bytes) {
            return Err(too_large(path, "max_bytes", self.max_bytes));
        }
        Ok(())
    }

    /// Checks the size of a frame before memory is allocated for it.
    pub(crate) fn check_size(&self, path: &Path, height: usize, width: usize) -> Result<(), DataError> {
        if height.max(width) > self.max_side {
            return Err(too_large(path, "max_side", self.max_side));
        }
        if height.saturating_mul(width) > self.max_pixels {
            return Err(too_large(path, "max_pixels", self.max_pixels));
        }
        Ok(())
    }
}

fn too_large(path: &Path, limit: &'static str, allowed: usize) -> DataError {
    DataError::TooLarge { path: path.to_owned(), limit, allowed }
}
