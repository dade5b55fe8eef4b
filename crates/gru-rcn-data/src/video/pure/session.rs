//! One file being decoded: from chunks to pictures in the order of display.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oxideav_mpeg4video::DecodedFrame;
use oxideav_mpeg4video::vop::{VopCodingType, VopHeader};

use super::avi::{Avi, AviError};
use super::colour;
use super::origin::{Origin, check_colours, check_tools, is_mpeg4};
use super::pictures::{PICTURE, Pictures, USER_DATA, Unit, VISUAL_OBJECT, units};
use crate::base::{DataError, DecodeLimits, panic_message};
use crate::image::{SizeRule, resize_cubic};
use crate::video::{FrameSource, VideoFrame};

/// Most bytes of a placeholder. FFmpeg decodes a picture held over in place of a chunk up to this
/// size even where the stream does not call itself packed.
const PLACEHOLDER: usize = 19;
/// Memory that the decoder takes for a macroblock (16 × 16 pixels): three frames of it, and its
/// coefficients, for a picture that may be a few bytes long in the file.
const MACROBLOCK_BYTES: usize = 8192;

pub(super) struct Session {
    path: PathBuf,
    limits: DecodeLimits,
    /// The size that frames are brought to.
    output: SizeRule,
    avi: Avi<File>,
    pictures: Pictures,
    origin: Origin,
    /// A B-frame that came with the frame it is shown before.
    held: Option<Vec<u8>>,
    /// Pictures decoded that others are predicted from.
    anchors: usize,
    pub(super) size: Option<[usize; 2]>,
    ready: VecDeque<DecodedFrame>,
    /// Frames handed out.
    frames: usize,
    ended: bool,
}

impl Session {
    pub(super) fn open(path: &Path, output: SizeRule, limits: DecodeLimits) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        let avi = Avi::open(file, limits.max_bytes as u64).map_err(|error| of_file(path, 0, error))?;
        if !is_mpeg4(avi.video.codec) {
            let codec = String::from_utf8_lossy(&avi.video.codec).into_owned();
            let reason =
                format!("its codec is {codec:?}, and only MPEG-4 Part 2 (XVID, FMP4 and the like) is built in");
            return Err(DataError::PureUnsupported { path: path.to_owned(), reason });
        }
        let headers = avi.video.extradata.clone();
        let mut session = Self {
            path: path.to_owned(),
            limits,
            output,
            avi,
            pictures: Pictures::default(),
            origin: Origin::default(),
            held: None,
            anchors: 0,
            size: None,
            ready: VecDeque::new(),
            frames: 0,
            ended: false,
        };
        for unit in units(&headers) {
            session.header(&unit)?;
        }
        Ok(session)
    }

    /// The next picture in the order of display, `None` at the end.
    pub(super) fn next_picture(&mut self) -> Result<Option<DecodedFrame>, DataError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.frames += 1;
                return Ok(Some(frame));
            }
            if self.ended {
                return Ok(None);
            }
            match self.avi.next_chunk().map_err(|error| of_file(&self.path, self.frames, error))? {
                Some(chunk) => self.chunk(&chunk)?,
                None => {
                    self.ended = true;
                    self.ready.extend(self.pictures.finish());
                }
            }
        }
    }

    /// Decodes one picture for one chunk: that held over, if there is one, else the chunk's first.
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), DataError> {
        let held = self.held.take().filter(|_| self.origin.packed || chunk.len() <= PLACEHOLDER);
        let (seen, used) = self.first_picture(held.as_deref().unwrap_or(chunk))?;
        let rest = if held.is_some() { chunk } else { &chunk[used..] };
        let next = units(rest).find(|unit| unit.code == PICTURE);
        let Some(next) = next else { return Ok(()) };
        // Only a B-frame is held over, for only its place in the stream is not that of its display.
        let next = self.picture(&next)?;
        if seen && self.origin.packed && next.coding_type == VopCodingType::B {
            self.held = Some(rest.to_vec());
            return Ok(());
        }
        // FFmpeg drops the rest. If another frame is predicted from it, all that follow would be
        // wrong.
        for unit in units(rest).filter(|unit| unit.code == PICTURE) {
            let picture = self.picture(&unit)?;
            if picture.coded && picture.coding_type != VopCodingType::B {
                return Err(self.broken("a chunk holds a frame too many, which has no place in the film"));
            }
        }
        Ok(())
    }

    /// Decodes up to the end of the first picture; returns whether it is to be seen and where it
    /// ends.
    fn first_picture(&mut self, data: &[u8]) -> Result<(bool, usize), DataError> {
        for unit in units(data) {
            if unit.code == PICTURE {
                return Ok((self.decode_picture(&unit)?, unit.end));
            }
            self.header(&unit)?;
        }
        Ok((false, data.len()))
    }

    fn header(&mut self, unit: &Unit<'_>) -> Result<(), DataError> {
        match unit.code {
            USER_DATA => self.origin.note(unit),
            VISUAL_OBJECT => check_colours(unit).map_err(|reason| self.unsupported(reason))?,
            _ => self.guarded(|pictures| pictures.header(unit))?,
        }
        if unit.is_layer() { self.check_layer() } else { Ok(()) }
    }

    /// Sizes and tools, before memory is taken for pictures.
    fn check_layer(&mut self) -> Result<(), DataError> {
        let Some(layer) = self.pictures.layer() else { return Ok(()) };
        let size = [usize::from(layer.height), usize::from(layer.width)];
        check_tools(layer).map_err(|reason| self.unsupported(reason))?;
        if size.contains(&0) {
            return Err(self.broken("a picture without pixels"));
        }
        if let Some(old) = self.size.filter(|&old| old != size && self.anchors > 0) {
            let [old, new] = [old, size].map(|[height, width]| [width, height]);
            return Err(self.broken(&format!("the frame size changes from {old:?} to {new:?}")));
        }
        self.limits.check_size(&self.path, size[0], size[1])?;
        self.limits.check(&self.path, 1, size[0].div_ceil(16) * size[1].div_ceil(16) * MACROBLOCK_BYTES)?;
        self.size = Some(size);
        Ok(())
    }

    /// Returns whether the picture is to be seen: not a placeholder, nor a B-frame without the frames
    /// it needs.
    fn decode_picture(&mut self, unit: &Unit<'_>) -> Result<bool, DataError> {
        let picture = self.picture(unit)?;
        if self.anchors == 0 {
            self.origin.check(self.avi.video.codec).map_err(|reason| self.unsupported(reason))?;
        }
        let anchor = picture.coding_type != VopCodingType::B;
        let seen = match (picture.coded, picture.coding_type) {
            (false, _) if anchor && self.anchors > 0 => {
                self.guarded(|pictures| pictures.skip(unit))?;
                false
            }
            (false, _) => false,
            // At the start of a film that was cut out of a longer one.
            (true, VopCodingType::B) if self.anchors < 2 => false,
            (true, VopCodingType::B) if self.promises_order() => {
                let reason = "it has B-frames and says it has none, so their order is not known";
                return Err(self.unsupported(reason.to_owned()));
            }
            (true, VopCodingType::P | VopCodingType::S) if self.anchors == 0 => {
                return Err(self.broken("the film begins with a frame that is predicted from another"));
            }
            (true, _) => {
                let frames = self.guarded(|pictures| pictures.decode(unit))?;
                let seen = frames.is_some();
                self.ready.extend(frames.unwrap_or_default());
                seen
            }
        };
        self.anchors += usize::from(seen && anchor);
        Ok(seen)
    }

    /// Whether the layer's header says that frames are stored in the order of display. Simple
    /// profiles without a word on it are taken to say so.
    fn promises_order(&self) -> bool {
        self.pictures.layer().is_some_and(|layer| match &layer.vol_control {
            Some(control) => control.low_delay,
            None => matches!(layer.video_object_type_indication, 1 | 17),
        })
    }

    fn picture(&mut self, unit: &Unit<'_>) -> Result<VopHeader, DataError> {
        self.guarded(|pictures| Ok(pictures.open(unit)?.1))
    }

    /// Runs the decoder, whose panics on a broken file are that file's affair and not the
    /// program's. After an error the session is not used again.
    fn guarded<T>(&mut self, run: impl FnOnce(&mut Pictures) -> Result<T, String>) -> Result<T, DataError> {
        let pictures = &mut self.pictures;
        match catch_unwind(AssertUnwindSafe(|| run(pictures))) {
            Ok(result) => result.map_err(|words| self.broken(&words)),
            Err(panic) => Err(self.broken(&format!("the decoder panicked: {}", panic_message(&*panic)))),
        }
    }

    fn broken(&self, words: &str) -> DataError {
        broken(&self.path, self.frames + self.ready.len(), words)
    }

    fn unsupported(&self, reason: String) -> DataError {
        DataError::PureUnsupported { path: self.path.clone(), reason }
    }
}

impl FrameSource for Session {
    fn next_frame(&mut self, _: Instant) -> Result<Option<VideoFrame>, DataError> {
        let Some(frame) = self.next_picture()? else { return Ok(None) };
        let from = self.size.unwrap_or_default();
        let [height, width] = self.output.of(from[0], from[1]);
        self.limits.check_size(&self.path, height, width)?;
        self.limits.check(&self.path, 1, height * width * 3)?;
        let planes = [frame.luma_samples(), frame.cb_samples(), frame.cr_samples()];
        let mut pixels = colour::to_rgb(planes, [frame.width(), frame.width() / 2], from);
        if from != [height, width] {
            pixels = resize_cubic(&pixels, from, [height, width])?;
        }
        // The file states no times but the rate.
        let time = self.rate().map(|rate| self.frames.saturating_sub(1) as f64 / rate);
        Ok(Some(VideoFrame { time, height, width, pixels }))
    }

    fn rate(&self) -> Option<f64> {
        self.avi.video.rate
    }
}

fn of_file(path: &Path, frames: usize, error: AviError) -> DataError {
    match error {
        AviError::Foreign(reason) => DataError::PureUnsupported { path: path.to_owned(), reason },
        AviError::Broken(words) => broken(path, frames, &words),
        AviError::Io(error) => DataError::io(path, error),
    }
}

fn broken(path: &Path, frames: usize, words: &str) -> DataError {
    let words = format!("{words}; `--decoder ffmpeg` paints over damage where it can");
    DataError::BrokenVideo { path: path.to_owned(), frames, words }
}
