//! How clips are read: which plans are drawn, with how many threads, within how much memory.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use burn::tensor::{Device, FloatDType};
use gru_rcn_data::{
    ClipPlanner, ClipReader, ClipSource, DataError, Frames, LoaderConfig, OrderedLoader, PlanKey, Sample,
    TemporalSampling, ordered, printable,
};
use serde_json::{Value, json};

use super::chunk_of;
use crate::output::note;
use crate::recipe::Recipe;

/// Reads clips as a recipe says.
#[derive(Clone, Debug)]
pub(crate) struct ClipLoader {
    pub(crate) planner: ClipPlanner,
    pub(crate) reader: Arc<WarningReader>,
    pub(crate) limits: LoaderConfig,
    /// Seed of the plans.
    pub(crate) seed: u64,
    /// Whether the CNN runs on the CPU, where several threads may run it side by side.
    pub(crate) on_cpu: bool,
    /// What the CNN computes in.
    pub(crate) dtype: FloatDType,
    /// Records clips that cannot be read and are skipped; without it they are errors.
    skipped: Option<Arc<SkippedClips>>,
}

/// A reader of clips that reports the damaged videos among them when it is dropped. Their frames are used,
/// which whoever sees the result should know.
#[derive(Debug)]
pub(crate) struct WarningReader(ClipReader);

impl Deref for WarningReader {
    type Target = ClipReader;

    fn deref(&self) -> &ClipReader {
        &self.0
    }
}

impl Drop for WarningReader {
    fn drop(&mut self) {
        if let Some(line) = damage_line(&self.damaged()) {
            note!("{line}");
        }
    }
}

fn damage_line(damaged: &[(PathBuf, String)]) -> Option<String> {
    let (first, words) = damaged.first()?;
    Some(format!(
        "warning: {} of the videos that were read are damaged and their readable frames were used, the first {}: {words}",
        damaged.len(),
        printable(&first.to_string_lossy())
    ))
}

impl ClipLoader {
    /// The loader of a recipe, for a CNN on a device.
    pub(crate) fn new(recipe: &Recipe, device: &Device, dtype: FloatDType) -> Self {
        let limits = LoaderConfig { workers: recipe.features.workers, max_bytes: recipe.features.queue_mib << 20 };
        Self { seed: recipe.seed, ..Self::of_planner(recipe.clip.clone(), limits, device, dtype) }
    }

    /// A loader of clips that are not augmented, for a CNN on a device.
    pub(crate) fn of_planner(planner: ClipPlanner, limits: LoaderConfig, device: &Device, dtype: FloatDType) -> Self {
        Self {
            planner,
            reader: Arc::new(WarningReader(ClipReader::default())),
            limits,
            seed: 0,
            on_cpu: *device == Device::flex(),
            dtype,
            skipped: None,
        }
    }

    /// Most bytes that one clip takes on its way: all its frames are held while one version is cut.
    pub(crate) fn bytes_of(&self, versions: usize) -> usize {
        let [height, width] = self.planner.frame_size;
        // The decoded length is not known in advance; ten seconds at 25 frames a second is assumed.
        250 * height * width * 3 + versions * self.planner.temporal.frames() * self.bytes_of_frame()
    }

    /// Bytes of a frame, or a stack of flow, as the CNN gets it.
    pub(crate) fn bytes_of_frame(&self) -> usize {
        let [height, width] = self.planner.input_size;
        height * width * self.planner.modality.channels()
    }

    /// Clips that go through the frozen CNN together.
    pub(crate) fn chunk(&self) -> usize {
        let [height, width] = self.planner.input_size;
        chunk_of(self.planner.temporal.frames() * height * width)
    }

    /// The same loader for `frames` single frames, or stacks of flow, of each clip: in training a
    /// random one of each of as many equal parts, in evaluation the middle one.
    pub(crate) fn single_frames(&self, frames: usize) -> Self {
        let planner = ClipPlanner { temporal: TemporalSampling::Spread { frames }, ..self.planner.clone() };
        Self { planner, ..self.clone() }
    }

    /// The same loader for clips of `frames` more frames.
    pub(crate) fn longer(&self, frames: usize) -> Self {
        let mut temporal = self.planner.temporal;
        let (TemporalSampling::Consecutive { frames: own }
        | TemporalSampling::Spread { frames: own }
        | TemporalSampling::Every { frames: own, .. }) = &mut temporal;
        *own += frames;
        Self { planner: ClipPlanner { temporal, ..self.planner.clone() }, ..self.clone() }
    }

    /// The same loader, which skips clips that cannot be read and records them.
    pub(crate) fn skipping(&self, skipped: &Arc<SkippedClips>) -> Self {
        Self { skipped: Some(skipped.clone()), ..self.clone() }
    }

    /// Whether a clip that was read is a damaged video.
    pub(crate) fn found_damage(&self, sample: &Sample) -> bool {
        let damaged = |path| self.reader.damaged().iter().any(|(video, _)| video == path);
        matches!(&sample.source, ClipSource::Video(path) if damaged(path))
    }

    /// The fault of the skipped clip whose name is first.
    pub(crate) fn first_fault(&self) -> Option<String> {
        self.skipped.as_ref()?.faults().into_values().next()
    }

    /// Clips in their order, as `read` gives `versions` of each. Threads read ahead.
    pub(crate) fn in_order<T: Send + 'static>(
        &self,
        samples: Vec<Sample>,
        versions: usize,
        read: impl Fn(&Self, &Sample) -> Result<T, DataError> + Send + Sync + 'static,
    ) -> OrderedLoader<T> {
        let (worker, bytes) = (self.clone(), self.bytes_of(versions));
        ordered(samples, move |_| bytes, self.limits, move |sample| read(&worker, sample))
    }

    /// Reads the version of a clip for an epoch; without an epoch, the one that is evaluated.
    pub(crate) fn read_one(&self, sample: &Sample, epoch: Option<u64>) -> Result<Frames, DataError> {
        Ok(self.read(sample, &[epoch])?.swap_remove(0))
    }

    /// Reads a clip once and cuts the versions of these epochs; `None` is the one that is
    /// evaluated. A second try helps where a network file system was unavailable for a moment.
    pub(crate) fn read(&self, sample: &Sample, versions: &[Option<u64>]) -> Result<Vec<Frames>, DataError> {
        let key = |epoch: u64| PlanKey { seed: self.seed, epoch, sample: sample.id.clone() };
        let keys: Vec<Option<PlanKey>> = versions.iter().map(|version| version.map(key)).collect();
        let read = || self.reader.read_clips(sample, &self.planner, &keys);
        read().or_else(|_| read())
    }

    /// The clip that was read, or nothing if it could not be read and may be skipped.
    pub(crate) fn or_skip<T>(&self, id: &str, read: Result<T, DataError>) -> Result<Option<T>> {
        match (read, &self.skipped) {
            (Ok(clip), _) => Ok(Some(clip)),
            (Err(fault), Some(skipped)) => skipped.skip(id, fault).map(|()| None),
            (Err(fault), None) => Err(fault.into()),
        }
    }
}

/// Clips that could not be read. They are skipped, recorded and counted, and never replaced by
/// others.
///
/// Every process finds them anew, so that a resumed run sees what an uninterrupted one would have
/// seen: the file is a record for people and not read again.
#[derive(Debug)]
pub(crate) struct SkippedClips {
    record: Option<PathBuf>,
    clips: usize,
    fraction: f64,
    /// The fault of each, by its name.
    seen: Mutex<BTreeMap<String, String>>,
}

impl SkippedClips {
    /// At most this fraction of `clips` training clips may be unreadable.
    pub(crate) fn new(record: PathBuf, clips: usize, fraction: f64) -> Self {
        Self { record: Some(record), clips, fraction, seen: Mutex::default() }
    }

    /// Any number of clips may be unreadable, and nothing is written: for verbs that report on them.
    pub(crate) fn collecting() -> Arc<Self> {
        Arc::new(Self { record: None, clips: 0, fraction: 1.0, seen: Mutex::default() })
    }

    /// The faults so far, by the names of the clips.
    pub(crate) fn faults(&self) -> BTreeMap<String, String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records a clip that could not be read. It is an error if there are too many of them.
    pub(crate) fn skip(&self, clip: &str, fault: DataError) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(clip.to_string(), fault.to_string()).is_some() {
            return Ok(());
        }
        if self.record.is_some() && seen.len() as f64 > self.fraction * self.clips as f64 {
            let (bad, clips, fraction) = (seen.len(), self.clips, self.fraction);
            return Err(fault).with_context(|| {
                format!(
                    "the training clip {clip} cannot be read, tried twice, and {bad} of {clips} are more than \
                     training.max_bad_fraction = {fraction} allows; repair the clip, or remove it from the data"
                )
            });
        }
        self.record(clip, &fault.to_string())
    }

    /// One line per clip, however many processes found it.
    fn record(&self, clip: &str, fault: &str) -> Result<()> {
        let Some(record) = &self.record else { return Ok(()) };
        let fail = || format!("could not write {}", record.display());
        let known = fs::read_to_string(record).unwrap_or_default();
        let same = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["clip"] == clip);
        if known.lines().any(same) {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).open(record).with_context(fail)?;
        file.write_all(format!("{}\n", json!({"clip": clip, "error": fault})).as_bytes()).with_context(fail)
    }

    /// Names of the clips found so far, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_videos_are_counted_in_one_line() {
        assert_eq!(damage_line(&[]), None);
        let line = damage_line(&[("a/\u{1b}x.avi".into(), "torn".into()), ("b.avi".into(), "cut".into())]).unwrap();
        assert!(line.starts_with("warning: 2 of the videos") && line.ends_with("a/\\u{1b}x.avi: torn"), "{line}");
    }

    fn fault(name: &str) -> DataError {
        DataError::EmptyFile(name.into())
    }

    /// A tenth of 20 clips, 2, may be unreadable; the third is one too many. A clip that is found
    /// twice counts once.
    #[test]
    fn skips_at_most_the_allowed_fraction() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("quarantine.jsonl");
        let skipped = SkippedClips::new(record.clone(), 20, 0.1);
        for clip in ["b", "a", "b"] {
            skipped.skip(clip, fault(clip)).unwrap();
        }
        let again = SkippedClips::new(record.clone(), 20, 0.1);
        again.skip("b", fault("b")).unwrap();
        assert_eq!(skipped.names(), ["a", "b"]);
        let text = fs::read_to_string(record).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(r#"{"clip":"b","error":"b: the file is empty"#), "{text}");
        let message = format!("{:#}", skipped.skip("c", fault("c")).unwrap_err());
        assert!(message.contains("clip c cannot be read") && message.contains("3 of 20"), "{message}");
        assert!(message.contains("max_bad_fraction = 0.1") && message.contains("c: the file is empty"), "{message}");
    }
}
