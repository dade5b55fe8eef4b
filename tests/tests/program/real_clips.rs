//! Original UCF-101 clips, whose XviD files pack two frames into one packet. They are not part of
//! this project.

use std::path::Path;
use std::process::{Command, Stdio};

use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::test_data;

use crate::harness::{clips_below, run, temporary};
use crate::micro::reference;

/// The number of frames that `ffprobe` counts by decoding.
fn probe(path: &Path) -> u64 {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", "v:0"]);
    command.args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]);
    let output = command.arg(path).stdin(Stdio::null()).output().expect("ffprobe starts");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().expect("a number of frames")
}

#[test]
fn every_frame_of_a_real_clip_is_counted_once() {
    needs_ffmpeg!();
    let Some(root) = test_data("every_frame_of_a_real_clip_is_counted_once", "ucf101") else { return };
    let clips = clips_below(&root);
    assert!(!clips.is_empty(), "{} holds no clips", root.display());
    let folder = temporary();
    let mut arguments = vec!["predict".as_ref(), "--json".as_ref(), "--run".as_ref(), reference().root.as_os_str()];
    arguments.extend(clips.iter().map(|path| path.as_os_str()));
    let document = run(folder.path(), arguments).succeeds().json();
    assert_eq!(document.as_array().map(Vec::len), Some(clips.len()));
    for (prediction, clip) in document.as_array().expect("a list").iter().zip(&clips) {
        assert_eq!(prediction["file"], clip.to_str().expect("UTF-8"));
        assert!(prediction["frames"].as_u64().is_some_and(|frames| frames > 0), "{prediction}");
        assert_eq!(prediction["frames"], probe(clip), "{}", clip.display());
    }
}
