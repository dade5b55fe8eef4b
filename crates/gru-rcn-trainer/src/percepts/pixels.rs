//! Frames themselves as percepts, for training the CNN.

use anyhow::{Context, Result};
use burn::tensor::{Device, FloatDType};
use gru_rcn::backbone::Pixels;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Frames, PlanKey, Sample, ordered};

use super::{Batch, Reading, Source, upload};

/// Clips kept in memory as bytes and handed out as one level of normalised pixels.
pub struct PixelStore {
    /// Nothing where a clip could not be read.
    clips: Vec<Option<Frames>>,
    labels: Vec<usize>,
    ids: Vec<String>,
    /// Frames drawn from each clip in each epoch; all of them if zero.
    frames: usize,
    seed: u64,
    pixels: Pixels,
    /// What the CNN computes in.
    dtype: FloatDType,
    device: Device,
}

impl PixelStore {
    /// Reads all clips as they are evaluated; an epoch draws `frames` frames of each (all if zero). `labels` are what they
    /// are told apart by, their classes or their [`appearances`].
    pub fn fill(
        samples: &[Sample],
        labels: Vec<usize>,
        frames: usize,
        reading: &Reading,
        pixels: Pixels,
        device: &Device,
    ) -> Result<Self> {
        let (worker, bytes) = (reading.clone(), reading.bytes_of(1));
        let clips = ordered(
            samples.to_vec(),
            move |_| bytes,
            reading.loader,
            move |sample| Ok(worker.read(sample, &[None])?.swap_remove(0)),
        );
        let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
        let clips = clips.zip(&ids).map(|(clip, id)| reading.judged(id, clip)).collect::<Result<Vec<_>>>()?;
        let (seed, dtype) = (reading.seed, reading.dtype);
        Ok(Self { clips, labels, ids, frames, seed, pixels, dtype, device: device.clone() })
    }

    /// The frames of a clip that an epoch looks at, if it could be read.
    fn drawn(&self, clip: usize, epoch: Option<u64>) -> Option<Frames> {
        let all = self.clips[clip].as_ref()?;
        let Some(epoch) = epoch.filter(|_| self.frames > 0 && self.frames < all.time) else { return Some(all.clone()) };
        let key = PlanKey { seed: self.seed, epoch, sample: self.ids[clip].clone() };
        let first = key.choice(all.time);
        // Evenly spaced from a random one on, for neighbours look alike.
        let drawn = (0..self.frames).map(|n| (first + n * all.time / self.frames) % all.time);
        let data = drawn.flat_map(|t| all.frame(t).iter().copied()).collect();
        Some(Frames { data, time: self.frames, ..*all })
    }
}

/// The appearance of each clip.
///
/// # Errors
///
/// If the data has none.
pub fn appearances(samples: &[Sample]) -> Result<Vec<usize>> {
    let appearance = |sample: &Sample| {
        sample.appearance.with_context(|| {
            format!(
                "{}: this data has no appearance labels to train the CNN by; give it weights with --weights",
                sample.id
            )
        })
    };
    samples.iter().map(appearance).collect()
}

impl Source for PixelStore {
    fn classes(&self) -> &[usize] {
        &self.labels
    }

    fn id(&self, clip: usize) -> String {
        self.ids[clip].clone()
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(batches.into_iter().map(move |part| {
            let places = part.len();
            let read = part.into_iter().filter_map(|clip| Some((clip, self.drawn(clip, epoch)?)));
            let (clips, frames): (Vec<usize>, Vec<Frames>) = read.unzip();
            let level =
                (!frames.is_empty()).then(|| self.pixels.normalise(upload(&frames, &self.device)).cast(self.dtype));
            Ok(Batch {
                percepts: Percepts { maps: level.into_iter().collect() },
                classes: clips.iter().map(|&clip| self.labels[clip]).collect(),
                bad: places - clips.len(),
                clips,
            })
        }))
    }
}
