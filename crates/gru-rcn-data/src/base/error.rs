//! The error type of the crate.
//!
//! Every message names the file, clip or key concerned and says what to do. Nothing in this crate
//! replaces a broken clip by another one: the caller decides what an error means for its run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::split::Split;

/// An error of this crate.
///
/// `path` is the file or folder concerned; `reason` and `words` say what is wrong. Lines are counted
/// from 1, frames from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // of fields, which are described above
pub enum DataError {
    /// The `ffmpeg` program could not be started.
    #[error(
        "the program `{program}` could not be run ({reason}). Videos are decoded by FFmpeg 5.1 or newer: install it \
         with `apt install ffmpeg` or `brew install ffmpeg`, or set GRU_RCN_FFMPEG to the program's path. Folders of \
         JPEG or PNG frames need no FFmpeg"
    )]
    FfmpegMissing { program: PathBuf, reason: String },
    /// The `ffmpeg` program is older than 5.1.
    #[error(
        "the program `{program}` is FFmpeg {version}, and FFmpeg 5.1 or newer is needed, which has the option \
         `-fps_mode`: install a newer one, such as a static build, and set GRU_RCN_FFMPEG to its path. Folders of \
         JPEG or PNG frames need no FFmpeg"
    )]
    FfmpegTooOld { program: PathBuf, version: String },
    /// No file or folder of that name.
    #[error("{path}: no such file or folder; check the path", path = .0.display())]
    NotFound(PathBuf),
    /// A video file was expected.
    #[error("{path}: this is a folder, a video file was expected", path = .0.display())]
    IsDirectory(PathBuf),
    /// The file has no bytes.
    #[error("{path}: the file is empty (0 bytes); copy it again or remove the clip", path = .0.display())]
    EmptyFile(PathBuf),
    /// FFmpeg refused the file; `words` are the last lines that it wrote.
    #[error("{path}: not a video that FFmpeg can decode; its message: {words}", path = .path.display())]
    NotVideo { path: PathBuf, words: String },
    /// The file holds sound, subtitles or a cover picture, and nothing that moves.
    #[error("{path}: it holds no video stream; remove the clip", path = .0.display())]
    NoVideoStream(PathBuf),
    /// The container was read but held no frame.
    #[error("{path}: no frame could be decoded{said}; remove the clip or make it again", path = .path.display(), said = said(.words))]
    NoFrames { path: PathBuf, words: String },
    /// FFmpeg stopped after `frames` frames, or wrote something that is not a frame.
    #[error("{path}: decoding broke off after {frames} frames{said}; make the file again or remove it", path = .path.display(), said = said(.words))]
    BrokenVideo { path: PathBuf, frames: usize, words: String },
    /// Decoding took longer than allowed.
    #[error("{path}: decoding took more than {limit:?}; raise the `timeout` limit if the file is meant to be that long", path = .path.display())]
    Timeout { path: PathBuf, limit: Duration },
    /// The limit `max_frames`, `max_side`, `max_pixels` or `max_bytes` was exceeded.
    #[error("{path}: exceeds the limit `{limit}` of {allowed}; make the clip smaller (where the crate is used as a library, `DecodeLimits` has the limits)", path = .path.display())]
    TooLarge { path: PathBuf, limit: &'static str, allowed: usize },
    /// A folder, pipe, socket or device, named by `what`, in place of a regular file.
    #[error("{path}: this is {what}, a regular file was expected", path = .path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    /// A file above the size limit of its kind.
    #[error("{path}: the file has more than {most} bytes; check that it is the right one", path = .path.display())]
    TooLong { path: PathBuf, most: u64 },
    /// A text file is not UTF-8.
    #[error("{path}: {reason}", path = .path.display())]
    NotText { path: PathBuf, reason: String },
    /// An image could not be decoded.
    #[error("{path}: not a readable JPEG or PNG image: {reason}", path = .path.display())]
    BadImage { path: PathBuf, reason: String },
    /// A folder of frames is not one whole clip.
    #[error("{path}: {reason}", path = .path.display())]
    BadFrames { path: PathBuf, reason: String },
    /// Sizes, plans or shapes that do not match.
    #[error("{0}")]
    Shape(String),
    /// A setting is out of range.
    #[error("`{key}` = {value}: {reason}")]
    Setting { key: String, value: String, reason: String },
    /// A folder is not a valid data set.
    #[error("{path}: {reason}", path = .path.display())]
    BadDataset { path: PathBuf, reason: String },
    /// A line of a list file is wrong; `entry` is the clip as written.
    #[error("{list}, line {line}: `{entry}`: {reason}", list = .list.display())]
    BadList { list: PathBuf, line: usize, entry: String, reason: String },
    /// A line of a manifest, or of the journal that becomes one, is wrong.
    #[error("{path}, line {line}: {reason}", path = .path.display())]
    BadManifest { path: PathBuf, line: usize, reason: String },
    /// Optical flow from `frame` to the next one could not be computed.
    #[error("{path}: the flow from frame {frame} to the next: {source}", path = .path.display())]
    Flow { path: PathBuf, frame: usize, source: gru_rcn_flow::FlowError },
    /// A part of the data set holds no clip.
    #[error("data set `{dataset}`: the {split} part holds no clip; {remedy}")]
    EmptySplit { dataset: String, split: Split, remedy: String },
    /// An I/O error other than a missing file.
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A loading, preparing or verifying job panicked.
    #[error("job {job} panicked: {message}; this is a defect, please report it")]
    Worker { job: usize, message: String },
}

impl DataError {
    /// Wraps an I/O error of `path`: [`DataError::NotFound`] or [`DataError::Io`].
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::NotFound {
            Self::NotFound(path.to_owned())
        } else {
            Self::Io { path: path.to_owned(), source }
        }
    }

    pub(crate) fn setting(key: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        Self::Setting { key: key.to_owned(), value: value.to_string(), reason: reason.to_owned() }
    }

    pub(crate) fn manifest(path: &Path, line: usize, reason: impl Into<String>) -> Self {
        Self::BadManifest { path: path.to_owned(), line, reason: reason.into() }
    }

    pub(crate) fn dataset(path: &Path, reason: impl Into<String>) -> Self {
        Self::BadDataset { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn frames(path: &Path, reason: impl Into<String>) -> Self {
        Self::BadFrames { path: path.to_owned(), reason: reason.into() }
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" ({words})") }
}
