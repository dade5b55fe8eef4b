//! What the tests of several modules need: temporary folders and small films.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dataset::PreparedClip;

/// A prepared clip of so many fields of flow, height and width, whose x is 100 + t and whose y is 50 + t, without loss.
pub(crate) fn flow_clip(folder: &Path, fields: u8, [height, width]: [usize; 2]) -> PreparedClip {
    let flow = folder.join("flow");
    for (name, base) in [("x", 100), ("y", 50)] {
        std::fs::create_dir_all(flow.join(name)).expect("a folder");
        for t in 0..fields {
            let image = image::GrayImage::from_pixel(width as u32, height as u32, image::Luma([base + t]));
            image.save(flow.join(name).join(format!("{t:06}.png"))).expect("saving");
        }
    }
    PreparedClip {
        frames_dir: folder.join("frames"),
        flow_dir: Some(flow),
        frames: usize::from(fields) + 1,
        flow: fields.into(),
        height,
        width,
        sha256: String::new(),
    }
}

pub(crate) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Makes `name` in `folder` with `frames` frames of an FFmpeg source such as `testsrc=size=32x32:rate=5`.
pub(crate) fn make_video(folder: &Path, name: &str, source: &str, frames: usize) -> PathBuf {
    make_with(folder, name, source, frames, &["-c:v", "mpeg4"])
}

pub(crate) fn make_with(folder: &Path, name: &str, source: &str, frames: usize, extra: &[&str]) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    let frames = frames.to_string();
    let made = folder.join(format!("made.{}", path.extension().expect("an extension").to_string_lossy()));
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", &frames])
        .args(extra)
        .arg(&made)
        .status()
        .expect("these tests need FFmpeg: apt install ffmpeg");
    assert!(status.success(), "FFmpeg could not make {name}");
    std::fs::rename(&made, &path).expect("renaming");
    path
}
