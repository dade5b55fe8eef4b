//! Files of other kinds than the program reads: other encodings, pipes and devices, images of too many
//! pixels, an old FFmpeg.

use std::fs;
use std::path::Path;
use std::process::Command;

use gru_rcn_tests::needs_ffmpeg;
use image::{GrayImage, Luma};

use crate::clips::{self, clips};
use crate::harness::{Call, ids_below, refuses, run, temporary};
use crate::micro::reference;

/// UTF-16 with its byte-order mark, low byte first, as Windows writes it.
fn utf_16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Draws a square image of one brightness.
fn draw(path: &Path, side: u32, value: u8) {
    GrayImage::from_pixel(side, side, Luma([value])).save(path).unwrap();
}

/// Every text file that a data set may have, in UTF-16.
#[test]
fn text_in_utf_16_is_refused() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    fs::write(root.join("u16.txt"), utf_16("life/clip-0.mp4\r\n")).unwrap();
    fs::write(root.join("u16.json"), utf_16("{\"clip-0\": \"a\"}")).unwrap();
    for (key, file) in [("test_list", "u16.txt"), ("groups", "u16.json"), ("quarantine", "u16.txt")] {
        let call = clips::train(&folder, &root).set([format!("data.folder.{key}={file}")]);
        refuses(&folder, call, &[file, "UTF-16", "save it as UTF-8"]);
    }
    fs::write(folder.join("mine.toml"), utf_16("name = \"mine\"\n")).unwrap();
    refuses(&folder, Call::new(&folder, "train mine.toml"), &["mine.toml", "UTF-16"]);
    fs::create_dir(folder.join("lists")).unwrap();
    for list in ["train", "test"].iter().flat_map(|part| (1..=3).map(move |n| format!("lists/{part}list0{n}.txt"))) {
        fs::write(folder.join(list), utf_16("life/v_life_g01_c01.avi 1\r\n")).unwrap();
    }
    run(&folder, "prepare ucf101 films --out out --lists lists").refuses(&["list01.txt", "UTF-16"]);
}

#[test]
fn a_byte_order_mark_of_utf_8_is_skipped() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    let names: Vec<String> = ids_below(&root).into_iter().filter(|id| id.contains("clip-0")).collect();
    fs::write(root.join("test.txt"), format!("\u{feff}{}\r\n", names.join("\r\n"))).unwrap();
    fs::write(root.join("groups.json"), format!("\u{feff}{{\"{}\": \"one\"}}", names[0])).unwrap();
    fs::write(root.join("quarantine.jsonl"), "\u{feff}").unwrap();
    let call = clips::train(&folder, &root);
    let call = call.set(["data.folder.test_list=test.txt", "data.folder.groups=groups.json", "training.epochs=1"]);
    assert_eq!(call.args(["--run", "run", "--json"]).run().succeeds().json()["test"]["clips"], 3);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    needs_ffmpeg!();
    let folder = temporary();
    let root = clips::some(&folder, 4);
    let pipe = root.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("pipe", folder.join("films/pipe.png")).unwrap();
    let words = ["a pipe, socket or device, a regular file was expected"];
    for key in ["test_list", "groups", "quarantine"] {
        let call = clips::train(&folder, &root).set([format!("data.folder.{key}=pipe")]);
        refuses(&folder, call, &words);
    }
    Call::new(&folder, "evaluate --list /dev/zero --run").arg(clips::reference().name()).run().refuses(&words);
    run(&folder, "fuse /dev/zero /dev/zero").exits(2);
    run(&folder, "flow /dev/zero /dev/zero --out f.flo").refuses(&words);
    run(&folder, "score-captions /dev/zero /dev/zero").refuses(&words);
    run(&folder, "flow films/pipe.png films/pipe.png --out f.flo").refuses(&words);
    run(&folder, "train folder --data films --weights films/pipe")
        .refuses(&["films/pipe: not a readable weight file", "pipe or device"]);
}

/// 8 000 × 8 000 pixels of one colour are a PNG of some kilobytes.
#[test]
fn images_of_too_many_pixels_are_refused_by_every_verb() {
    needs_ffmpeg!();
    let folder = temporary();
    fs::create_dir_all(folder.join("set/a/clip")).unwrap();
    draw(&folder.join("set/a/clip/000000.png"), 8000, 128);
    let words = ["8000x8000 pixels, above the limit `max_pixels` of 33554432"];
    run(&folder, "flow set/a/clip/000000.png set/a/clip/000000.png --out f.flo").refuses(&words);
    Call::new(&folder, "predict set/a/clip --run").arg(reference().name()).run().refuses(&words);
    run(&folder, "prepare folder set --out out --flow dis").exits(1).says(&words);
}

/// A file that cannot be written whole leaves the one before it as it is.
#[cfg(unix)]
#[test]
fn flow_is_written_whole_or_not_at_all() {
    let folder = temporary();
    draw(&folder.join("a.png"), 64, 128);
    draw(&folder.join("b.png"), 64, 255);
    let line = "flow a.png b.png --out f.flo --picture f.png";
    run(&folder, line).succeeds();
    let files = || ["f.flo", "f.png"].map(|file| fs::read(folder.join(file)).unwrap());
    let before = files();
    // 64 × 64 pixels of 8 bytes, where a file may have 4 KiB: the system ends the program.
    let ended = Call::by_script(&folder, "ulimit -f 4 && exec \"$0\" \"$@\"", line).run();
    assert!(ended.code != Some(0) && files() == before);
    run(&folder, "flow a.png b.png --out g.flo --picture g.gif").refuses(&["g.gif", "PNG"]);
    assert!(!folder.join("g.flo").exists());
}

/// FFmpeg 4.4 does not know `-fps_mode`. Each verb stops once and names the version.
#[cfg(unix)]
#[test]
fn an_old_ffmpeg_is_named_before_any_video() {
    use std::os::unix::fs::PermissionsExt;
    needs_ffmpeg!();
    let folder = temporary();
    let program = folder.join("ffmpeg-4.4");
    let script = "#!/bin/sh\ncase \"$*\" in
        *-version*) echo 'ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright (c) 2000-2021'; exit 0;; esac
        echo \"Unrecognized option 'fps_mode'.\" >&2; exit 1\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["FFmpeg 4.4.2-0ubuntu0.22.04.1", "5.1 or newer", "GRU_RCN_FFMPEG"];
    let old = |call: Call| call.env("GRU_RCN_FFMPEG", &program);
    refuses(&folder, old(clips::train(&folder, &clips().root)), &words);
    let film = clips().film();
    let predict = Call::new(&folder, "predict --run").args([reference().name(), film, film]);
    let prepare = Call::new(&folder, "prepare folder --out out").arg(clips().name());
    for call in [predict, prepare] {
        let outcome = old(call).run().refuses(&words);
        assert_eq!(outcome.stderr.matches("5.1 or newer").count(), 1, "{}", outcome.stderr);
    }
    let doctor = old(Call::new(&folder, "doctor --quick --json")).run().succeeds().json();
    assert_eq!(doctor["machine"]["ffmpeg"], serde_json::Value::Null);
    assert!(doctor["machine"]["ffmpeg_advice"].as_str().unwrap().contains(words[0]));
    let text = old(Call::new(&folder, "doctor --quick")).run().succeeds().stdout;
    assert!(text.contains("ffmpeg    UNUSABLE: ") && text.contains(words[0]), "{text}");
}
