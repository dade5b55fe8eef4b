//! Frames themselves as percepts, for training the CNN.

use anyhow::{Result, bail};
use burn::tensor::Device;
use gru_rcn::backbone::Pixels;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Frames, Sample, ordered};

use super::{Batch, Reading, Source, upload};

/// Clips kept in memory as bytes and handed out as one level of normalised pixels, labelled by their appearance.
pub struct PixelStore {
    clips: Vec<Frames>,
    appearances: Vec<usize>,
    pixels: Pixels,
    device: Device,
}

impl PixelStore {
    /// Reads all clips as they are evaluated.
    pub fn fill(samples: &[Sample], reading: &Reading, pixels: Pixels, device: &Device) -> Result<Self> {
        let mut appearances = Vec::with_capacity(samples.len());
        for sample in samples {
            match sample.appearance {
                Some(appearance) => appearances.push(appearance),
                None => bail!(
                    "{}: this data has no appearance labels to train the CNN by; give it weights with --weights",
                    sample.id
                ),
            }
        }
        let (worker, bytes) = (reading.clone(), reading.bytes_of(1));
        let clips = ordered(samples.to_vec(), move |_| bytes, reading.loader.clone(), move |sample| {
            Ok(worker.read(sample, &[None])?.swap_remove(0))
        });
        let clips = clips.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { clips, appearances, pixels, device: device.clone() })
    }
}

impl Source for PixelStore {
    fn classes(&self) -> &[usize] {
        &self.appearances
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        _epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(batches.into_iter().map(move |part| {
            let clips: Vec<Frames> = part.iter().map(|&clip| self.clips[clip].clone()).collect();
            let pixels = self.pixels.normalise(upload(&clips, &self.device));
            Ok(Batch {
                percepts: Percepts::new(vec![pixels]),
                classes: part.into_iter().map(|clip| self.appearances[clip]).collect(),
            })
        }))
    }
}
