//! Hashes that show whether a clip's pixels have changed, without decoding them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{ClipSource, Sample};
use crate::base::{DataError, Fnv64};
use crate::image::list_frames;
use crate::manifest::ContentHash;
use crate::video::{Ffmpeg, VideoDecoder};

/// Bytes at the start of a file that are part of its digest.
const HEAD: u64 = 64 << 10;

impl Sample {
    /// A cheap hash of the clip's content, from the first bytes of its files. For a video: its size
    /// and first 64 KiB. For a folder of frames: all names and sizes, and the first 64 KiB of three
    /// frames. For a prepared clip: the hash in the manifest.
    ///
    /// # Errors
    /// [`DataError::NotFound`], [`DataError::Io`], and [`DataError::BadFrames`] for a folder whose
    /// frames are not numbered without a gap.
    pub fn digest(&self) -> Result<String, DataError> {
        let mut hash = Fnv64::default();
        match &self.source {
            ClipSource::Prepared(clip) => return Ok(clip.record.sha256.clone()),
            ClipSource::Motion(clip) => hash = clip.add_to(hash),
            ClipSource::Video(path) => hash = add(hash, path, HEAD)?,
            ClipSource::FrameFolder(folder) => {
                let frames = list_frames(folder)?;
                let read = [0, frames.len() / 2, frames.len() - 1];
                for (n, frame) in frames.iter().enumerate() {
                    let name = frame.file_name().unwrap_or_default().to_string_lossy();
                    hash = add(hash.text(&name), frame, if read.contains(&n) { HEAD } else { 0 })?;
                }
            }
        }
        Ok(format!("{:016x}", hash.finish()))
    }

    /// Identifies everything that determines the clip's pixels. It is a SHA-256 of every byte of its
    /// files, which are all read. For a prepared clip it is the hash in the manifest with the frame
    /// rate, for a video the hash with the version of FFmpeg.
    ///
    /// # Errors
    /// Those of [`Sample::digest`] and [`Ffmpeg::locate`].
    pub fn content(&self) -> Result<String, DataError> {
        Ok(match &self.source {
            ClipSource::Prepared(clip) => format!("{} at {:?}", clip.record.sha256, clip.record.fps),
            ClipSource::Motion(_) => self.digest()?,
            ClipSource::FrameFolder(folder) => ContentHash::of(&list_frames(folder)?)?,
            ClipSource::Video(path) => {
                let hash = ContentHash::of(std::slice::from_ref(path))?;
                format!("{hash} by FFmpeg {}", Ffmpeg::locate()?.id().version)
            }
        })
    }
}

/// Adds the size of a file and its first `head` bytes.
fn add(hash: Fnv64, path: &Path, head: u64) -> Result<Fnv64, DataError> {
    let io = |error| DataError::io(path, error);
    let metadata = fs::metadata(path).map_err(io)?;
    let hash = hash.number(metadata.len());
    // A pipe or a device may have no end.
    if head == 0 || !metadata.is_file() {
        return Ok(hash);
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(head).read_to_end(&mut bytes)).map_err(io)?;
    Ok(hash.bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{put, sample, save_frame, temporary};

    #[test]
    fn the_digest_of_a_video_depends_on_its_bytes_alone() {
        let folder = temporary();
        let digest = |name: &str, bytes: &str| {
            put(folder.path(), name, bytes);
            sample(ClipSource::Video(folder.path().join(name))).digest().unwrap()
        };
        let first = digest("a.avi", "one");
        assert_eq!(first, digest("b.avi", "one"));
        for other in ["two", "on", "one "] {
            assert_ne!(first, digest("a.avi", other), "{other}");
        }
        assert!(sample(ClipSource::Video(folder.path().join("none"))).digest().is_err());
    }

    #[test]
    fn the_digest_of_a_folder_depends_on_its_frames() {
        let folder = temporary();
        let frame = |t: u32| folder.path().join(format!("{t:06}.png"));
        (0..5).for_each(|t| save_frame(&frame(t), [4, 4], t));
        let clip = sample(ClipSource::FrameFolder(folder.path().into()));
        let digest = || clip.digest().unwrap();
        let (first, content) = (digest(), clip.content().unwrap());
        assert_eq!(first, digest());
        save_frame(&frame(2), [4, 4], 9);
        let changed = digest();
        assert_ne!(first, changed);
        // Of a frame other than the first, the middle and the last, only the size enters the digest;
        // every byte enters the content.
        let mut bytes = fs::read(frame(1)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        save_frame(&frame(2), [4, 4], 2);
        assert_eq!((digest(), clip.content().unwrap()), (first.clone(), content.clone()));
        fs::write(frame(1), bytes).unwrap();
        assert_eq!(digest(), first);
        assert_ne!(clip.content().unwrap(), content);
        save_frame(&frame(2), [4, 4], 9);
        fs::remove_file(frame(4)).unwrap();
        assert_ne!(changed, digest());
    }
}
