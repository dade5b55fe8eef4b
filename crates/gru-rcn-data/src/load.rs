//! Reading a clip's frames, whatever they come from.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::clip::Frames;
use crate::dataset::{ClipSource, Sample};
use crate::error::DataError;
use crate::frames_folder::{list_frames, read_frames_folder, read_selected};
use crate::plan::ClipPlanner;
use crate::resize::resize_frames;
use crate::video::{DecodeLimits, DecoderKind, Ffmpeg, FrameSize, VideoDecoder};

/// Reads clips; to be shared by all loading threads.
///
/// The decoder is looked for when the first video is read, so frame folders and the built-in data set do not need it.
#[derive(Debug, Default)]
pub struct ClipReader {
    kind: DecoderKind,
    found: Mutex<Option<VideoDecoder>>,
    limits: DecodeLimits,
}

impl ClipReader {
    /// A reader with the given limits, by [`DecoderKind::Ffmpeg`]; `ClipReader::default()` has the default limits.
    pub fn new(limits: DecodeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A reader that uses this FFmpeg, with its own limits replaced by `limits`.
    pub fn with_ffmpeg(ffmpeg: Ffmpeg, limits: DecodeLimits) -> Self {
        let found = VideoDecoder::Ffmpeg(ffmpeg.with_limits(limits));
        Self { kind: DecoderKind::Ffmpeg, found: Mutex::new(Some(found)), limits }
    }

    /// The same reader with another decoder for video files; one given before is forgotten. Whether this build has it is
    /// told when the first video is read, or by [`DecoderKind::require`].
    pub fn with_decoder(self, kind: DecoderKind) -> Self {
        Self { kind, found: Mutex::new(None), limits: self.limits }
    }

    /// The decoder that reads video files.
    pub fn decoder(&self) -> DecoderKind {
        self.kind
    }

    pub(crate) fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    /// Reads all frames of a sample, brought to `frame_size` (height, width): RGB `[time, height, width, 3]`.
    ///
    /// # Errors
    /// Those of [`Ffmpeg::decode`] and [`read_frames_folder`], or of the other decoder where one was chosen;
    /// [`DataError::PureMissing`] where this build has none.
    pub fn read(&self, sample: &Sample, frame_size: [usize; 2]) -> Result<Frames, DataError> {
        self.read_source(&sample.source, exact(frame_size))
    }

    /// Reads all frames of a video file or a folder of frames.
    ///
    /// # Errors
    /// As [`ClipReader::read`]; [`DataError::NotFound`] where there is neither.
    pub fn read_path(&self, path: &Path, frame_size: [usize; 2]) -> Result<Frames, DataError> {
        self.read_source(&source_of(path)?, exact(frame_size))
    }

    /// Reads only the frames of the planner's evaluation plan, so that a video of any length fits into memory.
    ///
    /// Returns those frames, in the plan's order and at the planner's frame size, and the number of frames of the whole
    /// video. Cut the clip out of them with `planner.evaluation(total)?.on_selected().apply(&frames)`.
    ///
    /// # Errors
    /// As [`ClipReader::read`] and [`ClipPlanner::evaluation`].
    pub fn read_planned(&self, source: &ClipSource, planner: &ClipPlanner) -> Result<(Frames, usize), DataError> {
        planner.validate()?;
        let size = exact(planner.frame_size);
        // A planner that validates plans every positive count, and there are no videos of zero frames.
        let select = |total: usize| planner.evaluation(total).map(|plan| plan.frames).unwrap_or_default();
        match source {
            ClipSource::FrameFolder(folder) => {
                let files = list_frames(folder)?;
                let frames = read_selected(folder, &files, &select(files.len()), size, &self.limits)?;
                Ok((frames, files.len()))
            }
            ClipSource::Prepared(clip) => {
                let files = clip.frame_files()?;
                let frames = read_selected(&clip.frames_dir, &files, &select(files.len()), size, &self.limits)?;
                Ok((frames, files.len()))
            }
            ClipSource::Video(_) | ClipSource::Motion(_) => self.read_some(source, size, select),
        }
    }

    /// Reads the frames that `select` names for the number of all, in its order, and that number: from memory, or where all
    /// frames do not fit in two passes.
    pub(crate) fn read_some(
        &self,
        source: &ClipSource,
        size: FrameSize,
        select: impl FnOnce(usize) -> Vec<usize>,
    ) -> Result<(Frames, usize), DataError> {
        match (source, self.read_source(source, size)) {
            (ClipSource::Video(path), Err(DataError::TooLarge { limit: "max_bytes", .. })) => {
                self.video()?.decode_selected(path, size, select)
            }
            (_, frames) => {
                let frames = frames?;
                take(&frames, &select(frames.time))
            }
        }
    }

    fn read_source(&self, source: &ClipSource, size: FrameSize) -> Result<Frames, DataError> {
        match source {
            ClipSource::Video(path) => self.video()?.decode(path, size),
            ClipSource::FrameFolder(folder) => read_frames_folder(folder, size, &self.limits),
            ClipSource::Prepared(clip) => {
                let files = clip.frame_files()?;
                let all: Vec<usize> = (0..files.len()).collect();
                read_selected(&clip.frames_dir, &files, &all, size, &self.limits)
            }
            ClipSource::Motion(clip) => {
                let frames = clip.render();
                let (height, width) = size.of(frames.height, frames.width);
                resize_frames(frames, height, width)
            }
        }
    }

    /// The decoder, found once. A failure is not kept: FFmpeg may be installed meanwhile.
    fn video(&self) -> Result<VideoDecoder, DataError> {
        let mut slot = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decoder) = &*slot {
            return Ok(decoder.clone());
        }
        let decoder = VideoDecoder::open(self.kind, self.limits)?;
        *slot = Some(decoder.clone());
        Ok(decoder)
    }
}

/// What a path given by hand is: a folder of frames or a video file.
///
/// # Errors
/// [`DataError::NotFound`] where there is nothing.
pub fn source_of(path: &Path) -> Result<ClipSource, DataError> {
    let metadata = std::fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    Ok(if metadata.is_dir() { ClipSource::FrameFolder(path.to_owned()) } else { ClipSource::Video(path.to_owned()) })
}

pub(crate) fn exact([height, width]: [usize; 2]) -> FrameSize {
    FrameSize::Exact { height, width }
}

/// The frames `selected` of a video in memory, and its length.
fn take(frames: &Frames, selected: &[usize]) -> Result<(Frames, usize), DataError> {
    let data: Vec<u8> = selected.iter().flat_map(|&t| frames.frame(t)).copied().collect();
    let taken = Frames::new(data, selected.len(), frames.height, frames.width, frames.channels)?;
    Ok((taken, frames.time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::MotionConfig;
    use crate::plan::{CropRule, Photometric, Stream, TemporalSampling};
    use crate::testing::{make_video, temporary};

    fn planner(frames: usize) -> ClipPlanner {
        ClipPlanner {
            stream: Stream::Rgb,
            temporal: TemporalSampling::Spread { frames },
            frame_size: [16, 24],
            input_size: [16, 16],
            crop: CropRule::Centre,
            flip: false,
            photometric: Photometric::default(),
        }
    }

    // The same film as a video that fits and as one that does not: the planned frames are those of the whole.
    #[test]
    fn planned_reading_equals_reading_and_planning() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=48x32:rate=10", 20);
        let source = ClipSource::Video(video.clone());
        let whole = ClipReader::default().read_path(&video, [16, 24]).unwrap();
        let expected = planner(3).evaluation(20).unwrap().apply(&whole).unwrap();
        // 19 of the 20 frames would fit.
        let tight = DecodeLimits { max_bytes: 16 * 24 * 3 * 19, ..DecodeLimits::default() };
        for limits in [DecodeLimits::default(), tight] {
            let reader = ClipReader::with_ffmpeg(Ffmpeg::locate().unwrap(), limits);
            let (frames, total) = reader.read_planned(&source, &planner(3)).unwrap();
            assert_eq!((frames.time, total), (3, 20));
            let plan = planner(3).evaluation(total).unwrap().on_selected();
            assert_eq!(plan.apply(&frames).unwrap(), expected);
        }
        assert!(ClipReader::new(tight).read_path(&video, [16, 24]).is_err());
    }

    #[test]
    fn frame_folders_are_read_by_plan() {
        let folder = temporary();
        for i in 0..6u8 {
            let image = image::RgbImage::from_pixel(24, 16, image::Rgb([i * 20; 3]));
            image.save(folder.path().join(format!("{i:06}.png"))).unwrap();
        }
        let reader = ClipReader::default();
        let source = source_of(folder.path()).unwrap();
        let (frames, total) = reader.read_planned(&source, &planner(3)).unwrap();
        // Parts of two frames, their middles 1, 3 and 5.
        assert_eq!((total, [0, 1, 2].map(|t| frames.frame(t)[0])), (6, [20, 60, 100]));
        assert_eq!(reader.read_path(folder.path(), [16, 24]).unwrap().time, 6);
        assert!(matches!(source_of(&folder.path().join("none")), Err(DataError::NotFound(_))));
    }

    #[test]
    fn motion_clips_are_brought_to_size() {
        let dataset = MotionConfig::default().dataset().unwrap();
        let clip = ClipReader::default().read(&dataset.train[0], [20, 24]).unwrap();
        assert_eq!((clip.time, clip.height, clip.width), (8, 20, 24));
    }
}
