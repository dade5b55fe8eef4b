//! Freshly drawn clips in every epoch: through the frozen CNN, or as pixels for one that is trained.

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn::backbone::{Cnn, Pixels};
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Frames, Sample, ordered};

use super::{Batch, ClipLoader, Source, percepts_of, pixels_of};

/// Reads clips and runs the frozen CNN whenever a batch is requested.
pub(crate) struct Live {
    clips: Clips,
    cnn: Box<Cnn>,
}

/// Reads clips as pixels, normalised for the network that is trained on them.
pub(crate) struct LivePixels {
    clips: Clips,
    pixels: Pixels,
}

struct Clips {
    samples: Vec<Sample>,
    targets: Vec<usize>,
    loader: ClipLoader,
    device: Device,
}

impl Live {
    /// Over these clips; the CNN must be on the plain device.
    pub(crate) fn new(cnn: Cnn, samples: &[Sample], loader: ClipLoader, device: &Device) -> Self {
        Self { clips: Clips::new(samples, loader, device), cnn: Box::new(cnn) }
    }
}

impl LivePixels {
    /// Over these clips.
    pub(crate) fn new(pixels: Pixels, samples: &[Sample], loader: ClipLoader, device: &Device) -> Self {
        Self { clips: Clips::new(samples, loader, device), pixels }
    }
}

impl Clips {
    fn new(samples: &[Sample], loader: ClipLoader, device: &Device) -> Self {
        let targets = samples.iter().map(|sample| sample.class).collect();
        Self { samples: samples.to_vec(), targets, loader, device: device.clone() }
    }

    fn batches<'a, I: 'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
        input: impl Fn(&[Frames]) -> I + 'a,
    ) -> Box<dyn Iterator<Item = Result<Batch<I>>> + 'a> {
        let (loader, bytes) = (self.loader.clone(), self.loader.bytes_of(1));
        let jobs: Vec<Sample> = order.iter().map(|&clip| self.samples[clip].clone()).collect();
        let mut frames = ordered(
            jobs,
            move |_| bytes,
            self.loader.limits,
            move |sample| Ok(loader.read(sample, &[epoch])?.swap_remove(0)),
        );
        let parts: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(parts.into_iter().map(move |part| {
            let places = part.len();
            let (mut clips, mut read) = (Vec::with_capacity(places), Vec::with_capacity(places));
            for (clip, frames) in part.into_iter().zip(frames.by_ref()) {
                if let Some(frames) = self.loader.or_skip(&self.samples[clip].id, frames)? {
                    clips.push(clip);
                    read.push(frames);
                }
            }
            Ok(Batch {
                input: (!read.is_empty()).then(|| input(&read)),
                targets: clips.iter().map(|&clip| self.targets[clip]).collect(),
                bad: places - clips.len(),
                clips,
            })
        }))
    }
}

impl Source<Percepts> for Live {
    fn targets(&self) -> &[usize] {
        &self.clips.targets
    }

    fn id(&self, clip: usize) -> String {
        self.clips.samples[clip].id.clone()
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch<Percepts>>> + 'a> {
        let (device, dtype) = (&self.clips.device, self.clips.loader.dtype);
        self.clips.batches(order, epoch, batch, move |frames| percepts_of(&self.cnn, frames, device, dtype))
    }
}

impl Source<PixelClips> for LivePixels {
    fn targets(&self) -> &[usize] {
        &self.clips.targets
    }

    fn id(&self, clip: usize) -> String {
        self.clips.samples[clip].id.clone()
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch<PixelClips>>> + 'a> {
        let (device, dtype) = (&self.clips.device, self.clips.loader.dtype);
        self.clips.batches(order, epoch, batch, move |frames| pixels_of(&self.pixels, frames, device, dtype))
    }
}
