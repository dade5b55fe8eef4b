//! Freshly drawn clips in every epoch, through the frozen CNN or as pixels for one that is trained.

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn::backbone::{Cnn, Pixels};
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Frames, Sample, ordered};

use super::{Batch, Reading, Source, percepts_of, upload};

/// What is made of a batch of clips.
enum Seen {
    /// The maps of a frozen CNN.
    Percepts(Box<Cnn>),
    /// The normalised frames themselves, as one level.
    Pixels(Pixels),
}

/// Reads clips, and runs the frozen CNN if there is one, whenever a batch is asked for.
pub struct Live {
    seen: Seen,
    samples: Vec<Sample>,
    classes: Vec<usize>,
    reading: Reading,
    device: Device,
}

impl Live {
    /// Over these clips; the CNN must be on the plain device.
    pub fn new(cnn: Cnn, samples: &[Sample], reading: Reading, device: &Device) -> Self {
        Self::with(Seen::Percepts(Box::new(cnn)), samples, reading, device)
    }

    /// The frames of these clips, normalised for the network that is trained on them.
    pub fn pixels(pixels: Pixels, samples: &[Sample], reading: Reading, device: &Device) -> Self {
        Self::with(Seen::Pixels(pixels), samples, reading, device)
    }

    fn with(seen: Seen, samples: &[Sample], reading: Reading, device: &Device) -> Self {
        let classes = samples.iter().map(|sample| sample.class).collect();
        Self { seen, samples: samples.to_vec(), classes, reading, device: device.clone() }
    }

    fn batch(&self, part: Vec<(usize, Frames)>) -> Batch {
        let (indices, clips): (Vec<usize>, Vec<Frames>) = part.into_iter().unzip();
        let percepts = match &self.seen {
            Seen::Percepts(cnn) => percepts_of(cnn, &clips, &self.device),
            Seen::Pixels(pixels) => Percepts::new(vec![pixels.normalise(upload(&clips, &self.device))]),
        };
        Batch { percepts, classes: indices.into_iter().map(|index| self.classes[index]).collect() }
    }
}

impl Source for Live {
    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let jobs: Vec<(usize, Sample)> = order.into_iter().map(|index| (index, self.samples[index].clone())).collect();
        let (reading, bytes) = (self.reading.clone(), self.reading.bytes_of(1));
        let mut clips = ordered(
            jobs,
            move |_| bytes,
            self.reading.loader,
            move |(index, sample)| Ok((*index, reading.read(sample, &[epoch])?.swap_remove(0))),
        );
        Box::new(std::iter::from_fn(move || {
            let mut part = Vec::with_capacity(batch);
            for clip in clips.by_ref().take(batch) {
                match clip {
                    Ok(clip) => part.push(clip),
                    Err(error) => return Some(Err(error.into())),
                }
            }
            (!part.is_empty()).then(|| Ok(self.batch(part)))
        }))
    }
}
