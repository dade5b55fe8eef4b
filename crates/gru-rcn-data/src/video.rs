//! Video files to frames, by the `ffmpeg` program.
//!
//! FFmpeg runs as a child process with an argument vector (no shell ever sees a file name), may open nothing but local
//! files (`-protocol_whitelist file,pipe`) and only container formats that hold their own pictures (no playlist that
//! names other files, no text file taken for a film), and writes PPM images to a pipe, whose headers tell each frame's
//! size. Rotation metadata is applied, as FFmpeg does by default; non-square pixels are not stretched.
//!
//! **Every decoded frame exactly once.** The frame count in a container's header is not to be trusted: UCF-101's XviD
//! files pack two frames into one packet, and a header may claim 100 frames where 98 can be decoded. `-fps_mode
//! passthrough` keeps FFmpeg from doubling or dropping frames to hold a constant rate, so the count here is that of
//! `ffprobe -count_frames`.
//!
//! Scaling and the conversion to RGB are FFmpeg's, bicubic with its exact-rounding flags. FFmpeg widens the filter when
//! an image shrinks, so nothing aliases. One thread decodes a file: clips are read in parallel, and a damaged file then
//! comes out the same each time.
//!
//! With the feature `pure-decode`, UCF-101's own format can be read without FFmpeg (`PureDecoder`); [`DecoderKind`] is the
//! choice between the two.

mod choice;
mod collect;
mod ppm;
mod process;
#[cfg(feature = "pure-decode")]
mod pure;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clip::Frames;
use crate::error::DataError;
use collect::{Flow, FrameStream};
use ppm::Picture;
use process::Decoding;

pub use choice::DecoderKind;
pub(crate) use choice::VideoDecoder;
#[cfg(feature = "pure-decode")]
pub use pure::PureDecoder;

/// Names the program to run in place of `ffmpeg`.
const PROGRAM_VARIABLE: &str = "GRU_RCN_FFMPEG";

/// FFmpeg's demuxers for files that hold their own pictures.
const FORMATS: &str = "3gp,asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mp4,mpeg,mpegts,mpegvideo,mxf,nut,\
                       obu,ogg,rm,webm,wtv,yuv4mpegpipe";

/// Bounds on what one file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most frames of one file. Default 100 000.
    pub max_frames: usize,
    /// Most pixels of a side, before and after scaling. Default 8192.
    pub max_side: usize,
    /// Most bytes of a decoded clip in memory. Default 2 GiB.
    pub max_bytes: usize,
    /// Longest time one pass over a file may take. Default 10 minutes.
    pub timeout: Duration,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_frames: 100_000, max_side: 8192, max_bytes: 2 << 30, timeout: Duration::from_secs(600) }
    }
}

impl DecodeLimits {
    /// Checks `frames` frames of `frame_bytes` against the limits.
    pub(crate) fn check(&self, path: &Path, frames: usize, frame_bytes: usize) -> Result<(), DataError> {
        let too_large = |limit, allowed| DataError::TooLarge { path: path.to_owned(), limit, allowed };
        if frames > self.max_frames {
            return Err(too_large("max_frames", self.max_frames));
        }
        if frames.checked_mul(frame_bytes).is_none_or(|bytes| bytes > self.max_bytes) {
            return Err(too_large("max_bytes", self.max_bytes));
        }
        Ok(())
    }

    pub(crate) fn check_side(&self, path: &Path, height: usize, width: usize) -> Result<(), DataError> {
        if height.max(width) <= self.max_side {
            return Ok(());
        }
        Err(DataError::TooLarge { path: path.to_owned(), limit: "max_side", allowed: self.max_side })
    }
}

/// The size frames are brought to while they are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// As they are stored.
    Source,
    /// The shorter side gets this many pixels, the other keeps the aspect ratio, rounded to the nearest pixel, at least 1.
    ShortSide(usize),
    /// Exactly this many pixels; the aspect ratio may change.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl FrameSize {
    /// The filter chain for FFmpeg.
    fn filter(self) -> String {
        let flags = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact,format=rgb24";
        match self {
            Self::Source => format!("scale={flags}"),
            Self::Exact { height, width } => format!("scale={width}:{height}:{flags}"),
            Self::ShortSide(n) => format!(
                "scale='if(lt(iw,ih),{n},max(1,round(iw*{n}/ih)))':'if(lt(iw,ih),max(1,round(ih*{n}/iw)),{n})':{flags}"
            ),
        }
    }

    /// The size, height and width, that a frame of `height` × `width` is brought to.
    pub fn of(self, height: usize, width: usize) -> (usize, usize) {
        let scaled = |long: usize, n: usize, short: usize| {
            ((long as f64 * n as f64 / short.max(1) as f64).round() as usize).max(1)
        };
        match self {
            Self::Source => (height, width),
            Self::Exact { height, width } => (height, width),
            Self::ShortSide(n) if width < height => (scaled(height, n, width), n),
            Self::ShortSide(n) => (n, scaled(width, n, height)),
        }
    }

    fn validate(self, path: &Path, limits: &DecodeLimits) -> Result<(), DataError> {
        let (height, width) = match self {
            Self::Source => return Ok(()),
            Self::ShortSide(n) => (n, n),
            Self::Exact { height, width } => (height, width),
        };
        if height == 0 || width == 0 {
            return Err(DataError::setting("frame_size", format!("{height}x{width}"), "sides are at least 1 pixel"));
        }
        limits.check_side(path, height, width)
    }
}

/// The `ffmpeg` program.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    limits: DecodeLimits,
}

impl Ffmpeg {
    /// Finds the program: the path in the environment variable `GRU_RCN_FFMPEG` if set, else `ffmpeg` on `PATH`.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`], with the line that installs it.
    pub fn locate() -> Result<Self, DataError> {
        match std::env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()) {
            Some(program) => Self::at(Path::new(&program)),
            None => Self::at(Path::new("ffmpeg")),
        }
    }

    /// Uses the program at `path`; a bare name is looked up on `PATH`.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`] when it cannot be run or does not answer as FFmpeg does.
    pub fn at(path: &Path) -> Result<Self, DataError> {
        let missing = |reason: String| DataError::FfmpegMissing { program: path.to_owned(), reason };
        let output = Command::new(path)
            .args(["-nostdin", "-hide_banner", "-version"])
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|error| missing(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default();
        let version = first.strip_prefix("ffmpeg version ").and_then(|rest| rest.split_whitespace().next());
        match version {
            Some(version) if output.status.success() => {
                Ok(Self { program: path.to_owned(), version: version.to_owned(), limits: DecodeLimits::default() })
            }
            _ => Err(missing(format!("`-version` answered `{first}`, {}", output.status))),
        }
    }

    /// The same program with other limits.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The program's own version, such as `7.1` or `5.1.9-0+deb12u1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Decodes every frame of the first video stream, each exactly once, to RGB `[time, height, width, 3]`.
    ///
    /// # Errors
    /// A distinct [`DataError`] for: no such file, a folder, an empty file, not a video, no frames, a file that breaks
    /// off, a limit met, a timeout.
    pub fn decode(&self, path: &Path, size: FrameSize) -> Result<Frames, DataError> {
        collect::decode_all(self, path, size)
    }

    /// Counts the frames that [`Ffmpeg::decode`] would give, without keeping them.
    ///
    /// # Errors
    /// As [`Ffmpeg::decode`].
    pub fn count(&self, path: &Path) -> Result<usize, DataError> {
        Ok(self.inspect(path)?.0)
    }

    /// Counts the frames and returns with them the last of what FFmpeg complained about, empty for a sound file.
    ///
    /// FFmpeg conceals damage where it can: it paints over a torn frame, says so and goes on. [`Ffmpeg::decode`] accepts
    /// such files, as every other reader of these data sets does; whoever verifies a data set asks here.
    ///
    /// # Errors
    /// As [`Ffmpeg::decode`].
    pub fn inspect(&self, path: &Path) -> Result<(usize, String), DataError> {
        // Tiny frames: what is left of the work is the decoding itself.
        let mut frames = 0;
        let mut decoding = self.start(path, FrameSize::Exact { height: 2, width: 2 })?;
        decoding.for_each(|_| {
            frames += 1;
            self.limits.check(path, frames, 0)?;
            Ok(Flow::Continue)
        })?;
        Ok((frames, decoding.finish()?))
    }

    /// Decodes only some frames of a file too long for memory, in two passes: the first counts, `select` names the
    /// frames for that count (any order, repeats allowed), the second keeps them.
    ///
    /// Returns the selected frames in the order of `select` and the number of frames in the file.
    ///
    /// # Errors
    /// As [`Ffmpeg::decode`]; [`DataError::Shape`] when `select` names no frame or one that does not exist.
    pub fn decode_selected(
        &self,
        path: &Path,
        size: FrameSize,
        select: impl FnOnce(usize) -> Vec<usize>,
    ) -> Result<(Frames, usize), DataError> {
        let total = self.count(path)?;
        let frames = collect::decode_selected(self, path, size, &select(total), total)?;
        Ok((frames, total))
    }

    /// The decoder's own limit on areas. It counts a decoder's margins too, so it is looser than `max_side`, which is
    /// checked on the frames that come out.
    fn most_pixels(&self) -> usize {
        let side = self.limits.max_side.saturating_add(512);
        side.saturating_mul(side).min(i32::MAX as usize)
    }

    fn start(&self, path: &Path, size: FrameSize) -> Result<Decoding, DataError> {
        check_file(path)?;
        size.validate(path, &self.limits)?;
        let mut input = std::ffi::OsString::from("file:");
        input.push(path);
        let mut command = Command::new(&self.program);
        command
            .args(["-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file,pipe"])
            .args(["-format_whitelist", FORMATS, "-threads", "1"])
            .arg("-max_pixels")
            .arg(self.most_pixels().to_string())
            .arg("-i")
            .arg(input)
            // Capital V: a cover picture of a sound file is not a video.
            .args(["-map", "0:V:0", "-fps_mode", "passthrough", "-vf"])
            .arg(size.filter())
            .args(["-f", "image2pipe", "-c:v", "ppm", "pipe:1"]);
        Decoding::start(command, path, &self.limits)
    }
}

impl FrameStream for Ffmpeg {
    fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    fn stream(
        &self,
        path: &Path,
        size: FrameSize,
        take: &mut dyn FnMut(Picture) -> Result<Flow, DataError>,
    ) -> Result<(), DataError> {
        let mut decoding = self.start(path, size)?;
        // A program that was stopped has no ending to be checked.
        if decoding.for_each(take)? == Flow::Continue {
            decoding.finish()?;
        }
        Ok(())
    }
}

/// Tells the plain mistakes apart before a decoder is asked.
fn check_file(path: &Path) -> Result<(), DataError> {
    let metadata = fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if metadata.is_dir() {
        return Err(DataError::IsDirectory(path.to_owned()));
    }
    if !metadata.is_file() {
        let words = "it is a device, pipe or socket, not a regular file".to_owned();
        return Err(DataError::NotVideo { path: path.to_owned(), words });
    }
    if metadata.len() == 0 {
        return Err(DataError::EmptyFile(path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
