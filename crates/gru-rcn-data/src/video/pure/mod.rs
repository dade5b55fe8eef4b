//! MPEG-4 Part 2 in AVI, the format of UCF-101, decoded within this program (feature
//! `pure-decode`).
//!
//! The macroblocks are decoded by the crate `oxideav-mpeg4video`, plain Rust. This module reads the
//! container, puts packed B-frames in order, refuses what the crate would decode differently from
//! FFmpeg, and makes RGB of the result.
//!
//! **Frames are counted as FFmpeg counts them.** XviD stores two pictures in one chunk and a
//! placeholder in the next, so that there are as many chunks as frames. A picture held over is
//! decoded in place of the next chunk; one that is still held when the file ends is not shown.
//! Placeholders that stand for themselves ("as before") are not shown either.
//!
//! **Nothing doubtful is decoded.** FFmpeg paints over damage; here a picture that cannot be
//! decoded ends the clip with an error, and so does a file that is cut short. Encoders and tools
//! that were not compared with FFmpeg are refused (see `origin`). What is decoded differs from
//! FFmpeg's pictures by the rounding of the inverse cosine transform, which the standard leaves
//! open and which adds up until the next intra frame: of 255, 0.1 on average and 5 at most on
//! UCF-101.

mod avi;
mod colour;
mod origin;
mod pictures;
mod session;

use std::path::Path;

use super::{DecoderId, FrameSource, VideoDecoder};
use crate::base::{DataError, DecodeLimits};
use crate::image::SizeRule;
use session::Session;

/// What decodes the macroblocks; the same as in the workspace's manifest.
const CRATE: &str = "oxideav-mpeg4video 0.1.8";

/// Decodes MPEG-4 Part 2 in AVI, as UCF-101 has it, without any program or library outside of Rust.
///
/// Gives the same frames in the same order as [`Ffmpeg`](super::Ffmpeg). Their pixels are nearly
/// the same: at the source's size they differ by the rounding of the decoder (of 255, 0.2 on
/// average and 7 at most on the clips that were compared), at any other size also by the scaler,
/// which has FFmpeg's filter but works on RGB (0.3 on average, 23 at most at strong edges). Train
/// and evaluate with one decoder all the same.
///
/// Besides the errors of all decoders there is [`DataError::PureUnsupported`] for another container
/// or codec and for a stream that this decoder does not vouch for. A damaged file is
/// [`DataError::BrokenVideo`] where FFmpeg would conceal the damage. Time stamps are the frame's
/// number by the rate that the AVI file states.
#[derive(Clone, Debug, Default)]
pub struct PureDecoder {
    /// The bounds on one file. Besides the clip, `max_bytes` bounds a chunk of the file and what the
    /// decoder itself keeps for pictures of the file's size.
    pub limits: DecodeLimits,
}

impl VideoDecoder for PureDecoder {
    fn id(&self) -> DecoderId {
        DecoderId { name: "pure".to_owned(), version: CRATE.to_owned() }
    }

    fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    fn start(&self, path: &Path, size: SizeRule) -> Result<Box<dyn FrameSource>, DataError> {
        Ok(Box::new(Session::open(path, size, self.limits)?))
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
