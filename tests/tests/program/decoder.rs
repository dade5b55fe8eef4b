//! The XviD files of UCF-101, which pack two frames into one packet. They are not part of this
//! project. That their frames are counted as `ffprobe` counts them is a test of `gru-rcn-data`.

use std::fs;

use gru_rcn_tests::{needs_ffmpeg, test_data};
use serde_json::Value;

use crate::harness::{clips_below, run, temporary};
use crate::micro::reference;

#[test]
fn clips_of_ucf101_have_the_same_frames_in_every_command() {
    needs_ffmpeg!();
    let Some(root) = test_data("clips_of_ucf101_have_the_same_frames_in_every_command", "ucf101") else { return };
    let clips = clips_below(&root);
    assert!(!clips.is_empty(), "{} holds no clips", root.display());
    let folder = temporary();
    let mut arguments = vec!["predict".as_ref(), "--json".as_ref(), "--run".as_ref(), reference().root.as_os_str()];
    arguments.extend(clips.iter().map(|path| path.as_os_str()));
    let document = run(folder.path(), arguments).succeeds().json();
    let predictions = document.as_array().expect("a list");
    let files: Vec<&str> = predictions.iter().map(|prediction| prediction["file"].as_str().unwrap()).collect();
    assert_eq!(files, clips.iter().map(|clip| clip.to_str().expect("UTF-8")).collect::<Vec<_>>());
    assert!(predictions.iter().all(|found| found["frames"].as_u64().is_some_and(|frames| frames > 0)), "{document}");
    let line = ["prepare", "ucf101", root.to_str().expect("UTF-8"), "--out", "out", "--size", "32", "--json"];
    assert_eq!(run(folder.path(), line).succeeds().json()["clips"], clips.len());
    run(folder.path(), ["verify", "out"]).succeeds();
    // The manifest and the predictions are both sorted by class and clip.
    let manifest = fs::read_to_string(folder.path().join("out/manifest.jsonl")).unwrap();
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let prepared: Vec<&Value> = lines[1..].iter().map(|clip| &clip["frames"]).collect();
    assert_eq!(predictions.iter().map(|found| &found["frames"]).collect::<Vec<_>>(), prepared);
}
