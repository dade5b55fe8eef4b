//! A user's own videos: a folder of films per class, in several containers, one of them as a folder
//! of frames.

use gru_rcn_tests::films::{CLASSES, CLIPS, FRAMES};
use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::clips::{clips, list, others, reference, some, train};
use crate::harness::{Call, card, copied, copy_folder, ids_below, keys, read_json, run, temporary};
use crate::tiny;

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
    let card = card(&run.root);
    let parts = ["train", "validation", "test"].map(|part| card["data"][part].as_u64().unwrap() as usize);
    assert_eq!(parts, [(CLIPS - 2) * CLASSES.len(), CLASSES.len(), CLASSES.len()]);
}

#[test]
fn predicts_every_container() {
    needs_ffmpeg!();
    let folder = temporary();
    let predict = Call::new(&folder, "predict --json --run").arg(reference().name()).args(&clips().paths);
    let document = predict.run().succeeds().json();
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

/// All other clips, or those of a list: the heading, the JSON and the file say which.
#[test]
fn evaluate_scores_a_folder_of_other_clips_whole() {
    needs_ffmpeg!();
    let folder = copied(&reference().root);
    let root = others(&folder, 3);
    let test_scores = || std::fs::read(folder.join("run/scores-test.safetensors")).unwrap();
    let before = test_scores();
    let evaluate = |more: &str| run(&folder, &format!("evaluate --run run --data films {more}"));
    let words = "all 9 clips of films";
    let outcome = evaluate("--json").succeeds();
    outcome.says(&["scores-other.safetensors"]);
    assert_eq!((&outcome.json()["test"]["clips"], &outcome.json()["clips"]), (&json!(9), &json!(words)));
    assert!(evaluate("").succeeds().stdout.starts_with(&format!("run on {words}\n")));
    let scores = std::fs::read(folder.join("run/scores-other.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&scores).contains(words));
    list(&root, "list.txt", "/other-clip-0");
    let document = evaluate("--list list.txt --json").succeeds().json();
    assert_eq!(document["clips"], "3 clips of films that list.txt names");
    evaluate("--split validation").refuses(&["no validation part"]);
    evaluate("--split train").refuses(&["there are no clips of films that run was trained on"]);
    assert!(test_scores() == before);

    let first = &ids_below(&root)[0];
    std::fs::write(root.join("twice.txt"), format!("{first}\n{first}\n")).unwrap();
    evaluate("--list twice.txt").refuses(&["twice.txt, line 2", "named before", "line 1"]);
}

/// The run's own clips in another place are divided as they were, also by its lists.
#[test]
fn evaluate_divides_the_runs_own_clips_as_the_run_did() {
    needs_ffmpeg!();
    let folder = copied(&reference().root);
    copy_folder(&clips().root, &folder.join("copy"));
    let evaluate = |data: &str| run(&folder, &format!("evaluate --run run --json --data {data}")).succeeds();
    let outcome = evaluate("copy");
    outcome.says(&["scores-other-test.safetensors"]);
    let document = outcome.json();
    assert_eq!(document["clips"], format!("{} test clips of copy", CLASSES.len()));
    // The CNN gets other batches than in training, so the last bits may differ.
    let (found, expected) = (&document["test"], &reference().document["test"]);
    for key in keys(expected) {
        let difference = found[key].as_f64().unwrap() - expected[key].as_f64().unwrap();
        assert!(difference.abs() < 1e-5, "{key}: {found} {expected}");
    }
    let document = evaluate("copy --split train").json();
    assert_eq!(document["clips"], format!("{} train clips of copy", 4 * CLASSES.len()));
    // The same folder by name is the run's own.
    let own = Call::new(&folder, "evaluate --run run --json --data").arg(clips().name());
    own.run().succeeds().says(&["run/scores-test.safetensors"]);

    // With lists, further clips change nothing.
    let root = some(&folder, 3);
    for (file, clip) in [("train.txt", "clip-0"), ("val.txt", "clip-1"), ("test.txt", "clip-2")] {
        list(&root, file, clip);
    }
    let lists = ["train_list=train.txt", "validation_list=val.txt", "test_list=test.txt"];
    let lists = lists.map(|list| format!("data.folder.{list}"));
    train(&folder, &root).set(&lists).args(["--run", "listed"]).run().succeeds();
    std::fs::copy(&clips().paths[0], root.join("life/another.mp4")).unwrap();
    let line = "evaluate --run listed --data films --json";
    assert_eq!(run(&folder, line).succeeds().json()["clips"], "3 test clips of films");
    // A test list that names a training clip.
    std::fs::copy(root.join("train.txt"), root.join("test.txt")).unwrap();
    std::fs::copy(root.join("val.txt"), root.join("train.txt")).unwrap();
    std::fs::write(root.join("val.txt"), "life/another.mp4").unwrap();
    run(&folder, line).refuses(&["listed was trained on 3 of these 3 clips of films", "clip-0", "--split train"]);
}

#[test]
fn evaluate_refuses_clips_of_the_training() {
    needs_ffmpeg!();
    let folder = copied(&reference().root);
    let parts = read_json(&folder.join("run/clips.json"));
    let [trained, tested] = ["train", "test"].map(|part| parts[part][0].as_str().unwrap());
    let root = folder.join("films");
    copy_folder(&clips().root, &root);
    std::fs::copy(&clips().paths[0], root.join("life/another.mp4")).unwrap();
    let evaluate = |more: &str| run(&folder, &format!("evaluate --run run --json --data films {more}"));
    let words = ["run was trained on 12 of these 19 clips of films", "--list", "--split train"];
    evaluate("").refuses(&words);
    let document = evaluate("--split train").succeeds().json();
    assert_eq!(document["clips"], "all 12 clips of films that run was trained on");
    std::fs::write(root.join("list.txt"), format!("{tested}\n{trained}\n")).unwrap();
    evaluate("--list list.txt").refuses(&["trained on 1 of these 2 clips", trained]);
    assert_eq!(evaluate("--list list.txt --split train").succeeds().json()["test"]["clips"], 2);
    std::fs::write(root.join("list.txt"), format!("{tested}\nlife/another.mp4\n")).unwrap();
    assert_eq!(evaluate("--list list.txt").succeeds().json()["test"]["clips"], 2);
    // Runs of earlier versions do not have the names; the clips, where they were, give them.
    std::fs::remove_file(folder.join("run/clips.json")).unwrap();
    evaluate("").refuses(&words);
    let recipe = folder.join("run/recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text.replace(clips().name(), "/nowhere")).unwrap();
    evaluate("").succeeds().says(&["warning: an earlier version made run"]);
    run(&folder, "evaluate --run run").refuses(&["cannot be found", "--data", "/nowhere: no such file"]);
}

/// A result that is computed is shown, and kept in another place, if its file cannot be written.
#[test]
fn a_result_that_cannot_be_kept_is_printed() {
    let folder = copied(tiny::reference());
    std::fs::remove_file(folder.join("run/scores-test.safetensors")).unwrap();
    std::fs::create_dir_all(folder.join("run/scores-test.safetensors/taken")).unwrap();
    let outcome = run(&folder, "evaluate --run run --json").exits(1);
    assert_eq!(outcome.json()["test"]["clips"], 16);
    outcome.says(&["scores-test.safetensors", "--out"]);
    run(&folder, "evaluate --run run --out a.safetensors").succeeds().says(&["scores: a.safetensors"]);
    let fused = run(&folder, "fuse a.safetensors a.safetensors --out run/scores-test.safetensors --json");
    assert_eq!(fused.exits(1).json()["fused"]["clips"], 16);
}

/// Standard output that cannot be written is an error; standard error is not.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let folder = copied(tiny::reference());
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
        Call::by_script(&folder, "exec \"$0\" \"$@\" >/dev/full", line)
            .run()
            .refuses(&["cannot write to standard output", "No space left"]);
        Call::by_script(&folder, "exec \"$0\" \"$@\" 2>/dev/full", line).run().succeeds();
    }
}

/// Parts without a list are drawn anew: with one more clip, a training clip may be tested.
#[test]
fn evaluate_refuses_a_folder_with_added_clips() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = some(&folder, 4);
    train(&folder, &root).args(["--run", "run", "--json"]).run().succeeds();
    std::fs::copy(&clips().paths[0], root.join("life/another.mp4")).unwrap();
    run(&folder, "evaluate --run run").refuses(&["was trained on other clips of films", "--list"]);
}
