//! Temporary folders, small films and planners for the tests of several modules.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use image::{Rgb, RgbImage};

use crate::base::read_folder;
use crate::{ClipPlanner, ClipSource, CropRule, DataError, Modality, Photometric, Sample, TemporalSampling};

/// A switch that cancels nothing.
pub(crate) static GO: AtomicBool = AtomicBool::new(false);

/// Prints why a test is skipped. The harness captures only what the macros print.
pub(crate) fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// The clips in `GRU_RCN_TEST_DATA/ucf101`, which are not part of this project; none if the variable is
/// not set.
pub(crate) fn ucf101_clips() -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("GRU_RCN_TEST_DATA").filter(|root| !root.is_empty()) else {
        say("SKIPPED: set GRU_RCN_TEST_DATA to a folder that holds ucf101 to run this test");
        return Vec::new();
    };
    let folder = |path: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = read_folder(path).expect("a folder").iter().map(fs::DirEntry::path).collect();
        paths.sort();
        paths
    };
    let classes = folder(&Path::new(&root).join("ucf101"));
    let clips: Vec<_> = classes.iter().filter(|path| path.is_dir()).flat_map(|class| folder(class)).collect();
    assert!(!clips.is_empty(), "GRU_RCN_TEST_DATA names a folder without clips in ucf101");
    clips
}

/// Asserts that a result is an error whose message has all of `words`.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, DataError>, words: &[&str]) {
    let error = result.err().expect("an error").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

/// Tests of the macro `named`: the names of enums are those of JSON and are read back.
mod names {
    use crate::base::Split;
    use crate::{DataError, FlowMethod, Layout};

    fn read_back<T>(all: &[T], known: &str)
    where
        T: std::str::FromStr<Err = DataError> + std::fmt::Display + std::fmt::Debug + PartialEq + serde::Serialize,
    {
        for value in all {
            assert_eq!(value.to_string().parse::<T>().unwrap(), *value);
            assert_eq!(serde_json::to_string(value).unwrap(), format!("\"{value}\""));
        }
        super::refused("farneback".parse::<T>(), &["farneback", known]);
    }

    #[test]
    fn names_are_read_and_written() {
        read_back(&Split::ALL, "`split`");
        read_back(&[Layout::Ucf101, Layout::Hmdb51, Layout::Msvd, Layout::Folder], "ucf101");
        read_back(&[FlowMethod::TvL1, FlowMethod::Dis], "tvl1");
        assert_eq!("val".parse::<Split>().unwrap(), Split::Validation);
    }
}

/// Writes a file below `root`, and the folders above it.
pub(crate) fn put(root: &Path, file: &str, content: impl AsRef<[u8]>) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, content).expect("writing");
}

/// Every file below a folder with its content, by its path relative to the folder.
pub(crate) fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in read_folder(&folder).expect("a folder").iter().map(fs::DirEntry::path) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("a path below the root").display().to_string();
                files.insert(name, fs::read(&path).expect("reading"));
            }
        }
    }
    files
}

/// Saves a frame of `height` × `width` as an image. Its colours depend on place and number.
pub(crate) fn save_frame(path: &Path, [height, width]: [u32; 2], t: u32) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    let value = |x: u32, y: u32| Rgb([(t * 40) as u8, (x * 9) as u8, (y * 11) as u8]);
    RgbImage::from_fn(width, height, value).save(path).expect("saving");
}

/// A PNG and a JPEG of a few bytes whose headers state 60 000 × 60 000 pixels, 10.8 GB decoded.
pub(crate) fn huge_images() -> [Vec<u8>; 2] {
    let coded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbImage::new(16, 16).write_to(&mut bytes, format).expect("coding");
        bytes.into_inner()
    };
    let (mut png, mut jpeg) = (coded(image::ImageFormat::Png), coded(image::ImageFormat::Jpeg));
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    // The checksum of that header.
    png[29..33].copy_from_slice(&[0x0f, 0xb0, 0xe2, 0x15]);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    [png, jpeg]
}

/// A sample called `a/b`, of class 0.
pub(crate) fn sample(source: ClipSource) -> Sample {
    Sample { id: "a/b".to_owned(), class: 0, appearance: None, source }
}

/// A planner of RGB clips from the middle of the frame, mirrored in training.
pub(crate) fn planner(temporal: TemporalSampling, frame_size: [usize; 2], input_size: [usize; 2]) -> ClipPlanner {
    let (crop, photometric) = (CropRule::Centre, Photometric::default());
    ClipPlanner { modality: Modality::Rgb, temporal, frame_size, input_size, crop, flip: true, photometric }
}

pub(crate) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Makes the video `name` in `folder` from `frames` frames of an FFmpeg source such as
/// `testsrc=size=32x32:rate=5`.
pub(crate) fn make_video(folder: &Path, name: &str, source: &str, frames: usize) -> PathBuf {
    make_with(folder, name, source, frames, &["-c:v", "mpeg4"])
}

pub(crate) fn make_with(folder: &Path, name: &str, source: &str, frames: usize, extra: &[&str]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    let frames = frames.to_string();
    let made = folder.join(format!("made.{}", path.extension().expect("an extension").to_string_lossy()));
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", source])
        .args(extra)
        .args(["-frames:v", &frames])
        .arg(&made)
        .status()
        .expect("these tests need FFmpeg: apt install ffmpeg");
    assert!(status.success(), "FFmpeg could not make {name}");
    fs::rename(&made, &path).expect("renaming");
    path
}
