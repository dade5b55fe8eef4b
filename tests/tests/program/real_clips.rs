//! Original UCF-101 clips, whose XviD files pack two frames into one packet. They are not part of
//! this project.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gru_rcn_tests::test_data;

use crate::harness::{run, temporary};
use crate::micro::reference;

/// Files below a folder of class folders, sorted.
fn files(root: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let listing = std::fs::read_dir(folder).expect("a folder of class folders");
        let mut paths: Vec<PathBuf> = listing.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    entries(root).iter().filter(|path| path.is_dir()).flat_map(|class| entries(class)).collect()
}

/// The number of frames that `ffprobe` counts by decoding; `None` if it is not installed.
fn probe(path: &Path) -> Option<u64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", "v:0"]);
    command.args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]);
    let output = command.arg(path).stdin(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().ok()
}

#[test]
fn every_frame_of_a_real_clip_is_counted_once() {
    let Some(root) = test_data("every_frame_of_a_real_clip_is_counted_once", "ucf101") else { return };
    let clips = files(&root);
    assert!(!clips.is_empty(), "{} holds no clips", root.display());
    let folder = temporary();
    let mut arguments = vec!["predict".as_ref(), "--json".as_ref(), "--run".as_ref(), reference().root.as_os_str()];
    arguments.extend(clips.iter().map(|path| path.as_os_str()));
    let document = run(folder.path(), arguments).succeeds().json();
    assert_eq!(document.as_array().map(Vec::len), Some(clips.len()));
    for (prediction, clip) in document.as_array().expect("a list").iter().zip(&clips) {
        assert_eq!(prediction["file"], clip.to_str().expect("UTF-8"));
        assert!(prediction["frames"].as_u64().is_some_and(|frames| frames > 0), "{prediction}");
        if let Some(frames) = probe(clip) {
            assert_eq!(prediction["frames"], frames, "{}", clip.display());
        }
    }
}
