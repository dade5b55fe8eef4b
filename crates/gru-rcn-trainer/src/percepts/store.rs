//! Percepts computed once and kept in memory.

use anyhow::Result;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::percepts::{Level, PerceptStatistics, Percepts};
use gru_rcn_data::{Frames, PlanKey, Sample, ordered};

use super::{Batch, Cache, Reading, Source, chunk_of, lanes, side_by_side};

/// How much a store will hold, known before it is filled.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// Clips.
    pub clips: usize,
    /// Versions of each: the one that is evaluated and the augmented ones.
    pub versions: usize,
    /// Bytes of all percepts.
    pub bytes: usize,
}

/// The percepts of a list of clips, in one or several versions.
pub struct Store {
    levels: Vec<Level>,
    time: usize,
    versions: usize,
    classes: Vec<usize>,
    ids: Vec<String>,
    seed: u64,
    /// The first row of each clip, one for each version; none of a clip that could not be read.
    first_rows: Vec<Option<usize>>,
    /// Per level, rows of `time * channels * height * width` values.
    values: Vec<Vec<f32>>,
    device: Device,
}

impl StorePlan {
    /// For `clips` clips with `copies` augmented versions each.
    pub fn new(cnn: &Cnn, clips: usize, copies: usize, time: usize) -> Self {
        let row: usize = cnn.levels().iter().map(|level| time * values_of(level)).sum();
        let versions = 1 + copies;
        Self { clips, versions, bytes: clips * versions * row * size_of::<f32>() }
    }
}

fn values_of(level: &Level) -> usize {
    level.channels * level.height * level.width
}

impl Store {
    /// Reads every clip once, cuts `copies` augmented versions beside the one that is evaluated, and runs the CNN over
    /// all. `done` is told the number of clips finished; `stop` is asked between clips, and ends it with `None`.
    pub fn fill(
        cnn: &Cnn,
        samples: &[Sample],
        copies: usize,
        reading: &Reading,
        device: &Device,
        mut done: impl FnMut(usize),
        stop: impl Fn() -> bool,
    ) -> Result<Option<Self>> {
        let time = reading.planner.temporal.frames();
        let plan = StorePlan::new(cnn, samples.len(), copies, time);
        let mut store = Self {
            levels: cnn.levels(),
            time,
            versions: plan.versions,
            classes: samples.iter().map(|sample| sample.class).collect(),
            ids: samples.iter().map(|sample| sample.id.clone()).collect(),
            seed: reading.seed,
            first_rows: Vec::with_capacity(samples.len()),
            values: cnn.levels().iter().map(|_| Vec::new()).collect(),
            device: device.clone(),
        };
        let versions: Vec<Option<u64>> = std::iter::once(None).chain((1..=copies as u64).map(Some)).collect();
        let (worker, bytes) = (reading.clone(), reading.bytes_of(plan.versions));
        let clips =
            ordered(samples.to_vec(), move |_| bytes, reading.loader, move |sample| worker.read(sample, &versions));
        let lanes = lanes(reading);
        let [height, width] = reading.planner.input_size;
        let chunk = chunk_of(time * height * width);
        let mut waiting: Vec<Frames> = Vec::new();
        let mut rows = 0;
        for (index, clip) in clips.enumerate() {
            let read = reading.judged(&samples[index].id, clip)?;
            store.first_rows.push(read.as_ref().map(|_| rows));
            if let Some(versions) = read {
                rows += versions.len();
                waiting.extend(versions);
            }
            while waiting.len() >= lanes * chunk {
                store.push(cnn, &waiting.drain(..lanes * chunk).collect::<Vec<_>>(), chunk, reading.dtype)?;
            }
            done(index + 1);
            if stop() {
                return Ok(None);
            }
        }
        store.push(cnn, &waiting, chunk, reading.dtype)?;
        Ok(Some(store))
    }

    /// Takes the clips as they are evaluated from a cache on disk, whose fit to the recipe has been checked.
    pub fn read(
        cache: &Cache,
        levels: Vec<Level>,
        samples: &[Sample],
        reading: &Reading,
        device: &Device,
    ) -> Result<Self> {
        let time = reading.planner.temporal.frames();
        let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
        let mut values: Vec<Vec<f32>> =
            levels.iter().map(|level| vec![0.0; samples.len() * time * values_of(level)]).collect();
        cache.read(&ids, &levels, time, |clip, level, bytes| {
            let length = time * values_of(&levels[level]);
            let row = &mut values[level][clip * length..(clip + 1) * length];
            for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        })?;
        Ok(Self {
            levels,
            time,
            versions: 1,
            classes: samples.iter().map(|sample| sample.class).collect(),
            ids,
            seed: reading.seed,
            first_rows: (0..samples.len()).map(Some).collect(),
            values,
            device: device.clone(),
        })
    }

    /// Runs the CNN over clips, `chunk` of them in each thread.
    fn push(&mut self, cnn: &Cnn, clips: &[Frames], chunk: usize, dtype: FloatDType) -> Result<()> {
        for percepts in side_by_side(cnn, clips.chunks(chunk), &self.device, dtype) {
            for (values, map) in self.values.iter_mut().zip(percepts.maps) {
                values.extend(map.try_into_data()?.try_into_vec::<f32>()?);
            }
        }
        Ok(())
    }

    /// Mean squares of all versions of the first `clips` clips, for the normalisation. `view` picks what of the percepts is
    /// measured.
    pub fn statistics(&self, clips: usize, view: impl Fn(Percepts) -> Percepts) -> PerceptStatistics {
        let mut statistics = PerceptStatistics::default();
        let read = self.first_rows.iter().take(clips).flatten().count();
        let rows: Vec<usize> = (0..read * self.versions).collect();
        for rows in rows.chunks(16) {
            statistics.observe(&view(self.rows(rows)));
        }
        statistics
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

impl Source for Store {
    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn id(&self, clip: usize) -> String {
        self.ids[clip].clone()
    }

    fn batches<'a>(
        &'a self,
        order: Vec<usize>,
        epoch: Option<u64>,
        batch: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>> + 'a> {
        let batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
        Box::new(batches.into_iter().map(move |clips| {
            let row = |clip: usize| Some((clip, self.first_rows[clip]? + self.version(clip, epoch)));
            let places = clips.len();
            let (clips, rows): (Vec<usize>, Vec<usize>) = clips.into_iter().filter_map(row).unzip();
            Ok(Batch {
                percepts: if rows.is_empty() { Percepts { maps: Vec::new() } } else { self.rows(&rows) },
                classes: clips.iter().map(|&clip| self.classes[clip]).collect(),
                bad: places - clips.len(),
                clips,
            })
        }))
    }
}
