//! The XviD files of UCF-101, which pack two frames into one packet. They are not part of this
//! project.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use gru_rcn_tests::{needs_ffmpeg, test_data};
use serde_json::Value;

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
    let line = ["prepare", "ucf101", root.to_str().expect("UTF-8"), "--out", "out", "--size", "32", "--json"];
    assert_eq!(run(folder.path(), line).succeeds().json()["clips"], clips.len());
    run(folder.path(), ["verify", "out"]).succeeds();
    // The manifest and the predictions are both sorted by class and clip.
    let manifest = fs::read_to_string(folder.path().join("out/manifest.jsonl")).unwrap();
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts: Vec<&Value> = lines[1..].iter().map(|clip| &clip["frames"]).collect();
    let predicted: Vec<&Value> = document.as_array().unwrap().iter().map(|found| &found["frames"]).collect();
    assert_eq!(predicted, counts);
}
