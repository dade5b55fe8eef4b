//! Invalid input of `predict`, and machines without FFmpeg.

use std::path::Path;

use gru_rcn_tests::needs_ffmpeg;

use crate::clips::clips;
use crate::harness::{Call, Outcome, run, temporary};
use crate::micro::reference;

fn predict(folder: &Path, clip: &str) -> Outcome {
    run(folder, ["predict", "--json", "--run", reference().root.to_str().unwrap(), clip])
}

#[test]
fn files_that_are_not_clips_are_named() {
    needs_ffmpeg!();
    let folder = temporary();
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    predict(folder.path(), "nowhere.mp4").refuses(&["nowhere.mp4: no such file or folder"]);
    write("words.mp4", b"These are words.\n");
    predict(folder.path(), "words.mp4").refuses(&["words.mp4: not a video"]);
    write("empty.avi", b"");
    predict(folder.path(), "empty.avi").refuses(&["empty.avi: the file is empty"]);
    std::fs::create_dir(folder.path().join("bare")).unwrap();
    predict(folder.path(), "bare").refuses(&["bare: no frame could be decoded", "no JPEG or PNG"]);
    std::fs::create_dir(folder.path().join("frames")).unwrap();
    write("frames/000000.png", b"not an image");
    predict(folder.path(), "frames").refuses(&["000000.png: not a readable JPEG or PNG image"]);
    // A playlist would make FFmpeg open the files that it names.
    write("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n");
    let outcome = predict(folder.path(), "list.m3u8").refuses(&["list.m3u8: not a video"]);
    assert!(!outcome.stderr.contains("root:"), "{}", outcome.stderr);
    // A name that looks like an option of FFmpeg is still a name.
    predict(folder.path(), "./-version").refuses(&["-version: no such file or folder"]);
}

#[test]
fn a_truncated_film_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let film = clips().paths.iter().find(|path| path.extension().is_some_and(|extension| extension == "mp4")).unwrap();
    let bytes = std::fs::read(film).unwrap();
    std::fs::write(folder.path().join("half.mp4"), &bytes[..bytes.len() / 2]).unwrap();
    predict(folder.path(), "half.mp4").refuses(&["half.mp4: "]);
}

/// JSON output is one document or none: a bad file among good ones leaves standard output empty.
#[test]
fn one_bad_file_among_good_ones_leaves_json_empty() {
    needs_ffmpeg!();
    let folder = temporary();
    let (film, root) = (clips().paths[0].to_str().unwrap(), reference().root.to_str().unwrap());
    run(folder.path(), ["predict", "--json", "--run", root, film, "nowhere.mp4"]).refuses(&["nowhere.mp4"]);
    let text = run(folder.path(), ["predict", "--run", root, film, "nowhere.mp4"]).exits(2);
    assert!(text.stdout.contains(film) && text.stderr.contains("nowhere.mp4"), "{}{}", text.stdout, text.stderr);
}

#[test]
fn unusual_file_names_are_accepted() {
    needs_ffmpeg!();
    let folder = temporary();
    let film = &clips().paths[0];
    let extension = film.extension().unwrap().to_str().unwrap();
    for name in ["with spaces & ampersand", "%d 'quoted' \"twice\"", "ünïcödé 映像", "a:colon", "-dash"] {
        let name = format!("./{name}.{extension}");
        std::fs::copy(film, folder.path().join(&name)).unwrap();
        assert_eq!(predict(folder.path(), &name).succeeds().json()[0]["frames"], 20, "{name}");
    }
}

#[test]
fn without_ffmpeg_the_message_says_how_to_get_it() {
    needs_ffmpeg!();
    let folder = temporary();
    let (film, root) = (clips().paths[0].to_str().unwrap(), reference().root.to_str().unwrap());
    let call = || Call::new(folder.path(), ["predict", "--run", root, film]);
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
    let frames = clips().paths.iter().find(|path| path.is_dir()).unwrap().to_str().unwrap();
    let call = Call::new(folder.path(), ["predict", "--json", "--run", reference().root.to_str().unwrap(), frames]);
    let document = call.env("GRU_RCN_FFMPEG", "/nowhere/ffmpeg").run().succeeds().json();
    assert_eq!(document[0]["frames"], 20);
}
