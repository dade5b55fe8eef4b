//! `explain` on generated clips, whose generator knows where the shape is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use gru_rcn_data::{MotionClip, Split, write_frames};
use gru_rcn_tests::explained::{Mass, masses};
use image::RgbImage;
use serde_json::Value;

use crate::harness::{Call, FinishedRun, Outcome, keys, read_json, run, temporary};
use crate::micro;

/// A test clip of the run as a folder of frames.
fn written(folder: &Path, index: usize) -> (MotionClip, PathBuf) {
    let clip = MotionClip { size: 32, frames: 8, seed: 2016, split: Split::Test, index, background: false };
    let frames = folder.join(format!("clip-{index}"));
    std::fs::create_dir_all(&frames).unwrap();
    write_frames(&frames, &clip.render()).unwrap();
    (clip, frames)
}

fn explain(folder: &Path, video: &Path, run: &Path, options: &[&str]) -> Outcome {
    let call = Call::new(folder, ["explain".as_ref(), video.as_os_str(), "--run".as_ref(), run.as_os_str()]);
    call.args(options).run()
}

/// All values of a map.
fn values(map: &Value) -> Vec<f64> {
    let rows = map.as_array().unwrap().iter().flat_map(|step| step.as_array().unwrap());
    rows.flat_map(|row| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap())).collect()
}

#[test]
fn pictures_and_numbers_of_every_level_are_written() {
    let (folder, root) = (temporary(), &micro::reference().root);
    let (_, video) = written(folder.path(), 3);
    let outcome = explain(folder.path(), &video, root, &[]).succeeds();
    assert!(
        outcome.stdout.contains("by GRU-RCN") && outcome.stdout.contains("pool2    8×8 cells, 8 steps"),
        "{}",
        outcome.stdout
    );
    let out = folder.path().join("explain");
    let document = read_json(&out.join("explain.json"));
    assert_eq!(keys(&document), ["file", "system", "class", "probability", "frames", "seconds", "levels"]);
    let levels = document["levels"].as_array().unwrap();
    let size = |level: &Value| (level["level"].as_str().unwrap().to_owned(), level["rows"].as_u64().unwrap());
    assert_eq!(
        levels.iter().map(size).collect::<Vec<_>>(),
        [("pool2".into(), 8), ("pool3".into(), 4), ("fc7".into(), 1)]
    );
    // What predict says of the same clip, from the logits of the levels.
    let predicted = run(
        folder.path(),
        ["predict".as_ref(), video.as_os_str(), "--json".as_ref(), "--run".as_ref(), root.as_os_str()],
    );
    let predicted = predicted.succeeds().json();
    assert_eq!(document["class"], predicted[0]["top"][0]["class"]);
    let probability = |of: &Value| of["probability"].as_f64().unwrap();
    assert!((probability(&document) - probability(&predicted[0]["top"][0])).abs() < 1e-6);
    for level in levels {
        let gates = values(&level["update_gate"]);
        assert!(
            gates.len() == values(&level["activation"]).len() && gates.iter().all(|gate| (0.0..1.0).contains(gate))
        );
        assert!(level["bias"].is_f64());
    }
    // A row for each level with places: the frame, the gates, the activations.
    let still = image::open(out.join("step-07.png")).unwrap().into_rgb8();
    assert_eq!(RgbImage::dimensions(&still), (3 * 256, 2 * 256));
    assert!(out.join("explain.gif").is_file() && out.join("sum.png").is_file());
}

#[test]
fn other_systems_are_explained_by_what_they_have() {
    let (folder, root) = (temporary(), &micro::reference().root);
    let (_, video) = written(folder.path(), 3);
    // The topmost level of this run has no places.
    let frame = explain(folder.path(), &video, root, &["--system", "frame", "--out", "frame"]).succeeds();
    assert!(frame.stdout.contains("no pictures") && frame.stdout.contains("by Per-frame CNN"), "{}", frame.stdout);
    assert!(folder.path().join("frame/explain.json").is_file() && !folder.path().join("frame/explain.gif").exists());
    let refused = |system: &str, words: &[&str]| {
        drop(explain(folder.path(), &video, root, &["--system", system]).refuses(words));
    };
    refused("top_rnn", &["top_rnn has no maps of a class", "gru_rcn"]);
    // Pictures of an earlier video do not stay among those of the next.
    fs::write(folder.path().join("frame/step-00.png"), "old").unwrap();
    fs::write(folder.path().join("frame/explain.gif"), "old").unwrap();
    drop(explain(folder.path(), &video, root, &["--system", "frame", "--out", "frame"]).succeeds());
    assert!(!folder.path().join("frame/step-00.png").exists() && !folder.path().join("frame/explain.gif").exists());
    refused("cnn", &["has no system cnn; it has gru_rcn, frame, top_rnn"]);
    drop(explain(folder.path(), Path::new("none.mp4"), root, &[]).refuses(&["none.mp4"]));
}

#[test]
fn the_report_explains_a_right_and_a_wrong_clip() {
    let root = &micro::reference().root;
    let report = read_json(&root.join("report.json"));
    let explained = report["explained"].as_array().unwrap();
    let right = |clip: &Value| clip["clip"]["truth"] == clip["clip"]["top"][0][0];
    assert_eq!(explained.iter().map(right).collect::<Vec<_>>(), [true, false]);
    let names =
        |clip: &Value| clip["levels"].as_array().unwrap().iter().map(|level| level["name"].clone()).collect::<Vec<_>>();
    assert!(explained.iter().all(|clip| names(clip) == ["pool2", "pool3"]));
    let page = std::fs::read_to_string(root.join("report.html")).unwrap();
    assert!(page.contains("Where and when") && page.contains("pool2, update gate"));
}

/// A run that has learnt motions well enough to know where they are.
fn reference() -> &'static FinishedRun {
    static RUN: OnceLock<FinishedRun> = OnceLock::new();
    RUN.get_or_init(|| {
        FinishedRun::of("explain-run", |folder| {
            Call::new(folder, ["train", "motion"]).set([
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
            ])
        })
    })
}

/// Four fifths of what speaks for the class is on the shape or in the cell next to it, which its
/// kernels of 3x3 reach; a map without places would have less there.
#[test]
fn the_attribution_is_on_the_shape_that_moves() {
    let (folder, root) = (temporary(), &reference().root);
    let mut all = Mass::default();
    for index in 0..16 {
        let (clip, video) = written(folder.path(), index);
        drop(explain(folder.path(), &video, root, &[]).succeeds());
        all.add(&masses(&read_json(&folder.path().join("explain/explain.json")), "attribution", &clip, 1)[0].1);
    }
    let [positive, cells] = all.shares();
    assert!(positive >= 0.8 && positive > cells + 0.1, "{positive} of what is positive, {cells} of the cells");
}
