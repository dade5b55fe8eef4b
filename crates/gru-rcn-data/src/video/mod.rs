//! Decoding of video files.
//!
//! A [`VideoDecoder`] opens a file and returns [`VideoFrames`]: every decoded frame once, in display
//! order, with its time stamp. Both reading and preparing use this interface. The decoder is the
//! `ffmpeg` program ([`Ffmpeg`]).
//!
//! **Every decoded frame exactly once.** The frame count in a container's header may be wrong:
//! UCF-101's XviD files pack two frames into one packet, and a header may claim 100 frames of which
//! 98 can be decoded. Frames are counted as `ffprobe -count_frames` counts them.

mod ffmpeg;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use crate::base::{DataError, DecodeLimits, Frames};
use crate::image::SizeRule;

#[cfg(fuzzing)]
pub use ffmpeg::ffmpeg_output;
pub use ffmpeg::{Ffmpeg, StreamInput};

/// Name and version of a decoder. Two decoders, and two versions of one, may give other pixels and
/// other counts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct DecoderId {
    /// Its name, such as `ffmpeg`.
    pub name: String,
    /// Its own version.
    pub version: String,
}

/// One decoded frame.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoFrame {
    /// Presentation time in seconds on the stream's own clock, which need not start at 0. `None` if the
    /// stream does not state it.
    pub time: Option<f64>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// RGB `[height, width, 3]`.
    pub pixels: Vec<u8>,
}

/// Decodes video files. Several threads use one decoder at the same time.
pub trait VideoDecoder: fmt::Debug + Send + Sync {
    /// Name and version of the decoder. The manifest of a prepared folder records them.
    fn id(&self) -> DecoderId;

    /// The limits on one file.
    fn limits(&self) -> &DecodeLimits;

    /// Starts to decode a file. [`VideoDecoder::open`] calls this after checking file and size, and
    /// applies the common rules to the frames.
    ///
    /// # Errors
    /// Those of the file, naming it, and a decoder that cannot be run.
    fn start(&self, path: &Path, size: SizeRule) -> Result<Box<dyn FrameSource>, DataError>;

    /// Opens the first video stream of a file, with its frames resized to `size`.
    ///
    /// # Errors
    /// A distinct [`DataError`] for: no such file, a folder, an empty file, a size out of range, a
    /// decoder that cannot be run. The frames return the errors of the stream itself.
    fn open(&self, path: &Path, size: SizeRule) -> Result<VideoFrames, DataError> {
        check_file(path)?;
        size.validate(path, self.limits())?;
        Ok(VideoFrames::new(path, *self.limits(), self.start(path, size)?))
    }

    /// Decodes every frame of a file to RGB `[time, height, width, 3]`.
    ///
    /// # Errors
    /// Those of [`VideoDecoder::open`] and [`VideoFrames`]; [`DataError::TooLarge`] for a clip of
    /// more than `max_bytes`.
    fn decode(&self, path: &Path, size: SizeRule) -> Result<Frames, DataError> {
        self.decode_with_rate(path, size).map(|(clip, _)| clip)
    }

    /// As [`VideoDecoder::decode`], with the mean number of frames per second.
    ///
    /// # Errors
    /// Those of [`VideoDecoder::decode`].
    fn decode_with_rate(&self, path: &Path, size: SizeRule) -> Result<(Frames, Option<f64>), DataError> {
        let mut clip = no_frames();
        let mut frames = self.open(path, size)?;
        for frame in frames.by_ref() {
            let bytes = append(&mut clip, &frame?);
            self.limits().check(path, clip.time, bytes)?;
        }
        Ok((clip, frames.mean_rate()))
    }

    /// Decodes some frames of a file of any length. `select` gets the number of all frames and the mean
    /// number per second, and names frames in any order, repeats allowed. Returns these frames in that
    /// order, with the number of all frames.
    ///
    /// The file is read once if all its frames fit into `max_bytes`. Otherwise a first pass only counts
    /// the frames, and a second one keeps the selected ones.
    ///
    /// # Errors
    /// As [`VideoDecoder::decode`], but `max_frames` and `max_bytes` apply to the selected frames;
    /// [`DataError::Shape`] if `select` names no frame or one that does not exist.
    fn decode_selected(
        &self,
        path: &Path,
        size: SizeRule,
        select: &mut dyn FnMut(usize, Option<f64>) -> Vec<usize>,
    ) -> Result<(Frames, usize), DataError> {
        let (mut clip, mut total, mut fits) = (no_frames(), 0, true);
        let mut frames = self.open(path, size)?.of_any_length();
        for frame in frames.by_ref() {
            let frame = frame?;
            total += 1;
            fits = fits && self.limits().check(path, total, frame.pixels.len()).is_ok();
            if fits {
                append(&mut clip, &frame);
            } else {
                clip = no_frames();
            }
        }
        let selected = select(total, frames.mean_rate());
        if selected.is_empty() || selected.iter().any(|&t| t >= total) {
            let path = path.display();
            return Err(DataError::Shape(format!("{path}: cannot select frames {selected:?} of {total}")));
        }
        let mut wanted: Vec<usize> = if fits { (0..total).collect() } else { selected.clone() };
        if !fits {
            wanted.sort_unstable();
            wanted.dedup();
            let mut seen = 0;
            for (t, frame) in self.open(path, size)?.of_any_length().take(wanted[wanted.len() - 1] + 1).enumerate() {
                let frame = frame?;
                seen = t + 1;
                if wanted[clip.time] == t {
                    let bytes = append(&mut clip, &frame);
                    self.limits().check(path, clip.time, bytes)?;
                }
            }
            if clip.time < wanted.len() {
                let words = "the first pass found more; the file changed while it was read".to_owned();
                return Err(DataError::BrokenVideo { path: path.to_owned(), frames: seen, words });
            }
        }
        self.limits().check(path, selected.len(), clip.frame_bytes())?;
        let places = selected.iter().map(|t| wanted.partition_point(|wanted| wanted < t));
        Ok((clip.pick(places)?, total))
    }
}

/// A clip before its first frame.
fn no_frames() -> Frames {
    Frames { data: Vec::new(), time: 0, height: 0, width: 0, channels: 3 }
}

/// Appends a frame of the same size as those before, and returns its number of bytes.
fn append(clip: &mut Frames, frame: &VideoFrame) -> usize {
    (clip.height, clip.width, clip.time) = (frame.height, frame.width, clip.time + 1);
    clip.data.extend_from_slice(&frame.pixels);
    frame.pixels.len()
}

/// One pass of a decoder over a file. [`VideoFrames`] adds the rules that are common to all decoders.
pub trait FrameSource {
    /// The next frame; `None` at the end of the stream. A source that waits for another process returns
    /// [`DataError::Timeout`] at `deadline`.
    ///
    /// # Errors
    /// Those of the file, naming it.
    fn next_frame(&mut self, deadline: Instant) -> Result<Option<VideoFrame>, DataError>;

    /// Frames per second according to the container; known from the first frame on.
    fn rate(&self) -> Option<f64> {
        None
    }

    /// The decoder's messages on damage, if it gave frames all the same; known at the end of the stream.
    fn warnings(&self) -> &str {
        ""
    }
}

/// A source of frames without rate and warnings.
impl<F: FnMut() -> Result<Option<VideoFrame>, DataError>> FrameSource for F {
    fn next_frame(&mut self, _: Instant) -> Result<Option<VideoFrame>, DataError> {
        self()
    }
}

/// The frames of one file, as an iterator.
///
/// It ends after the last frame or the first error. Errors are: a stream without frames, a file that
/// is damaged or breaks off, frames of different sizes, more frames than `max_frames`, a side above
/// `max_side`, and decoding that takes longer than `timeout`. The time that the caller spends between
/// two frames does not count.
pub struct VideoFrames {
    path: PathBuf,
    limits: DecodeLimits,
    source: Box<dyn FrameSource>,
    frames: usize,
    size: Option<[usize; 2]>,
    /// Time stamps of the first and of the last frame.
    times: [Option<f64>; 2],
    spent: Duration,
    any_length: bool,
    ended: bool,
}

impl VideoFrames {
    pub(crate) fn new(path: &Path, limits: DecodeLimits, source: Box<dyn FrameSource>) -> Self {
        let (path, spent) = (path.to_owned(), Duration::ZERO);
        Self { path, limits, source, frames: 0, size: None, times: [None; 2], spent, any_length: false, ended: false }
    }

    /// Allows any number of frames, for callers that do not keep them all: `timeout` applies to each
    /// frame, and `max_frames` does not apply.
    pub fn of_any_length(self) -> Self {
        Self { any_length: true, ..self }
    }

    /// Frames per second according to the container, from the first frame on; `None` if it states
    /// none. FFmpeg rounds them to hundredths; time stamps are exact.
    pub fn rate(&self) -> Option<f64> {
        self.source.rate()
    }

    /// Mean number of frames per second so far, by the time stamps of the first and the last frame; if
    /// they have none, the rate in the container.
    pub fn mean_rate(&self) -> Option<f64> {
        let measured = match (self.frames, self.times) {
            (2.., [Some(first), Some(last)]) => Some((self.frames - 1) as f64 / (last - first)),
            _ => None,
        };
        measured.filter(|rate| rate.is_finite() && *rate > 0.0).or_else(|| self.rate())
    }

    /// The decoder's messages on damage: FFmpeg conceals damage where it can, and goes on. Known after
    /// the last frame; empty for a sound file.
    pub fn warnings(&self) -> &str {
        self.source.warnings()
    }

    fn next_frame(&mut self) -> Result<Option<VideoFrame>, DataError> {
        let (path, began) = (&self.path, Instant::now());
        let next = self.source.next_frame(began + self.limits.timeout.saturating_sub(self.spent))?;
        self.spent += began.elapsed();
        if self.spent > self.limits.timeout {
            return Err(DataError::Timeout { path: path.clone(), limit: self.limits.timeout });
        }
        let Some(frame) = next else {
            let words = self.source.warnings().to_owned();
            return if self.frames > 0 { Ok(None) } else { Err(DataError::NoFrames { path: path.clone(), words }) };
        };
        if self.any_length {
            self.spent = Duration::ZERO;
        } else {
            self.limits.check(path, self.frames + 1, 0)?;
        }
        let size = [frame.width, frame.height];
        let first = *self.size.get_or_insert(size);
        if first != size {
            let words = format!("the frame size changes from {first:?} to {size:?}");
            return Err(DataError::BrokenVideo { path: path.clone(), frames: self.frames, words });
        }
        self.frames += 1;
        self.times = [if self.frames == 1 { frame.time } else { self.times[0] }, frame.time];
        Ok(Some(frame))
    }
}

impl Iterator for VideoFrames {
    type Item = Result<VideoFrame, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_frame().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Refuses anything but a regular file with content.
fn check_file(path: &Path) -> Result<(), DataError> {
    let metadata = fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if metadata.is_dir() {
        return Err(DataError::IsDirectory(path.to_owned()));
    }
    if !metadata.is_file() {
        let words = "it is a device, pipe or socket, not a regular file".to_owned();
        return Err(DataError::NotVideo { path: path.to_owned(), words });
    }
    if metadata.len() == 0 { Err(DataError::EmptyFile(path.to_owned())) } else { Ok(()) }
}

/// Reads the key `decoder` of earlier versions, which had a second decoder, `pure`.
pub(crate) fn only_ffmpeg<'de, D: Deserializer<'de>>(key: D) -> Result<(), D::Error> {
    match String::deserialize(key)?.as_str() {
        "ffmpeg" => Ok(()),
        other => Err(serde::de::Error::custom(format!(
            "the decoder `{other}` does not exist: videos are decoded by FFmpeg alone, which has to be installed; \
             remove the key `decoder`"
        ))),
    }
}

#[cfg(test)]
mod tests;
