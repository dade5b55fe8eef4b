//! Percepts computed once and kept in memory.

use std::ops::Range;
use std::rc::Rc;

use anyhow::{Result, bail};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use gru_rcn::percepts::{Level, PerceptStatistics, Percepts};
use gru_rcn_data::{Frames, PlanKey, Sample};

use super::{Batch, Batches, Cache, ClipLoader, FrozenCnn, Source, chunk_of, in_batches, workers};
use crate::context::Context;
use crate::observe::Pace;

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

fn values_of(level: &Level) -> usize {
    level.channels * level.height * level.width
}

impl Store {
    /// Reads every clip once, cuts the original and `copies` versions, and runs the CNN over all.
    pub(crate) fn fill(
        context: &Context,
        cnn: &FrozenCnn,
        samples: &[Sample],
        copies: usize,
        loader: &ClipLoader,
    ) -> Result<Self> {
        let mut data = Data::new(cnn.levels(), samples, 1 + copies, loader, &context.device);
        let versions: Vec<Option<u64>> = std::iter::once(None).chain((1..=copies as u64).map(Some)).collect();
        let read = move |loader: &ClipLoader, sample: &Sample| loader.read(sample, &versions);
        let clips = loader.in_order(samples.to_vec(), 1 + copies, read);
        let [height, width] = loader.planner.input_size;
        let chunk = chunk_of(data.time * height * width);
        let at_once = workers(loader) * chunk;
        let (mut waiting, mut rows, mut pace) = (Vec::<Frames>::new(), 0, Pace::new(samples.len()));
        for (index, clip) in clips.enumerate() {
            let read = loader.or_skip(&samples[index].id, clip)?;
            data.first_rows.push(read.as_ref().map(|_| rows));
            if let Some(versions) = read {
                rows += versions.len();
                waiting.extend(versions);
            }
            while waiting.len() >= at_once {
                data.push(cnn, &waiting.drain(..at_once).collect::<Vec<_>>(), chunk, loader.dtype)?;
            }
            if let Some(line) = pace.line(index + 1, "clips have percepts") {
                context.message(line);
            }
            if context.stop.is_set() {
                bail!(context.stop.interrupted());
            }
        }
        data.push(cnn, &waiting, chunk, loader.dtype)?;
        Ok(Self { clips: 0..samples.len(), data: Rc::new(data) })
    }

    /// Takes the clips as they are evaluated from percepts on disk, which have been checked.
    pub(crate) fn read(
        cache: &Cache,
        levels: Vec<Level>,
        samples: &[Sample],
        loader: &ClipLoader,
        device: &Device,
    ) -> Result<Self> {
        let mut data = Data::new(levels, samples, 1, loader, device);
        data.first_rows = (0..samples.len()).map(Some).collect();
        let (levels, time) = (&data.levels, data.time);
        data.values = levels.iter().map(|level| vec![0.0; samples.len() * time * values_of(level)]).collect();
        cache.read(&data.ids, levels, time, |clip, level, bytes| {
            let length = time * values_of(&levels[level]);
            let row = &mut data.values[level][clip * length..(clip + 1) * length];
            for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
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
    fn new(levels: Vec<Level>, samples: &[Sample], versions: usize, loader: &ClipLoader, device: &Device) -> Self {
        Self {
            time: loader.planner.temporal.frames(),
            versions,
            targets: samples.iter().map(|sample| sample.class).collect(),
            ids: samples.iter().map(|sample| sample.id.clone()).collect(),
            seed: loader.seed,
            first_rows: Vec::with_capacity(samples.len()),
            values: levels.iter().map(|_| Vec::new()).collect(),
            levels,
            device: device.clone(),
        }
    }

    /// Runs the CNN over clips, `chunk` of them in each thread.
    fn push(&mut self, cnn: &FrozenCnn, clips: &[Frames], chunk: usize, dtype: FloatDType) -> Result<()> {
        let parts: Vec<&[Frames]> = clips.chunks(chunk).collect();
        for percepts in cnn.side_by_side(&parts, &self.device, dtype) {
            for (values, map) in self.values.iter_mut().zip(percepts.maps) {
                values.extend(map.try_into_data()?.try_into_vec::<f32>()?);
            }
        }
        Ok(())
    }

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
