//! From clips to batches of percepts.
//!
//! The CNN is frozen, so the percepts of a clip that is not augmented never change: [`Store`] computes them once and
//! keeps them in memory, with a few augmented versions of each training clip. [`Live`] runs the CNN in every epoch on
//! freshly drawn clips, as the paper does. Where the CNN itself is trained, the frames take the place of its maps, as one
//! level: kept in memory by [`PixelStore`], or read anew in every epoch by [`Live::pixels`]. All hand out the same
//! [`Batch`]es through [`Source`].

mod bad;
mod cache;
mod live;
mod part;
mod pixels;
mod store;
mod view;
mod watched;

pub use bad::BadClips;
pub use cache::{Cache, CacheWriter, Index as CacheIndex, Kind as CacheKind};
pub use live::Live;
pub use part::Part;
pub use pixels::{PixelStore, appearances};
pub use store::{Store, StorePlan};
pub use view::View;
pub use watched::Watched;

use std::panic::resume_unwind;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{
    ClipPlanner, ClipReader, ClipViews, DataError, Frames, LoaderConfig, PlanKey, Sample, TemporalSampling, ViewRule,
    epoch_order,
};

/// Clips whose percepts are measured for the normalisation where not all are kept in memory.
pub(crate) const MEASURED_CLIPS: usize = 64;

/// A batch of clips as percepts, on the plain device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Per level `[batch, time, channel, height, width]`.
    pub percepts: Percepts,
    /// Class of each clip.
    pub classes: Vec<usize>,
    /// Their places in the list of clips.
    pub clips: Vec<usize>,
    /// Clips that belong to it but could not be read. If that are all, there are no percepts either.
    pub bad: usize,
}

impl Batch {
    /// The classes as a tensor `[batch]`.
    pub fn targets(&self, device: &Device) -> Tensor<1, Int> {
        let classes: Vec<i32> = self.classes.iter().map(|&class| class as i32).collect();
        Tensor::from_data(TensorData::from(classes.as_slice()), device)
    }
}

/// Hands out batches of percepts.
pub trait Source {
    /// Classes of all clips, in the order of the list.
    fn classes(&self) -> &[usize];

    /// The name of a clip.
    fn id(&self, clip: usize) -> String {
        format!("clip {clip}")
    }

    /// Batches of the clips at `order`, each of `batch` places in it, the last of what is left; with an epoch, the augmented versions that (seed, epoch, clip) say, without one
    /// the clips as they are evaluated.
    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a>;

    /// Number of clips.
    fn len(&self) -> usize {
        self.classes().len()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.classes().is_empty()
    }

    /// All clips in the order of the list, as they are evaluated.
    fn evaluation<'a>(&'a self, batch: usize) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        self.batches((0..self.len()).collect(), None, batch)
    }

    /// One epoch of training, in the order that (seed, epoch) say, without its first `skip` batches, which cost nothing.
    fn epoch<'a>(
        &'a self,
        seed: u64,
        epoch: u64,
        batch: usize,
        skip: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let mut order = epoch_order(seed, epoch, self.len());
        order.drain(..(skip * batch).min(order.len()));
        self.batches(order, Some(epoch), batch)
    }
}

/// How clips are read: what plans are drawn, with how many threads, within how much memory.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Draws the plans.
    pub planner: ClipPlanner,
    /// Opens the files.
    pub reader: Arc<ClipReader>,
    /// Threads and memory.
    pub loader: LoaderConfig,
    /// Seed of the plans.
    pub seed: u64,
    /// Whether the CNN runs on the CPU, where several threads may run it side by side.
    pub on_cpu: bool,
    /// What the CNN computes in.
    pub dtype: FloatDType,
    /// Clips that cannot be read are left out and recorded here; without it they are errors.
    pub bad: Option<Arc<BadClips>>,
}

impl Reading {
    /// Most bytes that one clip takes on its way: all its frames are held while one version is cut.
    pub(crate) fn bytes_of(&self, versions: usize) -> usize {
        let [height, width] = self.planner.frame_size;
        let [h, w] = self.planner.input_size;
        // The decoded length is not known ahead; ten seconds at 25 frames a second is assumed.
        250 * height * width * 3 + versions * self.planner.temporal.frames() * h * w * self.planner.stream.channels()
    }

    /// The same, of `frames` single frames or stacks of flow of each clip instead of its clips: a random one of each of so
    /// many equal parts in training, the middle one in evaluation.
    pub fn single_frames(&self, frames: usize) -> Self {
        let planner = ClipPlanner { temporal: TemporalSampling::Spread { frames }, ..self.planner.clone() };
        Self { planner, ..self.clone() }
    }

    /// Reads a clip as it is evaluated.
    pub fn evaluated(&self, sample: &Sample) -> Result<Frames> {
        Ok(self.read(sample, &[None])?.swap_remove(0))
    }

    /// Reads what several views of a clip show.
    pub fn views(&self, sample: &Sample, rule: ViewRule) -> Result<ClipViews, DataError> {
        self.reader.read_views(&sample.source, &self.planner, rule)
    }

    /// The same, with bad clips left out.
    pub fn leaving_out(&self, bad: &Arc<BadClips>) -> Self {
        Self { bad: Some(bad.clone()), ..self.clone() }
    }

    /// Reads a clip once and cuts the versions at these epochs, `None` being the one that is evaluated. A clip that cannot
    /// be read is tried a second time: a network file system may have been away for a moment.
    fn read(&self, sample: &Sample, versions: &[Option<u64>]) -> Result<Vec<Frames>, DataError> {
        let key = |epoch: u64| PlanKey { seed: self.seed, epoch, sample: sample.id.clone() };
        let keys: Vec<Option<PlanKey>> = versions.iter().map(|version| version.map(key)).collect();
        let read = || self.reader.read_clips(sample, &self.planner, &keys);
        read().or_else(|_| read())
    }

    /// What was read of a clip, or nothing if it is bad and may be.
    fn judged<T>(&self, id: &str, read: Result<T, DataError>) -> Result<Option<T>> {
        match (read, &self.bad) {
            (Ok(clip), _) => Ok(Some(clip)),
            (Err(fault), Some(bad)) => bad.leave_out(id, fault).map(|()| None),
            (Err(fault), None) => Err(fault.into()),
        }
    }
}

/// Pixels that go through the frozen CNN together; bounds the memory of its activations, of which VGG-16's first maps, 64
/// floats a pixel, are the largest: 256 MiB each.
const CHUNK_PIXELS: usize = 1 << 20;

/// Clips of so many pixels that go through the frozen CNN together.
pub(crate) fn chunk_of(pixels: usize) -> usize {
    (CHUNK_PIXELS / pixels).max(1)
}

/// Threads that run the frozen CNN side by side.
pub(crate) fn lanes(reading: &Reading) -> usize {
    if reading.on_cpu { std::thread::available_parallelism().map_or(1, |n| n.get().min(8)) } else { 1 }
}

/// The percepts of several parts, each in a thread of its own: on a CPU much of Burn's work between the matrix products is
/// single-threaded.
pub(crate) fn side_by_side<'a>(
    cnn: &Cnn,
    parts: impl Iterator<Item = &'a [Frames]>,
    device: &Device,
    dtype: FloatDType,
) -> Vec<Percepts> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || percepts_of(cnn, part, device, dtype))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Uploads clips as bytes and runs the CNN over them in the given precision, a few at a time; the percepts are float32.
pub fn percepts_of(cnn: &Cnn, clips: &[Frames], device: &Device, dtype: FloatDType) -> Percepts {
    let pixels = clips.first().map_or(1, |clip| clip.time * clip.height * clip.width);
    let parts = clips.chunks(chunk_of(pixels)).map(|part| {
        let pixels = cnn.pixels().normalise(upload(part, device));
        cnn.percepts(pixels.cast(dtype)).cast(FloatDType::F32)
    });
    let mut parts: Vec<Percepts> = parts.collect();
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let levels = cnn.levels().len();
    let join = |level: usize| Tensor::cat(parts.iter().map(|part: &Percepts| part.maps[level].clone()).collect(), 0);
    Percepts::new((0..levels).map(join).collect())
}

/// Clips of the same shape as one tensor of bytes `[batch, time, height, width, channel]`.
pub fn upload(clips: &[Frames], device: &Device) -> Tensor<5, Int> {
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
