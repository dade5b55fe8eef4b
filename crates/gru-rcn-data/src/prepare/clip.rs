//! Makes the images of one clip and their hash.

use std::time::Instant;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageResult};

use super::flow::{FlowMaker, FlowRun};
use super::source::SourceClip;
use crate::base::DataError;
use crate::dataset::ClipSource;
use crate::image::{SizeRule, list_frames, read_selected};
use crate::manifest::{ClipRecord, ContentHash, ImageCoding, Part};
use crate::video::{VideoDecoder, VideoFrame, VideoFrames};

/// Why a clip could not be made.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The clip is broken; others are not concerned.
    Clip(DataError),
    /// No clip can be made: a full disk, no decoder.
    Run(DataError),
}

impl Fault {
    fn of_source(error: DataError) -> Self {
        match error {
            DataError::FfmpegMissing { .. }
            | DataError::FfmpegTooOld { .. }
            | DataError::PureMissing
            | DataError::Setting { .. } => Self::Run(error),
            other => Self::Clip(other),
        }
    }
}

/// Bytes of decoded frames after which a probe keeps no more of them.
const PROBE_BYTES: usize = 64 << 20;

/// Takes an image file: which, its index, its bytes.
pub(crate) type Store<'a> = dyn FnMut(Part, usize, &[u8]) -> Result<(), DataError> + 'a;

pub(crate) struct ClipMaker<'a> {
    pub(crate) decoder: &'a dyn VideoDecoder,
    pub(crate) size: SizeRule,
    pub(crate) image: ImageCoding,
    pub(crate) flow: Option<FlowMaker>,
}

impl ClipMaker<'_> {
    /// Decodes a clip once and gives its images to `store` as they come; only two frames are kept
    /// here.
    pub(crate) fn make(&self, clip: &SourceClip, store: &mut Store<'_>) -> Result<ClipRecord, Fault> {
        let mut making = self.start(clip, store)?;
        let mut frames = self.open(clip).map_err(Fault::of_source)?;
        for frame in frames.by_ref() {
            making.frame(&frame.map_err(Fault::of_source)?)?;
        }
        Ok(making.record(frames.rate()))
    }

    /// Decodes a clip, makes images of its first `most` frames only, and estimates the whole clip.
    /// One is done after the other: beside other clips, no processor is free to decode meanwhile.
    pub(crate) fn probe(&self, clip: &SourceClip, most: usize) -> Result<Probe, Fault> {
        let mut bytes = 0;
        let mut store = |_: Part, _: usize, image: &[u8]| {
            bytes += image.len() as u64;
            Ok(())
        };
        let began = Instant::now();
        let mut making = self.start(clip, &mut store)?;
        let (mut first, mut frames, mut kept) = (Vec::new(), 0, 0);
        for frame in self.open(clip).map_err(Fault::of_source)? {
            let frame = frame.map_err(Fault::of_source)?;
            frames += 1;
            if first.len() < most && (kept < PROBE_BYTES || first.len() < 2) {
                kept += frame.pixels.len();
                first.push(frame);
            }
        }
        let (decoding, began) = (began.elapsed().as_secs_f64(), Instant::now());
        first.iter().try_for_each(|frame| making.frame(frame))?;
        let times = frames as f64 / first.len().max(1) as f64;
        Ok(Probe { seconds: decoding + began.elapsed().as_secs_f64() * times, bytes: bytes as f64 * times })
    }

    fn start<'m, 's>(&'m self, clip: &'m SourceClip, store: &'m mut Store<'s>) -> Result<Making<'m, 's>, Fault> {
        let failed = |source| Fault::Clip(DataError::Flow { path: clip.path().to_owned(), frame: 0, source });
        let flow = match &self.flow {
            Some(maker) => Some((maker, maker.start().map_err(failed)?)),
            None => None,
        };
        Ok(Making { coding: self.image, clip, store, hash: ContentHash::default(), frames: 0, size: (0, 0), flow })
    }

    /// The frames of a clip of the source: a video through the decoder, a folder of frames as it
    /// is.
    fn open(&self, clip: &SourceClip) -> Result<VideoFrames, DataError> {
        match &clip.source {
            ClipSource::Video(path) => self.decoder.open(path, self.size),
            ClipSource::FrameFolder(folder) => {
                let (limits, files) = (*self.decoder.limits(), list_frames(folder)?);
                let (place, size, mut next) = (folder.clone(), self.size, 0..files.len());
                let source = move || {
                    let Some(t) = next.next() else { return Ok(None) };
                    let frame = read_selected(&place, &files, &[t], size, &limits)?;
                    Ok(Some(VideoFrame { time: None, height: frame.height, width: frame.width, pixels: frame.data }))
                };
                Ok(VideoFrames::new(folder, limits, Box::new(source)))
            }
            // The scan of a source finds no others.
            ClipSource::Prepared(_) | ClipSource::Motion(_) => {
                Err(DataError::Shape("only videos and folders of frames are prepared".to_owned()))
            }
        }
    }
}

/// Estimated cost of a clip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// On one thread.
    pub(crate) seconds: f64,
    /// On disk.
    pub(crate) bytes: f64,
}

struct Making<'m, 's> {
    coding: ImageCoding,
    clip: &'m SourceClip,
    store: &'m mut Store<'s>,
    hash: ContentHash,
    frames: usize,
    /// Width and height.
    size: (usize, usize),
    /// Holds what it needs of the previous frame.
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
        let path = self.clip.path();
        let failed = |source| Fault::Clip(DataError::Flow { path: path.to_owned(), frame: index, source });
        let next = gru_rcn_flow::Image::from_rgb8(frame.width, frame.height, &frame.pixels).map_err(failed)?;
        let Some([x, y]) = run.push(&next, maker).map_err(failed)? else { return Ok(()) };
        let coding = maker.image();
        for (part, codes) in [(Part::FlowX, x), (Part::FlowY, y)] {
            self.store(part, index, encode(coding, &codes, self.size, ExtendedColorType::L8))?;
        }
        Ok(())
    }

    fn store(&mut self, part: Part, index: usize, bytes: ImageResult<Vec<u8>>) -> Result<(), Fault> {
        let bytes = bytes.map_err(|error| {
            let reason = format!("frame {index} could not be coded: {error}");
            Fault::Clip(DataError::BadFrames { path: self.clip.path().to_owned(), reason })
        })?;
        self.hash.file(&bytes);
        (self.store)(part, index, &bytes).map_err(Fault::Run)
    }

    fn record(self, fps: Option<f64>) -> ClipRecord {
        let SourceClip { id, class, group, .. } = self.clip.clone();
        let (frames, flow) = (self.frames, if self.flow.is_some() { self.frames.saturating_sub(1) } else { 0 });
        let (width, height) = self.size;
        ClipRecord { id, class, group, frames, width, height, fps, flow, sha256: self.hash.finish() }
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
    use crate::base::DecodeLimits;
    use crate::testing::{save_frame, temporary};
    use crate::video::DecoderKind;

    #[test]
    fn folders_of_frames_are_given_frame_by_frame() {
        let folder = temporary();
        (0..3).for_each(|t| save_frame(&folder.path().join(format!("{t}.png")), [4, 8], t));
        let decoder = DecoderKind::Ffmpeg.open(DecodeLimits::default()).unwrap();
        let size = SizeRule::ShortSide { pixels: 2 };
        let maker = ClipMaker { decoder: &*decoder, size, image: ImageCoding::Png, flow: None };
        let [id, class, group] = ["a/b", "a", "a/b"].map(str::to_owned);
        let source = ClipSource::FrameFolder(folder.path().to_owned());
        let mut frames = maker.open(&SourceClip { id, class, group, source, bytes: 0 }).unwrap();
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
