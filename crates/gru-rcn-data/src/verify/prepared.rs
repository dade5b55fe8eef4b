//! Verifies a prepared folder against its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::files::{Findings, check_lists};
use super::report::{Fault, FaultKind, VerifyReport};
use super::{VerifyOptions, check_all};
use crate::base::{DataError, PARTIAL};
use crate::dataset::Entry;
use crate::manifest::{
    COMPONENTS, ClipRecord, ContentHash, FAILURES, FLOW, FRAMES, Failure, Folders, ImageCoding, MANIFEST, Manifest,
    Part, ledgers, read_failures,
};

pub(super) fn verify(
    root: &Path,
    options: &VerifyOptions,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<VerifyReport, DataError> {
    let no_clip = |kind, detail| Fault { clip: String::new(), kind, detail };
    let manifest = match Manifest::read(&root.join(MANIFEST)) {
        Ok(manifest) => manifest,
        Err(error) => {
            let faults = vec![no_clip(FaultKind::Manifest, error.to_string())];
            return Ok(VerifyReport { faults, ..VerifyReport::default() });
        }
    };
    let one = |clip: &ClipRecord| check_clip(root, &manifest, clip, options);
    let mut report = check_all(&manifest.clips, options, cancel, progress, one)?;
    let faults = &mut report.faults;
    faults.extend(strangers(root, &manifest));
    faults.extend(unfinished(root)?);
    let failures = match read_failures(&root.join(FAILURES)) {
        Ok(failures) => failures,
        Err(error) => {
            faults.push(no_clip(FaultKind::Manifest, error.to_string()));
            Vec::new()
        }
    };
    let failed: BTreeSet<&str> = failures.iter().map(|failure| failure.clip.as_str()).collect();
    faults.extend(check_lists(root, &options.lists, |id| manifest.get(id).is_some() || failed.contains(id)));
    let not_prepared = |Failure { clip, error }| Fault { clip, kind: FaultKind::NotPrepared, detail: error };
    faults.extend(failures.into_iter().map(not_prepared));
    faults.sort();
    Ok(report)
}

fn check_clip(root: &Path, manifest: &Manifest, clip: &ClipRecord, options: &VerifyOptions) -> Vec<Fault> {
    let mut findings = Findings::new(root, &clip.id);
    let folders = Folders::of(root, &clip.id);
    let (frames, flow) = (manifest.header.frames.image, manifest.header.flow.as_ref().map(|flow| flow.image));
    let mut there = Images::new();
    check_folder(&mut findings, &folders, Part::Frame, frames, clip.frames, &mut there);
    if let Some(coding) = flow {
        let missing = (clip.flow == 0).then(|| "the folder is missing".to_owned());
        for entry in listing(&mut findings, &folders.flow, missing).unwrap_or_default() {
            if !COMPONENTS.contains(&entry.name.as_str()) {
                findings.add(FaultKind::ExtraFile, &entry.path, "only the folders x and y belong here");
            }
        }
        for part in [Part::FlowX, Part::FlowY] {
            check_folder(&mut findings, &folders, part, coding, clip.flow, &mut there);
        }
    }
    let (mut hash, size) = (ContentHash::default(), Some((clip.width, clip.height)));
    for path in there.values() {
        if let Some(sound) = findings.image(path, options, size, "the manifest says") {
            hash.file(&sound.bytes);
        }
    }
    // A clip with other faults differs anyway.
    if findings.faults.is_empty() && hash.finish() != clip.sha256 {
        findings.add(FaultKind::Hash, &folders.frames, "the files are not those that were written");
    }
    if let Some(words) = &clip.damage {
        let words = format!("the video is damaged, of which the decoder gave {} frames: {words}", clip.frames);
        findings.add(FaultKind::Damaged, &folders.frames, &words);
    }
    findings.faults
}

/// The entries of a folder of the clip. If it does not exist, `missing` is the message of a fault.
fn listing(findings: &mut Findings<'_>, folder: &Path, missing: Option<String>) -> Option<Vec<Entry>> {
    if folder.symlink_metadata().is_ok() {
        return findings.inside(folder).then(|| findings.entries(folder));
    }
    if let Some(words) = missing {
        findings.add(FaultKind::MissingClip, folder, &words);
    }
    None
}

/// The existing images of a clip in the order in which they were made.
type Images = BTreeMap<(usize, u8), PathBuf>;

/// Compares the names in a folder with the expected ones and adds the existing files to `there`. Memory
/// does not grow with `count`, which may be any number.
fn check_folder(
    findings: &mut Findings<'_>,
    folders: &Folders,
    part: Part,
    coding: ImageCoding,
    count: usize,
    there: &mut Images,
) {
    let first = folders.file(part, 0, coding);
    let Some(folder) = first.parent() else { return };
    let missing = (count > 0).then(|| format!("the folder is missing, {count} images belong there"));
    let Some(found) = listing(findings, folder, missing) else { return };
    let mut present = BTreeSet::new();
    for Entry { path, is_folder, .. } in found {
        let index = path.file_stem().and_then(|stem| stem.to_str()?.parse::<usize>().ok());
        let index = index.filter(|&index| index < count && folders.file(part, index, coding) == path);
        match index {
            None => findings.add(FaultKind::ExtraFile, &path, "no image of this clip by the manifest"),
            Some(_) if is_folder => findings.add(FaultKind::ExtraFile, &path, "a folder, not an image"),
            Some(index) => {
                present.insert(index);
                // Frame 0, frame 1, x 0, y 0, frame 2, x 1, y 1.
                let place = match part {
                    Part::Frame => (index, 0),
                    Part::FlowX => (index + 1, 1),
                    Part::FlowY => (index + 1, 2),
                };
                there.insert(place, path);
            }
        }
    }
    if present.len() < count {
        let name = |index| format!("{index:06}.{}", coding.extension());
        let missing: Vec<String> = (0..count).filter(|index| !present.contains(index)).take(5).map(name).collect();
        let (images, absent) = (present.len(), count - present.len());
        let more = if absent > missing.len() { format!(" and {} more", absent - missing.len()) } else { String::new() };
        let words = format!("{images} images, the manifest says {count}: {}{more} are missing", missing.join(", "));
        let kind = if part == Part::Frame { FaultKind::MissingImage } else { FaultKind::FlowCount };
        findings.add(kind, folder, &words);
    }
}

/// The faults of folders that belong to no clip and of remains of an unfinished run.
fn strangers(root: &Path, manifest: &Manifest) -> Vec<Fault> {
    let mut faults = Vec::new();
    let kinds = [Some(FRAMES), manifest.header.flow.as_ref().map(|_| FLOW)];
    for kind in kinds.into_iter().flatten() {
        let mut outer = Findings::new(root, "");
        if !root.join(kind).is_dir() {
            continue; // each clip reports that its folder is missing
        }
        for class in outer.entries(&root.join(kind)) {
            if !class.is_folder {
                outer.add(FaultKind::ExtraFile, &class.path, "a file among the folders of classes");
                continue;
            }
            for clip in outer.entries(&class.path) {
                let id = format!("{}/{}", class.name, clip.name);
                if clip.name.ends_with(PARTIAL) {
                    outer.add(FaultKind::Unfinished, &clip.path, "left by a run that was stopped; run `prepare` again");
                } else if manifest.get(&id).is_none() {
                    let mut of_clip = Findings::new(root, &id);
                    of_clip.add(FaultKind::UnlistedClip, &clip.path, "the manifest has no such clip");
                    faults.append(&mut of_clip.faults);
                }
            }
        }
        faults.append(&mut outer.faults);
    }
    faults
}

/// The faults of journals and shards beside the manifest.
fn unfinished(root: &Path) -> Result<Vec<Fault>, DataError> {
    let mut findings = Findings::new(root, "");
    for (path, _) in ledgers(root)? {
        if path != root.join(MANIFEST) {
            findings.add(FaultKind::Unfinished, &path, "run `prepare` to its end, and `merge` for shards");
        }
    }
    Ok(findings.faults)
}
