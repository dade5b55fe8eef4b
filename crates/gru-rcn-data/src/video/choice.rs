//! Which decoder reads video files.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(feature = "pure-decode")]
use super::PureDecoder;
use super::{DecodeLimits, Ffmpeg, FrameSize};
use crate::clip::Frames;
use crate::error::DataError;

/// Which decoder reads video files. Written `ffmpeg` or `pure`.
///
/// The choice is part of a run's identity: the two give the same number of frames in the same order, but not the same
/// pixels (see `PureDecoder`), so train and evaluate with one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// The `ffmpeg` program, which must be installed ([`Ffmpeg`]). Reads nearly every format.
    #[default]
    Ffmpeg,
    /// MPEG-4 Part 2 in AVI, the format of UCF-101, decoded within this program (`PureDecoder`). Needs the feature
    /// `pure-decode` and nothing installed.
    Pure,
}

impl DecoderKind {
    /// Whether this build has the decoder at all. For [`DecoderKind::Ffmpeg`] that says nothing of the program; see
    /// [`Ffmpeg::locate`].
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Ffmpeg => true,
            Self::Pure => cfg!(feature = "pure-decode"),
        }
    }

    /// Fails now where reading a video would fail for want of the decoder: to be called before a long run.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`] for a program that cannot be run; [`DataError::PureMissing`] for a build without the
    /// feature.
    pub fn require(self) -> Result<(), DataError> {
        VideoDecoder::open(self, DecodeLimits::default()).map(drop)
    }
}

impl fmt::Display for DecoderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ffmpeg => "ffmpeg",
            Self::Pure => "pure",
        })
    }
}

impl FromStr for DecoderKind {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "ffmpeg" => Ok(Self::Ffmpeg),
            "pure" => Ok(Self::Pure),
            _ => Err(DataError::setting("decoder", text, "it is ffmpeg or pure")),
        }
    }
}

/// A decoder that is there.
#[derive(Clone, Debug)]
pub(crate) enum VideoDecoder {
    Ffmpeg(Ffmpeg),
    #[cfg(feature = "pure-decode")]
    Pure(PureDecoder),
}

impl VideoDecoder {
    pub(crate) fn open(decoder: DecoderKind, limits: DecodeLimits) -> Result<Self, DataError> {
        match decoder {
            DecoderKind::Ffmpeg => Ok(Self::Ffmpeg(Ffmpeg::locate()?.with_limits(limits))),
            #[cfg(feature = "pure-decode")]
            DecoderKind::Pure => Ok(Self::Pure(PureDecoder::default().with_limits(limits))),
            #[cfg(not(feature = "pure-decode"))]
            DecoderKind::Pure => Err(DataError::PureMissing),
        }
    }

    pub(crate) fn decode(&self, path: &Path, size: FrameSize) -> Result<Frames, DataError> {
        match self {
            Self::Ffmpeg(ffmpeg) => ffmpeg.decode(path, size),
            #[cfg(feature = "pure-decode")]
            Self::Pure(pure) => pure.decode(path, size),
        }
    }

    pub(crate) fn decode_selected(
        &self,
        path: &Path,
        size: FrameSize,
        select: impl FnOnce(usize) -> Vec<usize>,
    ) -> Result<(Frames, usize), DataError> {
        match self {
            Self::Ffmpeg(ffmpeg) => ffmpeg.decode_selected(path, size, select),
            #[cfg(feature = "pure-decode")]
            Self::Pure(pure) => pure.decode_selected(path, size, select),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for decoder in [DecoderKind::Ffmpeg, DecoderKind::Pure] {
            let name = decoder.to_string();
            assert_eq!(name.parse::<DecoderKind>().unwrap(), decoder);
            assert_eq!(serde_json::to_string(&decoder).unwrap(), format!("\"{name}\""));
        }
        assert_eq!(DecoderKind::default(), DecoderKind::Ffmpeg);
        let error = "libav".parse::<DecoderKind>().unwrap_err().to_string();
        assert!(error.contains("`decoder` = libav") && error.contains("ffmpeg or pure"), "{error}");
    }

    #[test]
    fn a_decoder_that_was_not_built_in_says_how_to_get_it() {
        assert!(DecoderKind::Ffmpeg.is_built_in());
        match DecoderKind::Pure.require() {
            Ok(()) => assert!(DecoderKind::Pure.is_built_in()),
            Err(error) => {
                assert!(!DecoderKind::Pure.is_built_in());
                assert!(error.to_string().contains("--features pure-decode"), "{error}");
            }
        }
    }
}
