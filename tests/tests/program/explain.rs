//! `explain` on generated clips, whose generator knows where the shape is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gru_rcn_data::{MotionClip, Split, write_frames};
use gru_rcn_tests::explained::{Mass, masses};
use image::RgbImage;
use serde_json::{Value, json};

use crate::harness::{Call, FinishedRun, Outcome, keys, read_json, temporary};
use crate::micro;

/// A test clip of the run as a folder of frames.
fn written(folder: &Path, index: usize) -> (MotionClip, PathBuf) {
    let clip = MotionClip { size: 32, frames: 8, seed: 2016, split: Split::Test, index, background: false };
    let frames = folder.join(format!("clip-{index}"));
    fs::create_dir_all(&frames).unwrap();
    write_frames(&frames, &clip.render()).unwrap();
    (clip, frames)
}

fn explain(folder: &Path, video: &Path, run: &FinishedRun, options: &str) -> Outcome {
    Call::new(folder, &format!("explain {options} --run")).arg(run.name()).arg(video).run()
}

/// All values of a map.
fn values(map: &Value) -> Vec<f64> {
    let rows = map.as_array().unwrap().iter().flat_map(|step| step.as_array().unwrap());
    rows.flat_map(|row| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap())).collect()
}

#[test]
fn pictures_and_numbers_of_every_level_are_written() {
    let (folder, run) = (temporary(), micro::reference());
    let (_, video) = written(&folder, 3);
    let text = explain(&folder, &video, run, "").succeeds().stdout;
    assert!(text.contains("by GRU-RCN") && text.contains("pool2    8×8 cells, 8 steps"), "{text}");
    let out = folder.join("explain");
    let document = read_json(&out.join("explain.json"));
    assert_eq!(keys(&document), ["file", "system", "class", "probability", "frames", "seconds", "levels"]);
    let levels = document["levels"].as_array().unwrap();
    let sizes: Vec<_> = levels.iter().map(|level| json!([level["level"], level["rows"]])).collect();
    assert_eq!(sizes, [json!(["pool2", 8]), json!(["pool3", 4]), json!(["fc7", 1])]);
    // `predict` computes the same probability from the logits of the levels.
    let predict = Call::new(&folder, "predict --json --run").arg(run.name()).arg(&video);
    let predicted = &predict.run().succeeds().json()[0]["top"][0];
    assert_eq!(document["class"], predicted["class"]);
    let probability = |of: &Value| of["probability"].as_f64().unwrap();
    assert!((probability(&document) - probability(predicted)).abs() < 1e-6);
    for level in levels {
        let gates = values(&level["update_gate"]);
        assert_eq!(gates.len(), values(&level["activation"]).len());
        assert!(gates.iter().all(|gate| (0.0..1.0).contains(gate)) && level["bias"].is_f64());
    }
    // A row for each level with places: the frame, the gates, the activations.
    let still = image::open(out.join("step-07.png")).unwrap().into_rgb8();
    assert_eq!(RgbImage::dimensions(&still), (3 * 256, 2 * 256));
    assert!(out.join("explain.gif").is_file() && out.join("sum.png").is_file());
}

#[test]
fn systems_without_maps_are_explained_in_numbers_or_refused() {
    let (folder, run) = (temporary(), micro::reference());
    let (_, video) = written(&folder, 3);
    // The topmost level of this run has no places.
    // Pictures of an earlier video do not stay among those of the next.
    let pictures = ["frame/step-00.png", "frame/explain.gif"].map(|name| folder.join(name));
    fs::create_dir(folder.join("frame")).unwrap();
    pictures.iter().for_each(|picture| fs::write(picture, "old").unwrap());
    let text = explain(&folder, &video, run, "--system frame --out frame").succeeds().stdout;
    assert!(text.contains("no pictures") && text.contains("by Per-frame CNN"), "{text}");
    assert!(folder.join("frame/explain.json").is_file() && pictures.iter().all(|picture| !picture.exists()));
    explain(&folder, &video, run, "--system top_rnn").refuses(&["top_rnn has no maps of a class", "gru_rcn"]);
    explain(&folder, &video, run, "--system cnn").refuses(&["has no system cnn; it has gru_rcn, frame, top_rnn"]);
    explain(&folder, Path::new("none.mp4"), run, "").refuses(&["none.mp4"]);
}

#[test]
fn the_report_explains_a_right_and_a_wrong_clip() {
    let root = &micro::reference().root;
    let report = read_json(&root.join("report.json"));
    let explained = report["explained"].as_array().unwrap();
    let right = |clip: &Value| clip["clip"]["truth"] == clip["clip"]["top"][0][0];
    assert_eq!(explained.iter().map(right).collect::<Vec<_>>(), [true, false]);
    for clip in explained {
        let names: Vec<&Value> = clip["levels"].as_array().unwrap().iter().map(|level| &level["name"]).collect();
        assert_eq!(names, ["pool2", "pool3"]);
    }
    let page = fs::read_to_string(root.join("report.html")).unwrap();
    assert!(page.contains("Where and when") && page.contains("pool2, update gate"));
}

/// A run that has learnt motions well enough to know where they are.
fn reference() -> &'static FinishedRun {
    const CHANGES: [&str; 11] = [
        "data.motion.train=480",
        "data.motion.validation=48",
        "data.motion.test=48",
        "backbone.taps=[\"pool2\"]",
        "backbone.pretrain.epochs=1",
        "model.hidden=[16]",
        "training.epochs=12",
        "training.batch=12",
        "training.patience=12",
        "baselines.frame=false",
        "baselines.top_rnn=0",
    ];
    static RUN: LazyLock<FinishedRun> =
        LazyLock::new(|| FinishedRun::of("explain-run", |folder| Call::new(folder, "train motion").set(CHANGES)));
    &RUN
}

/// Four fifths of the positive attribution are on the shape or in the cell next to it, which the
/// kernels of 3x3 reach; a map that is the same everywhere would have less there.
#[test]
fn the_attribution_is_on_the_shape_that_moves() {
    let folder = temporary();
    let mut all = Mass::default();
    for index in 0..16 {
        let (clip, video) = written(&folder, index);
        explain(&folder, &video, reference(), "").succeeds();
        all.add(&masses(&read_json(&folder.join("explain/explain.json")), "attribution", &clip, 1)[0].1);
    }
    let [positive, cells] = all.shares();
    assert!(positive >= 0.8 && positive > cells + 0.1, "{positive} of what is positive, {cells} of the cells");
}
