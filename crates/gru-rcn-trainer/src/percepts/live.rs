//! The CNN in every epoch, on freshly drawn clips.

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn::backbone::Cnn;
use gru_rcn_data::{Frames, Sample, ordered};

use super::{Batch, Reading, Source, percepts_of};

/// Reads clips and runs the frozen CNN whenever a batch is asked for.
pub struct Live {
    cnn: Cnn,
    samples: Vec<Sample>,
    classes: Vec<usize>,
    reading: Reading,
    device: Device,
}

impl Live {
    /// Over these clips; the CNN must be on the plain device.
    pub fn new(cnn: Cnn, samples: &[Sample], reading: Reading, device: &Device) -> Self {
        let classes = samples.iter().map(|sample| sample.class).collect();
        Self { cnn, samples: samples.to_vec(), classes, reading, device: device.clone() }
    }

    fn batch(&self, part: Vec<(usize, Frames)>) -> Batch {
        let (indices, clips): (Vec<usize>, Vec<Frames>) = part.into_iter().unzip();
        Batch {
            percepts: percepts_of(&self.cnn, &clips, &self.device, self.reading.dtype),
            classes: indices.into_iter().map(|index| self.classes[index]).collect(),
        }
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
