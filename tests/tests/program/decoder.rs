//! The XviD files of UCF-101, which pack two frames into one packet: by FFmpeg, and by
//! `--decoder pure` without it. They are not part of this project.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use gru_rcn_tests::{needs_ffmpeg, test_data};
use serde_json::Value;

use crate::harness::{Call, clips_below, read_json, run, temporary, write_squeezenet};
use crate::micro::reference;

/// A call on a machine without FFmpeg.
fn alone<'a>(folder: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Call {
    Call::new(folder, arguments).env("PATH", "").without("GRU_RCN_FFMPEG")
}

#[test]
fn ucf101_is_prepared_and_predicted_without_ffmpeg() {
    let Some(root) = test_data("ucf101_is_prepared_and_predicted_without_ffmpeg", "ucf101") else { return };
    let clips = clips_below(&root);
    let folder = temporary();
    let source = root.to_str().expect("UTF-8");
    let line = ["prepare", "ucf101", source, "--out", "out", "--size", "32", "--decoder", "pure", "--json"];
    let document = alone(folder.path(), line).run().succeeds().json();
    assert_eq!(document["clips"], clips.len());
    alone(folder.path(), ["verify", "out"]).run().succeeds();
    let manifest = fs::read_to_string(folder.path().join("out/manifest.jsonl")).unwrap();
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["decoder"]["name"], "pure");

    let mut line = vec!["predict", "--json", "--decoder", "pure", "--run", reference().root.to_str().unwrap()];
    line.extend(clips.iter().map(|path| path.to_str().unwrap()));
    let document = alone(folder.path(), line.iter().copied()).run().succeeds().json();
    // The manifest and the predictions are both sorted by class and clip.
    let counts: Vec<&Value> = lines[1..].iter().map(|clip| &clip["frames"]).collect();
    let found: Vec<&Value> = document.as_array().unwrap().iter().map(|prediction| &prediction["frames"]).collect();
    assert_eq!(found, counts);
    // Without the option FFmpeg is required, and the message names the option.
    let line: Vec<&str> = line.into_iter().filter(|word| !["--decoder", "pure"].contains(word)).collect();
    alone(folder.path(), line).run().refuses(&["`ffmpeg` could not be run", "--decoder pure"]);
    // Another decoder in the same folder would give other pixels. This part needs FFmpeg.
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        return;
    }
    let line = ["prepare", "ucf101", source, "--out", "out", "--size", "32"];
    run(folder.path(), line).refuses(&["`decoder.name`", "pure", "ffmpeg"]);
}

#[test]
fn a_run_keeps_its_decoder() {
    let Some(root) = test_data("a_run_keeps_its_decoder", "ucf101") else { return };
    let folder = temporary();
    let at = |name: &str| folder.path().join(name);
    // Three clips of each class for training, one each for the other parts.
    let mut lists = [String::new(), String::new(), String::new()];
    for clip in clips_below(&root) {
        let name = clip.file_name().unwrap().to_str().unwrap();
        let class = clip.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let part = if name.ends_with("c04.avi") { 1 } else { usize::from(name.ends_with("c05.avi")) * 2 };
        lists[part] += &format!("{class}/{name}\n");
        fs::create_dir_all(at("clips").join(class)).unwrap();
        fs::copy(&clip, at("clips").join(class).join(name)).unwrap();
    }
    for (list, name) in lists.iter().zip(["train.txt", "validation.txt", "test.txt"]) {
        fs::write(at("clips").join(name), list).unwrap();
    }
    write_squeezenet(&at("squeezenet.safetensors"));
    let changes = [
        "data.folder.train_list=train.txt",
        "data.folder.validation_list=validation.txt",
        "data.folder.test_list=test.txt",
        "clip.temporal.spread.frames=3",
        "clip.frame_size=[36, 48]",
        "clip.input_size=[32, 40]",
        "features.copies=0",
        "model.hidden=[4, 4]",
        "training.epochs=1",
        "baselines={}",
    ];
    let line = "train folder --data clips --weights squeezenet.safetensors --run run --json";
    let train = || alone(folder.path(), line.split(' ')).set(changes);
    train().run().refuses(&["`ffmpeg` could not be run"]);
    assert!(!at("run").exists());
    train().args(["--decoder", "pure"]).run().succeeds();
    assert!(fs::read_to_string(at("run/recipe.toml")).unwrap().contains("decoder = \"pure\""));
    // The option need not be repeated, and it cannot change in a resumed run.
    alone(folder.path(), ["train", "--resume", "--run", "run", "--json"]).run().succeeds();
    let line = ["train", "--resume", "--run", "run", "--decoder", "ffmpeg"];
    run(folder.path(), line).refuses(&["--decoder pure", "half-way"]);
    alone(folder.path(), ["evaluate", "--run", "run", "--json"]).run().succeeds();
    let clip = clips_below(&root)[0].to_str().unwrap().to_owned();
    alone(folder.path(), ["predict", "--run", "run", &clip]).run().succeeds();
    let line = ["predict", "--run", "run", "--decoder", "ffmpeg", &clip];
    alone(folder.path(), line).run().refuses(&["`ffmpeg` could not be run"]);
    // Percepts on disk record the decoder of their videos.
    alone(folder.path(), ["features", "--run", "run", "--out", "percepts"]).run().succeeds();
    assert_eq!(read_json(&at("percepts/index.json"))["decoder"], "pure");
    fs::remove_dir_all(at("run")).unwrap();
    let from_percepts = || train().args(["--decoder", "pure", "--set", "features.from=percepts"]).run();
    from_percepts().succeeds();
    fs::remove_dir_all(at("run")).unwrap();
    let text = fs::read_to_string(at("percepts/index.json")).unwrap().replace("\"pure\"", "\"ffmpeg\"");
    fs::write(at("percepts/index.json"), text).unwrap();
    from_percepts().refuses(&["ffmpeg decoded, the recipe has pure"]);
}

/// A file of another format than UCF-101's is named with advice, even if the file is damaged.
#[test]
fn files_that_the_pure_decoder_cannot_read_are_named() {
    let folder = temporary();
    fs::write(folder.path().join("film.mp4"), b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom").unwrap();
    let root = reference().root.to_str().unwrap();
    let line = ["predict", "--json", "--decoder", "pure", "--run", root, "film.mp4"];
    alone(folder.path(), line).run().refuses(&["film.mp4: the pure-Rust decoder cannot read this", "--decoder ffmpeg"]);
    let line = ["predict", "--decoder", "libav", "--run", root, "film.mp4"];
    run(folder.path(), line).exits(2);
    let line = ["train", "motion", "--decoder", "pure"];
    run(folder.path(), line).refuses(&["generates its clips, --decoder has no meaning"]);
    // A clip that cannot be read is reported as a fault of that clip.
    for class in ["a", "b"] {
        fs::create_dir_all(folder.path().join("films").join(class)).unwrap();
        fs::copy(folder.path().join("film.mp4"), folder.path().join("films").join(class).join("film.mp4")).unwrap();
    }
    let line = ["prepare", "folder", "films", "--out", "out", "--decoder", "pure", "--json"];
    let outcome = alone(folder.path(), line).run().exits(1);
    assert_eq!(outcome.json()["failures"].as_array().map(Vec::len), Some(2), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("--decoder ffmpeg"), "{}", outcome.stderr);
}

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
}
