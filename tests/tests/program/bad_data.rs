//! Folders of clips and weight files that cannot be trained on. Each is refused before a run folder
//! is made.

use std::fs;
use std::path::Path;

use gru_rcn_tests::needs_ffmpeg;

use crate::clips::{self, clips};
use crate::harness::{Call, poke, refuses, run, temporary};
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
        ("few", ["data set `few`: the validation part holds no clip"]),
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
        ("words.txt", vec!["words.txt: weights must be a .safetensors, .pth or .pt file"]),
        // Every missing, unused or misshapen key is listed.
        (
            other.to_str().unwrap(),
            vec![
                "backbone.safetensors: these are not this model's weights",
                "missing: classifier.1.bias",
                "features.12.expand3x3.weight",
                "unused: classifier.0.bias",
                "of another shape: features.0.bias is [8] instead of [96]",
            ],
        ),
        (recurrent.to_str().unwrap(), vec!["missing:", "unused:", "recurrent.layers.0.input_to_hidden.weight"]),
    ];
    for (weights, words) in cases {
        let line = ["train", "folder", "--data", clips().root.to_str().unwrap(), "--weights", weights];
        refuses(folder.path(), Call::new(folder.path(), line), &words);
    }
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
