//! The XviD files of UCF-101, which pack two frames into one packet. They are not part of this
//! project. That their frames are counted as `ffprobe` counts them is a test of `gru-rcn-data`.

use std::fs;

use gru_rcn_tests::{needs_data, needs_ffmpeg};
use serde_json::Value;

use crate::harness::{Call, clips_below, run, temporary};
use crate::micro::reference;

#[test]
fn clips_of_ucf101_have_the_same_frames_in_every_command() {
    needs_ffmpeg!();
    let root = needs_data!("ucf101");
    let clips = clips_below(&root);
    assert!(!clips.is_empty(), "{} holds no clips", root.display());
    let folder = temporary();
    let predict = Call::new(&folder, "predict --json --run").arg(reference().name()).args(&clips);
    let document = predict.run().succeeds().json();
    let predictions = document.as_array().expect("a list");
    let files: Vec<&str> = predictions.iter().map(|prediction| prediction["file"].as_str().unwrap()).collect();
    assert_eq!(files, clips.iter().map(|clip| clip.to_str().expect("UTF-8")).collect::<Vec<_>>());
    assert!(predictions.iter().all(|found| found["frames"].as_u64().is_some_and(|frames| frames > 0)), "{document}");
    let prepare = Call::new(&folder, "prepare ucf101 --out out --size 32 --json").arg(&root);
    assert_eq!(prepare.run().succeeds().json()["clips"], clips.len());
    run(&folder, "verify out").succeeds();
    // The manifest and the predictions are both sorted by class and clip.
    let manifest = fs::read_to_string(folder.join("out/manifest.jsonl")).unwrap();
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let prepared: Vec<&Value> = lines[1..].iter().map(|clip| &clip["frames"]).collect();
    assert_eq!(predictions.iter().map(|found| &found["frames"]).collect::<Vec<_>>(), prepared);
}
