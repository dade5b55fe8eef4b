//! Merging the manifests of all shards.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::lay_out::{Place, lock};
use crate::base::{DataError, remove};
use crate::manifest::{FAILURES, Failure, MANIFEST, Manifest, Shard, journal, ledgers, read_failures, write_failures};

/// Result of [`merge`].
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The manifest of all clips.
    pub manifest: PathBuf,
    /// Number of merged shards.
    pub shards: usize,
    /// Number of clips in the manifest.
    pub clips: usize,
    /// The clips of all shards that could not be prepared.
    pub failures: Vec<Failure>,
}

/// Joins the manifests and failures of the shards in a prepared folder, and removes those of the shards.
///
/// All shards must exist. If shards were merged before and some of them ran again, these are enough:
/// they replace their clips in the manifest.
///
/// # Errors
/// [`DataError::BadDataset`] for a shard that is missing or not finished, for shards of different
/// divisions, for headers that differ, naming the setting, for a clip in two shards, and while
/// another process works in the folder; those of [`Manifest::read`].
pub fn merge(root: &Path) -> Result<Merged, DataError> {
    let bad = |reason: String| DataError::dataset(root, reason);
    if !root.is_dir() {
        return Err(DataError::NotFound(root.to_owned()));
    }
    let _lock = lock(root, None)?;
    let path = root.join(MANIFEST);
    let merged = if path.is_file() { Some(Manifest::read(&path)?) } else { None };
    let shards = shards(root)?;
    let Some(&(Shard { of, .. }, _)) = shards.first() else {
        return Err(bad("there are no shards to merge, files like manifest-1-of-4.jsonl".to_owned()));
    };
    if let Some((other, _)) = shards.iter().find(|(shard, _)| shard.of != of) {
        return Err(bad(format!("shards of {of} and of {} lie together; remove those of one division", other.of)));
    }
    let there = |index: usize| shards.iter().any(|(shard, _)| shard.index == index);
    if let Some(missing) = (1..=of).find(|&index| merged.is_none() && !there(index)) {
        let reason = format!("shard {missing}/{of} is missing; run it, or copy manifest-{missing}-of-{of}.jsonl here");
        return Err(bad(reason));
    }
    let whole = join(root, merged.as_ref(), &shards)?;
    let failures = failures(root, &shards, merged.is_some())?;
    write_failures(&root.join(FAILURES), &failures)?;
    whole.write(&path)?;
    for (shard, _) in &shards {
        let place = Place::new(root, Some(*shard));
        remove(&place.manifest)?;
        remove(&place.failures)?;
        remove(&root.join(format!(".prepare-{}.lock", shard.name())))?;
    }
    Ok(Merged { manifest: path, shards: shards.len(), clips: whole.clips.len(), failures })
}

/// The finished shards in a folder; one that is not finished is an error.
fn shards(root: &Path) -> Result<Vec<(Shard, Manifest)>, DataError> {
    let mut shards = Vec::new();
    for (path, shard) in ledgers(root)? {
        if journal::is_journal(&path) {
            let reason = format!("{} shows that a run is not finished; run it again first", path.display());
            return Err(DataError::dataset(root, reason));
        }
        if let Some(shard) = shard {
            shards.push((shard, Manifest::read(&path)?));
        }
    }
    Ok(shards)
}

fn join(root: &Path, merged: Option<&Manifest>, shards: &[(Shard, Manifest)]) -> Result<Manifest, DataError> {
    let bad = |reason: String| DataError::dataset(root, reason);
    let model = merged.unwrap_or(&shards[0].1);
    let mut owners: HashMap<&str, &Shard> = HashMap::new();
    for (shard, manifest) in shards {
        if let Some((setting, here, there)) = model.header.difference(&manifest.header) {
            let (first, name) = (shards[0].0.name(), shard.name());
            let first = if merged.is_some() { MANIFEST.to_owned() } else { format!("shard {first}") };
            let reason =
                format!("`{setting}` is {here} in {first} and {there} in shard {name}; prepare all shards alike");
            return Err(bad(reason));
        }
        for clip in &manifest.clips {
            if let Some(other) = owners.insert(&clip.id, shard) {
                let reason = format!("the clip {} is in shard {} and in {}", clip.id, other.name(), shard.name());
                return Err(bad(reason));
            }
        }
    }
    // A shard that ran again replaces all its clips.
    let again = |id: &str| shards.iter().any(|(shard, _)| shard.has(id));
    let before = merged.into_iter().flat_map(|merged| &merged.clips).filter(|clip| !again(&clip.id));
    let clips = before.chain(shards.iter().flat_map(|(_, manifest)| &manifest.clips)).cloned();
    Ok(Manifest::of(model.header.clone(), clips))
}

fn failures(root: &Path, shards: &[(Shard, Manifest)], again: bool) -> Result<Vec<Failure>, DataError> {
    let mut failures = if again { read_failures(&root.join(FAILURES))? } else { Vec::new() };
    failures.retain(|failure| !shards.iter().any(|(shard, _)| shard.has(&failure.clip)));
    for (shard, _) in shards {
        failures.extend(read_failures(&Place::new(root, Some(*shard)).failures)?);
    }
    failures.sort_by(|a, b| a.clip.cmp(&b.clip));
    Ok(failures)
}
