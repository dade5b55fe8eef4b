//! The percepts of clips by a frozen CNN: read where they are at hand, else computed.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::percepts::Level;
use gru_rcn_data::{ClipPlanner, Frames, Photometric, Sample, ordered};
use serde_json::{Value, json};

use super::kept::{Kept, Key, Values};
use super::{ClipLoader, FrozenCnn, bytes_of_clips, workers};
use crate::observe::Pace;
use crate::signals::StopFlag;

/// The version of a clip: the one that is evaluated, or the one that an epoch would draw.
pub(crate) type Version = Option<u64>;

/// Percepts on disk, by clip and version.
#[derive(Debug)]
pub(crate) struct KeptPercepts {
    pub(crate) kept: Kept,
    /// What the percepts of all clips depend on: the CNN and its precision.
    cnn: Value,
    levels: Vec<Level>,
    planner: ClipPlanner,
    seed: u64,
    /// [`Sample::content`] of the clips that can be read, by their ids.
    contents: HashMap<String, String>,
}

impl KeptPercepts {
    /// The percepts of a network, by its name and the checksum of its weights. Reads the files of the clips once.
    pub(crate) fn new<'s>(
        kept: Kept,
        cnn: &Cnn,
        [network, weights]: [&str; 2],
        loader: &ClipLoader,
        samples: impl Iterator<Item = &'s Sample>,
        work: &Work,
    ) -> Result<Self> {
        let samples: Vec<&Sample> = samples.collect();
        let (mut contents, mut pace) = (HashMap::new(), Pace::new(samples.len()));
        for (done, sample) in samples.iter().enumerate() {
            work.progress(pace.line(done, "clips are compared with those whose percepts are at hand"))?;
            // Faults of the others are reported when they are read.
            if let Ok(content) = sample.content() {
                contents.insert(sample.id.clone(), content);
            }
        }
        let levels = cnn.levels();
        let cnn = {
            let dtype = format!("{:?}", loader.dtype);
            json!({ "network": network, "weights": weights, "levels": levels, "dtype": dtype })
        };
        let (planner, seed) = (loader.planner.clone(), loader.seed);
        Ok(Self { kept, cnn, levels, planner, seed, contents })
    }

    /// The key of a version of a clip; none of one that cannot be read.
    pub(crate) fn key(&self, sample: &Sample, version: Version) -> Option<Key> {
        let Self { cnn, planner, seed, .. } = self;
        let content = self.contents.get(&sample.id)?;
        // What is random in training has no part in clips that are evaluated.
        let (planner, draw) = match version {
            Some(epoch) => (planner.clone(), json!([seed, epoch, sample.id])),
            None => (ClipPlanner { flip: false, photometric: Photometric::default(), ..planner.clone() }, Value::Null),
        };
        Some(self.kept.key(&json!({ "clip": content, "plan": planner, "draw": draw, "cnn": cnn })))
    }

    fn has(&self, sample: &Sample, version: Version) -> bool {
        self.key(sample, version).is_some_and(|key| self.kept.has(&key))
    }

    fn read(&self, sample: &Sample, version: Version) -> Option<Vec<Values>> {
        let names: Vec<&str> = self.levels.iter().map(|level| level.name.as_str()).collect();
        self.kept.read(&self.key(sample, version)?, &names)
    }

    /// Counts the clips that have all of their versions at hand, and makes room for the others.
    pub(crate) fn prepare<'s>(&self, clips: impl Iterator<Item = (&'s Sample, &'s [Version])>, work: &Work) {
        let (mut all, mut missing, mut absent) = (0, 0, 0);
        for (sample, versions) in clips {
            let of_clip = versions.iter().filter(|&&version| !self.has(sample, version)).count();
            (all, missing, absent) = (all + 1, missing + usize::from(of_clip > 0), absent + of_clip);
        }
        let bytes = bytes_of_clips(&self.levels, self.planner.temporal.frames(), absent, 0);
        self.kept.prepare("percepts", [all, missing], bytes, work.message);
    }

    /// Keeps the percepts of a version that was computed. Those of a damaged video are computed by
    /// every run, which then says that it is damaged.
    pub(super) fn keep(&self, found: &Found, loader: &ClipLoader, work: &Work) {
        if let Some(key) = self.key_as_read(found).filter(|_| !loader.found_damage(found.sample)) {
            self.kept.keep(&key, &self.tensors(found), work.message);
        }
    }

    /// The key of percepts that were computed just now, unless the clip was changed meanwhile.
    pub(crate) fn key_as_read(&self, found: &Found) -> Option<Key> {
        let unchanged = found.at_hand || found.sample.content().ok().as_ref() == self.contents.get(&found.sample.id);
        self.key(found.sample, found.version).filter(|_| unchanged)
    }

    /// The tensors of a version, each with its name and shape.
    pub(crate) fn tensors<'t>(&'t self, found: &'t Found) -> Vec<(&'t str, Vec<usize>, &'t [f32])> {
        let time = self.planner.temporal.frames();
        let shape = |level: &Level| vec![time, level.channels, level.height, level.width];
        let tensors = self.levels.iter().zip(&found.values);
        tensors.map(|(level, &values)| (level.name.as_str(), shape(level), values)).collect()
    }
}

/// Where percepts are computed, and who is told of the progress.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) device: &'a Device,
    pub(crate) stop: &'a StopFlag,
    /// Takes lines on the progress.
    pub(crate) message: &'a dyn Fn(String),
}

/// The percepts of a version of a clip.
pub(crate) struct Found<'a> {
    pub(crate) sample: &'a Sample,
    /// Its place among the samples.
    pub(crate) clip: usize,
    pub(crate) version: Version,
    /// The place of the version among those that are asked for.
    pub(crate) place: usize,
    /// Per level the values `[time, channel, height, width]`.
    pub(crate) values: Vec<&'a [f32]>,
    /// Whether they were read.
    pub(crate) at_hand: bool,
}

impl Work<'_> {
    /// Passes a line on. An error if the program is asked to stop.
    fn progress(&self, line: Option<String>) -> Result<()> {
        if let Some(line) = line {
            (self.message)(line);
        }
        if self.stop.is_set() { bail!(self.stop.interrupted()) } else { Ok(()) }
    }

    /// Hands out the percepts of these versions of all clips that can be read, in any order. A clip is
    /// read once for all of its versions that are not at hand.
    pub(crate) fn percepts(
        &self,
        cnn: &FrozenCnn,
        samples: &[Sample],
        versions: &[Version],
        loader: &ClipLoader,
        kept: Option<&Arc<KeptPercepts>>,
        mut found: impl FnMut(&Found) -> Result<()>,
    ) -> Result<()> {
        let (reader, wanted, at_hand) = (loader.clone(), versions.to_vec(), kept.cloned());
        let missing = move |sample: &Sample| {
            let absent = |version: &Version| !at_hand.as_ref().is_some_and(|kept| kept.has(sample, *version));
            let versions: Vec<Version> = wanted.iter().copied().filter(absent).collect();
            let frames = if versions.is_empty() { Vec::new() } else { reader.read(sample, &versions)? };
            Ok(versions.into_iter().zip(frames).collect::<HashMap<Version, Frames>>())
        };
        let bytes = loader.bytes_of(versions.len());
        let clips = ordered(samples.to_vec(), move |_| bytes, loader.limits, missing);
        let at_once = workers(loader) * loader.chunk();
        let (mut waiting, mut pace) = (Vec::new(), Pace::new(samples.len()));
        for (clip, read) in clips.enumerate() {
            let sample = &samples[clip];
            let Some(mut frames) = loader.or_skip(&sample.id, read)? else { continue };
            for (place, &version) in versions.iter().enumerate() {
                let frames = match frames.remove(&version) {
                    Some(frames) => frames,
                    None => match kept.and_then(|kept| kept.read(sample, version)) {
                        Some(tensors) => {
                            let values = tensors.iter().map(|(_, values)| values.as_slice()).collect();
                            found(&Found { sample, clip, version, place, values, at_hand: true })?;
                            continue;
                        }
                        // It is damaged, or another process has removed it.
                        None => loader.read_one(sample, version)?,
                    },
                };
                waiting.push((clip, place, frames));
            }
            while waiting.len() >= at_once {
                self.compute(cnn, loader, (samples, versions), waiting.drain(..at_once).collect(), &mut found)?;
            }
            self.progress(pace.line(clip + 1, "clips have percepts"))?;
        }
        self.compute(cnn, loader, (samples, versions), waiting, &mut found)
    }

    /// Runs the CNN over versions of clips, given by their places and frames.
    fn compute(
        &self,
        cnn: &FrozenCnn,
        loader: &ClipLoader,
        (samples, versions): (&[Sample], &[Version]),
        waiting: Vec<(usize, usize, Frames)>,
        found: &mut impl FnMut(&Found) -> Result<()>,
    ) -> Result<()> {
        let chunk = loader.chunk();
        let (places, frames): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|(clip, place, frames)| ((clip, place), frames)).unzip();
        let parts: Vec<&[Frames]> = frames.chunks(chunk).collect();
        let percepts = cnn.side_by_side(&parts, self.device, loader.dtype);
        for (places, percepts) in places.chunks(chunk).zip(percepts) {
            let values = |map: Tensor<5>| Ok(map.try_into_data()?.try_into_vec::<f32>()?);
            let maps: Vec<Vec<f32>> = percepts.maps.into_iter().map(values).collect::<Result<_>>()?;
            for (row, &(clip, place)) in places.iter().enumerate() {
                let of_row = |map: &'_ Vec<f32>| map.len() / places.len();
                let values = maps.iter().map(|map| &map[row * of_row(map)..][..of_row(map)]).collect();
                let (sample, version) = (&samples[clip], versions[place]);
                found(&Found { sample, clip, version, place, values, at_hand: false })?;
            }
        }
        Ok(())
    }
}
