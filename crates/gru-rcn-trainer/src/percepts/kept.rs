//! Percepts and features of clips on disk, a file for each clip or version of one, so that another
//! run need not compute them again.
//!
//! ```text
//! HASH.safetensors   float32 tensors; in the metadata `key`, all that the values depend on, whose hash
//!                    is the name of the file, and `checksum`, of the values
//! ```
//!
//! A file gets its name after it is written whole. Several processes may share a folder: two that write
//! the same file write the same bytes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use gru_rcn::weights::sort_metadata;
use gru_rcn_data::base::{Fnv64, free_bytes, if_there, remove};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::output::{describe, note};

/// Raised when the values of a key change.
const LAYOUT: u32 = 1;

/// Most bytes of a folder, unless the percepts of one run may take more.
pub(crate) const MOST_BYTES: u64 = 16 << 30;

/// Bytes that stay free on the disk.
const RESERVE: u64 = 1 << 30;

/// The file that `features` writes into its folder. Nothing is removed from a folder with this file.
pub(crate) const INDEX: &str = "index.json";

/// Shape and values of a tensor.
pub(crate) type Values = (Vec<usize>, Vec<f32>);

/// A folder of files.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    /// Most bytes of the folder.
    most: u64,
    /// The beginning of all keys: what computes the values.
    computed_by: Value,
    /// Set once nothing more is kept.
    closed: OnceLock<()>,
}

/// All that values depend on, and the name of their file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    text: String,
    pub(crate) file: String,
}

impl Kept {
    /// A folder, which is made when something is written, of values that this device computes. It
    /// holds at most `most` bytes.
    pub(crate) fn new(folder: &Path, device: &Device, most: u64) -> Self {
        let computed_by = json!({
            "layout": LAYOUT, "program": env!("CARGO_PKG_VERSION"), "device": format!("{device:?}"),
            "operators": gru_rcn_ops::enabled(),
        });
        Self { folder: folder.into(), most, computed_by, closed: OnceLock::new() }
    }

    /// The key of values that depend on `of`.
    pub(crate) fn key(&self, of: &Value) -> Key {
        let text = json!([self.computed_by, of]).to_string();
        let file = format!("{:016x}.safetensors", Fnv64::default().text(&text).finish());
        Key { text, file }
    }

    /// Whether there is a file of this key, which then counts as used now.
    pub(crate) fn has(&self, key: &Key) -> bool {
        let Ok(file) = File::open(self.folder.join(&key.file)) else { return false };
        // Of a folder that one may only read, the times do not matter.
        let _ = file.set_modified(SystemTime::now());
        true
    }

    /// The tensors of these names; nothing if they are not there. A damaged file is reported and counts as
    /// none.
    pub(crate) fn read(&self, key: &Key, names: &[&str]) -> Option<Vec<Values>> {
        let path = self.folder.join(&key.file);
        let read = || if_there(&path, fs::read(&path))?.map(|bytes| parse(&bytes, key, names)).transpose();
        read().unwrap_or_else(|error: anyhow::Error| {
            note!("warning: {} is damaged and computed again: {}", path.display(), describe(&error));
            None
        })
    }

    /// Writes tensors, each with its name and shape.
    pub(crate) fn write(&self, key: &Key, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<()> {
        let mut tensors = tensors.to_vec();
        tensors.sort_by_key(|(name, ..)| *name);
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (*name, view))
        });
        let metadata = [("key", key.text.clone()), ("checksum", checksum(bytes.iter().map(Vec::as_slice)))];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value)).into();
        let mut file = safetensors::serialize(views.collect::<Result<Vec<_>, _>>()?, Some(metadata))?;
        sort_metadata(&mut file);
        let path = self.folder.join(&key.file);
        let partial = self.folder.join(format!(".{}-{}.partial", key.file, process::id()));
        // Not synchronised: what a power cut tears is noticed by its checksum.
        let written = fs::create_dir_all(&self.folder).and_then(|()| fs::write(&partial, file));
        let written = written.and_then(|()| fs::rename(&partial, &path));
        written.inspect_err(|_| drop(remove(&partial))).with_context(|| format!("could not write {}", path.display()))
    }

    /// Reports how many clips have their files, which are of `what`, such as percepts, and makes room for
    /// `bytes` of the `missing` ones.
    pub(crate) fn prepare(&self, what: &str, [clips, missing]: [usize; 2], bytes: usize, message: &dyn Fn(String)) {
        let (at_hand, mib, folder) = (clips - missing, bytes.div_ceil(1 << 20), self.folder.display());
        message(format!(
            "{what}: {at_hand} of {clips} clips at hand, {missing} to compute; {mib} MiB more in {folder}"
        ));
        self.or_close(self.make_room(bytes as u64), message);
    }

    /// Writes tensors, if that is possible. What cannot be kept costs the next run some time, and is no
    /// reason to end this one.
    pub(crate) fn keep(&self, key: &Key, tensors: &[(&str, Vec<usize>, &[f32])], message: &dyn Fn(String)) {
        if self.closed.get().is_none() {
            self.or_close(self.write(key, tensors), message);
        }
    }

    fn or_close(&self, result: Result<()>, message: &dyn Fn(String)) {
        if let Err(error) = result {
            message(format!("warning: no more is kept for other runs: {}", describe(&error)));
            let _ = self.closed.set(());
        }
    }

    /// Makes room for this number of bytes by removing the files that were used longest ago. The error says
    /// why there is no room.
    fn make_room(&self, more: u64) -> Result<()> {
        let (folder, mib) = (self.folder.display(), |bytes: u64| bytes.div_ceil(1 << 20));
        ensure!(more <= self.most, "{} MiB are more than the {} MiB of {folder}", mib(more), mib(self.most));
        if more == 0 {
            return Ok(());
        }
        if !self.folder.join(INDEX).exists() {
            let mut files = Vec::new();
            for entry in if_there(&self.folder, fs::read_dir(&self.folder))?.into_iter().flatten() {
                let entry = entry?;
                // Another process may have removed it.
                if let (true, Ok(metadata)) = (is_own(&entry.file_name().to_string_lossy()), entry.metadata()) {
                    files.push((metadata.modified()?, metadata.len(), entry.path()));
                }
            }
            files.sort();
            let mut all: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
            for (_, bytes, path) in files {
                if all + more <= self.most {
                    break;
                }
                remove(&path)?;
                all -= bytes;
            }
        }
        if let Some(free) = free_bytes(&self.folder)
            && free < more + RESERVE
        {
            let reserve = mib(RESERVE);
            bail!(
                "{} MiB are needed beside a reserve of {reserve} MiB, and {} MiB are free in {folder}",
                mib(more),
                mib(free)
            );
        }
        Ok(())
    }
}

/// Whether a file of this name is one of ours, whole or not.
fn is_own(name: &str) -> bool {
    let hash = name.trim_start_matches('.').get(..16).is_some_and(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()));
    hash && (name.len() == 28 && name.ends_with(".safetensors") || name.starts_with('.') && name.ends_with(".partial"))
}

fn parse(file: &[u8], key: &Key, names: &[&str]) -> Result<Vec<Values>> {
    let (_, header) = SafeTensors::read_metadata(file)?;
    let metadata = header.metadata().as_ref().context("it has no metadata")?;
    ensure!(metadata.get("key") == Some(&key.text), "it is of another key");
    let tensors = SafeTensors::deserialize(file)?;
    let mut all = tensors.tensors();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    let sum = checksum(all.iter().map(|(_, tensor)| tensor.data()));
    ensure!(metadata.get("checksum") == Some(&sum), "its values are not as they were written");
    let tensors = names.iter().map(|name| tensors.tensor(name)).collect::<Result<Vec<_>, _>>()?;
    ensure!(tensors.iter().all(|tensor| tensor.dtype() == Dtype::F32), "its values are not F32");
    let number = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
    let values =
        |tensor: TensorView| (tensor.shape().to_vec(), tensor.data().as_chunks::<4>().0.iter().map(number).collect());
    Ok(tensors.into_iter().map(values).collect())
}

/// The checksum of the values of all tensors, in the order of their names.
fn checksum<'a>(tensors: impl Iterator<Item = &'a [u8]>) -> String {
    format!("{:016x}", tensors.fold(Fnv64::default(), Fnv64::bytes).finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn kept(folder: &Path, most: u64) -> Kept {
        Kept::new(folder, &Device::flex(), most)
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let root = tempfile::tempdir().unwrap();
        let kept = kept(&root.path().join("percepts"), 1 << 20);
        let [key, other] = ["a", "b"].map(|clip| kept.key(&json!({ "clip": clip })));
        assert!(!kept.has(&key) && kept.read(&key, &["x"]).is_none());
        let write = || kept.write(&key, &[("y", vec![2, 1], &[0.5, -7.0]), ("x", vec![1], &[3.0])]).unwrap();
        let read = || kept.read(&key, &["x", "y"]);
        write();
        let whole = Some(vec![(vec![1], vec![3.0]), (vec![2, 1], vec![0.5, -7.0])]);
        assert!(kept.has(&key) && !kept.has(&other));
        assert_eq!(read(), whole);
        // A level that it does not have, the file of another key, every bit, and half of it.
        assert!(kept.read(&key, &["z"]).is_none());
        let path = kept.folder.join(&key.file);
        fs::copy(&path, kept.folder.join(&other.file)).unwrap();
        assert!(kept.read(&other, &["x", "y"]).is_none());
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            let found = read();
            assert!(found.is_none() || found == whole, "byte {at}");
        }
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read().is_none());
        write();
        assert_eq!((read(), fs::read(&path).unwrap()), (whole, bytes));
    }

    /// Files of 100 bytes, used in the order b, a, c: with 350 bytes allowed, 100 more fit beside
    /// two. A stranger's file is neither counted nor removed.
    #[test]
    fn what_was_used_longest_ago_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let file = |letter: &str| root.path().join(format!("{}.safetensors", letter.repeat(16)));
        for (age, letter) in ["c", "a", "b"].into_iter().enumerate() {
            fs::write(file(letter), [0; 100]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(60 * age as u64);
            File::options().write(true).open(file(letter)).unwrap().set_modified(used).unwrap();
        }
        fs::write(root.path().join("model.safetensors"), [0; 1000]).unwrap();
        let there = || ["a", "b", "c"].map(|letter| file(letter).exists());
        kept(root.path(), 350).make_room(50).unwrap();
        assert_eq!(there(), [true; 3]);
        kept(root.path(), 350).make_room(100).unwrap();
        assert_eq!(there(), [true, false, true]);
        let refused = |most, more| kept(root.path(), most).make_room(more).unwrap_err().to_string();
        assert!(refused(1 << 20, 2 << 20).contains("2 MiB are more than the 1 MiB"));
        assert!(refused(u64::MAX / 2, 1 << 60).contains("MiB are free in"));
        fs::write(root.path().join(INDEX), "{}").unwrap();
        kept(root.path(), 1).make_room(1).unwrap();
        assert_eq!(there(), [true, false, true]);
        assert!(root.path().join("model.safetensors").exists());
        let names = [".0123456789abcdef.safetensors-4711.partial", "0123456789abcdef.safetensors.bak", "x.partial"];
        assert_eq!(names.map(is_own), [true, false, false]);
    }
}
