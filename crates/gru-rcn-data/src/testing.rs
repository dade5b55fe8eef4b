//! Temporary folders and small films for the tests of several modules.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says why a test is skipped, past the harness, which captures the output of tests that pass.
pub(crate) fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// The clips of UCF-101 below `GRU_RCN_TEST_DATA/ucf101`, which are not part of this project; none
/// without the variable.
pub(crate) fn ucf101_clips() -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("GRU_RCN_TEST_DATA").filter(|root| !root.is_empty()) else {
        say("SKIPPED: set GRU_RCN_TEST_DATA to a folder that holds ucf101 to run this test");
        return Vec::new();
    };
    let folder = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).expect("a folder of class folders");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let classes = folder(&Path::new(&root).join("ucf101"));
    let clips: Vec<_> = classes.iter().filter(|path| path.is_dir()).flat_map(|class| folder(class)).collect();
    assert!(!clips.is_empty(), "GRU_RCN_TEST_DATA names a folder without clips in ucf101");
    clips
}

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
