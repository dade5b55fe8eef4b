//! Errors between a file and a clip.
//!
//! Every message names the file, clip or key concerned and says what to do. Nothing in this crate
//! replaces a broken clip by another one: the caller decides what an error means for its run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::split::Split;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The `ffmpeg` program could not be started.
    #[error(
        "the program `{program}` could not be run ({reason}). Videos are decoded by FFmpeg 5.1 or newer: install it \
         with `apt install ffmpeg` or `brew install ffmpeg`, or set GRU_RCN_FFMPEG to the program's path. Folders of \
         JPEG or PNG frames need no FFmpeg, and the XviD files of UCF-101 can be read by `--decoder pure`"
    )]
    FfmpegMissing {
        /// The program that was tried.
        program: PathBuf,
        /// The operating system's message.
        reason: String,
    },
    /// The pure-Rust decoder was chosen and is not in this build.
    #[error(
        "this build has no pure-Rust video decoder: build with `--features pure-decode`, or use `--decoder ffmpeg`"
    )]
    PureMissing,
    /// The pure-Rust decoder does not support this file.
    #[error("{path}: the pure-Rust decoder cannot read this: {reason}; use `--decoder ffmpeg`", path = .path.display())]
    PureUnsupported {
        /// The file.
        path: PathBuf,
        /// The unsupported property.
        reason: String,
    },
    /// No file or folder of that name.
    #[error("{path}: no such file or folder; check the path", path = .0.display())]
    NotFound(PathBuf),
    /// A video file was expected.
    #[error("{path}: this is a folder, a video file was expected", path = .0.display())]
    IsDirectory(PathBuf),
    /// The file has no bytes.
    #[error("{path}: the file is empty (0 bytes); copy it again or remove the clip", path = .0.display())]
    EmptyFile(PathBuf),
    /// FFmpeg refused the file.
    #[error("{path}: not a video that FFmpeg can decode; its message: {words}", path = .path.display())]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// The last lines FFmpeg wrote.
        words: String,
    },
    /// The container was read but held no frame.
    #[error("{path}: no frame could be decoded{said}; remove the clip or make it again", path = .path.display(), said = said(.words))]
    NoFrames {
        /// The file or folder.
        path: PathBuf,
        /// The last lines FFmpeg wrote, often empty.
        words: String,
    },
    /// FFmpeg stopped after some frames, or wrote something that is not a frame.
    #[error("{path}: decoding broke off after {frames} frames{said}; make the file again or remove it", path = .path.display(), said = said(.words))]
    BrokenVideo {
        /// The file.
        path: PathBuf,
        /// Frames decoded before.
        frames: usize,
        /// The last lines FFmpeg wrote, or what was wrong with its output.
        words: String,
    },
    /// Decoding took longer than allowed.
    #[error("{path}: decoding took more than {limit:?}; raise the `timeout` limit if the file is meant to be that long", path = .path.display())]
    Timeout {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// A decoding limit was exceeded.
    #[error("{path}: exceeds the limit `{limit}` of {allowed}; raise that limit if the clip is meant to be so large", path = .path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Name of the limit: `max_frames`, `max_side` or `max_bytes`.
        limit: &'static str,
        /// Its value.
        allowed: usize,
    },
    /// An image could not be decoded.
    #[error("{path}: not a readable JPEG or PNG image: {reason}", path = .path.display())]
    BadImage {
        /// The image file.
        path: PathBuf,
        /// The decoder's message.
        reason: String,
    },
    /// A folder of frames is not one whole clip.
    #[error("{path}: {reason}", path = .path.display())]
    BadFrames {
        /// The folder.
        path: PathBuf,
        /// What is wrong and with which frame.
        reason: String,
    },
    /// Sizes, plans or shapes that do not match.
    #[error("{0}")]
    Shape(String),
    /// A setting is out of range.
    #[error("`{key}` = {value}: {reason}")]
    Setting {
        /// Name of the setting, as in a recipe.
        key: String,
        /// The value found.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// A folder is not a valid data set.
    #[error("{path}: {reason}", path = .path.display())]
    BadDataset {
        /// The folder or file concerned.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A line of a list file is wrong.
    #[error("{list}, line {line}: `{entry}`: {reason}", list = .list.display())]
    BadList {
        /// The list file.
        list: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The clip as written.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// A line of a manifest, or of the journal that becomes one, is wrong.
    #[error("{path}, line {line}: {reason}", path = .path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Optical flow could not be computed.
    #[error("{path}: the flow from frame {frame} to the next: {source}", path = .path.display())]
    Flow {
        /// The clip's file or folder.
        path: PathBuf,
        /// The first of the two frames, counted from 0.
        frame: usize,
        /// The cause.
        source: gru_rcn_flow::FlowError,
    },
    /// A part of the data set holds no clip.
    #[error("data set `{dataset}`: the {split} part holds no clip; {remedy}")]
    EmptySplit {
        /// The data set's name.
        dataset: String,
        /// Which part.
        split: Split,
        /// What to do.
        remedy: String,
    },
    /// Reading a file failed for another reason than its absence.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A job panicked, of loading, preparing or verifying.
    #[error("job {job} panicked: {message}; this is a defect, please report it")]
    Worker {
        /// Position of the job.
        job: usize,
        /// The panic's message.
        message: String,
    },
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
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" ({words})") }
}
