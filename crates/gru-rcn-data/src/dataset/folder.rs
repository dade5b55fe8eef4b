//! Makes a data set of a folder of clips.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::groups::{Groups, Member, hold_out};
use super::lists::{self, Labels, List, QUARANTINE, read_quarantine};
use super::notes::{self, Grouping};
use super::scan::{Clips, Found, PassedOver, aside, part_folders, scan};
use super::{Dataset, Sample, leaks, prepared};
use crate::base::{DataError, Fnv64, Split, canonical_folder};
use crate::video::only_ffmpeg;

/// The folder of clips and its division into parts.
///
/// The root has one folder per class, named after it. A clip is a video file in such a folder, known
/// by its extension, or a folder of JPEG or PNG frames. Classes are sorted by name. Other files are
/// passed over and counted in [`Dataset::notes`]. The parts come from the first of these that applies:
///
/// 1. **Lists.** Each line of a list file is the path of a clip below the root, with or without a
///    label number after it. Clips that no list names are not used, except that without a train
///    list the train part is every clip that the other lists do not name.
/// 2. **Folders.** A root with `train/` and at least one of `validation/` (or `val/`, `valid/`) and
///    `test/`, each with class folders.
/// 3. **Neither**: all clips are in the train part.
///
/// A missing part is held out of the train part by *group*: whole groups at a time, with the classes
/// as balanced as the groups allow. A clip's group comes from `groups`, else from its UCF-101 name
/// (`v_Diving_g01_c03` is of `v_Diving_g01`); otherwise the clip is a group of its own.
///
/// A root with a `manifest.jsonl` is a prepared folder (see [`crate::prepare`]): its clips, classes
/// and groups are those of the manifest, and its lists are in `splits/`.
///
/// The validation clips may lie in another folder, `validation_root`, such as that of another data
/// set. All its clips are taken, or those of `validation_list`; their ids begin with `validation/`.
///
/// Clips named in the file `quarantine` are in no part and are not replaced; [`Dataset::skipped`]
/// lists them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct FolderOptions {
    /// The folder with the class folders.
    pub root: PathBuf,
    /// A key of earlier versions without a meaning now: `ffmpeg` is accepted, any other value refused.
    #[doc(hidden)]
    #[serde(skip_serializing, deserialize_with = "only_ffmpeg")]
    pub decoder: (),
    /// List file of the train part; relative paths are relative to `root`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_list: Option<PathBuf>,
    /// List file of the validation part. Without it, that part is held out of the train part, or is all
    /// of `validation_root`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_list: Option<PathBuf>,
    /// Folder of the validation clips, if that is another one; prepared, or with class folders. Its
    /// path and that of `validation_list` may be relative to `root`; the entries of the list are
    /// relative to this folder. A `quarantine.jsonl` in it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_root: Option<PathBuf>,
    /// List file of the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_list: Option<PathBuf>,
    /// JSON file, an object from clip path or file stem to the name of the clip's group (source
    /// video, scene).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<PathBuf>,
    /// File of clips to skip, as [`crate::write_quarantine`] writes it; relative paths are relative
    /// to `root`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<PathBuf>,
    /// Share of each class that is held out for validation if no list or folder gives that part; above
    /// 0. Default 0.15.
    pub validation_fraction: f32,
    /// Share of each class that is held out for testing, likewise. Default 0.15.
    pub test_fraction: f32,
    /// Seed of the division.
    pub seed: u64,
    /// Whether clips stay in their parts when clips or classes are added, as far as the shares of the
    /// classes allow. Default no, as in earlier versions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stable: bool,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            root: PathBuf::new(),
            decoder: (),
            train_list: None,
            validation_list: None,
            validation_root: None,
            test_list: None,
            groups: None,
            quarantine: None,
            validation_fraction: 0.15,
            test_fraction: 0.15,
            seed: 0,
            stable: false,
        }
    }
}

struct Parts {
    train: Vec<Found>,
    validation: Option<Vec<Found>>,
    test: Option<Vec<Found>>,
    skipped: Vec<String>,
    notes: Vec<String>,
}

struct Place {
    clips: Clips,
    groups: Groups,
    prepared: bool,
    quarantine: BTreeSet<String>,
    passed: PassedOver,
}

impl Place {
    /// `root` is canonical.
    fn find(options: &FolderOptions, root: &Path) -> Result<Self, DataError> {
        let quarantine = options.quarantine.as_ref().map(|path| read_quarantine(&root.join(path))).transpose()?;
        let quarantine = quarantine.unwrap_or_default();
        let named = options.groups.as_ref().map(|path| Groups::read(&root.join(path))).transpose()?;
        let read = prepared::read(root)?;
        let prepared = read.is_some();
        let (clips, groups) = read.unwrap_or_default();
        Ok(Self { clips, groups: named.unwrap_or(groups), prepared, quarantine, passed: PassedOver::default() })
    }

    /// The clips. Without a manifest the folder is scanned for them.
    fn clips(&mut self, options: &FolderOptions, root: &Path) -> Result<&Clips, DataError> {
        if !self.prepared {
            let lists = [&options.train_list, &options.validation_list, &options.test_list];
            let files = lists.into_iter().chain([&options.groups, &options.quarantine]).flatten();
            self.clips = scan(root, root, "", &aside(root, files.map(|file| root.join(file))), &mut self.passed)?;
        }
        Ok(&self.clips)
    }

    /// Removes the clips that are in quarantine, and adds their ids to `skipped`.
    fn sound(&self, clips: impl IntoIterator<Item = Found>, skipped: &mut Vec<String>) -> Vec<Found> {
        let (out, kept): (Vec<Found>, _) = clips.into_iter().partition(|clip| self.quarantine.contains(&clip.id));
        skipped.extend(out.into_iter().map(|clip| clip.id));
        kept
    }
}

const EXPECTED: &str = "a data set is a folder with one folder per class";

/// As [`Dataset::from_folder`], for a data set of at least `least_classes` classes.
pub(super) fn read(options: &FolderOptions, least_classes: usize) -> Result<Dataset, DataError> {
    check_fractions(options)?;
    let root = canonical_folder(&options.root, EXPECTED)?;
    let mut place = Place::find(options, &root)?;
    // With `validation_root`, the list is read by `elsewhere`.
    let own = FolderOptions {
        validation_list: options.validation_list.clone().filter(|_| options.validation_root.is_none()),
        ..options.clone()
    };
    let mut parts = find_parts(&own, &root, &mut place)?;
    let classes = classes(options, &parts, least_classes)?;
    let elsewhere = elsewhere(options, &root, &classes, &mut parts)?;
    parts.notes.extend(place.passed.notes());
    if let Some(groups) = &options.groups {
        let Parts { train, validation, test, .. } = &parts;
        let found = [Some(train), validation.as_ref(), test.as_ref()].into_iter().flatten().flatten();
        let ids = place.clips.keys().chain(found.map(|clip| &clip.id)).chain(&place.quarantine);
        parts.notes.extend(place.groups.unused(&root.join(groups), ids.map(String::as_str))?);
    }
    let missing = usize::from(parts.validation.is_none()) + usize::from(parts.test.is_none());
    let listed = options.groups.is_some() || place.prepared;
    let grouping = Grouping::new(&parts.train, &place.groups, listed, 1 + missing);
    grouping.note(&mut parts.notes);
    hold_out_missing(options, &place.groups, &classes, &mut parts);
    parts.skipped.sort();
    let samples = |found: Vec<Found>| -> Vec<Sample> { found.iter().filter_map(|f| f.sample(&classes)).collect() };
    let mut dataset = Dataset {
        name: name_of(&root),
        train: samples(parts.train),
        validation: [samples(parts.validation.unwrap_or_default()), elsewhere].concat(),
        test: samples(parts.test.unwrap_or_default()),
        classes,
        appearances: Vec::new(),
        skipped: parts.skipped,
        notes: parts.notes,
    };
    for split in Split::ALL {
        if dataset.split(split).is_empty() {
            let remedy = match missing {
                0 => "list more clips, or put more into its folder".to_owned(),
                _ => grouping.remedy(),
            };
            return Err(DataError::EmptySplit { dataset: dataset.name, split, remedy });
        }
    }
    let shared = leaks::shared_groups(&dataset, &place.groups);
    dataset.notes.extend(shared);
    let same = leaks::same_bytes(&root, &dataset)?;
    dataset.notes.extend(same);
    Ok(dataset)
}

/// As [`Dataset::clips_of`].
pub(super) fn clips_of(options: &FolderOptions, classes: &[String]) -> Result<Dataset, DataError> {
    let root = canonical_folder(&options.root, EXPECTED)?;
    let mut place = Place::find(options, &root)?;
    match if place.prepared { None } else { part_folders(&root, true, &mut place.passed)? } {
        Some(parts) => {
            let all = parts.into_iter().flatten().flatten();
            place.clips = all.map(|clip| (clip.id.clone(), clip)).collect();
        }
        None => {
            place.clips(options, &root)?;
        }
    }
    let (clips, mut skipped) = (&place.clips, Vec::new());
    // Each with its line in the list, if there is a list.
    let chosen: Vec<(Option<usize>, Found)> = match &options.test_list {
        None => place.sound(clips.values().cloned(), &mut skipped).into_iter().map(|clip| (None, clip)).collect(),
        Some(list) => {
            let list = lists::read(&root.join(list), clips, &place.quarantine, &mut Labels::default())?;
            lists::check_disjoint(list.entries())?;
            skipped.extend(list.skipped_ids());
            list.ids.iter().filter_map(|(line, id)| Some((Some(*line), clips.get(id)?.clone()))).collect()
        }
    };
    let sample = |(line, found): &(Option<usize>, Found)| {
        found.sample(classes).ok_or_else(|| {
            let (id, class, known) = (&found.id, &found.class, classes.join(", "));
            let reason = format!("the clip {id} is of the class `{class}`, which is none of those known: {known}");
            match (line, &options.test_list) {
                (Some(line), Some(list)) => lists::bad_line(&root.join(list), *line, id, reason),
                _ => DataError::dataset(&options.root, reason),
            }
        })
    };
    skipped.sort();
    let test = chosen.iter().map(sample).collect::<Result<_, _>>()?;
    let mut notes = place.passed.notes().collect();
    notes::quarantined(&skipped, None, &mut notes);
    Ok(Dataset { name: name_of(&root), classes: classes.to_vec(), test, skipped, notes, ..Dataset::default() })
}

/// The validation clips of `validation_root`, if given; `parts` then gets an empty validation part, so
/// that none is held out.
fn elsewhere(
    options: &FolderOptions,
    root: &Path,
    classes: &[String],
    parts: &mut Parts,
) -> Result<Vec<Sample>, DataError> {
    let Some(other) = options.validation_root.as_ref().map(|other| root.join(other)) else { return Ok(Vec::new()) };
    if parts.validation.is_some() {
        let reason = "the folder of the other clips has a validation part of its own; remove one of the two";
        return Err(DataError::setting("validation_root", other.display(), reason));
    }
    let quarantine = other.join(QUARANTINE);
    let set = clips_of(
        &FolderOptions {
            test_list: options.validation_list.as_ref().map(|list| root.join(list)),
            quarantine: quarantine.is_file().then_some(quarantine),
            root: other,
            ..FolderOptions::default()
        },
        classes,
    )?;
    let id = |id: String| format!("validation/{id}");
    parts.validation = Some(Vec::new());
    parts.skipped.extend(set.skipped.into_iter().map(id));
    parts.notes.extend(set.notes.into_iter().map(|note| format!("validation clips of {}: {note}", set.name)));
    Ok(set.test.into_iter().map(|sample| Sample { id: id(sample.id), ..sample }).collect())
}

fn name_of(root: &Path) -> String {
    root.file_name().map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn check_fractions(options: &FolderOptions) -> Result<(), DataError> {
    let (validation, test) = (options.validation_fraction, options.test_fraction);
    for (key, value) in [("validation_fraction", validation), ("test_fraction", test)] {
        if !(0.0..1.0).contains(&value) {
            return Err(DataError::setting(key, value, "a fraction is at least 0 and below 1"));
        }
    }
    if validation + test >= 1.0 {
        let reason = "with test_fraction it takes every clip; their sum stays below 1";
        return Err(DataError::setting("validation_fraction", validation, reason));
    }
    Ok(())
}

fn find_parts(options: &FolderOptions, root: &Path, place: &mut Place) -> Result<Parts, DataError> {
    let lists = [&options.train_list, &options.validation_list, &options.test_list];
    if lists.iter().any(|list| list.is_some()) {
        return from_lists(options, root, place);
    }
    let folders = if place.prepared { None } else { part_folders(root, true, &mut place.passed)? };
    let [train, validation, test] = match folders {
        None | Some([_, None, None]) => [Some(place.clips(options, root)?.values().cloned().collect()), None, None],
        Some(parts) => parts,
    };
    let (mut skipped, mut notes) = (Vec::new(), Vec::new());
    let drawn = validation.is_none() && test.is_none();
    let mut sound = |part: Option<Vec<Found>>, split: Split| {
        let before = skipped.len();
        let part = part.map(|part| place.sound(part, &mut skipped));
        notes::quarantined(&skipped[before..], (!drawn).then_some(split), &mut notes);
        part
    };
    let train = sound(train, Split::Train).unwrap_or_default();
    let (validation, test) = (sound(validation, Split::Validation), sound(test, Split::Test));
    Ok(Parts { train, validation, test, skipped, notes })
}

fn from_lists(options: &FolderOptions, root: &Path, place: &mut Place) -> Result<Parts, DataError> {
    place.clips(options, root)?;
    let (clips, quarantine) = (&place.clips, &place.quarantine);
    let mut labels = Labels::default();
    let mut read = |list: &Option<PathBuf>| -> Result<Option<List>, DataError> {
        list.as_ref().map(|list| lists::read(&root.join(list), clips, quarantine, &mut labels)).transpose()
    };
    let (train, validation, test) =
        (read(&options.train_list)?, read(&options.validation_list)?, read(&options.test_list)?);
    let given: Vec<&List> = [&train, &validation, &test].into_iter().flatten().collect();
    lists::check_disjoint(given.iter().flat_map(|list| list.entries()))?;
    let named = |list: &List| list.ids.iter().filter_map(|(_, id)| clips.get(id).cloned()).collect();
    let (mut skipped, mut notes) = (Vec::new(), Vec::new());
    for (list, split) in [(&train, Split::Train), (&validation, Split::Validation), (&test, Split::Test)] {
        let Some(list) = list else { continue };
        notes::absent(&list.path, split, &mut notes)?;
        let ids: Vec<String> = list.skipped_ids().collect();
        notes::quarantined(&ids, Some(split), &mut notes);
        skipped.extend(ids);
    }
    let train = match &train {
        Some(list) => {
            let listed = given.iter().flat_map(|list| &list.ids).map(|(_, id)| id.as_str());
            let listed: BTreeSet<&str> = listed.chain(quarantine.iter().map(String::as_str)).collect();
            notes::unlisted(clips.values().map(|clip| (&*clip.id, &*clip.class)), &listed, &mut notes);
            named(list)
        }
        None => {
            let before = skipped.len();
            let sound = place.sound(rest(clips, &given), &mut skipped);
            notes::quarantined(&skipped[before..], Some(Split::Train), &mut notes);
            sound
        }
    };
    skipped.sort();
    skipped.dedup();
    let (validation, test) = (validation.as_ref().map(named), test.as_ref().map(named));
    Ok(Parts { train, validation, test, skipped, notes })
}

/// The clips that no list names.
fn rest(clips: &Clips, lists: &[&List]) -> Vec<Found> {
    let named: BTreeSet<&str> = lists.iter().flat_map(|list| &list.ids).map(|(_, id)| id.as_str()).collect();
    clips.values().filter(|clip| !named.contains(clip.id.as_str())).cloned().collect()
}

/// The sorted class names of the train part, which must include those of the other parts.
fn classes(options: &FolderOptions, parts: &Parts, least: usize) -> Result<Vec<String>, DataError> {
    let classes: BTreeSet<&String> = parts.train.iter().map(|clip| &clip.class).collect();
    for clip in [&parts.validation, &parts.test].into_iter().flatten().flatten() {
        if !classes.contains(&clip.class) {
            let reason = format!("the class `{}` of the clip {} has no clip to train on", clip.class, clip.id);
            return Err(DataError::dataset(&options.root, reason));
        }
    }
    let mut names = classes.iter();
    let fault = match (names.next(), names.next()) {
        (None, _) => "no class folder with clips in it; make one folder per class and put its videos there".to_owned(),
        (Some(only), None) if least > 1 => format!("only one class, `{only}`; a recognizer needs two or more"),
        _ => return Ok(classes.into_iter().cloned().collect()),
    };
    Err(DataError::dataset(&options.root, fault))
}

/// Holds the missing parts out of the train part: the test part first, then the validation part.
fn hold_out_missing(options: &FolderOptions, groups: &Groups, classes: &[String], parts: &mut Parts) {
    let all = parts.train.len() as f32;
    let mut split_off = |name: &str, fraction: f32, part: &mut Option<Vec<Found>>| {
        if part.is_some() {
            return;
        }
        // The fraction refers to all clips, before any were held out.
        let share = (fraction * all / parts.train.len().max(1) as f32).min(1.0);
        let member = |clip: &Found| Member {
            group: groups.of(&clip.id),
            class: classes.binary_search(&clip.class).unwrap_or_default(),
        };
        let members: Vec<Member> = parts.train.iter().map(member).collect();
        let key = Fnv64::default().text("hold out").text(name).number(options.seed);
        let mut held = hold_out(&members, classes.len(), share, key, options.stable).into_iter();
        let (out, kept) = std::mem::take(&mut parts.train).into_iter().partition(|_| held.next() == Some(true));
        (*part, parts.train) = (Some(out), kept);
    };
    split_off("test", options.test_fraction, &mut parts.test);
    split_off("validation", options.validation_fraction, &mut parts.validation);
}

#[cfg(test)]
mod tests;
