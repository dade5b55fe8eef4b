//! A user's own videos: a folder of films per class, in several containers, one of them as a folder
//! of frames.

use gru_rcn_tests::films::{CLASSES, CLIPS, FRAMES};
use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::clips::{clips, reference, some, train};
use crate::harness::{Call, clips_below, copy_folder, keys, read_json, run, temporary};

#[test]
fn trains_on_a_folder_of_films() {
    needs_ffmpeg!();
    let run = reference();
    assert_eq!(keys(&run.document), ["run", "test", "systems", "verdict", "baselines"]);
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

/// All other clips, or those of a list, by their names on the heading, in JSON and in the file.
#[test]
fn evaluate_scores_a_folder_of_other_clips_whole() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = some(folder.path(), 3);
    for clip in clips_below(&root) {
        std::fs::rename(&clip, clip.with_file_name(format!("other-{}", clip.file_name().unwrap().display()))).unwrap();
    }
    let names = clips_below(&root).into_iter().map(|clip| clip.strip_prefix(&root).unwrap().display().to_string());
    let list: Vec<String> = names.filter(|name| name.contains("/other-clip-0")).collect();
    std::fs::write(root.join("list.txt"), list.join("\n")).unwrap();
    copy_folder(&reference().root, &folder.path().join("run"));
    let test_scores = || std::fs::read(folder.path().join("run/scores-test.safetensors")).unwrap();
    let before = test_scores();
    let all = ["evaluate", "--run", "run", "--data", "films"];
    let words = "all 9 clips of films";
    let outcome = run(folder.path(), all.into_iter().chain(["--json"])).succeeds();
    outcome.says(&["scores-other.safetensors"]);
    assert_eq!((&outcome.json()["test"]["clips"], &outcome.json()["clips"]), (&json!(9), &json!(words)));
    assert!(run(folder.path(), all).succeeds().stdout.starts_with(&format!("run on {words}\n")));
    let scores = std::fs::read(folder.path().join("run/scores-other.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&scores).contains(words));
    let some = all.into_iter().chain(["--list", "list.txt", "--json"]);
    let document = run(folder.path(), some).succeeds().json();
    assert_eq!(document["clips"], "3 clips of films that list.txt names");
    run(folder.path(), all.into_iter().chain(["--split", "validation"])).refuses(&["no validation part"]);
    let none = "there are no clips of films that run was trained on";
    run(folder.path(), all.into_iter().chain(["--split", "train"])).refuses(&[none]);
    assert!(test_scores() == before);

    std::fs::write(root.join("twice.txt"), [&list[..], &list[..1]].concat().join("\n")).unwrap();
    let twice = all.into_iter().chain(["--list", "twice.txt"]);
    run(folder.path(), twice).refuses(&["twice.txt, line 4", "named before", "line 1"]);
}

/// The run's own clips elsewhere are divided as they were, also by its lists.
#[test]
fn evaluate_divides_the_runs_own_clips_as_the_run_did() {
    needs_ffmpeg!();
    let folder = temporary();
    copy_folder(&clips().root, &folder.path().join("copy"));
    copy_folder(&reference().root, &folder.path().join("run"));
    let evaluate =
        |more: &[&str]| run(folder.path(), ["evaluate", "--run", "run", "--json", "--data"].iter().chain(more));
    let outcome = evaluate(&["copy"]).succeeds();
    outcome.says(&["scores-other-test.safetensors"]);
    let document = outcome.json();
    assert_eq!(document["clips"], format!("{} test clips of copy", CLASSES.len()));
    assert_eq!(document["test"]["top1"], reference().document["test"]["top1"]);
    let document = evaluate(&["copy", "--split", "train"]).succeeds().json();
    assert_eq!(document["clips"], format!("{} train clips of copy", 4 * CLASSES.len()));
    // The same folder by name is the run's own.
    evaluate(&[clips().root.to_str().unwrap()]).succeeds().says(&["run/scores-test.safetensors"]);

    // With lists, further clips change nothing.
    let root = some(folder.path(), 3);
    let names = || clips_below(&root).into_iter().map(|clip| clip.strip_prefix(&root).unwrap().display().to_string());
    for (list, clip) in [("train.txt", "clip-0"), ("val.txt", "clip-1"), ("test.txt", "clip-2")] {
        let part: Vec<String> = names().filter(|name| name.contains(clip)).collect();
        std::fs::write(root.join(list), part.join("\n")).unwrap();
    }
    let lists = ["train_list=train.txt", "validation_list=val.txt", "test_list=test.txt"];
    let lists = lists.map(|list| format!("data.folder.{list}"));
    train(folder.path(), &root).set(lists.iter().map(String::as_str)).args(["--run", "listed"]).run().succeeds();
    std::fs::copy(&clips().paths[0], root.join("life/another.mp4")).unwrap();
    let line = ["evaluate", "--run", "listed", "--data", "films", "--json"];
    assert_eq!(run(folder.path(), line).succeeds().json()["clips"], "3 test clips of films");
    // A test list that names a training clip.
    std::fs::copy(root.join("train.txt"), root.join("test.txt")).unwrap();
    std::fs::copy(root.join("val.txt"), root.join("train.txt")).unwrap();
    std::fs::write(root.join("val.txt"), "life/another.mp4").unwrap();
    run(folder.path(), line).refuses(&["listed was trained on 3 of these 3 clips of films", "clip-0", "--split train"]);
}

#[test]
fn evaluate_refuses_clips_of_the_training() {
    needs_ffmpeg!();
    let folder = temporary();
    copy_folder(&reference().root, &folder.path().join("run"));
    let card = read_json(&folder.path().join("run/clips.json"));
    let ids = |part: &str| card[part].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
    let (trained, tested): (Vec<String>, Vec<String>) = (ids("train").collect(), ids("test").collect());
    let root = folder.path().join("films");
    copy_folder(&clips().root, &root);
    std::fs::copy(&clips().paths[0], root.join("life/another.mp4")).unwrap();
    let evaluate = |more: &[&str]| {
        run(folder.path(), ["evaluate", "--run", "run", "--json", "--data", "films"].iter().chain(more))
    };
    let words = ["run was trained on 12 of these 19 clips of films", "--list", "--split train"];
    evaluate(&[]).refuses(&words);
    let document = evaluate(&["--split", "train"]).succeeds().json();
    assert_eq!(document["clips"], "all 12 clips of films that run was trained on");
    std::fs::write(root.join("list.txt"), format!("{}\n{}\n", tested[0], trained[0])).unwrap();
    evaluate(&["--list", "list.txt"]).refuses(&["trained on 1 of these 2 clips", &trained[0]]);
    assert_eq!(evaluate(&["--list", "list.txt", "--split", "train"]).succeeds().json()["test"]["clips"], 2);
    std::fs::write(root.join("list.txt"), format!("{}\nlife/another.mp4\n", tested[0])).unwrap();
    assert_eq!(evaluate(&["--list", "list.txt"]).succeeds().json()["test"]["clips"], 2);
    // Runs of earlier versions do not have the names; the clips, where they were, give them.
    std::fs::remove_file(folder.path().join("run/clips.json")).unwrap();
    evaluate(&[]).refuses(&words);
    let recipe = folder.path().join("run/recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text.replace(clips().root.to_str().unwrap(), "/nowhere")).unwrap();
    evaluate(&[]).succeeds().says(&["warning: an earlier version made run"]);
    run(folder.path(), ["evaluate", "--run", "run"]).refuses(&["cannot be found", "--data", "/nowhere: no such file"]);
}

/// A result that is computed is shown, and kept in another place, if its file cannot be written.
#[test]
fn a_result_that_cannot_be_kept_is_printed() {
    let folder = temporary();
    let root = folder.path().join("run");
    copy_folder(crate::tiny::reference(), &root);
    std::fs::remove_file(root.join("scores-test.safetensors")).unwrap();
    std::fs::create_dir_all(root.join("scores-test.safetensors/taken")).unwrap();
    let outcome = run(folder.path(), ["evaluate", "--run", "run", "--json"]).exits(1);
    assert_eq!(outcome.json()["test"]["clips"], 16);
    outcome.says(&["scores-test.safetensors", "--out"]);
    run(folder.path(), ["evaluate", "--run", "run", "--out", "a.safetensors"])
        .succeeds()
        .says(&["scores: a.safetensors"]);
    let fused = run(
        folder.path(),
        ["fuse", "a.safetensors", "a.safetensors", "--out", "run/scores-test.safetensors", "--json"],
    );
    assert_eq!(fused.exits(1).json()["fused"]["clips"], 16);
}

/// Standard output that cannot be written is an error; standard error is not.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let folder = temporary();
    copy_folder(crate::tiny::reference(), &folder.path().join("run"));
    let lines = [
        "evaluate --run run --json",
        "evaluate --run run",
        "report --run run",
        "fuse run run",
        "fuse run run --json",
        "doctor --quick",
        "doctor --quick --json",
    ];
    for line in lines {
        let full = Call::on_full_disk(folder.path(), 1, line.split(' ')).run();
        full.refuses(&["cannot write to standard output", "No space left"]);
        Call::on_full_disk(folder.path(), 2, line.split(' ')).run().succeeds();
    }
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
