//! MPEG-4 Part 2 in AVI, the format of UCF-101, decoded within this program (feature `pure-decode`).
//!
//! The macroblocks are decoded by the crate `oxideav-mpeg4video`, plain Rust. This module reads the container, puts packed
//! B-frames in order, refuses what the crate would decode differently from FFmpeg, and makes RGB of the result.
//!
//! **Frames are counted as FFmpeg counts them.** XviD stores two pictures in one chunk and a placeholder in the next, so
//! that there are as many chunks as frames. A picture held over is decoded in place of the next chunk; one that is still
//! held when the file ends is not shown. Placeholders that stand for themselves ("as before") are not shown either.
//!
//! **Nothing doubtful is decoded.** FFmpeg paints over damage; here a picture that cannot be decoded ends the clip with an
//! error, and so does a file that is cut short. Encoders and tools that were not compared with FFmpeg are refused (see
//! `origin`). What is decoded differs from FFmpeg's pictures by the rounding of the inverse cosine transform, which the
//! standard leaves open and which adds up until the next intra frame: of 255, 0.1 on average and 5 at most on UCF-101.

mod avi;
mod colour;
mod origin;
mod pictures;
mod session;
mod stream;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use oxideav_mpeg4video::DecodedFrame;

use super::collect::{self, Flow, FrameStream};
use super::ppm::Picture;
use super::{DecodeLimits, FrameSize, check_file};
use crate::clip::Frames;
use crate::error::DataError;
use crate::manifest::DecoderId;
use crate::prepare::{Decoder, TakeFrame, VideoFrame};
use crate::resize::resize_cubic;
use session::Session;

/// What decodes the macroblocks; the same as in the workspace's manifest.
const CRATE: &str = "oxideav-mpeg4video 0.1.8";

/// Takes decoded frames with their height and width.
type TakeDecoded<'a> = dyn FnMut(&DecodedFrame, (usize, usize)) -> Result<Flow, DataError> + 'a;

/// Decodes MPEG-4 Part 2 in AVI, as UCF-101 has it, without any program or library outside of Rust.
///
/// Gives the same frames in the same order as [`Ffmpeg`](super::Ffmpeg). Their pixels are nearly the same: at the source's
/// size they differ by the rounding of the decoder (of 255, 0.2 on average and 7 at most on the clips that were compared),
/// at any other size also by the scaler, which has FFmpeg's filter but works on RGB (0.3 on average, 23 at most at strong
/// edges). Models should be trained and evaluated with one decoder all the same.
///
/// One thread decodes a file, as with FFmpeg. For preparing a data set it is a [`Decoder`].
#[derive(Clone, Debug, Default)]
pub struct PureDecoder {
    limits: DecodeLimits,
}

impl PureDecoder {
    /// The same decoder with other limits. Besides the clip, `max_bytes` bounds a chunk of the file and what the decoder
    /// itself keeps for pictures of the file's size.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Decodes every frame of the first video stream, each exactly once, to RGB `[time, height, width, 3]`.
    ///
    /// # Errors
    /// [`DataError::PureUnsupported`] for another container or codec, or a stream this decoder does not vouch for; and a
    /// distinct [`DataError`] for: no such file, a folder, an empty file, no frames, a file that is damaged or cut short
    /// ([`DataError::BrokenVideo`]; FFmpeg would conceal it), a limit met, a timeout.
    pub fn decode(&self, path: &Path, size: FrameSize) -> Result<Frames, DataError> {
        collect::decode_all(self, path, size)
    }

    /// Counts the frames that [`PureDecoder::decode`] would give, without keeping them.
    ///
    /// # Errors
    /// As [`PureDecoder::decode`].
    pub fn count(&self, path: &Path) -> Result<usize, DataError> {
        let mut frames = 0;
        self.each(path, &mut |_, _| {
            frames += 1;
            self.limits.check(path, frames, 0)?;
            Ok(Flow::Continue)
        })?;
        Ok(frames)
    }

    /// Decodes only some frames of a file too long for memory, in two passes: the first counts, `select` names the
    /// frames for that count (any order, repeats allowed), the second keeps them.
    ///
    /// Returns the selected frames in the order of `select` and the number of frames in the file.
    ///
    /// # Errors
    /// As [`PureDecoder::decode`]; [`DataError::Shape`] when `select` names no frame or one that does not exist.
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

    /// Gives each decoded frame to `take`. Returns the frames per second that the file tells.
    fn each(&self, path: &Path, take: &mut TakeDecoded<'_>) -> Result<Option<f64>, DataError> {
        check_file(path)?;
        let deadline = Instant::now() + self.limits.timeout;
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        let mut session = Session::open(path, file, &self.limits)?;
        let mut frames = 0;
        while let Some(frame) = session.next_frame()? {
            if Instant::now() >= deadline {
                return Err(DataError::Timeout { path: path.to_owned(), limit: self.limits.timeout });
            }
            frames += 1;
            if take(&frame, session.size())? == Flow::Stop {
                return Ok(session.rate());
            }
        }
        if frames == 0 {
            return Err(DataError::NoFrames { path: path.to_owned(), words: String::new() });
        }
        Ok(session.rate())
    }

    /// The same with RGB frames, brought to `size`.
    fn each_picture(
        &self,
        path: &Path,
        size: FrameSize,
        take: &mut dyn FnMut(Picture) -> Result<Flow, DataError>,
    ) -> Result<Option<f64>, DataError> {
        size.validate(path, &self.limits)?;
        self.each(path, &mut |frame, (height, width)| {
            let (out_height, out_width) = size.of(height, width);
            self.limits.check_side(path, out_height, out_width)?;
            self.limits.check(path, 1, out_height * out_width * 3)?;
            let mut pixels = colour::to_rgb(frame.into(), height, width);
            if (height, width) != (out_height, out_width) {
                pixels = resize_cubic(&pixels, [height, width], [out_height, out_width])?;
            }
            take(Picture { height: out_height, width: out_width, pixels })
        })
    }
}

impl Decoder for PureDecoder {
    fn id(&self) -> DecoderId {
        DecoderId { name: "pure".to_owned(), version: CRATE.to_owned() }
    }

    /// Hands frames over as they are decoded; a file that turns out to be broken has then given some of them.
    fn decode(&self, path: &Path, size: FrameSize, take: &mut TakeFrame<'_>) -> Result<Option<f64>, DataError> {
        let mut frames = 0;
        self.each_picture(path, size, &mut |frame| {
            frames += 1;
            self.limits.check(path, frames, 0)?;
            take(VideoFrame { width: frame.width, height: frame.height, pixels: &frame.pixels })?;
            Ok(Flow::Continue)
        })
    }

    fn limits(&self) -> DecodeLimits {
        self.limits
    }
}

impl FrameStream for PureDecoder {
    fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    fn stream(
        &self,
        path: &Path,
        size: FrameSize,
        take: &mut dyn FnMut(Picture) -> Result<Flow, DataError>,
    ) -> Result<(), DataError> {
        self.each_picture(path, size, take).map(drop)
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
