//! What turns a video into frames.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dataset::ClipSource;
use crate::error::DataError;
use crate::frames_folder::{list_frames, read_selected};
use crate::manifest::DecoderId;
#[cfg(feature = "pure-decode")]
use crate::video::PureDecoder;
use crate::video::{DecodeLimits, DecoderKind, Ffmpeg, FrameSize};

/// One decoded frame.
#[derive(Clone, Copy, Debug)]
pub struct VideoFrame<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// RGB `[height, width, 3]`.
    pub pixels: &'a [u8],
}

/// Takes frames one after another; an error from it ends the decoding.
pub type TakeFrame<'a> = dyn FnMut(VideoFrame<'_>) -> Result<(), DataError> + 'a;

/// Decodes videos. One decoder is used by several threads at once.
pub trait Decoder: Sync {
    /// Which decoder this is. It goes into the manifest, because another decoder may give other frames.
    fn id(&self) -> DecoderId;

    /// Gives every frame of a file to `take`, each exactly once and in order, brought to `size`.
    ///
    /// Returns the frames per second that the container tells, if it does.
    ///
    /// # Errors
    /// Those of the file, naming it, and what `take` returned.
    fn decode(&self, path: &Path, size: FrameSize, take: &mut TakeFrame<'_>) -> Result<Option<f64>, DataError>;

    /// The bounds on one file.
    fn limits(&self) -> DecodeLimits;
}

impl DecoderKind {
    /// The decoder itself, to prepare a data set with. Its name and version go into the manifest's header.
    ///
    /// # Errors
    /// As [`DecoderKind::require`].
    pub fn open(self, limits: DecodeLimits) -> Result<Box<dyn Decoder>, DataError> {
        match self {
            Self::Ffmpeg => Ok(Box::new(FfmpegDecoder::locate(limits)?)),
            #[cfg(feature = "pure-decode")]
            Self::Pure => Ok(Box::new(PureDecoder::default().with_limits(limits))),
            #[cfg(not(feature = "pure-decode"))]
            Self::Pure => Err(DataError::PureMissing),
        }
    }
}

/// The `ffmpeg` program as a decoder.
///
/// A clip is held in memory while its frames are handed over, so each preparing thread may take up to `max_bytes` of the
/// limits; a longer clip is an error that names it.
#[derive(Clone, Debug)]
pub struct FfmpegDecoder {
    ffmpeg: Ffmpeg,
    program: PathBuf,
    limits: DecodeLimits,
}

impl FfmpegDecoder {
    /// The program that [`Ffmpeg::locate`] finds.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`].
    pub fn locate(limits: DecodeLimits) -> Result<Self, DataError> {
        let named = std::env::var_os("GRU_RCN_FFMPEG").filter(|value| !value.is_empty());
        Self::at(Path::new(named.as_deref().unwrap_or("ffmpeg".as_ref())), limits)
    }

    /// The program at `program`.
    ///
    /// # Errors
    /// [`DataError::FfmpegMissing`].
    pub fn at(program: &Path, limits: DecodeLimits) -> Result<Self, DataError> {
        Ok(Self { ffmpeg: Ffmpeg::at(program)?.with_limits(limits), program: program.to_owned(), limits })
    }

    /// The frame rate in what FFmpeg says about a file that it has decoded before.
    fn rate(&self, path: &Path) -> Option<f64> {
        let mut input = std::ffi::OsString::from("file:");
        input.push(path);
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-hide_banner", "-protocol_whitelist", "file,pipe", "-i"]).arg(input);
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().ok()?;
        rate_in(&String::from_utf8_lossy(&output.stderr))
    }
}

/// `…, 29.97 fps, …` in the first line about a video stream.
fn rate_in(words: &str) -> Option<f64> {
    let line = words.lines().find(|line| line.contains("Video:"))?;
    let rate = line.split(", ").find_map(|part| part.trim().strip_suffix(" fps"))?;
    rate.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
}

impl Decoder for FfmpegDecoder {
    fn id(&self) -> DecoderId {
        DecoderId { name: "ffmpeg".to_owned(), version: self.ffmpeg.version().to_owned() }
    }

    fn decode(&self, path: &Path, size: FrameSize, take: &mut TakeFrame<'_>) -> Result<Option<f64>, DataError> {
        let clip = self.ffmpeg.decode(path, size)?;
        for t in 0..clip.time {
            take(VideoFrame { width: clip.width, height: clip.height, pixels: clip.frame(t) })?;
        }
        Ok(self.rate(path))
    }

    fn limits(&self) -> DecodeLimits {
        self.limits
    }
}

/// Gives every frame of a clip of the source to `take`: a video through the decoder, a folder of frames as it lies.
pub(super) fn decode(
    decoder: &dyn Decoder,
    source: &ClipSource,
    size: FrameSize,
    take: &mut TakeFrame<'_>,
) -> Result<Option<f64>, DataError> {
    match source {
        ClipSource::Video(path) => decoder.decode(path, size, take),
        ClipSource::FrameFolder(folder) => {
            let files = list_frames(folder)?;
            for t in 0..files.len() {
                let frame = read_selected(folder, &files, &[t], size, &decoder.limits())?;
                take(VideoFrame { width: frame.width, height: frame.height, pixels: frame.frame(0) })?;
            }
            Ok(None)
        }
        // The scan of a source finds no others.
        ClipSource::Prepared(_) | ClipSource::Motion(_) => {
            Err(DataError::Shape("only videos and folders of frames are prepared".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{make_video, temporary};

    #[test]
    fn the_rate_is_read_from_ffmpegs_words() {
        let avi =
            "  Duration: 00:00:08.64\n  Stream #0:0: Video: mpeg4, yuv420p, 320x240, 524 kb/s, 29.97 fps, 29.97 tbr";
        assert_eq!(rate_in(avi), Some(29.97));
        assert_eq!(rate_in("  Stream #0:0: Audio: mp3, 25 fps"), None);
        assert_eq!(rate_in("  Stream #0:0: Video: png, 25 tbr"), None);
        assert_eq!(rate_in(""), None);
    }

    #[test]
    fn ffmpeg_gives_every_frame_and_the_rate() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=32x24:rate=10", 7);
        let decoder = FfmpegDecoder::locate(DecodeLimits::default()).unwrap();
        assert_eq!(decoder.id().name, "ffmpeg");
        let mut frames = 0;
        let mut take = |frame: VideoFrame<'_>| {
            assert_eq!((frame.width, frame.height, frame.pixels.len()), (16, 12, 16 * 12 * 3));
            frames += 1;
            Ok(())
        };
        assert_eq!(decoder.decode(&video, FrameSize::ShortSide(12), &mut take).unwrap(), Some(10.0));
        assert_eq!(frames, 7);
        let limits = DecodeLimits { max_bytes: 16 * 12 * 3 * 6, ..DecodeLimits::default() };
        let decoder = FfmpegDecoder::locate(limits).unwrap();
        let error = decoder.decode(&video, FrameSize::ShortSide(12), &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("clip.avi") && error.contains("max_bytes"), "{error}");
    }

    #[test]
    fn folders_of_frames_are_given_frame_by_frame() {
        let folder = temporary();
        for t in 0..3u8 {
            let image = image::RgbImage::from_pixel(8, 4, image::Rgb([t * 50; 3]));
            image.save(folder.path().join(format!("{t}.png"))).unwrap();
        }
        let decoder = FfmpegDecoder::locate(DecodeLimits::default()).unwrap();
        let mut seen = Vec::new();
        let mut take = |frame: VideoFrame<'_>| {
            seen.push((frame.width, frame.pixels[0]));
            Ok(())
        };
        let source = ClipSource::FrameFolder(folder.path().to_owned());
        assert_eq!(super::decode(&decoder, &source, FrameSize::ShortSide(2), &mut take).unwrap(), None);
        assert_eq!(seen, [(4, 0), (4, 50), (4, 100)]);
    }
}
