//! A user's own videos: a folder of films per class, in several containers, one of them as a folder
//! of frames.

use gru_rcn_tests::films::{CLASSES, CLIPS, FRAMES};
use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::clips::{clips, reference, some, train};
use crate::harness::{clips_below, copy_folder, keys, read_json, run, temporary};

#[test]
fn trains_on_a_folder_of_films() {
    needs_ffmpeg!();
    let run = reference();
    assert_eq!(keys(&run.document), ["run", "test", "verdict", "baselines"]);
    // One of the six clips of each class is held out for each other part: 0.15 of six, rounded.
    assert_eq!(run.document["test"]["clips"], CLASSES.len());
    let scores = Tensors::read(&run.root.join("scores-test.safetensors"));
    assert_eq!(scores.metadata("classes"), json!(CLASSES));
    for clip in scores.metadata("clips").as_array().unwrap() {
        assert!(clips().root.join(clip.as_str().unwrap()).exists(), "{clip}");
    }
    let card = read_json(&run.root.join("run.json"));
    let parts = ["train", "validation", "test"].map(|part| card["data"][part].as_u64().unwrap() as usize);
    assert_eq!(parts, [4 * CLASSES.len(), CLASSES.len(), CLASSES.len()]);
    assert_eq!(parts.iter().sum::<usize>(), CLASSES.len() * CLIPS);
}

#[test]
fn predicts_every_container() {
    needs_ffmpeg!();
    let folder = temporary();
    let mut arguments = vec!["predict", "--json", "--run", reference().root.to_str().unwrap()];
    arguments.extend(clips().paths.iter().map(|path| path.to_str().unwrap()));
    let document = run(folder.path(), arguments).succeeds().json();
    let predictions = document.as_array().unwrap();
    assert_eq!(predictions.len(), clips().paths.len());
    for (prediction, path) in predictions.iter().zip(&clips().paths) {
        assert_eq!(prediction["file"], path.to_str().unwrap());
        assert_eq!(prediction["frames"], FRAMES, "{}", path.display());
        let top = prediction["top"].as_array().unwrap();
        let mut classes: Vec<&str> = top.iter().map(|entry| entry["class"].as_str().unwrap()).collect();
        classes.sort_unstable();
        assert_eq!(classes, CLASSES);
        let sum: f64 = top.iter().map(|entry| entry["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{prediction}");
    }
}

#[test]
fn evaluate_reproduces_the_test_result() {
    needs_ffmpeg!();
    let folder = temporary();
    copy_folder(&reference().root, &folder.path().join("run"));
    let outcome = run(folder.path(), ["evaluate", "--run", "run", "--json"]).succeeds();
    // The CNN gets other batches than in training, so the last bits may differ.
    let (found, expected) = (&outcome.json()["test"], &reference().document["test"]);
    for key in keys(expected) {
        let difference = found[key].as_f64().unwrap() - expected[key].as_f64().unwrap();
        assert!(difference.abs() < 1e-5, "{key}: {found} {expected}");
    }
    outcome.says(&["scores-test.safetensors"]);
}

#[test]
fn evaluate_accepts_other_clips_of_the_same_classes() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = some(folder.path(), 3);
    let names = clips_below(&root).into_iter().map(|clip| clip.strip_prefix(&root).unwrap().display().to_string());
    let list: Vec<String> = names.filter(|name| name.contains("/clip-0")).collect();
    std::fs::write(root.join("list.txt"), list.join("\n")).unwrap();
    copy_folder(&reference().root, &folder.path().join("run"));
    let all = ["evaluate", "--run", "run", "--data", "films", "--json"];
    assert_eq!(run(folder.path(), all).succeeds().json()["test"]["clips"], 3 * CLASSES.len());
    let some = all.into_iter().chain(["--list", "list.txt"]);
    assert_eq!(run(folder.path(), some).succeeds().json()["test"]["clips"], CLASSES.len());
}

/// Parts without a list are drawn anew: with one more clip, a training clip may be tested.
#[test]
fn evaluate_refuses_a_folder_with_added_clips() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = some(folder.path(), 4);
    train(folder.path(), &root).args(["--run", "run", "--json"]).run().succeeds();
    std::fs::copy(&clips().paths[0], root.join("life/another.mp4")).unwrap();
    run(folder.path(), ["evaluate", "--run", "run"]).refuses(&["was trained on other clips of films", "--list"]);
}

#[test]
fn evaluate_refuses_other_classes() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = some(folder.path(), 4);
    std::fs::rename(root.join("zoom"), root.join("zoomed")).unwrap();
    let line = ["evaluate", "--run", reference().root.to_str().unwrap(), "--data", "films"];
    run(folder.path(), line).refuses(&["cannot be evaluated on these clips", "`zoomed`", "life, scroll, zoom"]);
}
