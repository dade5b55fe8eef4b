//! The decoder on original UCF-101 clips, whose XviD files pack two frames into one packet and so
//! are counted differently by different decoders. The clips are not part of this project: the test
//! runs where the environment variable `GRU_RCN_TEST_DATA` names a folder whose part `ucf101` has
//! class folders of them, and says so where it is skipped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use gru_rcn_data::{Ffmpeg, SizeRule, VideoDecoder};

/// What `ffprobe` counts after decoding.
fn probe(path: &Path) -> usize {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("this test needs ffprobe, which comes with FFmpeg");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().expect("a number from ffprobe")
}

fn clips(root: &Path) -> Vec<PathBuf> {
    let folder = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).expect("a folder of class folders");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    folder(root).iter().filter(|path| path.is_dir()).flat_map(|class| folder(class)).collect()
}

#[test]
fn ucf101_counts_are_those_of_decoding() {
    let Some(root) = std::env::var_os("GRU_RCN_TEST_DATA").filter(|root| !root.is_empty()) else {
        let words = "SKIPPED: set GRU_RCN_TEST_DATA to a folder that holds ucf101 to run this test";
        // Past the capture of the test harness, which would swallow the words of a test that
        // passes.
        let _ = writeln!(std::io::stderr(), "{words}");
        return;
    };
    let ffmpeg = Ffmpeg::locate().expect("this test needs FFmpeg: apt install ffmpeg");
    let clips = clips(&Path::new(&root).join("ucf101"));
    assert!(!clips.is_empty(), "GRU_RCN_TEST_DATA names a folder without clips in ucf101");
    for path in clips {
        let frames = ffmpeg.decode(&path, SizeRule::ShortSide { pixels: 64 }).expect("a decodable clip");
        let (counted, probed) = (ffmpeg.count(&path).expect("a countable clip"), probe(&path));
        println!("{} {} {probed}", path.display(), frames.time);
        assert_eq!((frames.time, counted), (probed, probed), "{}", path.display());
        assert_eq!((frames.height, frames.width), (64, 85));
    }
}
