//! Short films drawn by FFmpeg, in the containers that FFmpeg can write on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Returns from the test that calls it, and says so, where FFmpeg is not installed.
#[macro_export]
macro_rules! needs_ffmpeg {
    () => {
        if !$crate::films::has_ffmpeg() {
            $crate::skip!("apt install ffmpeg");
        }
    };
}

/// Whether FFmpeg is installed.
pub fn has_ffmpeg() -> bool {
    static INSTALLED: LazyLock<bool> = LazyLock::new(|| {
        let starts = |program| Command::new(program).arg("-version").output().is_ok_and(|out| out.status.success());
        ["ffmpeg", "ffprobe"].into_iter().all(starts)
    });
    *INSTALLED
}

/// Frames of every film: two seconds at ten frames a second.
pub const FRAMES: usize = 20;

/// The classes of [`draw_classes`], each with its own motion.
pub const CLASSES: [&str; 3] = ["life", "scroll", "zoom"];

/// Clips of each class.
pub const CLIPS: usize = 6;

/// Containers with their possible encoders, the preferred one first.
const CONTAINERS: [(&str, &[&str]); 4] = [
    ("mp4", &["libx264", "libopenh264", "mpeg4"]),
    ("avi", &["mpeg4", "mjpeg"]),
    ("mkv", &["libx264", "ffv1"]),
    ("webm", &["libvpx", "libvpx-vp9"]),
];

/// The source filter of FFmpeg for one clip of a class.
pub fn source(class: &str, clip: usize) -> String {
    match class {
        "life" => format!("life=size=96x64:rate=10:ratio=0.3:mold=20:seed={}", clip + 1),
        "scroll" => format!("testsrc2=size=96x64:rate=10,scroll=h=0.0{},hue=h={}", clip + 2, clip * 50),
        "zoom" => format!("mandelbrot=size=96x64:rate=10:start_scale={}", 3.0 - 0.3 * clip as f64),
        other => panic!("there is no source of {other}"),
    }
}

/// Draws a film of [`FRAMES`] frames in the container of the extension. A name such as `%06d.png`
/// makes a folder of frames.
pub fn draw(path: &Path, source: &str, encoder: &str) {
    let frames = FRAMES.to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", source, "-frames:v", &frames]);
    command.args(["-pix_fmt", if encoder == "png" { "rgb24" } else { "yuv420p" }, "-c:v", encoder]).arg(path);
    let output = command.output().expect("this test needs FFmpeg: apt install ffmpeg");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The containers that can be written on this machine, with the encoder for each.
pub fn containers() -> Vec<(&'static str, &'static str)> {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).output();
    let text = output.expect("this test needs FFmpeg: apt install ffmpeg").stdout;
    let text = String::from_utf8_lossy(&text);
    // ` V..... libx264   words`
    let has = |encoder: &str| text.lines().any(|line| line.split_whitespace().nth(1) == Some(encoder));
    let usable = |(container, encoders): (&'static str, &[&'static str])| {
        encoders.iter().find(|encoder| has(encoder)).map(|encoder| (container, *encoder))
    };
    CONTAINERS.into_iter().filter_map(usable).collect()
}

/// Draws a folder of [`CLIPS`] clips per class, their containers in turn; the last clip of the
/// first class is a folder of PNG frames. Returns the clips' paths in the order of classes and
/// clips.
pub fn draw_classes(root: &Path) -> Vec<PathBuf> {
    let containers = containers();
    assert!(!containers.is_empty(), "this FFmpeg can write no container");
    let mut paths = Vec::new();
    for (index, class) in CLASSES.into_iter().enumerate() {
        let folder = root.join(class);
        std::fs::create_dir_all(&folder).expect("a folder");
        for clip in 0..CLIPS {
            let mut path = folder.join(format!("clip-{clip}"));
            if (index, clip) == (0, CLIPS - 1) {
                std::fs::create_dir(&path).expect("a folder");
                draw(&path.join("%06d.png"), &source(class, clip), "png");
            } else {
                let (container, encoder) = containers[(index + clip) % containers.len()];
                path.set_extension(container);
                draw(&path, &source(class, clip), encoder);
            }
            paths.push(path);
        }
    }
    paths
}
