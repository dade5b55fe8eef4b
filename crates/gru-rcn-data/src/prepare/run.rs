//! A run: clips are prepared in parallel, each first into its folders, then into the journal. Also the
//! estimate of a run before it begins.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::clip::{Fault, Images};
use super::lay_out::{Plan, lock};
use super::source::SourceClip;
use super::{FlowOptions, Prepare, PrepareOutcome, Progress};
use crate::base::{DataError, for_each, free_bytes, sync_folder, sync_folder_of, threads};
use crate::dataset;
use crate::image::SizeRule;
use crate::manifest::journal::Journal;
use crate::manifest::{
    COMPONENTS, ClipRecord, Failure, Folders, ImageCoding, Layout, Manifest, Part, Shard, write_failures,
};
use crate::video::VideoDecoder;

type Made = Result<(ClipRecord, u64), Fault>;

/// Clips that are tried for an estimate.
const PROBES: usize = 3;
/// Frames that are prepared of each probe; the flow of a long clip would take minutes.
const PROBED_FRAMES: usize = 16;

/// Estimate of the remaining work, extrapolated from a few clips by the size of the videos. It is
/// rough: clips differ, and time for the disk is not included.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Clips left to prepare.
    pub clips: usize,
    /// Clips kept from earlier runs.
    pub kept: usize,
    /// Clips that were tried with success. If there are none, because no clip is left or all tried
    /// ones are broken, the estimates are 0.
    pub probed: usize,
    /// Seconds with the chosen number of workers.
    pub seconds: f64,
    /// Bytes of the images.
    pub bytes: u64,
    /// Bytes free on the output's disk, if the system states them.
    pub free: Option<u64>,
}

impl Estimate {
    /// Whether the images will fit, with a tenth to spare; `true` if the free space is unknown.
    pub fn fits(&self) -> bool {
        self.free.is_none_or(|free| self.bytes.saturating_add(self.bytes / 10) <= free)
    }
}

impl Prepare {
    /// The frame size of the paper's protocol and its successors: 256×340 for UCF-101's 240×320,
    /// otherwise 256 pixels for the shorter side.
    pub fn size_for(layout: Layout) -> SizeRule {
        match layout {
            Layout::Ucf101 => SizeRule::Exact { height: 256, width: 340 },
            Layout::Hmdb51 | Layout::Msvd | Layout::Folder => SizeRule::ShortSide { pixels: 256 },
        }
    }

    /// Prepares the clips that are not prepared yet. Setting `cancel` stops the run after the clips
    /// under way.
    ///
    /// # Errors
    /// Before any work: settings out of range, a source without videos, two clips of one id, faulty
    /// lists, an output folder inside the source, in use by another process, or made with other
    /// settings. During work: faults that concern all clips, such as a full disk; prepared clips are
    /// kept. The error of a single clip is part of the outcome.
    pub fn run(
        &self,
        decoder: &dyn VideoDecoder,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PrepareOutcome, DataError> {
        // First without a lock, so that a wrong call creates no folder; then again under the lock.
        let root = Plan::new(self, decoder)?.place.root;
        fs::create_dir_all(&root).map_err(|error| DataError::io(&root, error))?;
        let _lock = lock(&root, self.shard)?;
        let plan = Plan::new(self, decoder)?.without_changed(self.workers, cancel)?;
        let to_do = plan.to_do();
        to_do.iter().try_for_each(|clip| remove_remains(&root, clip))?;
        let (mut done, mut failures) = (plan.done.clone(), Vec::new());
        let mut state = Progress { total: to_do.len(), ..Progress::default() };
        progress(state.clone());
        let mut journal = Journal::open(&plan.place.journal, &plan.header)?;
        // Bytes of all videos and of the finished ones, by which the remaining time is estimated.
        let (start, all, mut over) = (Instant::now(), bytes_of(&to_do), 0);
        let finished = |index: usize, made: Made| {
            let clip: &SourceClip = to_do[index];
            let error = match made {
                Ok((record, bytes)) => {
                    journal.append(&record)?;
                    state.frames += record.frames as u64;
                    state.bytes += bytes;
                    done.insert(record.id.clone(), record);
                    None
                }
                Err(Fault::Clip(error)) => Some(plan.source.relative(&error)),
                Err(Fault::Run(error)) => return Err(error),
            };
            over += bytes_of(&[clip]);
            state.done += 1;
            state.failed += usize::from(error.is_some());
            state.elapsed = start.elapsed();
            let remaining = state.elapsed.as_secs_f64() * (all - over) as f64 / over as f64;
            state.remaining = Duration::try_from_secs_f64(remaining).ok();
            state.clip = Some((clip.id.clone(), error.clone()));
            failures.extend(error.map(|error| Failure { clip: clip.id.clone(), error }));
            progress(state.clone());
            Ok(())
        };
        for_each(&to_do, self.workers, cancel, |clip| make(&plan, clip), finished)?;
        failures.sort_by(|a, b| a.clip.cmp(&b.clip));
        let outcome = PrepareOutcome {
            manifest: plan.place.manifest.clone(),
            clips: done.len(),
            prepared: state.done - failures.len(),
            kept: plan.done.len(),
            without_source: plan.without_source(),
            changed: plan.changed.clone(),
            damaged: done.values().filter(|clip| clip.damage.is_some()).map(|clip| clip.id.clone()).collect(),
            notes: plan.source.notes.clone(),
            failures,
            captions: plan.source.captions.clone(),
            lists: plan.source.lists.clone(),
            frames: state.frames,
            bytes: state.bytes,
            interrupted: cancel.load(Ordering::Relaxed) && state.done < to_do.len(),
        };
        if outcome.interrupted {
            return Ok(outcome);
        }
        write_ledgers(&plan, &outcome.failures, done)?;
        journal.finish()?;
        Ok(outcome)
    }

    /// Estimates the time and disk space of the remaining clips from up to three clips that are
    /// prepared in memory. Only the run itself checks whether videos have changed, because it takes
    /// reading all of them; here their clips count as kept.
    ///
    /// # Errors
    /// As [`Prepare::run`] before any work. Nothing is written.
    pub fn estimate(&self, decoder: &dyn VideoDecoder) -> Result<Estimate, DataError> {
        let plan = Plan::new(self, decoder)?;
        let mut clips = plan.to_do();
        clips.sort_by_key(|clip| clip.bytes);
        let free = free_bytes(&plan.place.root);
        let mut result =
            Estimate { clips: clips.len(), kept: plan.done.len(), probed: 0, seconds: 0.0, bytes: 0, free };
        let (mut seconds, mut bytes, mut tried) = (0.0, 0.0, Vec::new());
        // A small, a medium and a large one.
        let mut places: Vec<usize> = (0..PROBES).map(|i| clips.len() * (2 * i + 1) / (2 * PROBES)).collect();
        places.dedup();
        for &clip in places.into_iter().filter_map(|place| clips.get(place)) {
            let (began, mut size) = (Instant::now(), 0);
            let store = &mut |_: Part, _: usize, image: &[u8]| {
                size += image.len() as u64;
                Ok(())
            };
            // Decoding is timed alone and added: with all workers busy, FFmpeg does not run beside
            // the flow.
            let decoded = plan.maker.make(clip, 0, store).map(|_| began.elapsed().as_secs_f64());
            match decoded.and_then(|decoding| Ok((decoding, plan.maker.make(clip, PROBED_FRAMES, store)?))) {
                Ok((decoding, Images { record, frames, working })) => {
                    let times = frames as f64 / record.frames.max(1) as f64;
                    seconds += decoding + working.as_secs_f64() * times;
                    bytes += size as f64 * times;
                    tried.push(clip);
                }
                Err(Fault::Clip(_)) => {} // the run reports it
                Err(Fault::Run(error)) => return Err(error),
            }
        }
        if !tried.is_empty() {
            let times = bytes_of(&clips) as f64 / bytes_of(&tried) as f64;
            result.probed = tried.len();
            // Three equal clips on two threads take the time of two rounds.
            let rounds = clips.len().div_ceil(threads(self.workers));
            result.seconds = seconds * times * rounds as f64 / clips.len() as f64;
            result.bytes = (bytes * times) as u64;
        }
        Ok(result)
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        if !(1..=100).contains(&self.quality) {
            return Err(DataError::setting("quality", self.quality, "JPEG quality is 1 to 100"));
        }
        if let Some(FlowOptions { image: ImageCoding::Jpeg { quality }, .. }) = self.flow
            && !(1..=100).contains(&quality)
        {
            return Err(DataError::setting("flow quality", quality, "JPEG quality is 1 to 100"));
        }
        let sides = self.size.sides().unwrap_or([1, 1]);
        if sides.iter().any(|side| !(1..=8192).contains(side)) {
            return Err(DataError::setting("size", format!("{sides:?}"), "sides are 1 to 8192 pixels"));
        }
        if let Some(Shard { index, of }) = self.shard
            && !(1..=of).contains(&index)
        {
            return Err(DataError::setting("shard", format!("{index}/{of}"), "it is like 1/4, counted from 1"));
        }
        Ok(())
    }
}

/// Removes the remains of a clip of a stopped run.
fn remove_remains(root: &Path, clip: &SourceClip) -> Result<(), DataError> {
    match Folders::of(root, &clip.id).remove() {
        Err(error) if is_long(&error) => Ok(()), // such a folder cannot exist
        removed => removed,
    }
}

/// Writes all files but those of the clips, the manifest last.
fn write_ledgers(plan: &Plan<'_>, failures: &[Failure], done: BTreeMap<String, ClipRecord>) -> Result<(), DataError> {
    let (place, source) = (&plan.place, &plan.source);
    write_failures(&place.failures, failures)?;
    let groups = source.clips.iter().map(|clip| (clip.id.clone(), clip.group.clone())).collect();
    dataset::write(&place.root, &source.lists, &groups)?;
    source.captions.iter().try_for_each(|part| part.write(&place.root))?;
    Manifest::of(plan.header.clone(), done.into_values()).write(&place.manifest)
}

/// Bytes of videos, by which work is measured; an empty file counts as one byte.
fn bytes_of(clips: &[&SourceClip]) -> u64 {
    clips.iter().map(|clip| clip.bytes.max(1)).sum()
}

/// Prepares a clip in its hidden folders and renames these.
fn make(plan: &Plan<'_>, clip: &SourceClip) -> Made {
    let folders = Folders::of(&plan.place.root, &clip.id);
    let partial = folders.partial();
    let (mut files, mut size) = (Vec::new(), 0);
    // Hashed before decoding: if the video changes meanwhile, the next run prepares it again.
    let source = clip.hash().map_err(Fault::Clip);
    let made = source.and_then(|source| {
        create_folders(&partial, plan)?;
        let store = &mut |part: Part, index: usize, bytes: &[u8]| {
            let coding = match (part, &plan.maker.flow) {
                (Part::Frame, _) | (_, None) => plan.maker.image,
                (_, Some(flow)) => flow.options.image,
            };
            let path = partial.file(part, index, coding);
            fs::write(&path, bytes).map_err(|error| DataError::io(&path, error))?;
            files.push(path);
            size += bytes.len() as u64;
            Ok(())
        };
        let made = plan.maker.make(clip, usize::MAX, store)?;
        Ok(ClipRecord { source: Some(source), ..made.record })
    });
    let record = match made {
        Ok(record) => record,
        Err(fault) => {
            // The clip's own error matters more than a failure to remove its remains.
            let _ = folders.remove();
            return Err(fault);
        }
    };
    commit(&files, &partial, &folders, plan.maker.flow.is_some()).map_err(Fault::Run)?;
    Ok((record, size))
}

/// Whether a name is longer than the file system allows. The hidden folders have longer names than the
/// clip.
fn is_long(error: &DataError) -> bool {
    matches!(error, DataError::Io { source, .. } if source.kind() == ErrorKind::InvalidFilename)
}

fn create_folders(partial: &Folders, plan: &Plan<'_>) -> Result<(), Fault> {
    let create = |folder: PathBuf| {
        fs::create_dir_all(&folder).map_err(|error| match DataError::io(&folder, error) {
            error if is_long(&error) => {
                let reason = "the clip's name is too long for the folder that it is made in; shorten it";
                Fault::Clip(DataError::dataset(&folder, reason))
            }
            error => Fault::Run(error),
        })
    };
    create(partial.frames.clone())?;
    if plan.maker.flow.is_some() {
        COMPONENTS.iter().try_for_each(|component| create(partial.flow.join(component)))?;
    }
    Ok(())
}

/// Synchronises the files of a clip and renames their folders, flow first, so that frames never exist
/// without their flow.
fn commit(files: &[PathBuf], partial: &Folders, folders: &Folders, flow: bool) -> Result<(), DataError> {
    // All at the end, which is faster: the first call already writes most of the waiting data.
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
