//! Folders of clips and weight files that cannot be trained on. Each is refused before a run folder
//! is made.

use std::fs;
use std::path::Path;

use gru_rcn_tests::films;
use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::clips::{self, clips};
use crate::harness::{Call, poke, read_json, refuses, run, temporary};
use crate::micro;

#[test]
fn folders_that_are_not_a_data_set_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let (at, film) = (|name: &str| folder.path().join(name), &clips().paths[0]);
    fs::write(at("file"), "x").unwrap();
    for name in ["bare", "alone/life", "hollow/life", "hollow/zoom", "few/life", "few/zoom"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for name in ["alone/life/a.mp4", "alone/life/b.mp4", "few/life/a.mp4", "few/zoom/a.mp4", "hollow/life/a.mp4"] {
        fs::copy(film, at(name)).unwrap();
    }
    fs::write(at("hollow/zoom/notes.txt"), "no film").unwrap();
    let cases = [
        ("nowhere", ["nowhere: no such file or folder"]),
        ("file", ["file: a data set is a folder with one folder per class"]),
        ("bare", ["bare: no class folder with clips in it"]),
        ("alone", ["alone: only one class, `life`"]),
        ("hollow", ["hollow/zoom: this class folder holds no clip"]),
        (
            "few",
            ["data set `few`: the validation part holds no clip; each clip is a group of its own; a class needs 3"],
        ),
    ];
    for (name, words) in cases {
        refuses(folder.path(), clips::train(folder.path(), Path::new(name)), &words);
    }
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    let first = fs::read_dir(root.join("zoom")).unwrap().next().unwrap().unwrap().file_name();
    let first = format!("zoom/{}", first.to_string_lossy());
    let cases = [
        ("missing.txt", "life/nowhere.mp4", vec!["missing.txt, line 2: `life/nowhere.mp4`: no such clip"]),
        ("outside.txt", "../films/life/clip-1.mp4", vec!["outside.txt, line 2", "`..` is refused"]),
        ("absolute.txt", "/etc/passwd", vec!["absolute.txt, line 2: `/etc/passwd`", "absolute paths"]),
        ("twice.txt", first.as_str(), vec!["twice.txt, line 2", "named before"]),
    ];
    for (list, line, words) in cases {
        fs::write(root.join(list), format!("{first}\n{line}\n")).unwrap();
        let call = clips::train(folder.path(), &root).args(["--set", &format!("data.folder.test_list={list}")]);
        refuses(folder.path(), call, &words);
    }
    let call = clips::train(folder.path(), &root).args(["--set", "data.folder.train_list=nolist.txt"]);
    refuses(folder.path(), call, &["nolist.txt: no such file or folder"]);
    let call = clips::train(folder.path(), &root).args(["--set", "data.folder.test_fraction=0.9"]);
    refuses(folder.path(), call, &["validation_fraction", "below 1"]);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_data_set_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    std::os::unix::fs::symlink(&clips().paths[0], root.join("life/linked.mp4")).unwrap();
    refuses(folder.path(), clips::train(folder.path(), &root), &["linked.mp4", "leads out of the data set"]);
}

#[test]
fn weights_of_another_network_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    for name in ["words.safetensors", "words.pth", "words.txt"] {
        fs::write(folder.path().join(name), "These are words.").unwrap();
    }
    let other = micro::reference().root.join("backbone.safetensors");
    let recurrent = micro::reference().root.join("model.safetensors");
    let cases = [
        ("nowhere.safetensors", vec!["nowhere.safetensors: no such weight file"]),
        ("words.safetensors", vec!["words.safetensors: not a readable weight file"]),
        ("words.pth", vec!["words.pth: not a readable weight file"]),
        ("words.txt", vec!["words.txt: not a readable weight file", "no safetensors file", "PyTorch"]),
        (
            other.to_str().unwrap(),
            vec![
                "backbone.safetensors: this looks like small (--set backbone.network=small)",
                "the recipe's backbone.network is squeezenet",
            ],
        ),
        // Of a file that is no network's every missing or unused key is listed.
        (
            recurrent.to_str().unwrap(),
            vec![
                "model.safetensors: these are not this model's weights",
                "missing: features.0.bias",
                "classifier.1.bias",
                "features.12.expand3x3.weight",
                "unused:",
                "recurrent.layers.0.input_to_hidden.weight",
            ],
        ),
    ];
    for (weights, words) in cases {
        let line = ["train", "folder", "--data", clips().root.to_str().unwrap(), "--weights", weights];
        refuses(folder.path(), Call::new(folder.path(), line), &words);
    }
}

#[test]
fn weights_of_squeezenet_are_recognised() {
    needs_ffmpeg!();
    let folder = temporary();
    let call = clips::train(folder.path(), &clips().root);
    let words = [
        "this looks like SqueezeNet 1.0 (--set backbone.network=squeezenet)",
        "backbone.network is efficientnet-lite0",
    ];
    refuses(folder.path(), call.set(["backbone.network=efficientnet-lite0"]), &words);
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let weights = folder.path().join("nan.safetensors");
    fs::copy(&clips().weights, &weights).unwrap();
    poke(&weights, "features.3.squeeze.bias", f32::NAN);
    let line = ["train", "folder", "--data", clips().root.to_str().unwrap(), "--weights", "nan.safetensors"];
    let words = ["nan.safetensors", "features.3.squeeze.bias", "not a finite number"];
    refuses(folder.path(), Call::new(folder.path(), line), &words);
}

#[test]
fn missing_data_and_weights_are_requested() {
    needs_ffmpeg!();
    let folder = temporary();
    let (data, weights) = (clips().root.to_str().unwrap(), clips().weights.to_str().unwrap());
    let call = |line: &[&str]| Call::new(folder.path(), line);
    let without_weights = call(&["train", "folder", "--data", data]);
    refuses(folder.path(), without_weights, &["pretrained weights", "--weights FILE"]);
    refuses(folder.path(), call(&["train", "folder", "--weights", weights]), &["--data DIR"]);
    refuses(folder.path(), call(&["train", "motion", "--data", data]), &["generates its clips", "train folder"]);
    let by_frames = "backbone.pretrain={ epochs = 1 }";
    let pretrain = call(&["train", "folder", "--data", data, "--set", by_frames]);
    refuses(folder.path(), pretrain, &["appearance labels", "give weights instead"]);
    let on_motion = ["evaluate", "--run", micro::reference().root.to_str().unwrap()];
    run(folder.path(), on_motion.into_iter().chain(["--data", data]))
        .refuses(&["cannot be evaluated on these clips", "life"]);
    run(folder.path(), on_motion.into_iter().chain(["--list", "x"])).refuses(&["are generated", "--data"]);
}

/// Videos need FFmpeg; the error comes before anything is computed or written.
#[test]
fn training_on_videos_without_ffmpeg_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let call = clips::train(folder.path(), &clips().root).env("GRU_RCN_FFMPEG", "/nowhere/ffmpeg");
    refuses(folder.path(), call, &["/nowhere/ffmpeg", "`apt install ffmpeg`"]);
}

/// Every clip of every part is opened before the first step, so that none fails hours later.
#[test]
fn unreadable_clips_of_any_part_are_found_before_the_first_step() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    let lists = clips::lists(&root);
    let train = || clips::train(folder.path(), &root).set(lists);
    let clip = |class: &str, number: usize| {
        let path = clips::numbered(&root, class, number);
        let id = path.strip_prefix(&root).unwrap().display().to_string();
        (path, id)
    };
    for (number, part) in [(0, "train"), (2, "validation"), (3, "test")] {
        let (path, id) = clip("zoom", number);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, "").unwrap();
        let named = format!("{part} clip {id}");
        refuses(folder.path(), train(), &["1 clips cannot be read", &named, "the file is empty", "quarantine.jsonl"]);
        fs::write(&path, whole).unwrap();
    }
    let bad = [clip("life", 3), clip("scroll", 3)];
    bad.iter().for_each(|(path, _)| fs::write(path, "no film").unwrap());
    refuses(folder.path(), train(), &["2 clips cannot be read", &bad[0].1, &bad[1].1]);
}

/// A test clip that breaks late takes the results of the others not along: they are written, and
/// what is missing is counted and named. Once it is whole, the run is tested again.
#[test]
fn a_test_clip_that_fails_late_leaves_the_results_of_the_others() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    let lists = clips::lists(&root);
    let clip = root.join("zoom/clip-3x");
    fs::create_dir(&clip).unwrap();
    let draw = || films::draw(&clip.join("%06d.png"), &films::source("zoom", 9), "png");
    draw();
    fs::write(root.join("test.txt"), fs::read_to_string(root.join("test.txt")).unwrap() + "\nzoom/clip-3x\n").unwrap();
    (2..=films::FRAMES).for_each(|n| fs::write(clip.join(format!("{n:06}.png")), "torn").unwrap());
    let call = || clips::train(folder.path(), &root).set(lists).set(["baselines.frame=true"]);
    for (run_folder, views) in [("run", "1"), ("views", "2")] {
        let views = format!("evaluation.views={{ starts = {views}, crops = 'centre' }}");
        let outcome = call().set([views.as_str()]).args(["--run", run_folder, "--json"]).run().exits(1);
        outcome.says(&[
            "1 of 4 test clips could not be read",
            "the first zoom/clip-3x",
            "the scores of 1 of 4 test clips",
        ]);
        let document = outcome.json();
        assert_eq!((&document["test"]["clips"], &document["baselines"]["frame"]["clips"]), (&json!(3), &json!(3)));
        assert!(document["notes"].to_string().contains("zoom/clip-3x"), "{document}");
        let at = folder.path().join(run_folder);
        assert_eq!(read_json(&at.join("run.json"))["failed_test_clips"], json!(["zoom/clip-3x"]));
        let scores = Tensors::read(&at.join("scores-test.safetensors"));
        assert_eq!(scores.metadata("clips").as_array().unwrap().len(), 3);
        let page = fs::read_to_string(at.join("report.html")).unwrap();
        assert!(page.contains("1 of 4 test clips could not be read"), "{page}");
    }
    draw();
    let again = run(folder.path(), ["train", "--resume", "--run", "run", "--json"]).succeeds();
    assert_eq!(again.json()["test"]["clips"], 4);
    assert!(read_json(&folder.path().join("run/run.json")).get("failed_test_clips").is_none());
}
