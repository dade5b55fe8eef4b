//! Clips of one part that are, or resemble, clips of another.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::groups::Groups;
use super::{ClipSource, Dataset, Sample};
use crate::base::{DataError, Split};
use crate::image::list_frames;

/// Pairs of parts: no clip of the first should resemble one of the second.
const PAIRS: [(Split, Split); 3] =
    [(Split::Test, Split::Train), (Split::Validation, Split::Train), (Split::Test, Split::Validation)];
/// Bytes at the start of two files that are compared before the whole files are.
const HEAD: u64 = 64 << 10;

/// For each clip that is not prepared, by its id: the number of its files and the bytes of the first.
type Lengths<'a> = HashMap<&'a str, (usize, u64)>;

/// Notes that count the clips of each part whose group is in another part too.
pub(super) fn shared_groups(set: &Dataset, groups: &Groups) -> Vec<String> {
    let named = |sample: &Sample| groups.of(&sample.id).strip_prefix("group ").map(str::to_owned);
    let note = |(later, earlier): (Split, Split)| {
        let there: HashSet<String> = set.split(earlier).iter().filter_map(named).collect();
        let shared = set.split(later).iter().filter_map(|sample| Some((sample, named(sample)?)));
        let shared: Vec<_> = shared.filter(|(_, group)| there.contains(group)).collect();
        let (first, group) = shared.first()?;
        let (count, id) = (shared.len(), &first.id);
        Some(format!(
            "{count} {later} clips are of a group that has {earlier} clips too, the first {id} of {group}: the result \
             may measure how well a recording is remembered"
        ))
    };
    PAIRS.into_iter().filter_map(note).collect()
}

/// Refuses prepared clips of the same bytes in two parts; counts other clips of the same bytes in
/// notes.
pub(super) fn same_bytes(root: &Path, set: &Dataset) -> Result<Vec<String>, DataError> {
    let mut known: HashMap<&str, (Split, &Sample)> = HashMap::new();
    let samples = Split::ALL.into_iter().flat_map(|split| set.split(split).iter().map(move |sample| (split, sample)));
    for (split, sample) in samples.clone() {
        let ClipSource::Prepared(clip) = &sample.source else { continue };
        let (before, other) = *known.entry(&clip.record.sha256).or_insert((split, sample));
        if before != split {
            let reason = format!(
                "the {split} clip {} has the same bytes as the {before} clip {}; take one of the two out of its list, or \
                 name it in a quarantine list",
                sample.id, other.id
            );
            return Err(DataError::dataset(root, reason));
        }
    }
    let lengths: Lengths = samples.filter_map(|(_, sample)| Some((&*sample.id, length(&files(sample)?)))).collect();
    let note = |(later, earlier): (Split, Split)| {
        let pairs = copies(set.split(later), set.split(earlier), &lengths);
        let (sample, other) = pairs.first()?;
        let (count, id, other) = (pairs.len(), &sample.id, &other.id);
        Some(format!(
            "{count} {later} clips are {earlier} clips too, byte for byte, the first {id}, which is {other}: remove them \
             from one of the parts"
        ))
    };
    Ok(PAIRS.into_iter().filter_map(note).collect())
}

/// The clips of `later` that have the bytes of a clip of `earlier`, with that clip. Files of different
/// lengths are not opened.
fn copies<'a>(later: &'a [Sample], earlier: &'a [Sample], lengths: &Lengths) -> Vec<(&'a Sample, &'a Sample)> {
    let mut by_length: HashMap<(usize, u64), Vec<&Sample>> = HashMap::new();
    for sample in earlier {
        if let Some(&length) = lengths.get(&*sample.id) {
            by_length.entry(length).or_default().push(sample);
        }
    }
    let (mut heads, mut wholes) = (HashMap::new(), HashMap::new());
    let mut found = Vec::new();
    for sample in later {
        // Reading reports an empty clip; it is not a copy.
        let Some(length) = lengths.get(&*sample.id).filter(|length| length.1 > 0) else { continue };
        let Some(others) = by_length.get(length) else { continue };
        let same = |other: &&&Sample| {
            let equal = |most: u64, kept: &mut HashMap<String, Option<[u8; 32]>>| {
                let mut of =
                    |sample: &Sample| *kept.entry(sample.id.clone()).or_insert_with(|| digest(&files(sample)?, most));
                let own = of(sample);
                own.is_some() && own == of(other)
            };
            equal(HEAD, &mut heads) && equal(u64::MAX, &mut wholes)
        };
        let mut others = others.iter();
        if let Some(other) = others.find(same) {
            found.push((sample, *other));
        }
    }
    found
}

/// The files of a clip that is not prepared; `None` if they cannot be listed, which reading reports.
fn files(sample: &Sample) -> Option<Vec<PathBuf>> {
    match &sample.source {
        ClipSource::Video(path) => Some(vec![path.clone()]),
        ClipSource::FrameFolder(folder) => list_frames(folder).ok(),
        ClipSource::Prepared(_) | ClipSource::Motion(_) => None,
    }
}

/// The number of files and the bytes of the first.
fn length(files: &[PathBuf]) -> (usize, u64) {
    (files.len(), files.first().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len()))
}

/// A hash of the first `most` bytes of each file, in their order.
fn digest(files: &[PathBuf], most: u64) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    for path in files {
        let bytes = std::io::copy(&mut File::open(path).ok()?.take(most), &mut hash).ok()?;
        hash.update(bytes.to_le_bytes());
    }
    Some(hash.finalize().into())
}
