//! One clip to images and their hash.

use std::time::{Duration, Instant};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageResult};
use sha2::{Digest, Sha256};

use super::decoder::{Decoder, VideoFrame, decode};
use super::flow::{FlowMaker, FlowRun};
use super::source::SourceClip;
use crate::error::DataError;
use crate::manifest::{ClipRecord, ImageCoding, SizeRule};
use crate::video::DecodeLimits;

/// Which of a clip's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Frame,
    FlowX,
    FlowY,
}

/// SHA-256 over a clip's files in the order in which they are made: frame 0, frame 1, x 0, y 0, frame 2, x 1, y 1 and so
/// on. Each is preceded by its length (64 bits, little-endian), so that bytes cannot move from one file to the next.
#[derive(Default)]
pub(crate) struct ContentHash(Sha256);

impl ContentHash {
    pub(crate) fn file(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// 64 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why a clip was not made.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The clip is broken; others are not concerned.
    Clip(DataError),
    /// Nothing can be made: a full disk, no decoder.
    Run(DataError),
}

impl Fault {
    fn of_source(error: DataError) -> Self {
        match error {
            DataError::FfmpegMissing { .. } | DataError::PureMissing | DataError::Setting { .. } => Self::Run(error),
            other => Self::Clip(other),
        }
    }
}

/// Takes an image file: which, its index, its bytes.
pub(crate) type Store<'a> = dyn FnMut(Part, usize, &[u8]) -> Result<(), DataError> + 'a;

/// Makes clips by one set of settings.
pub(crate) struct ClipMaker<'a> {
    pub(crate) decoder: &'a dyn Decoder,
    pub(crate) size: SizeRule,
    pub(crate) image: ImageCoding,
    pub(crate) flow: Option<FlowMaker>,
}

impl ClipMaker<'_> {
    /// Decodes a clip once and gives its images to `store` as they come; only two frames are kept here.
    pub(crate) fn make(&self, clip: &SourceClip, store: &mut Store<'_>) -> Result<ClipRecord, Fault> {
        let mut making = self.start(clip, store)?;
        let fps = self.decode(clip, |frame| making.frame(frame))?;
        making.record(fps)
    }

    /// Decodes a clip and works on its first `most` frames only; what that takes is told for the whole clip.
    pub(crate) fn probe(&self, clip: &SourceClip, most: usize) -> Result<Probe, Fault> {
        let (mut bytes, mut frames, mut working) = (0, 0, Duration::ZERO);
        let mut store = |_: Part, _: usize, image: &[u8]| {
            bytes += image.len() as u64;
            Ok(())
        };
        let began = Instant::now();
        let mut making = self.start(clip, &mut store)?;
        self.decode(clip, |frame| {
            frames += 1;
            if frames > most {
                return Ok(());
            }
            let began = Instant::now();
            let done = making.frame(frame);
            working += began.elapsed();
            done
        })?;
        let decoding = began.elapsed().saturating_sub(working).as_secs_f64();
        let times = frames as f64 / frames.min(most).max(1) as f64;
        Ok(Probe { seconds: decoding + working.as_secs_f64() * times, bytes: bytes as f64 * times })
    }

    fn start<'m, 's>(&'m self, clip: &'m SourceClip, store: &'m mut Store<'s>) -> Result<Making<'m, 's>, Fault> {
        let failed = |source| Fault::Clip(DataError::Flow { path: clip.path().to_owned(), frame: 0, source });
        let flow = match &self.flow {
            Some(maker) => Some((maker, maker.start().map_err(failed)?)),
            None => None,
        };
        let (coding, limits) = (self.image, self.decoder.limits());
        Ok(Making { coding, limits, clip, store, hash: ContentHash::default(), frames: 0, size: None, flow })
    }

    fn decode(
        &self,
        clip: &SourceClip,
        mut each: impl FnMut(VideoFrame<'_>) -> Result<(), Fault>,
    ) -> Result<Option<f64>, Fault> {
        let mut fault = None;
        let mut take = |frame: VideoFrame<'_>| {
            each(frame).map_err(|error| {
                fault = Some(error);
                DataError::Shape("stopped".to_owned()) // the fault is what is told
            })
        };
        let decoded = decode(self.decoder, &clip.source, self.size.into(), &mut take);
        fault.map_or_else(|| decoded.map_err(Fault::of_source), Err)
    }
}

/// What a whole clip would take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// On one thread.
    pub(crate) seconds: f64,
    /// On disk.
    pub(crate) bytes: f64,
}

/// A clip under way.
struct Making<'m, 's> {
    coding: ImageCoding,
    limits: DecodeLimits,
    clip: &'m SourceClip,
    store: &'m mut Store<'s>,
    hash: ContentHash,
    frames: usize,
    /// Width and height of the first frame.
    size: Option<(usize, usize)>,
    /// Keeps what it needs of the frame before.
    flow: Option<(&'m FlowMaker, FlowRun)>,
}

impl Making<'_, '_> {
    fn frame(&mut self, frame: VideoFrame<'_>) -> Result<(), Fault> {
        let size = (frame.width, frame.height);
        let first = *self.size.get_or_insert(size);
        if first != size {
            let words = format!("the frame size changes from {first:?} to {size:?}");
            let path = self.clip.path().to_owned();
            return Err(Fault::Clip(DataError::BrokenVideo { path, frames: self.frames, words }));
        }
        let limit = self.limits.max_frames;
        if self.frames >= limit {
            let path = self.clip.path().to_owned();
            return Err(Fault::Clip(DataError::TooLarge { path, limit: "max_frames", allowed: limit }));
        }
        let bytes = encode(self.coding, frame.pixels, size, ExtendedColorType::Rgb8);
        self.store(Part::Frame, self.frames, bytes)?;
        self.flow_to(frame)?;
        self.frames += 1;
        Ok(())
    }

    fn flow_to(&mut self, frame: VideoFrame<'_>) -> Result<(), Fault> {
        let Some((maker, run)) = &mut self.flow else { return Ok(()) };
        let index = self.frames.saturating_sub(1);
        let path = self.clip.path();
        let failed = |source| Fault::Clip(DataError::Flow { path: path.to_owned(), frame: index, source });
        let next = gru_rcn_flow::Image::from_rgb8(frame.width, frame.height, frame.pixels).map_err(failed)?;
        let Some([x, y]) = run.push(&next, maker).map_err(failed)? else { return Ok(()) };
        let (coding, size) = (maker.image(), (frame.width, frame.height));
        for (part, codes) in [(Part::FlowX, x), (Part::FlowY, y)] {
            self.store(part, index, encode(coding, &codes, size, ExtendedColorType::L8))?;
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

    fn record(self, fps: Option<f64>) -> Result<ClipRecord, Fault> {
        let Some((width, height)) = self.size else {
            return Err(Fault::Clip(DataError::NoFrames { path: self.clip.path().to_owned(), words: String::new() }));
        };
        let SourceClip { id, class, group, .. } = self.clip.clone();
        let (frames, flow) = (self.frames, if self.flow.is_some() { self.frames.saturating_sub(1) } else { 0 });
        Ok(ClipRecord { id, class, group, frames, width, height, fps, flow, sha256: self.hash.finish() })
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

    // SHA-256 of the 17 bytes 1, seven zeros, `a`, and eight zeros: one file `a` and one without bytes. Without the lengths
    // it would be that of `a`, which begins with ca978112.
    #[test]
    fn the_hash_knows_where_files_end() {
        let hash = |files: &[&[u8]]| {
            let mut hash = ContentHash::default();
            files.iter().for_each(|file| hash.file(file));
            hash.finish()
        };
        let mut by_hand = Sha256::new();
        by_hand.update(b"\x01\0\0\0\0\0\0\0a\0\0\0\0\0\0\0\0");
        let by_hand: String = by_hand.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash(&[b"a", b""]), by_hand);
        assert_ne!(hash(&[b"a", b""]), hash(&[b"", b"a"]));
        assert_ne!(hash(&[b"ab"]), hash(&[b"a", b"b"]));
        assert_eq!(hash(&[b"ab"]).len(), 64);
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
