//! Clips as pixels in memory, for training the CNN.

use anyhow::{Context, Result};
use burn::tensor::{Device, FloatDType};
use gru_rcn::backbone::Pixels;
use gru_rcn::input::PixelClips;
use gru_rcn_data::{Frames, PlanKey, Sample};

use super::{Batch, Batches, ClipLoader, Source, in_batches, pixels_of};

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
        let clips = loader.in_order(samples.to_vec(), 1, |loader, sample| loader.read_one(sample, None));
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

    fn batches(&self, order: Vec<usize>, epoch: Option<u64>, batch: usize) -> Batches<'_, PixelClips> {
        in_batches(&order, batch, move |part| {
            let requested = part.len();
            let read = part.into_iter().filter_map(|clip| Some((clip, self.drawn(clip, epoch)?)));
            let (clips, frames): (Vec<usize>, Vec<Frames>) = read.unzip();
            let input = || pixels_of(&self.pixels, &frames, &self.device, self.dtype);
            Ok(Batch::new(clips, requested, &self.targets, input))
        })
    }
}
