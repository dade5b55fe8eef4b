//! Folders of clips and weight files that cannot be trained on. Each is refused before a run folder
//! is made.

use std::fs;
use std::path::Path;

use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::clips::{self, clips};
use crate::harness::{Call, card, ids_below, refuses, run, temporary};
use crate::micro;

#[test]
fn folders_that_are_not_a_data_set_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let (at, film) = (|name: &str| folder.join(name), &clips().paths[0]);
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
        refuses(&folder, clips::train(&folder, Path::new(name)), &words);
    }
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    fs::write(root.join("list.txt"), "life/nowhere.mp4\n").unwrap();
    let refused = |change, words| refuses(&folder, clips::train(&folder, &root).set([change]), words);
    refused("data.folder.test_list=list.txt", &["list.txt, line 1: `life/nowhere.mp4`: no such clip"]);
    refused("data.folder.train_list=nolist.txt", &["nolist.txt: no such file or folder"]);
    refused("data.folder.test_fraction=0.9", &["validation_fraction", "below 1"]);
}

#[test]
fn weights_of_another_network_are_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    for name in ["words.safetensors", "words.pth", "words.txt"] {
        fs::write(folder.join(name), "These are words.").unwrap();
    }
    let nan = folder.join("nan.safetensors");
    fs::copy(&clips().weights, &nan).unwrap();
    Tensors::poke(&nan, "features.3.squeeze.bias", f32::NAN);
    let other = micro::reference().root.join("backbone.safetensors");
    let recurrent = micro::reference().root.join("model.safetensors");
    let cases = [
        ("nan.safetensors", vec!["nan.safetensors", "features.3.squeeze.bias", "not a finite number"]),
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
        let call = Call::new(&folder, "train folder --data").args([clips().name(), "--weights", weights]);
        refuses(&folder, call, &words);
    }
    let words = [
        "this looks like SqueezeNet 1.0 (--set backbone.network=squeezenet)",
        "backbone.network is efficientnet-lite0",
    ];
    let call = clips::train(&folder, &clips().root).set(["backbone.network=efficientnet-lite0"]);
    refuses(&folder, call, &words);
}

#[test]
fn missing_data_and_weights_are_requested() {
    needs_ffmpeg!();
    let folder = temporary();
    let on_clips = |line| Call::new(&folder, line).arg("--data").arg(clips().name());
    refuses(&folder, on_clips("train folder"), &["pretrained weights", "--weights FILE"]);
    let weights = Call::new(&folder, "train folder --weights").arg(&clips().weights);
    refuses(&folder, weights, &["--data DIR"]);
    refuses(&folder, on_clips("train motion"), &["generates its clips", "train folder"]);
    let by_frames = on_clips("train folder").set(["backbone.pretrain={ epochs = 1 }"]);
    refuses(&folder, by_frames, &["appearance labels", "give weights instead"]);
    let words = ["cannot be evaluated on these clips", "`life`", "rotate-clockwise"];
    on_clips("evaluate").args(["--run", micro::reference().name()]).run().refuses(&words);
    let listed = Call::new(&folder, "evaluate --list x --run").arg(micro::reference().name());
    listed.run().refuses(&["are generated", "--data"]);
}

/// Videos need FFmpeg; the error comes before anything is computed or written.
#[test]
fn training_on_videos_without_ffmpeg_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let call = clips::train(&folder, &clips().root).env("GRU_RCN_FFMPEG", "/nowhere/ffmpeg");
    refuses(&folder, call, &["/nowhere/ffmpeg", "`apt install ffmpeg`"]);
}

/// Every clip of every part is opened before the first step, so that none fails hours later.
#[test]
fn unreadable_clips_of_any_part_are_found_before_the_first_step() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    let lists = clips::lists(&root);
    let train = || clips::train(&folder, &root).set(lists);
    let clip = |name: &str| ids_below(&root).into_iter().find(|id| id.starts_with(name)).unwrap();
    for (name, part) in [("zoom/clip-0", "train"), ("zoom/clip-2", "validation"), ("zoom/clip-3", "test")] {
        let id = clip(name);
        let whole = fs::read(root.join(&id)).unwrap();
        fs::write(root.join(&id), "").unwrap();
        let named = format!("{part} clip {id}");
        refuses(&folder, train(), &["1 clips cannot be read", &named, "the file is empty", "quarantine.jsonl"]);
        fs::write(root.join(&id), whole).unwrap();
    }
    let [first, second] = ["life/clip-3", "scroll/clip-3"].map(clip);
    for id in [&first, &second] {
        fs::write(root.join(id), "no film").unwrap();
    }
    refuses(&folder, train(), &["2 clips cannot be read", &first, &second]);
}

/// The results of the others are written, and the missing ones counted and named. Once the clip is
/// whole, the run is tested again.
#[test]
fn a_test_clip_that_fails_late_leaves_the_results_of_the_others() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    let lists = clips::lists(&root);
    let clip = root.join("zoom/clip-3x");
    clips::draw_torn(&clip);
    fs::write(root.join("test.txt"), fs::read_to_string(root.join("test.txt")).unwrap() + "\nzoom/clip-3x\n").unwrap();
    for (run_folder, views) in [("run", "1"), ("views", "2")] {
        let views = format!("evaluation.views={{ starts = {views}, crops = 'centre' }}");
        let call = clips::train(&folder, &root).set(lists).set(["baselines.frame=true", &views]);
        let outcome = call.args(["--run", run_folder, "--json"]).run().exits(1);
        outcome.says(&[
            "1 of 4 test clips could not be read",
            "the first zoom/clip-3x",
            "the scores of 1 of 4 test clips",
        ]);
        let document = outcome.json();
        assert_eq!((&document["test"]["clips"], &document["baselines"]["frame"]["clips"]), (&json!(3), &json!(3)));
        assert!(document["notes"].to_string().contains("zoom/clip-3x"), "{document}");
        let at = folder.join(run_folder);
        assert_eq!(card(&at)["failed_test_clips"], json!(["zoom/clip-3x"]));
        let scores = Tensors::read(&at.join("scores-test.safetensors"));
        assert_eq!(scores.metadata("clips").as_array().unwrap().len(), 3);
        let page = fs::read_to_string(at.join("report.html")).unwrap();
        assert!(page.contains("1 of 4 test clips could not be read"), "{page}");
    }
    clips::draw(&clip);
    let again = run(&folder, "train --resume --run run --json").succeeds();
    assert_eq!(again.json()["test"]["clips"], 4);
    assert!(card(&folder.join("run")).get("failed_test_clips").is_none());
}
