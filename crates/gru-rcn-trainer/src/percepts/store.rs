//! Percepts computed once and kept in memory.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use gru_rcn::percepts::{Level, PerceptStatistics, Percepts};
use gru_rcn_data::{PlanKey, Sample};

use super::{Batch, Batches, ClipLoader, FrozenCnn, KeptPercepts, Source, Version, Work, in_batches};
use crate::context::Context;

/// The percepts of a list of clips, in one or several versions. A clone shares them.
#[derive(Clone)]
pub(crate) struct Store {
    data: Rc<Data>,
    /// The clips that are handed out, a part of those in memory.
    clips: Range<usize>,
}

struct Data {
    levels: Vec<Level>,
    time: usize,
    versions: usize,
    targets: Vec<usize>,
    ids: Vec<String>,
    seed: u64,
    /// The first row of each clip, one for each version; none of a clip that could not be read.
    first_rows: Vec<Option<usize>>,
    /// Per level, rows of `time * channels * height * width` values.
    values: Vec<Vec<f32>>,
    device: Device,
}

/// Bytes of the percepts of clips, each with `copies` augmented versions beside the original.
pub(crate) fn bytes_of_clips(levels: &[Level], time: usize, clips: usize, copies: usize) -> usize {
    let row: usize = levels.iter().map(|level| time * values_of(level)).sum();
    [1 + copies, row, size_of::<f32>()].into_iter().fold(clips, usize::saturating_mul)
}

/// The original of a clip and `copies` augmented versions.
pub(crate) fn versions(copies: usize) -> Vec<Version> {
    std::iter::once(None).chain((1..=copies as u64).map(Some)).collect()
}

fn values_of(level: &Level) -> usize {
    level.channels * level.height * level.width
}

impl Store {
    /// Percepts of all clips, the original and `copies` versions of each. Those that are not at hand
    /// are kept for other runs.
    pub(crate) fn fill(
        context: &Context,
        cnn: &FrozenCnn,
        samples: &[Sample],
        copies: usize,
        loader: &ClipLoader,
        kept: Option<&Arc<KeptPercepts>>,
    ) -> Result<Self> {
        let versions = versions(copies);
        let mut data = Data {
            levels: cnn.levels(),
            time: loader.planner.temporal.frames(),
            versions: versions.len(),
            targets: samples.iter().map(|sample| sample.class).collect(),
            ids: samples.iter().map(|sample| sample.id.clone()).collect(),
            seed: loader.seed,
            first_rows: vec![None; samples.len()],
            values: cnn.levels().iter().map(|_| Vec::new()).collect(),
            device: context.device.clone(),
        };
        let message = |line| context.message(line);
        let work = Work { device: &context.device, stop: &context.stop, message: &message };
        let mut rows = 0;
        work.percepts(cnn, samples, &versions, loader, kept, |found| {
            let first = *data.first_rows[found.clip].get_or_insert_with(|| {
                rows += versions.len();
                rows - versions.len()
            });
            for (values, new) in data.values.iter_mut().zip(&found.values) {
                values.resize(rows * new.len(), 0.0);
                values[(first + found.place) * new.len()..][..new.len()].copy_from_slice(new);
            }
            if let Some(kept) = kept.filter(|_| !found.at_hand) {
                kept.keep(found, loader, &work);
            }
            Ok(())
        })?;
        Ok(Self { clips: 0..samples.len(), data: Rc::new(data) })
    }

    /// A part of the clips, as if there were no others.
    pub(crate) fn part(&self, clips: Range<usize>) -> Self {
        let first = self.clips.start;
        Self { data: self.data.clone(), clips: first + clips.start..first + clips.end }
    }

    /// Mean squares of all versions of its clips; `view` selects the percepts that are measured.
    pub(crate) fn statistics(&self, view: impl Fn(Percepts) -> Percepts) -> PerceptStatistics {
        let data = &self.data;
        let mut statistics = PerceptStatistics::default();
        let first_rows = data.first_rows[self.clips.clone()].iter().flatten();
        let rows: Vec<usize> = first_rows.flat_map(|&first| first..first + data.versions).collect();
        for rows in rows.chunks(16) {
            statistics.observe(&view(data.rows(rows)));
        }
        statistics
    }
}

impl Data {
    fn rows(&self, rows: &[usize]) -> Percepts {
        let maps = self.levels.iter().zip(&self.values).map(|(level, values)| {
            let length = self.time * values_of(level);
            let mut batch = Vec::with_capacity(rows.len() * length);
            for row in rows {
                batch.extend_from_slice(&values[row * length..(row + 1) * length]);
            }
            let shape = [rows.len(), self.time, level.channels, level.height, level.width];
            Tensor::<5>::from_data(TensorData::new(batch, shape), &self.device)
        });
        Percepts::new(maps.collect())
    }

    /// The version of a clip that an epoch trains on.
    fn version(&self, clip: usize, epoch: Option<u64>) -> usize {
        match epoch {
            Some(epoch) if self.versions > 1 => {
                PlanKey { seed: self.seed, epoch, sample: self.ids[clip].clone() }.choice(self.versions)
            }
            _ => 0,
        }
    }
}

impl Source<Percepts> for Store {
    fn targets(&self) -> &[usize] {
        &self.data.targets[self.clips.clone()]
    }

    fn id(&self, clip: usize) -> String {
        self.data.ids[self.clips.start + clip].clone()
    }

    fn batches(&self, order: Vec<usize>, epoch: Option<u64>, batch: usize) -> Batches<'_, Percepts> {
        let (data, first) = (&self.data, self.clips.start);
        in_batches(&order, batch, move |part| {
            let row = |clip: usize| {
                let row = data.first_rows[first + clip]? + data.version(first + clip, epoch);
                Some((clip, row))
            };
            let requested = part.len();
            let (clips, rows): (Vec<usize>, Vec<usize>) = part.into_iter().filter_map(row).unzip();
            Ok(Batch::new(clips, requested, self.targets(), || data.rows(&rows)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clips 0 to 9, whose target and only percept is that number; clip 7 could not be read.
    fn numbers() -> Store {
        let data = Data {
            levels: vec![Level::new("top".into(), 1, 1, 1)],
            time: 1,
            versions: 1,
            targets: (0..10).collect(),
            ids: (0..10).map(|clip| format!("clip {clip}")).collect(),
            seed: 0,
            first_rows: (0..10).map(|clip| (clip != 7).then_some(clip)).collect(),
            values: vec![(0..10).map(|clip| clip as f32).collect()],
            device: Device::flex(),
        };
        Store { data: Rc::new(data), clips: 0..10 }
    }

    #[test]
    fn a_part_counts_clips_from_its_first() {
        let part = numbers().part(6..9);
        assert_eq!((part.len(), part.targets(), part.id(2)), (3, &[6, 7, 8][..], "clip 8".to_owned()));
        let batch = part.batches(vec![2, 1, 0], Some(1), 4).next().unwrap().unwrap();
        assert_eq!((batch.clips, batch.targets, batch.bad), (vec![2, 0], vec![8, 6], 1));
        let values: Vec<f32> = batch.input.unwrap().maps[0].clone().into_data().try_into_vec().unwrap();
        assert_eq!(values, [8.0, 6.0]);
        let mut seen: Vec<usize> = part.epoch(3, 1, 2, 0).flat_map(|batch| batch.unwrap().clips).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 2]);
        // The mean of 36 and 64.
        assert!((part.statistics(|percepts| percepts).rms()[0].raw - 50f64.sqrt()).abs() < 1e-6);
    }
}
