//! From a stream of frames to a clip in memory: every frame, or some of a film too long for that.
//!
//! The same for each decoder, so that the limits and the rule "one film, one frame size" are too.

use std::path::Path;

use super::DecodeLimits;
use super::FrameSize;
use super::ppm::Picture;
use crate::clip::Frames;
use crate::error::DataError;

/// Whether the caller wants further frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Stop,
}

/// A decoder of whole files.
pub(super) trait FrameStream {
    fn limits(&self) -> &DecodeLimits;

    /// Gives each frame, brought to `size`, to `take` in display order, until the film ends or `take` has enough. A film
    /// read to its end had at least one frame.
    fn stream(
        &self,
        path: &Path,
        size: FrameSize,
        take: &mut dyn FnMut(Picture) -> Result<Flow, DataError>,
    ) -> Result<(), DataError>;
}

/// Every frame.
pub(super) fn decode_all(decoder: &impl FrameStream, path: &Path, size: FrameSize) -> Result<Frames, DataError> {
    let mut clip = Clip::default();
    decoder.stream(path, size, &mut |frame| {
        decoder.limits().check(path, clip.time + 1, frame.pixels.len())?;
        clip.push(path, frame)?;
        Ok(Flow::Continue)
    })?;
    clip.into_frames()
}

/// The frames `selected` of a film of `total` frames, in that order, repeats allowed.
pub(super) fn decode_selected(
    decoder: &impl FrameStream,
    path: &Path,
    size: FrameSize,
    selected: &[usize],
    total: usize,
) -> Result<Frames, DataError> {
    let Some(&last) = selected.iter().max().filter(|&&last| last < total) else {
        let path = path.display();
        return Err(DataError::Shape(format!("{path}: cannot select frames {selected:?} of {total}")));
    };
    let mut wanted = selected.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let kept = keep(decoder, path, size, &wanted, last)?;
    decoder.limits().check(path, selected.len(), kept.frame_bytes())?;
    let mut data = Vec::with_capacity(selected.len() * kept.frame_bytes());
    for index in selected {
        let place = wanted.partition_point(|w| w < index);
        data.extend_from_slice(kept.frame(place));
    }
    Frames::new(data, selected.len(), kept.height, kept.width, 3)
}

/// The frames `wanted` (ascending, without repeats), reading no further than `last`.
fn keep(
    decoder: &impl FrameStream,
    path: &Path,
    size: FrameSize,
    wanted: &[usize],
    last: usize,
) -> Result<Frames, DataError> {
    let mut clip = Clip::default();
    let mut index = 0;
    decoder.stream(path, size, &mut |frame| {
        if wanted.binary_search(&index).is_ok() {
            decoder.limits().check(path, clip.time + 1, frame.pixels.len())?;
            clip.push(path, frame)?;
        }
        index += 1;
        Ok(if index > last { Flow::Stop } else { Flow::Continue })
    })?;
    if index <= last {
        return Err(DataError::BrokenVideo {
            path: path.to_owned(),
            frames: index,
            words: format!("the first pass found more than {last}; the file changed while it was read"),
        });
    }
    clip.into_frames()
}

/// Frames as they arrive; the first one fixes the size.
#[derive(Default)]
struct Clip {
    data: Vec<u8>,
    time: usize,
    height: usize,
    width: usize,
}

impl Clip {
    fn push(&mut self, path: &Path, frame: Picture) -> Result<(), DataError> {
        if self.time == 0 {
            (self.height, self.width) = (frame.height, frame.width);
        } else if (self.height, self.width) != (frame.height, frame.width) {
            let (time, old, new) = (self.time, (self.width, self.height), (frame.width, frame.height));
            return Err(DataError::BrokenVideo {
                path: path.to_owned(),
                frames: time,
                words: format!("the frame size changes from {old:?} to {new:?}"),
            });
        }
        self.data.extend_from_slice(&frame.pixels);
        self.time += 1;
        Ok(())
    }

    fn into_frames(self) -> Result<Frames, DataError> {
        Frames::new(self.data, self.time, self.height, self.width, 3)
    }
}
