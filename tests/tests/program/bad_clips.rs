//! Invalid input of `predict`, and machines without FFmpeg.

use std::path::Path;

use gru_rcn_tests::needs_ffmpeg;
use gru_rcn_tests::tensors::Tensors;
use serde_json::json;

use crate::clips::{self, clips, some};
use crate::harness::{Call, Outcome, copied, copy_folder, read_json, run, temporary};
use crate::micro::reference;

fn predict(folder: &Path, clip: &str) -> Outcome {
    Call::new(folder, "predict --json --run").args([reference().name(), clip]).run()
}

#[test]
fn files_that_are_not_clips_are_named() {
    needs_ffmpeg!();
    let folder = temporary();
    let write = |name: &str, content: &[u8]| std::fs::write(folder.join(name), content).unwrap();
    predict(&folder, "nowhere.mp4").refuses(&["nowhere.mp4: no such file or folder"]);
    write("words.mp4", b"These are words.\n");
    predict(&folder, "words.mp4").refuses(&["words.mp4: not a video"]);
    write("empty.avi", b"");
    predict(&folder, "empty.avi").refuses(&["empty.avi: the file is empty"]);
    std::fs::create_dir(folder.join("bare")).unwrap();
    predict(&folder, "bare").refuses(&["bare: no frame could be decoded", "no JPEG or PNG"]);
    std::fs::create_dir(folder.join("frames")).unwrap();
    write("frames/000000.png", b"not an image");
    predict(&folder, "frames").refuses(&["000000.png: not a readable JPEG or PNG image"]);
    // A playlist would make FFmpeg open the files that it names.
    write("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n");
    let outcome = predict(&folder, "list.m3u8").refuses(&["list.m3u8: not a video"]);
    assert!(!outcome.stderr.contains("root:"), "{}", outcome.stderr);
    // A name that looks like an option of FFmpeg is still a name.
    predict(&folder, "./-version").refuses(&["-version: no such file or folder"]);
}

#[test]
fn a_truncated_film_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let film = clips().paths.iter().find(|path| path.extension().is_some_and(|extension| extension == "mp4")).unwrap();
    let bytes = std::fs::read(film).unwrap();
    std::fs::write(folder.join("half.mp4"), &bytes[..bytes.len() / 2]).unwrap();
    predict(&folder, "half.mp4").refuses(&["half.mp4: "]);
}

/// A bad file among good ones is an entry with an error, and exit code 1.
#[test]
fn a_bad_file_costs_only_its_own_result() {
    needs_ffmpeg!();
    let folder = temporary();
    std::fs::write(folder.join("words.mp4"), b"These are words.\n").unwrap();
    let [first, second] = [0, 1].map(|film: usize| clips().paths[film].to_str().unwrap());
    let predict = |line: &str, files: &[&str]| Call::new(&folder, line).arg(reference().name()).args(files).run();
    let files = [first, "words.mp4", second, "nowhere.mp4"];
    let text = predict("predict --run", &files).exits(1);
    let outcome = predict("predict --json --run", &files).exits(1);
    let document = outcome.json();
    for (entry, file) in document.as_array().unwrap().iter().zip(files) {
        assert_eq!(entry["file"], file);
        if [first, second].contains(&file) {
            assert!(entry["frames"] == 20 && entry["error"].is_null() && text.stdout.contains(file), "{entry}");
        } else {
            assert!(entry["error"].as_str().unwrap().contains(file) && !text.stdout.contains(file), "{entry}");
            text.says(&[file]);
        }
    }
    outcome.says(&["words.mp4: not a video", "nowhere.mp4: no such file", "2 of 4 files could not be classified"]);
    predict("predict --json --run", &["nowhere.mp4", "words.mp4"]).refuses(&["none of the 2 files"]);
}

/// `evaluate` and `features` go on without a clip that cannot be read, and name it.
#[test]
fn an_unreadable_clip_costs_only_its_own_result() {
    needs_ffmpeg!();
    let folder = copied(&clips::reference().root);
    let root = clips::others(&folder, 2);
    std::fs::write(root.join("zoom/torn.mp4"), b"These are words.\n").unwrap();
    for views in ["1x1", "2x1"] {
        let line = "evaluate --run run --data films --out scores.safetensors --json --views";
        let outcome = Call::new(&folder, line).arg(views).run().exits(1);
        outcome.says(&["1 of 7 clips could not be read, the first zoom/torn.mp4"]);
        let document = outcome.json();
        assert_eq!((&document["test"]["clips"], &document["errors"][0]["clip"]), (&json!(6), &json!("zoom/torn.mp4")));
        let scores = Tensors::read(&folder.join("scores.safetensors"));
        assert_eq!(scores.metadata("clips").as_array().unwrap().len(), 6);
        assert_eq!(scores.shape("probabilities"), ("F32", vec![6, 3]));
    }
    std::fs::write(root.join("list.txt"), "zoom/torn.mp4\n").unwrap();
    run(&folder, "evaluate --run run --data films --list list.txt")
        .refuses(&["none of the 1 clips could be read", "torn.mp4: not a video"]);

    let root = folder.join("all");
    copy_folder(&clips().root, &root);
    std::fs::write(root.join("zoom/torn.mp4"), b"These are words.\n").unwrap();
    let outcome = run(&folder, "features --run run --data all --out maps --json").exits(1);
    assert_eq!(outcome.json()["clips"], clips().paths.len());
    assert_eq!(outcome.json()["errors"][0]["clip"], "zoom/torn.mp4");
    let index = read_json(&folder.join("maps/index.json"));
    for clip in index["clips"].as_array().unwrap() {
        assert!(root.join(clip["id"].as_str().unwrap()).exists() && clip["id"] != "zoom/torn.mp4", "{clip}");
    }
}

/// A folder of videos is not taken for a broken clip.
#[test]
fn a_folder_of_videos_is_named_as_such() {
    needs_ffmpeg!();
    let folder = temporary();
    some(&folder, 2);
    predict(&folder, "films/zoom").refuses(&["films/zoom", "2 videos and 0 folders", "name the clips"]);
    predict(&folder, "films").refuses(&["0 videos and 3 folders"]);
}

#[test]
fn unusual_file_names_are_accepted() {
    needs_ffmpeg!();
    let folder = temporary();
    let film = &clips().paths[0];
    let extension = film.extension().unwrap().to_str().unwrap();
    for name in ["with spaces & ampersand", "%d 'quoted' \"twice\"", "ünïcödé 映像", "a:colon", "-dash"] {
        let name = format!("./{name}.{extension}");
        std::fs::copy(film, folder.join(&name)).unwrap();
        assert_eq!(predict(&folder, &name).succeeds().json()[0]["frames"], 20, "{name}");
    }
}

#[test]
fn without_ffmpeg_the_message_says_how_to_get_it() {
    needs_ffmpeg!();
    let folder = temporary();
    let call = || Call::new(&folder, "predict --run").args([reference().name(), clips().film()]);
    let install = ["`apt install ffmpeg`", "GRU_RCN_FFMPEG"];
    let nowhere = call().env("GRU_RCN_FFMPEG", "/nowhere/ffmpeg").run();
    nowhere.refuses(&["`/nowhere/ffmpeg` could not be run"]).refuses(&install);
    let no_path = call().without("GRU_RCN_FFMPEG").env("PATH", "").run();
    no_path.refuses(&["`ffmpeg` could not be run"]).refuses(&install);
    let another = call().env("GRU_RCN_FFMPEG", env!("CARGO_BIN_EXE_gru-rcn-program")).run();
    another.refuses(&["could not be run"]).refuses(&install);
}

/// Folders of frames are read without FFmpeg, as the message says.
#[test]
fn frames_need_no_ffmpeg() {
    needs_ffmpeg!();
    let folder = temporary();
    let frames = clips().paths.iter().find(|path| path.is_dir()).unwrap();
    let call = Call::new(&folder, "predict --json --run").arg(reference().name()).arg(frames);
    let document = call.env("GRU_RCN_FFMPEG", "/nowhere/ffmpeg").run().succeeds().json();
    assert_eq!(document[0]["frames"], 20);
}
