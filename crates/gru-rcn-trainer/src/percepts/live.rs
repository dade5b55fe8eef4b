//! The CNN in every epoch, on freshly drawn clips.

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn::backbone::Cnn;
use gru_rcn::percepts::Percepts;
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

    fn batch(&self, part: Vec<(usize, Frames)>, bad: usize) -> Batch {
        let (indices, clips): (Vec<usize>, Vec<Frames>) = part.into_iter().unzip();
        Batch {
            percepts: if clips.is_empty() {
                Percepts { maps: Vec::new() }
            } else {
                percepts_of(&self.cnn, &clips, &self.device)
            },
            classes: indices.iter().map(|&index| self.classes[index]).collect(),
            clips: indices,
            bad,
        }
    }
}

impl Source for Live {
    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn id(&self, clip: usize) -> String {
        self.samples[clip].id.clone()
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let (reading, bytes) = (self.reading.clone(), self.reading.bytes_of(1));
        let jobs: Vec<Sample> = order.iter().map(|&index| self.samples[index].clone()).collect();
        let mut clips = ordered(
            jobs,
            move |_| bytes,
            self.reading.loader,
            move |sample| Ok(reading.read(sample, &[epoch])?.swap_remove(0)),
        );
        let parts: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(parts.into_iter().map(move |part| {
            let (places, mut read) = (part.len(), Vec::with_capacity(part.len()));
            for (index, clip) in part.into_iter().zip(clips.by_ref()) {
                if let Some(clip) = self.reading.judged(&self.samples[index].id, clip)? {
                    read.push((index, clip));
                }
            }
            let bad = places - read.len();
            Ok(self.batch(read, bad))
        }))
    }
}
