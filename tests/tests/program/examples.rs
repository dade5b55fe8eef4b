//! The examples of the libraries run and print what they promise.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use gru_rcn_tests::films;
use gru_rcn_tests::needs_ffmpeg;

use crate::harness::temporary;

/// Runs an example that was built with these tests; returns its standard output.
fn example<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_gru-rcn-program")).with_file_name("examples").join(name);
    assert!(program.exists(), "there is no {}: cargo build --release --workspace --examples", program.display());
    let output = Command::new(&program).args(arguments).output().expect("the example starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text on standard output")
}

const NONE: [&str; 0] = [];

/// The first frame does not tell where a dot goes, so a layer without memory would get half of them.
#[test]
fn a_layer_learns_where_dots_go() {
    let text = example("conv_gru", NONE);
    assert!(text.ends_with("16 of 16 unseen dots forecast\n"), "{text}");
}

#[test]
fn percepts_of_a_picture_have_the_shapes_of_squeezenet() {
    let text = example("percepts", NONE);
    let levels: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(levels[0], ["pool1", "96", "54x54"], "{text}");
    assert_eq!(levels.len(), 4, "{text}");
}

/// Two clips of three classes.
#[test]
fn a_backbone_of_ones_own_is_classified_over() {
    assert!(example("own_backbone", NONE).contains("[2, 3]"));
}

/// Train on a folder, name a clip, watch one.
#[test]
fn a_folder_is_trained_on_and_its_model_used() {
    needs_ffmpeg!();
    let folder = temporary();
    let (clips, run) = (folder.join("clips"), folder.join("run"));
    let paths = films::draw_classes(&clips);
    let trained = example("fine_tune", [&clips, &run]);
    assert!(trained.contains("of 3 test clips correct"), "{trained}");
    let named = example("classify", [&run, &paths[1], &paths[5]]);
    assert!(named.contains("clip-1") && named.matches('%').count() == 6, "{named}");
    let watched = example("stream", [&run, &paths[1]]);
    assert!(watched.ends_with(&format!("{} frames\n", films::FRAMES)), "{watched}");
}

/// The first picture moved by one pixel to the right.
#[test]
fn the_flow_of_two_pictures_is_drawn() {
    let folder = temporary();
    let draw = |name: &str, shift: u32| {
        let wave = |x: u32, y: u32| {
            (128.0 + 60.0 * (f64::from(x + 90 - shift) / 7.0).sin() * (f64::from(y) / 5.0).cos()) as u8
        };
        let path = folder.join(name);
        image::GrayImage::from_fn(64, 48, |x, y| image::Luma([wave(x, y)])).save(&path).unwrap();
        path
    };
    let out = folder.join("flow.png");
    let text = example("flow", [&draw("first.png", 0), &draw("second.png", 1), &out]);
    let words: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!((words[0] - 1.0).abs() < 0.2 && words[1].abs() < 0.2, "{text}");
    assert_eq!(image::image_dimensions(out).unwrap(), (64, 48));
}

/// A candidate that is its reference scores 1, but 10 by CIDEr-D.
#[test]
fn captions_are_scored() {
    let folder = temporary();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let references = file("references", "1\ta man is playing a guitar\n2\ta dog runs on the grass\n");
    let candidates = file("candidates", "1\ta man is playing a guitar\n2\ta dog runs on the grass\n");
    let text = example("score_captions", [&references, &candidates]);
    assert!(text.contains("BLEU-4   1.0000") && text.contains("CIDEr-D  10.0000"), "{text}");
}
