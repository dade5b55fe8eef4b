//! Measures how much of the maps that `gru-rcn explain` writes lies on the shape that moves.
//!
//! `explained_motion PROGRAM RUN CLIPS` explains the first test clips of a run on generated motions,
//! and prints lines for each level and map: the shares of the positive values and of the cells that
//! touch the box around the shape, alone and with the cells next to them. It needs FFmpeg.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use gru_rcn_data::{MOTIONS, MotionClip, Split};
use gru_rcn_tests::explained::{Mass, masses};
use gru_rcn_tests::long::encode;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [program, run, clips] = &words[..] else {
        eprintln!("usage: explained_motion PROGRAM RUN CLIPS");
        std::process::exit(2);
    };
    let recipe = std::fs::read_to_string(Path::new(run).join("recipe.toml")).expect("a run");
    let section = recipe.split("[data.motion]").nth(1).expect("a run on generated motions");
    let setting =
        |key: &str| section.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('=')).map(str::trim);
    let number = |key: &str| setting(key).and_then(|value| value.parse::<u64>().ok()).expect("a setting of the clips");
    let folder = tempfile::tempdir().expect("a folder");
    let (video, out) = (folder.path().join("clip.mkv"), folder.path().join("out"));
    let mut found: BTreeMap<(String, &str, usize), Mass> = BTreeMap::new();
    for index in 0..clips.parse().expect("a number of clips") {
        let clip = MotionClip {
            size: number("size") as usize,
            frames: number("frames") as usize,
            seed: number("seed"),
            split: Split::Test,
            index,
            background: setting("background") == Some("true"),
        };
        if clip.motion() == MOTIONS.len() {
            continue;
        }
        encode(&video, clip.size, MotionClip::FPS, &["-c:v", "ffv1", "-pix_fmt", "bgr0"], |write| {
            write(&clip.render().data)
        });
        let mut explain = Command::new(program);
        explain.arg("explain").arg(&video).args(["--run", run, "--out"]).arg(&out);
        assert!(explain.stdout(Stdio::null()).status().is_ok_and(|status| status.success()), "{explain:?}");
        let text = std::fs::read_to_string(out.join("explain.json")).expect("numbers");
        let document = serde_json::from_str(&text).expect("a JSON document");
        for (map, margin) in [("activation", 0), ("activation", 1), ("attribution", 0), ("attribution", 1)] {
            for (level, mass) in masses(&document, map, &clip, margin) {
                found.entry((level, map, margin)).or_default().add(&mass);
            }
        }
    }
    for ((level, map, margin), mass) in found {
        let [positive, cells] = mass.shares().map(|share| 100.0 * share);
        println!(
            "{level:<6} {map:<11} margin {margin}: {positive:5.1} % of what is positive, {cells:5.1} % of the cells"
        );
    }
}
