//! Freshly drawn clips in every epoch: through the frozen CNN, or as pixels for one that is
//! trained.

use burn::tensor::{Device, FloatDType};
use gru_rcn::backbone::Pixels;
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Frames, Sample};

use super::{Batch, Batches, ClipLoader, FrozenCnn, Source, in_batches, pixels_of};

/// Makes the input of a model from clips of the same shape.
pub(crate) trait MakeInput {
    type Input;

    fn input(&self, clips: &[Frames], device: &Device, dtype: FloatDType) -> Self::Input;
}

impl MakeInput for FrozenCnn {
    type Input = Percepts;

    fn input(&self, clips: &[Frames], device: &Device, dtype: FloatDType) -> Percepts {
        self.percepts(clips, device, dtype)
    }
}

impl MakeInput for Pixels {
    type Input = PixelClips;

    fn input(&self, clips: &[Frames], device: &Device, dtype: FloatDType) -> PixelClips {
        pixels_of(self, clips, device, dtype)
    }
}

/// Reads clips whenever a batch is requested, and runs the frozen CNN over them, which must be on
/// the plain device; or normalises their pixels for the network that is trained on them.
pub(crate) struct Live<N> {
    network: N,
    samples: Vec<Sample>,
    targets: Vec<usize>,
    loader: ClipLoader,
    device: Device,
}

impl<N> Live<N> {
    pub(crate) fn new(network: N, samples: &[Sample], loader: ClipLoader, device: &Device) -> Self {
        let targets = samples.iter().map(|sample| sample.class).collect();
        Self { network, samples: samples.to_vec(), targets, loader, device: device.clone() }
    }
}

impl<N: MakeInput> Source<N::Input> for Live<N> {
    fn targets(&self) -> &[usize] {
        &self.targets
    }

    fn id(&self, clip: usize) -> String {
        self.samples[clip].id.clone()
    }

    fn batches(&self, order: Vec<usize>, epoch: Option<u64>, batch: usize) -> Batches<'_, N::Input> {
        let jobs: Vec<Sample> = order.iter().map(|&clip| self.samples[clip].clone()).collect();
        let mut frames = self.loader.in_order(jobs, 1, move |loader, sample| loader.read_one(sample, epoch));
        in_batches(&order, batch, move |part| {
            let requested = part.len();
            let (mut clips, mut read) = (Vec::with_capacity(requested), Vec::with_capacity(requested));
            for (clip, frames) in part.into_iter().zip(frames.by_ref()) {
                if let Some(frames) = self.loader.or_skip(&self.samples[clip].id, frames)? {
                    clips.push(clip);
                    read.push(frames);
                }
            }
            let input = || self.network.input(&read, &self.device, self.loader.dtype);
            Ok(Batch::new(clips, requested, &self.targets, input))
        })
    }
}
