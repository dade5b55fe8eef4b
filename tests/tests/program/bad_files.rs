//! Files of other kinds than the program reads: other encodings, pipes and devices, sound, images
//! of too many pixels, an old FFmpeg.

use std::fs;
use std::path::Path;
use std::process::Command;

use gru_rcn_tests::needs_ffmpeg;

use crate::clips::{self, clips};
use crate::harness::{Call, refuses, run, temporary};
use crate::micro::reference;

/// UTF-16 with its byte-order mark, low byte first, as Windows writes it.
fn utf_16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Makes a file from an FFmpeg source, such as one image.
fn make(folder: &Path, file: &str, source: &str, more: &[&str]) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", source]).args(more).arg(path);
    assert!(command.status().unwrap().success(), "{command:?}");
}

const ONE: [&str; 4] = ["-frames:v", "1", "-update", "1"];

/// Every text file that a data set may have, in UTF-16.
#[test]
fn text_in_utf_16_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    fs::write(root.join("u16.txt"), utf_16("life/clip-0.mp4\r\n")).unwrap();
    fs::write(root.join("u16.json"), utf_16("{\"clip-0\": \"a\"}")).unwrap();
    for (key, file) in [("test_list", "u16.txt"), ("groups", "u16.json"), ("quarantine", "u16.txt")] {
        let call = clips::train(folder.path(), &root).args(["--set", &format!("data.folder.{key}={file}")]);
        refuses(folder.path(), call, &[file, "UTF-16", "save it as UTF-8"]);
    }
    fs::write(folder.path().join("mine.toml"), utf_16("name = \"mine\"\n")).unwrap();
    refuses(folder.path(), Call::new(folder.path(), ["train", "mine.toml"]), &["mine.toml", "UTF-16"]);
    fs::create_dir(folder.path().join("lists")).unwrap();
    for list in ["train", "test"].iter().flat_map(|part| (1..=3).map(move |n| format!("lists/{part}list0{n}.txt"))) {
        fs::write(folder.path().join(list), utf_16("life/v_life_g01_c01.avi 1\r\n")).unwrap();
    }
    let line = ["prepare", "ucf101", "films", "--out", "out", "--lists", "lists"];
    run(folder.path(), line).refuses(&["list01.txt", "UTF-16"]);
}

#[test]
fn a_byte_order_mark_of_utf_8_is_skipped() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    let names: Vec<String> = ["life", "scroll", "zoom"]
        .map(|class| {
            let clip = fs::read_dir(root.join(class)).unwrap().next().unwrap().unwrap();
            format!("{class}/{}", clip.file_name().to_string_lossy())
        })
        .into();
    fs::write(root.join("test.txt"), format!("\u{feff}{}\r\n", names.join("\r\n"))).unwrap();
    fs::write(root.join("groups.json"), format!("\u{feff}{{\"{}\": \"one\"}}", names[0])).unwrap();
    fs::write(root.join("quarantine.jsonl"), "\u{feff}").unwrap();
    let call = clips::train(folder.path(), &root);
    let call = call.set(["data.folder.test_list=test.txt", "data.folder.groups=groups.json", "training.epochs=1"]);
    assert_eq!(call.args(["--run", "run", "--json"]).run().succeeds().json()["test"]["clips"], 3);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(folder.path(), 4);
    let pipe = root.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("pipe", folder.path().join("films/pipe.png")).unwrap();
    let words = ["a pipe, socket or device, a regular file was expected"];
    for key in ["test_list", "groups", "quarantine"] {
        let call = clips::train(folder.path(), &root).args(["--set", &format!("data.folder.{key}=pipe")]);
        refuses(folder.path(), call, &words);
    }
    let evaluate = ["evaluate", "--run", clips::reference().root.to_str().unwrap(), "--list"];
    run(folder.path(), evaluate.into_iter().chain(["/dev/zero"])).refuses(&words);
    run(folder.path(), ["fuse", "/dev/zero", "/dev/zero"]).exits(2);
    run(folder.path(), ["flow", "/dev/zero", "/dev/zero", "--out", "f.flo"]).refuses(&words);
    run(folder.path(), ["score-captions", "/dev/zero", "/dev/zero"]).refuses(&words);
    run(folder.path(), ["flow", "films/pipe.png", "films/pipe.png", "--out", "f.flo"]).refuses(&words);
    let weights = ["train", "folder", "--data", "films", "--weights", "films/pipe"];
    run(folder.path(), weights).refuses(&["films/pipe: not a readable weight file", "pipe or device"]);
}

#[test]
fn sound_without_a_video_is_named() {
    needs_ffmpeg!();
    let folder = temporary();
    make(folder.path(), "sound.mp4", "sine", &["-t", "1"]);
    let predict = ["predict", "--run", reference().root.to_str().unwrap(), "sound.mp4"];
    run(folder.path(), predict).refuses(&["sound.mp4: it holds no video stream"]);
}

/// 8 000 × 8 000 pixels of one colour are a PNG of some kilobytes.
#[test]
fn images_of_too_many_pixels_are_refused_by_every_verb() {
    needs_ffmpeg!();
    let folder = temporary();
    let frame = "set/a/clip/000000.png";
    make(folder.path(), frame, "color=gray:size=8000x8000", &ONE);
    let words = ["8000x8000 pixels, above the limit `max_pixels` of 33554432"];
    run(folder.path(), ["flow", frame, frame, "--out", "f.flo"]).refuses(&words);
    run(folder.path(), ["predict", "--run", reference().root.to_str().unwrap(), "set/a/clip"]).refuses(&words);
    let prepare = run(folder.path(), ["prepare", "folder", "set", "--out", "out", "--flow", "dis"]).exits(1);
    prepare.says(&words);
}

/// A file that cannot be written whole leaves the one before it as it is.
#[cfg(unix)]
#[test]
fn flow_is_written_whole_or_not_at_all() {
    needs_ffmpeg!();
    let folder = temporary();
    make(folder.path(), "a.png", "color=gray:size=64x64", &ONE);
    make(folder.path(), "b.png", "color=white:size=64x64", &ONE);
    let line = ["flow", "a.png", "b.png", "--out", "f.flo", "--picture", "f.png"];
    run(folder.path(), line).succeeds();
    let files = || ["f.flo", "f.png"].map(|file| fs::read(folder.path().join(file)).unwrap());
    let before = files();
    // 64 × 64 pixels of 8 bytes, where a file may have 4 KiB: the system ends the program.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 4 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gru-rcn-program")]);
    assert!(!shell.args(line).current_dir(folder.path()).status().unwrap().success());
    assert!(files() == before);
    run(folder.path(), ["flow", "a.png", "b.png", "--out", "g.flo", "--picture", "g.gif"]).refuses(&["g.gif", "PNG"]);
    assert!(!folder.path().join("g.flo").exists());
}

/// FFmpeg 4.4 does not know `-fps_mode`. Each verb stops once and names the version.
#[cfg(unix)]
#[test]
fn an_old_ffmpeg_is_named_before_any_video() {
    use std::os::unix::fs::PermissionsExt;
    needs_ffmpeg!();
    let folder = temporary();
    let program = folder.path().join("ffmpeg-4.4");
    let script = "#!/bin/sh\ncase \"$*\" in
        *-version*) echo 'ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright (c) 2000-2021'; exit 0;; esac
        echo \"Unrecognized option 'fps_mode'.\" >&2; exit 1\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (film, root) = (clips().paths[0].to_str().unwrap(), reference().root.to_str().unwrap());
    let data = clips().root.to_str().unwrap();
    let words = ["FFmpeg 4.4.2-0ubuntu0.22.04.1", "5.1 or newer", "GRU_RCN_FFMPEG"];
    let old = |call: Call| call.env("GRU_RCN_FFMPEG", &program);
    refuses(folder.path(), old(clips::train(folder.path(), &clips().root)), &words);
    for line in [vec!["predict", "--run", root, film, film], vec!["prepare", "folder", data, "--out", "out"]] {
        let outcome = old(Call::new(folder.path(), line)).run().exits(2);
        outcome.says(&words);
        assert_eq!(outcome.stderr.matches("5.1 or newer").count(), 1, "{}", outcome.stderr);
    }
    let doctor = old(Call::new(folder.path(), ["doctor", "--quick", "--json"])).run().succeeds().json();
    assert_eq!(doctor["machine"]["ffmpeg"], serde_json::Value::Null);
    assert!(doctor["machine"]["ffmpeg_advice"].as_str().unwrap().contains(words[0]));
    let text = old(Call::new(folder.path(), ["doctor", "--quick"])).run().succeeds().stdout;
    assert!(text.contains("ffmpeg    UNUSABLE: ") && text.contains(words[0]), "{text}");
}
