//! Clips as pixels in memory, for training the CNN.

use anyhow::{Context, Result};
use burn::tensor::{Device, FloatDType};
use gru_rcn::backbone::Pixels;
use gru_rcn::input::PixelClips;
use gru_rcn_data::{Frames, PlanKey, Sample, ordered};

use super::{Batch, ClipLoader, Source, pixels_of};

/// Clips kept in memory as bytes and handed out as normalised pixels.
pub(crate) struct PixelStore {
    /// Nothing where a clip could not be read.
    clips: Vec<Option<Frames>>,
    targets: Vec<usize>,
    ids: Vec<String>,
    /// Frames drawn from each clip in each epoch; all of them if none.
    frames: Option<usize>,
    seed: u64,
    pixels: Pixels,
    /// What the CNN computes in.
    dtype: FloatDType,
    device: Device,
}

impl PixelStore {
    /// Reads all clips as they are evaluated; an epoch draws `frames` frames of each, all if none.
    /// Targets are the classes of the clips, or their [`appearances`].
    pub(crate) fn fill(
        samples: &[Sample],
        targets: Vec<usize>,
        frames: Option<usize>,
        loader: &ClipLoader,
        pixels: Pixels,
        device: &Device,
    ) -> Result<Self> {
        let (worker, bytes) = (loader.clone(), loader.bytes_of(1));
        let clips = ordered(
            samples.to_vec(),
            move |_| bytes,
            loader.limits,
            move |sample| Ok(worker.read(sample, &[None])?.swap_remove(0)),
        );
        let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
        let clips = clips.zip(&ids).map(|(clip, id)| loader.or_skip(id, clip)).collect::<Result<Vec<_>>>()?;
        let (seed, dtype) = (loader.seed, loader.dtype);
        Ok(Self { clips, targets, ids, frames, seed, pixels, dtype, device: device.clone() })
    }

    /// The frames of a clip that an epoch trains on, if the clip could be read.
    fn drawn(&self, clip: usize, epoch: Option<u64>) -> Option<Frames> {
        let all = self.clips[clip].as_ref()?;
        let (Some(epoch), Some(frames)) = (epoch, self.frames.filter(|&frames| frames < all.time)) else {
            return Some(all.clone());
        };
        let key = PlanKey { seed: self.seed, epoch, sample: self.ids[clip].clone() };
        let first = key.choice(all.time);
        // Evenly spaced from a random one on, since neighbours look alike.
        let drawn = (0..frames).map(|n| (first + n * all.time / frames) % all.time);
        let data = drawn.flat_map(|t| all.frame(t).iter().copied()).collect();
        Some(Frames { data, time: frames, ..*all })
    }
}

/// The appearance of each clip.
///
/// # Errors
///
/// If the data has none.
pub(crate) fn appearances(samples: &[Sample]) -> Result<Vec<usize>> {
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

impl Source<PixelClips> for PixelStore {
    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn id(&self, clip: usize) -> String {
        self.ids[clip].clone()
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch<PixelClips>>> + 'a> {
        let batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(batches.into_iter().map(move |part| {
            let places = part.len();
            let read = part.into_iter().filter_map(|clip| Some((clip, self.drawn(clip, epoch)?)));
            let (clips, frames): (Vec<usize>, Vec<Frames>) = read.unzip();
            let input = (!frames.is_empty()).then(|| pixels_of(&self.pixels, &frames, &self.device, self.dtype));
            Ok(Batch {
                input,
                targets: clips.iter().map(|&clip| self.targets[clip]).collect(),
                bad: places - clips.len(),
                clips,
            })
        }))
    }
}
