//! From clips to batches of percepts, or of pixels.
//!
//! The CNN is frozen, so the percepts of a clip that is not augmented never change: [`Store`]
//! computes them once and keeps them in memory, with a few augmented versions of each training
//! clip, and [`KeptPercepts`] on disk for other runs. [`Live`] runs the CNN in every epoch on freshly
//! drawn clips, as the paper does. A CNN that is trained takes in pixels: kept in memory by
//! [`PixelStore`], or read anew in every epoch by [`Live`]. All hand out [`Batch`]es through [`Source`].

mod frozen;
mod kept;
mod live;
mod loader;
mod pixels;
mod source;
mod store;

pub(crate) use frozen::{KeptPercepts, Version, Work};
pub(crate) use kept::{INDEX, Kept, Key, MOST_BYTES};
pub(crate) use live::Live;
pub(crate) use loader::{ClipLoader, SkippedClips};
pub(crate) use pixels::{PixelStore, appearances};
pub(crate) use source::{Batch, Batches, Changed, Source, in_batches};
pub(crate) use store::{Store, bytes_of_clips, versions};

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use gru_rcn::backbone::{Backbone, Cnn, Pixels};
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn::replay::Replay;
use gru_rcn_data::Frames;

/// Clips whose percepts are measured for the normalisation where not all are kept in memory.
pub(crate) const MEASURED_CLIPS: usize = 64;

/// Pixels that go through the frozen CNN together; bounds the memory of its activations, of which
/// the first maps of VGG-16, 64 floats a pixel, are the largest: 256 MiB each.
const CHUNK_PIXELS: usize = 1 << 20;

/// Clips of this many pixels that go through the frozen CNN together.
pub(crate) fn chunk_of(pixels: usize) -> usize {
    (CHUNK_PIXELS / pixels).max(1)
}

/// Threads that run the frozen CNN side by side: on a CPU much of Burn's work between the matrix
/// products is single-threaded.
pub(crate) fn workers(loader: &ClipLoader) -> usize {
    if loader.on_cpu { std::thread::available_parallelism().map_or(1, |n| n.get().min(8)) } else { 1 }
}

/// A CNN that is not trained, as it makes percepts. A GPU that can record launches replays it.
pub(crate) struct FrozenCnn {
    pub(crate) cnn: Cnn,
    taps: RefCell<Replay>,
    /// Frames, or stacks of flow, that it has seen.
    frames: Cell<usize>,
}

impl FrozenCnn {
    pub(crate) fn new(cnn: &Cnn) -> Self {
        let of_replay = cnn.clone();
        let taps = Replay::new(move |mut frames| of_replay.taps(frames.remove(0)));
        Self { cnn: cnn.clone(), taps: taps.into(), frames: Cell::default() }
    }

    pub(crate) fn levels(&self) -> Vec<Level> {
        self.cnn.levels()
    }

    /// Number of frames, or stacks of flow, that have gone through it.
    pub(crate) fn frames(&self) -> usize {
        self.frames.get()
    }

    /// The percepts of several parts; if they are several, each in a thread of its own.
    pub(crate) fn side_by_side(&self, parts: &[&[Frames]], device: &Device, dtype: FloatDType) -> Vec<Percepts> {
        let seen: usize = parts.iter().copied().flatten().map(|clip| clip.time).sum();
        self.frames.update(|frames| frames + seen);
        let cnn = &self.cnn;
        if let [part] = parts {
            let taps = |frames| self.taps.borrow_mut().call(vec![frames]);
            return vec![percepts_of(cnn, taps, part, device, dtype)];
        }
        let percepts = |part| move || percepts_of(cnn, |frames| cnn.taps(frames), part, device, dtype);
        std::thread::scope(|scope| {
            let threads: Vec<_> = parts.iter().map(|part| scope.spawn(percepts(part))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    pub(crate) fn percepts(&self, clips: &[Frames], device: &Device, dtype: FloatDType) -> Percepts {
        self.side_by_side(&[clips], device, dtype).swap_remove(0)
    }
}

/// Uploads clips as bytes and runs the CNN over them, a few at a time; the percepts are float32.
fn percepts_of(
    cnn: &Cnn,
    taps: impl Fn(Tensor<4>) -> Vec<Tensor<4>>,
    clips: &[Frames],
    device: &Device,
    dtype: FloatDType,
) -> Percepts {
    let pixels = clips.first().map_or(1, |clip| clip.time * clip.height * clip.width);
    let parts = clips.chunks(chunk_of(pixels)).map(|part| {
        let pixels = cnn.pixels().normalise(upload(part, device)).cast(dtype);
        Percepts::of_clips(pixels, &taps).cast(FloatDType::F32)
    });
    joined(parts.collect(), 0)
}

/// The maps of all parts, joined along a dimension.
pub(crate) fn joined(mut parts: Vec<Percepts>, dimension: usize) -> Percepts {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let levels = parts.first().map_or(0, |part| part.maps.len());
    let join = |level: usize| Tensor::cat(parts.iter().map(|part| part.maps[level].clone()).collect(), dimension);
    Percepts::new((0..levels).map(join).collect())
}

/// Uploads clips as bytes and normalises them for the CNN that is trained on them.
pub(crate) fn pixels_of(pixels: &Pixels, clips: &[Frames], device: &Device, dtype: FloatDType) -> PixelClips {
    PixelClips { pixels: pixels.normalise(upload(clips, device)).cast(dtype) }
}

/// Clips of the same shape as one tensor of bytes `[batch, time, height, width, channel]`.
fn upload(clips: &[Frames], device: &Device) -> Tensor<5, Int> {
    let first = &clips[0];
    let shape = [clips.len(), first.time, first.height, first.width, first.channels];
    let mut bytes = Vec::with_capacity(shape.iter().product());
    for clip in clips {
        bytes.extend_from_slice(&clip.data);
    }
    // The shaders of wgpu have no bytes; there each takes four.
    let dtype = if device.supports_dtype(DType::U8) { DType::U8 } else { DType::I32 };
    Tensor::from_data(TensorData::new(bytes, shape), (device, dtype))
}
