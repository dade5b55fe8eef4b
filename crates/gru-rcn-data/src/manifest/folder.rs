//! Names, places and hashes of the files in a prepared folder.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ClipRecord, ImageCoding, line_of};
use crate::base::{
    DataError, Fnv64, open_file, partial_sibling, read_folder, read_text_if_there, remove, write_atomically,
};

pub(crate) const FRAMES: &str = "frames";
pub(crate) const FLOW: &str = "flow";
/// The two components of flow, in their order.
pub(crate) const COMPONENTS: [&str; 2] = ["x", "y"];
/// Folder of the lists.
pub const SPLITS: &str = "splits";
/// File of the groups, in the folder of the lists.
pub const GROUPS: &str = "groups.json";
/// File that lists the clips that could not be prepared.
pub const FAILURES: &str = "failures.jsonl";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Frame,
    FlowX,
    FlowY,
}

/// SHA-256 over a clip's files in the order in which they are made: frame 0, frame 1, x 0, y 0,
/// frame 2, x 1, y 1 and so on. Each is preceded by its length (64 bits, little-endian), so that
/// bytes cannot move from one file to the next.
#[derive(Default)]
pub(crate) struct ContentHash(Sha256);

impl ContentHash {
    pub(crate) fn file(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Reads and adds a file.
    pub(crate) fn read(&mut self, path: &Path) -> Result<(), DataError> {
        let (mut file, length) = open_file(path)?;
        self.0.update(length.to_le_bytes());
        std::io::copy(&mut file, &mut self.0).map(drop).map_err(|error| DataError::io(path, error))
    }

    /// The hash of these files.
    pub(crate) fn of(files: &[PathBuf]) -> Result<String, DataError> {
        let mut hash = Self::default();
        files.iter().try_for_each(|file| hash.read(file))?;
        Ok(hash.finish())
    }

    /// 64 hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One of several parts of the clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of this part, counted from 1.
    pub index: usize,
    /// Number of parts.
    pub of: usize,
}

impl Shard {
    pub(crate) fn has(self, id: &str) -> bool {
        let hash = Fnv64::default().text("shard").text(id).finish();
        hash % (self.of.max(1) as u64) == (self.index as u64).wrapping_sub(1)
    }

    /// `1-of-4`, in file names.
    pub(crate) fn name(self) -> String {
        format!("{}-of-{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = DataError;

    /// Reads `1/4`.
    fn from_str(text: &str) -> Result<Self, DataError> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) && of <= 10_000 => Ok(Self { index, of }),
            _ => Err(DataError::setting("shard", text, "it is like 1/4, counted from 1")),
        }
    }
}

/// The manifests and journals in a folder, each with the shard in its name.
pub(crate) fn ledgers(root: &Path) -> Result<Vec<(PathBuf, Option<Shard>)>, DataError> {
    let mut found = Vec::new();
    if !root.is_dir() {
        return Ok(found);
    }
    for entry in read_folder(root)? {
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(middle) = name.strip_prefix("manifest").and_then(|rest| rest.strip_suffix(".jsonl")) else { continue };
        let middle = middle.strip_prefix(".partial").unwrap_or(middle);
        let shard = middle.strip_prefix('-').and_then(|name| name.replacen("-of-", "/", 1).parse().ok());
        if middle.is_empty() || shard.is_some() {
            found.push((path, shard));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The folders of a clip's files.
pub(crate) struct Folders {
    pub(crate) frames: PathBuf,
    pub(crate) flow: PathBuf,
}

impl Folders {
    pub(crate) fn of(root: &Path, id: &str) -> Self {
        Self { frames: root.join(FRAMES).join(id), flow: root.join(FLOW).join(id) }
    }

    /// The hidden folders in which the files are until all of them are written.
    pub(crate) fn partial(&self) -> Self {
        Self { frames: partial_sibling(&self.frames), flow: partial_sibling(&self.flow) }
    }

    pub(crate) fn file(&self, part: Part, index: usize, coding: ImageCoding) -> PathBuf {
        let folder = match part {
            Part::Frame => self.frames.clone(),
            Part::FlowX => self.flow.join(COMPONENTS[0]),
            Part::FlowY => self.flow.join(COMPONENTS[1]),
        };
        folder.join(format!("{index:06}.{}", coding.extension()))
    }

    pub(crate) fn there(&self, clip: &ClipRecord) -> bool {
        self.frames.is_dir() && (clip.flow == 0 || self.flow.is_dir())
    }

    /// Removes the folders and the partial ones.
    pub(crate) fn remove(&self) -> Result<(), DataError> {
        let partial = self.partial();
        [&self.frames, &self.flow, &partial.frames, &partial.flow].into_iter().try_for_each(|path| remove(path))
    }
}

/// A clip that could not be prepared.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Its id.
    pub clip: String,
    /// The error, which names the file.
    pub error: String,
}

/// Reads the clips that could not be prepared; none if there is no such file.
pub(crate) fn read_failures(path: &Path) -> Result<Vec<Failure>, DataError> {
    let text = read_text_if_there(path)?.unwrap_or_default();
    let read = |(index, line): (usize, &str)| {
        let bad = |error| DataError::manifest(path, index + 1, format!("not a clip and its error: {error}"));
        serde_json::from_str(line).map_err(bad)
    };
    text.lines().enumerate().map(read).collect()
}

/// Writes the clips that could not be prepared; removes the file if there are none.
pub(crate) fn write_failures(path: &Path, failures: &[Failure]) -> Result<(), DataError> {
    if failures.is_empty() {
        return remove(path);
    }
    let lines: Result<String, DataError> = failures.iter().map(|failure| line_of(path, failure)).collect();
    write_atomically(path, lines?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A file `a` and an empty one: SHA-256 of the 17 bytes 1, seven zeros, `a`, eight zeros. Without the
    // lengths it would be that of `a`, which begins with ca978112.
    #[test]
    fn the_hash_knows_where_files_end() {
        let hash = |files: &[&[u8]]| {
            let mut hash = ContentHash::default();
            files.iter().for_each(|file| hash.file(file));
            hash.finish()
        };
        let mut by_hand = Sha256::new();
        by_hand.update(b"\x01\0\0\0\0\0\0\0a\0\0\0\0\0\0\0\0");
        let by_hand: String = by_hand.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash(&[b"a", b""]), by_hand);
        assert_ne!(hash(&[b"a", b""]), hash(&[b"", b"a"]));
        assert_ne!(hash(&[b"ab"]), hash(&[b"a", b"b"]));
        assert_eq!(hash(&[b"ab"]).len(), 64);
    }
}
