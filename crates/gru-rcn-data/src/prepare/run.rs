//! A run: clips in parallel, each into its folders and then into the journal. Also the estimate of
//! a run before it begins.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::clip::Fault;
use super::lay_out::{Plan, lock};
use super::source::SourceClip;
use super::{Prepare, PrepareOutcome, Progress};
use crate::base::{DataError, for_each, free_bytes, sync_folder, sync_folder_of, threads};
use crate::dataset;
use crate::manifest::journal::Journal;
use crate::manifest::{COMPONENTS, ClipRecord, Failure, Folders, Manifest, Part, write_failures};
use crate::video::VideoDecoder;

type Made = Result<(ClipRecord, u64), Fault>;

pub(super) fn run(
    options: &Prepare,
    decoder: &dyn VideoDecoder,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<PrepareOutcome, DataError> {
    // Once without a lock, so that a mistake leaves no folder behind; then again under the lock.
    let root = Plan::new(options, decoder)?.place.root;
    fs::create_dir_all(&root).map_err(|error| DataError::io(&root, error))?;
    let _lock = lock(&root, options.shard)?;
    let plan = Plan::new(options, decoder)?;
    let to_do = plan.to_do();
    for clip in &to_do {
        Folders::of(&root, &clip.id).remove()?;
    }
    let mut tally = Tally::new(&to_do, plan.done.clone());
    progress(tally.progress.clone());
    let mut journal = Journal::open(&plan.place.journal, &plan.header)?;
    let made = |index: usize, made: Made| {
        let clip: &SourceClip = to_do[index];
        let error = match made {
            Ok((record, bytes)) => {
                journal.append(&record)?;
                tally.add(record, bytes);
                None
            }
            Err(Fault::Clip(error)) => Some(plan.source.relative(&error)),
            Err(Fault::Run(error)) => return Err(error),
        };
        tally.finished(clip, error);
        progress(tally.progress.clone());
        Ok(())
    };
    for_each(&to_do, options.workers, cancel, |clip| make(&plan, clip), made)?;
    let interrupted = cancel.load(Ordering::Relaxed) && tally.progress.done < to_do.len();
    finish(&plan, journal, tally, interrupted)
}

/// Makes a clip in its hidden folders and gives them their names.
fn make(plan: &Plan<'_>, clip: &SourceClip) -> Made {
    let folders = Folders::of(&plan.place.root, &clip.id);
    let partial = folders.partial();
    let (mut files, mut size) = (Vec::new(), 0);
    let made = create_folders(&partial, plan).and_then(|()| {
        let store = &mut |part: Part, index: usize, bytes: &[u8]| {
            let coding = match (part, &plan.maker.flow) {
                (Part::Frame, _) | (_, None) => plan.maker.image,
                (_, Some(flow)) => flow.image(),
            };
            let path = partial.file(part, index, coding);
            fs::write(&path, bytes).map_err(|error| DataError::io(&path, error))?;
            files.push(path);
            size += bytes.len() as u64;
            Ok(())
        };
        plan.maker.make(clip, store)
    });
    let record = match made {
        Ok(record) => record,
        Err(fault) => {
            // The clip's own error matters more than one of removing its remains.
            let _ = folders.remove();
            return Err(fault);
        }
    };
    commit(&files, &partial, &folders, plan.maker.flow.is_some()).map_err(Fault::Run)?;
    Ok((record, size))
}

fn create_folders(partial: &Folders, plan: &Plan<'_>) -> Result<(), Fault> {
    let create =
        |folder: PathBuf| fs::create_dir_all(&folder).map_err(|error| Fault::Run(DataError::io(&folder, error)));
    create(partial.frames.clone())?;
    if plan.maker.flow.is_some() {
        COMPONENTS.iter().try_for_each(|component| create(partial.flow.join(component)))?;
    }
    Ok(())
}

/// Makes the files of a clip durable and renames their folders; flow first, so that frames never
/// exist without it.
fn commit(files: &[PathBuf], partial: &Folders, folders: &Folders, flow: bool) -> Result<(), DataError> {
    // All at the end: the first call writes most of what is waiting, so the others are fast.
    for path in files {
        File::open(path).and_then(|file| file.sync_all()).map_err(|error| DataError::io(path, error))?;
    }
    let pairs = [(flow, &partial.flow, &folders.flow), (true, &partial.frames, &folders.frames)];
    for (_, from, to) in pairs.into_iter().filter(|(wanted, ..)| *wanted) {
        sync_folder(from)?;
        fs::rename(from, to).map_err(|error| DataError::io(to, error))?;
        sync_folder_of(to)?;
    }
    Ok(())
}

struct Tally {
    start: Instant,
    /// All prepared clips, and how many of them earlier runs prepared.
    done: BTreeMap<String, ClipRecord>,
    kept: usize,
    failures: Vec<Failure>,
    progress: Progress,
    /// Bytes of all videos and of the finished ones.
    work: (u64, u64),
}

impl Tally {
    fn new(to_do: &[&SourceClip], done: BTreeMap<String, ClipRecord>) -> Self {
        let work = (to_do.iter().map(|clip| clip.bytes.max(1)).sum(), 0);
        let progress = Progress { total: to_do.len(), ..Progress::default() };
        Self { start: Instant::now(), kept: done.len(), done, failures: Vec::new(), progress, work }
    }

    fn add(&mut self, record: ClipRecord, bytes: u64) {
        self.progress.frames += record.frames as u64;
        self.progress.bytes += bytes;
        self.done.insert(record.id.clone(), record);
    }

    fn finished(&mut self, clip: &SourceClip, error: Option<String>) {
        self.work.1 += clip.bytes.max(1);
        let ((all, over), elapsed) = (self.work, self.start.elapsed());
        let remaining = elapsed.as_secs_f64() * all.saturating_sub(over) as f64 / over as f64;
        self.progress.done += 1;
        self.progress.failed += usize::from(error.is_some());
        self.progress.elapsed = elapsed;
        self.progress.remaining = Duration::try_from_secs_f64(remaining).ok();
        self.progress.clip = Some((clip.id.clone(), error.clone()));
        self.failures.extend(error.map(|error| Failure { clip: clip.id.clone(), error }));
    }
}

fn finish(plan: &Plan<'_>, journal: Journal, tally: Tally, interrupted: bool) -> Result<PrepareOutcome, DataError> {
    let Tally { done, kept, mut failures, progress: Progress { done: ended, frames, bytes, .. }, .. } = tally;
    failures.sort_by(|a, b| a.clip.cmp(&b.clip));
    let outcome = PrepareOutcome {
        manifest: plan.place.manifest.clone(),
        clips: done.len(),
        prepared: ended - failures.len(),
        kept,
        without_source: plan.without_source(),
        failures,
        lists: plan.source.lists.clone(),
        frames,
        bytes,
        interrupted,
    };
    if interrupted {
        return Ok(outcome);
    }
    write_failures(&plan.place.failures, &outcome.failures)?;
    let groups = plan.source.clips.iter().map(|clip| (clip.id.clone(), clip.group.clone())).collect();
    dataset::write(&plan.place.root, &plan.source.lists, &groups)?;
    Manifest::of(plan.header.clone(), done.into_values()).write(&plan.place.manifest)?;
    journal.finish()?;
    Ok(outcome)
}

const PROBES: usize = 3;
/// Frames of each that are made; the flow of a long clip would take minutes.
const FRAMES: usize = 16;

/// Estimate of the remaining work, scaled up from a few clips by the size of the videos. It is
/// rough: clips differ, and waiting for the disk is not included.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Clips left to prepare.
    pub clips: usize,
    /// Clips kept from earlier runs.
    pub kept: usize,
    /// Clips that were tried. 0 where no clip is left or all that were tried are broken; the
    /// estimates are then 0.
    pub probed: usize,
    /// Seconds with the workers asked for.
    pub seconds: f64,
    /// Bytes of the images.
    pub bytes: u64,
    /// Bytes free on the output's disk, where the system states them.
    pub free: Option<u64>,
}

impl Estimate {
    /// Whether the images will fit, with a tenth to spare. `true` where the free space is not
    /// known.
    pub fn fits(&self) -> bool {
        self.free.is_none_or(|free| self.bytes.saturating_add(self.bytes / 10) <= free)
    }
}

pub(super) fn estimate(options: &Prepare, decoder: &dyn VideoDecoder) -> Result<Estimate, DataError> {
    let plan = Plan::new(options, decoder)?;
    let mut clips = plan.to_do();
    clips.sort_by_key(|clip| clip.bytes);
    let free = free_bytes(&plan.place.root);
    let mut result = Estimate { clips: clips.len(), kept: plan.done.len(), probed: 0, seconds: 0.0, bytes: 0, free };
    let (mut seconds, mut bytes, mut probed) = (0.0, 0.0, 0);
    for clip in chosen(&clips) {
        match plan.maker.probe(clip, FRAMES) {
            Ok(probe) => {
                (seconds, bytes) = (seconds + probe.seconds, bytes + probe.bytes);
                probed += clip.bytes.max(1);
                result.probed += 1;
            }
            Err(Fault::Clip(_)) => {} // the run reports it
            Err(Fault::Run(error)) => return Err(error),
        }
    }
    if probed > 0 {
        let all: u64 = clips.iter().map(|clip| clip.bytes.max(1)).sum();
        let times = all as f64 / probed as f64;
        // Of three equal clips on two threads the third begins after the first.
        let rounds = clips.len().div_ceil(threads(options.workers));
        result.seconds = seconds * times * rounds as f64 / clips.len() as f64;
        result.bytes = (bytes * times) as u64;
    }
    Ok(result)
}

/// A small, a medium and a large clip of clips sorted by size.
fn chosen<'c>(clips: &[&'c SourceClip]) -> Vec<&'c SourceClip> {
    let n = clips.len();
    let mut places: Vec<usize> =
        (0..PROBES).map(|i| n * (2 * i + 1) / (2 * PROBES)).filter(|&place| place < n).collect();
    places.dedup();
    places.into_iter().map(|place| clips[place]).collect()
}
