//! What tells that a clip's pixels are those of before, without decoding them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{ClipSource, Sample};
use crate::base::{DataError, Fnv64};
use crate::image::list_frames;

/// Bytes at the start of a file that are part of its digest.
const HEAD: u64 = 64 << 10;

/// The content of a clip's files.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClipContent {
    /// Of a prepared clip the hash in the manifest. Of a video a hash of its size and first 64 KiB,
    /// of a folder of frames one of their names and sizes and of the first 64 KiB of three of them.
    pub digest: String,
    /// When the newest of its files was changed, in seconds since 1970; absent where the digest
    /// covers every byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<u64>,
}

impl Sample {
    /// The content of the clip's files, at the cost of reading their first bytes.
    ///
    /// # Errors
    /// [`DataError::NotFound`], [`DataError::Io`], and those of a folder whose frames are not
    /// numbered without a gap.
    pub fn content(&self) -> Result<ClipContent, DataError> {
        let mut files = FileHash { hash: Fnv64::default(), modified: 0 };
        match &self.source {
            ClipSource::Prepared(clip) => {
                return Ok(ClipContent { digest: clip.record.sha256.clone(), modified: None });
            }
            ClipSource::Motion(clip) => {
                let digest = format!("{:016x}", clip.add_to(Fnv64::default()).finish());
                return Ok(ClipContent { digest, modified: None });
            }
            ClipSource::Video(path) => files.add(path, HEAD)?,
            ClipSource::FrameFolder(folder) => {
                let frames = list_frames(folder)?;
                let read = [0, frames.len() / 2, frames.len() - 1];
                for (n, frame) in frames.iter().enumerate() {
                    let name = frame.file_name().unwrap_or_default().to_string_lossy();
                    files.hash = files.hash.text(&name);
                    files.add(frame, if read.contains(&n) { HEAD } else { 0 })?;
                }
            }
        }
        Ok(ClipContent { digest: format!("{:016x}", files.hash.finish()), modified: Some(files.modified) })
    }
}

struct FileHash {
    hash: Fnv64,
    modified: u64,
}

impl FileHash {
    /// Adds the size of a file and its first `head` bytes.
    fn add(&mut self, path: &Path, head: u64) -> Result<(), DataError> {
        let io = |error| DataError::io(path, error);
        let metadata = fs::metadata(path).map_err(io)?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.modified = self.modified.max(modified.map_or(0, |time| time.as_secs()));
        self.hash = self.hash.number(metadata.len());
        // Nothing but a file ends by itself.
        if head > 0 && metadata.is_file() {
            let mut bytes = Vec::new();
            File::open(path).and_then(|file| file.take(head).read_to_end(&mut bytes)).map_err(io)?;
            self.hash = self.hash.bytes(&bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::testing::{put, sample, save_frame, temporary};

    /// The same bytes under another name and time have the same digest; other bytes and other sizes
    /// have others.
    #[test]
    fn a_video_is_known_by_its_size_and_first_bytes() {
        let folder = temporary();
        let content = |name: &str, bytes: &str| {
            put(folder.path(), name, bytes);
            sample(ClipSource::Video(folder.path().join(name))).content().unwrap()
        };
        let first = content("a.avi", "one");
        assert_eq!(first.digest, content("b.avi", "one").digest);
        for other in ["two", "on", "one "] {
            assert_ne!(first.digest, content("a.avi", other).digest, "{other}");
        }
        let video = File::options().write(true).open(folder.path().join("a.avi")).unwrap();
        video.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(77)).unwrap();
        assert_eq!(sample(ClipSource::Video(folder.path().join("a.avi"))).content().unwrap().modified, Some(77));
        assert!(sample(ClipSource::Video(folder.path().join("none"))).content().is_err());
    }

    #[test]
    fn a_folder_is_known_by_its_frames() {
        let folder = temporary();
        let frame = |t: u32| folder.path().join(format!("{t:06}.png"));
        (0..5).for_each(|t| save_frame(&frame(t), [4, 4], t));
        let digest = || sample(ClipSource::FrameFolder(folder.path().into())).content().unwrap().digest;
        let first = digest();
        assert_eq!(first, digest());
        save_frame(&frame(2), [4, 4], 9);
        let changed = digest();
        assert_ne!(first, changed);
        fs::remove_file(frame(4)).unwrap();
        assert_ne!(changed, digest());
    }
}
