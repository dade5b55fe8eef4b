//! Makes the images of one clip and their hash.

use std::time::{Duration, Instant};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageResult};

use super::flow::{FlowMaker, FlowRun};
use super::source::SourceClip;
use crate::base::{DataError, printable};
use crate::image::{SizeRule, list_frames, read_selected};
use crate::manifest::{ClipRecord, ContentHash, ImageCoding, Part};
use crate::video::{VideoDecoder, VideoFrame, VideoFrames};

/// Why a clip could not be made.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This clip is broken; the others go on.
    Clip(DataError),
    /// The whole run fails: a full disk, no decoder.
    Run(DataError),
}

impl Fault {
    fn of_source(error: DataError) -> Self {
        match error {
            DataError::FfmpegMissing { .. } | DataError::FfmpegTooOld { .. } | DataError::Setting { .. } => {
                Self::Run(error)
            }
            other => Self::Clip(other),
        }
    }
}

/// Receives the kind, the index and the bytes of each image file.
pub(crate) type Store<'a> = dyn FnMut(Part, usize, &[u8]) -> Result<(), DataError> + 'a;

pub(crate) struct ClipMaker<'a> {
    pub(crate) decoder: &'a dyn VideoDecoder,
    pub(crate) size: SizeRule,
    pub(crate) image: ImageCoding,
    pub(crate) flow: Option<FlowMaker>,
}

impl ClipMaker<'_> {
    /// Decodes a clip once and passes the images of its first `most` frames to `store` one by one. At
    /// most two frames are in memory.
    pub(crate) fn make(&self, clip: &SourceClip, most: usize, store: &mut Store<'_>) -> Result<Images, Fault> {
        let failed = |source| Fault::Clip(DataError::Flow { path: clip.path.clone(), frame: 0, source });
        let flow = match &self.flow {
            Some(maker) => Some((maker, maker.start().map_err(failed)?)),
            None => None,
        };
        let hash = ContentHash::default();
        let mut making = Making { coding: self.image, clip, store, hash, frames: 0, size: (0, 0), flow };
        let mut frames = self.open(clip).map_err(Fault::of_source)?;
        let (mut count, mut working) = (0, Duration::ZERO);
        for frame in frames.by_ref() {
            let (frame, began) = (frame.map_err(Fault::of_source)?, Instant::now());
            count += 1;
            if count <= most {
                making.frame(&frame)?;
            }
            working += began.elapsed();
        }
        let damage = Some(printable(frames.warnings())).filter(|words| !words.is_empty());
        let record = ClipRecord { damage, ..making.record(frames.rate()) };
        Ok(Images { record, frames: count, working })
    }

    /// The frames of a clip of the source: of a video by the decoder, of a folder of frames by reading
    /// it.
    fn open(&self, clip: &SourceClip) -> Result<VideoFrames, DataError> {
        if !clip.path.is_dir() {
            return self.decoder.open(&clip.path, self.size);
        }
        let (limits, files) = (*self.decoder.limits(), list_frames(&clip.path)?);
        let (folder, size, mut next) = (clip.path.clone(), self.size, 0..files.len());
        let source = move || {
            let Some(t) = next.next() else { return Ok(None) };
            let frame = read_selected(&folder, &files, &[t], size, &limits)?;
            Ok(Some(VideoFrame { time: None, height: frame.height, width: frame.width, pixels: frame.data }))
        };
        Ok(VideoFrames::new(&clip.path, limits, Box::new(source)))
    }
}

/// The images that were made of a clip.
pub(crate) struct Images {
    /// The record of the frames of which images were made.
    pub(crate) record: ClipRecord,
    /// Number of all decoded frames.
    pub(crate) frames: usize,
    /// Time for making the images, without decoding.
    pub(crate) working: Duration,
}

struct Making<'m, 's> {
    coding: ImageCoding,
    clip: &'m SourceClip,
    store: &'m mut Store<'s>,
    hash: ContentHash,
    frames: usize,
    /// Width and height.
    size: (usize, usize),
    /// Keeps the previous frame in the form that it needs.
    flow: Option<(&'m FlowMaker, FlowRun)>,
}

impl Making<'_, '_> {
    fn frame(&mut self, frame: &VideoFrame) -> Result<(), Fault> {
        self.size = (frame.width, frame.height);
        let bytes = encode(self.coding, &frame.pixels, self.size, ExtendedColorType::Rgb8);
        self.store(Part::Frame, self.frames, bytes)?;
        self.flow_to(frame)?;
        self.frames += 1;
        Ok(())
    }

    fn flow_to(&mut self, frame: &VideoFrame) -> Result<(), Fault> {
        let Some((maker, run)) = &mut self.flow else { return Ok(()) };
        let index = self.frames.saturating_sub(1);
        let path = &self.clip.path;
        let failed = |source| Fault::Clip(DataError::Flow { path: path.clone(), frame: index, source });
        let next = gru_rcn_flow::Image::from_rgb8(frame.width, frame.height, &frame.pixels).map_err(failed)?;
        let Some([x, y]) = run.push(&next, maker).map_err(failed)? else { return Ok(()) };
        let coding = maker.options.image;
        for (part, codes) in [(Part::FlowX, x), (Part::FlowY, y)] {
            self.store(part, index, encode(coding, &codes, self.size, ExtendedColorType::L8))?;
        }
        Ok(())
    }

    fn store(&mut self, part: Part, index: usize, bytes: ImageResult<Vec<u8>>) -> Result<(), Fault> {
        let bytes = bytes.map_err(|error| {
            let reason = format!("frame {index} could not be coded: {error}");
            Fault::Clip(DataError::frames(&self.clip.path, reason))
        })?;
        self.hash.file(&bytes);
        (self.store)(part, index, &bytes).map_err(Fault::Run)
    }

    fn record(self, fps: Option<f64>) -> ClipRecord {
        let SourceClip { id, class, group, .. } = self.clip.clone();
        let (frames, flow) = (self.frames, if self.flow.is_some() { self.frames.saturating_sub(1) } else { 0 });
        let (width, height) = self.size;
        let (sha256, source, damage) = (self.hash.finish(), None, None);
        ClipRecord { id, class, group, frames, width, height, fps, flow, sha256, source, damage }
    }
}

fn encode(
    coding: ImageCoding,
    pixels: &[u8],
    (width, height): (usize, usize),
    colour: ExtendedColorType,
) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = (width as u32, height as u32);
    match coding {
        ImageCoding::Jpeg { quality } => {
            JpegEncoder::new_with_quality(&mut bytes, quality).write_image(pixels, width, height, colour)?;
        }
        ImageCoding::Png => PngEncoder::new(&mut bytes).write_image(pixels, width, height, colour)?,
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{save_frame, temporary};
    use crate::video::Ffmpeg;

    #[test]
    fn folders_of_frames_are_read_frame_by_frame() {
        let folder = temporary();
        (0..3).for_each(|t| save_frame(&folder.path().join(format!("{t}.png")), [4, 8], t));
        let decoder = Ffmpeg::locate().unwrap();
        let size = SizeRule::ShortSide { pixels: 2 };
        let maker = ClipMaker { decoder: &decoder, size, image: ImageCoding::Png, flow: None };
        let [id, class, group] = ["a/b", "a", "a/b"].map(str::to_owned);
        let path = folder.path().to_owned();
        let mut frames = maker.open(&SourceClip { id, class, group, path, bytes: 0 }).unwrap();
        let seen: Vec<_> = frames.by_ref().map(Result::unwrap).map(|f| (f.width, f.pixels[0], f.time)).collect();
        assert_eq!((seen, frames.rate()), (vec![(4, 0, None), (4, 40, None), (4, 80, None)], None));
    }

    #[test]
    fn images_are_coded_the_same_each_time() {
        let pixels: Vec<u8> = (0..8 * 4 * 3).map(|i| (i * 37 % 251) as u8).collect();
        for coding in [ImageCoding::Jpeg { quality: 90 }, ImageCoding::Png] {
            let one = encode(coding, &pixels, (8, 4), ExtendedColorType::Rgb8).unwrap();
            assert_eq!(one, encode(coding, &pixels, (8, 4), ExtendedColorType::Rgb8).unwrap());
            assert_eq!(image::load_from_memory(&one).unwrap().width(), 8);
        }
    }
}
