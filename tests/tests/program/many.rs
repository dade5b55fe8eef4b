//! `predict` of many files: patterns, lists, and files of results that a later call completes.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::harness::{Call, temporary};
use crate::micro::reference;

const CLIPS: usize = 300;

/// A folder `clips` of 300 clips of eight small pictures, of which one is not a clip.
fn draw(folder: &Path) {
    for clip in 0..CLIPS {
        let root = folder.join(format!("clips/{clip:03}"));
        fs::create_dir_all(&root).unwrap();
        for frame in 0..8u32 {
            let bright = |x: u32, y: u32| Rgb([(37 * clip as u32 + x * (1 + frame) + 3 * y) as u8; 3]);
            RgbImage::from_fn(32, 32, bright).save(root.join(format!("{frame:06}.png"))).unwrap();
        }
    }
    fs::write(folder.join("clips/123/000003.png"), "no picture").unwrap();
}

fn predict(folder: &Path, line: &str) -> Call {
    Call::new(folder, &format!("predict --top 2 {line} --run")).arg(reference().name())
}

fn lines(path: &Path) -> usize {
    fs::read(path).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count()
}

/// A call that was killed, its last line cut, is resumed and ends in the same bytes.
#[test]
fn a_killed_call_is_completed_by_the_same_call() {
    let folder = temporary();
    draw(&folder);
    let path = |name: &str| folder.join(name);
    for (option, whole, killed) in [("--csv", "whole.csv", "killed.csv"), ("--jsonl", "whole.jsonl", "killed.jsonl")] {
        let predict = |more: &str| predict(&folder, &format!("clips/* {option} {more}"));
        let expected = predict(whole).run().exits(1);
        expected.says(&["000003.png: not a readable", "1 of 300 files could not be classified", "tried again where"]);
        assert_eq!(expected.stdout, "");
        let mut call = predict(killed).start();
        call.wait_until("forty lines", || lines(&path(killed)) >= 40);
        call.stop_by("KILL");
        let mut bytes = fs::read(path(killed)).unwrap();
        bytes.truncate(bytes.len() - 7);
        fs::write(path(killed), bytes).unwrap();
        let before = lines(&path(killed)) - usize::from(option == "--csv");
        let resumed = predict(killed).run().exits(1);
        resumed.says(&[&format!("{killed}: {before} files have results already"), "1 of 300 files"]);
        assert!(fs::read(path(killed)).unwrap() == fs::read(path(whole)).unwrap());
        // Nothing is left to do, and the fault is still one.
        predict(killed).run().exits(1).says(&["300 files have", "1 of 300"]);
        assert!(fs::read(path(killed)).unwrap() == fs::read(path(whole)).unwrap());
        predict(&format!("{killed} --threshold 0.5")).run().refuses(&["--threshold"]);
    }
    let text = fs::read_to_string(path("whole.jsonl")).unwrap();
    let results: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(results.len(), CLIPS);
    for (clip, result) in results.iter().enumerate() {
        assert_eq!(result["file"], format!("clips/{clip:03}"));
        assert_eq!((result["error"].is_null(), result["top"].is_null()), (clip != 123, clip == 123));
        assert_eq!(result["model"], results[0]["model"]);
    }
    let text = fs::read_to_string(path("whole.csv")).unwrap();
    let first: Vec<&str> = text.lines().nth(1).unwrap().split(',').collect();
    let head = "file,error,frames,seen,first,last,start,end,answer,class1,probability1,class2,probability2,model";
    assert_eq!((text.lines().next().unwrap(), first[0], first[2]), (head, "clips/000", "8"));
    assert_eq!(first[9], results[0]["top"][0]["class"]);
    assert!((first[10].parse::<f64>().unwrap() - results[0]["top"][0]["probability"].as_f64().unwrap()).abs() < 1e-6);
}

#[test]
fn lists_and_patterns_name_files() {
    let folder = temporary();
    draw(&folder);
    fs::write(folder.join("list.txt"), "clips/007\n\nclips/005\r\n").unwrap();
    let names = |call: Call| -> Vec<String> {
        let document = call.run().succeeds().json();
        document.as_array().unwrap().iter().map(|entry| entry["file"].as_str().unwrap().to_owned()).collect()
    };
    let call = predict(&folder, "--json clips/0[12]1 --list list.txt");
    assert_eq!(names(call), ["clips/011", "clips/021", "clips/007", "clips/005"]);
    let call = predict(&folder, "--json --list -").input(&folder.join("list.txt"));
    assert_eq!(names(call), ["clips/007", "clips/005"]);
    // A name is no pattern where there is a file of that name.
    fs::rename(folder.join("clips/007"), folder.join("clips/[8]")).unwrap();
    assert_eq!(names(predict(&folder, "--json clips/[8]")), ["clips/[8]"]);
    // A link to the folder that it is in, a hidden name and one that is not UTF-8, which ends as `051`.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        std::os::unix::fs::symlink(".", folder.join("clips/loop")).unwrap();
        fs::rename(folder.join("clips/041"), folder.join("clips/.041")).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"clips/\xff051");
        fs::rename(folder.join("clips/051"), folder.join(odd)).unwrap();
        let call = predict(&folder, "--json ./**/*0[456]1 clips/.0*");
        assert_eq!(names(call), ["./clips/061", "./clips/\u{fffd}051", "clips/.041"]);
    }
    let refused = |line, words| predict(&folder, line).run().refuses(&[words]);
    refused("clips/9*", "clips/9*: no such file or folder, and no name");
    refused("clips/[9", "clips/[9 is neither a file nor a pattern");
    fs::write(folder.join("empty.txt"), "\n").unwrap();
    refused("--list empty.txt", "the list names no file");
    fs::write(folder.join("notes.csv"), "file,class\n").unwrap();
    refused("clips/001 --csv notes.csv", "notes.csv holds something else");
    assert_eq!(fs::read_to_string(folder.join("notes.csv")).unwrap(), "file,class\n");
    #[cfg(unix)]
    refused("clips/001 --csv /dev/null", "/dev/null: this is a pipe, socket or device");
    // One file has its line too.
    refused("clips/123 --jsonl one.jsonl", "none of the 1 files could be classified");
    assert_eq!(lines(&folder.join("one.jsonl")), 1);
}
