//! Temporary folders and small films for the tests of several modules.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Makes `name` in `folder` with `frames` frames of an FFmpeg source such as
/// `testsrc=size=32x32:rate=5`.
pub(crate) fn make_video(folder: &Path, name: &str, source: &str, frames: usize) -> PathBuf {
    make_with(folder, name, source, frames, &["-c:v", "mpeg4"])
}

pub(crate) fn make_with(folder: &Path, name: &str, source: &str, frames: usize, extra: &[&str]) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    let frames = frames.to_string();
    let made = folder.join(format!("made.{}", path.extension().expect("an extension").to_string_lossy()));
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", &frames])
        .args(extra)
        .arg(&made)
        .status()
        .expect("these tests need FFmpeg: apt install ffmpeg");
    assert!(status.success(), "FFmpeg could not make {name}");
    std::fs::rename(&made, &path).expect("renaming");
    path
}
