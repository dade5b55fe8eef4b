//! The folder of one run and the files in it.
//!
//! ```text
//! recipe.toml            the recipe as resolved
//! run.json               the run card: versions, data, seed, device, parameters, results
//! metrics.jsonl          one line per epoch of every stage
//! progress.jsonl         one line every few seconds of training
//! nonfinite.jsonl        steps that were not taken because something was not finite
//! quarantine.jsonl       training clips that could not be read
//! tensorboard/STAGE/     the same figures for TensorBoard
//! backbone.safetensors   the CNN, in torchvision's key layout
//! model.safetensors      the trained GRU-RCN; baselines/ has the others
//! scores-test.safetensors  class probabilities of every test clip
//! checkpoints/STAGE/     what --resume goes on from
//! report.json, report.html
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use burn::store::burn_pack::AtomicFile;
use serde::Serialize;
use serde_json::Value;

use crate::identity::Identity;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
    identity: Identity,
    /// What could not be kept as promised; shared by all copies.
    losses: Arc<Mutex<Vec<String>>>,
}

impl RunDir {
    fn at(root: PathBuf) -> Self {
        Self { root, identity: Identity::default(), losses: Arc::default() }
    }

    /// The same folder, whose checkpoints belong to this and nothing else.
    pub fn with_identity(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }

    /// What its checkpoints belong to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Notes something that could not be kept, such as a checkpoint that found no room. Training goes on, and the program
    /// ends with a code that is not 0.
    pub fn note_loss(&self, what: String) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// What could not be kept.
    pub fn losses(&self) -> Vec<String> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Creates a new run in an empty or absent folder.
    pub fn create(root: &Path) -> Result<Self> {
        if root.join("recipe.toml").exists() {
            bail!(
                "{} holds a run already; go on with it by `--resume`, or give another folder with `--run`",
                root.display()
            );
        }
        fs::create_dir_all(root).with_context(|| format!("could not create the run folder {}", root.display()))?;
        Ok(Self::at(root.into()))
    }

    /// A new folder `RUNS/NAME-N` with the smallest free N.
    pub fn create_numbered(runs: &Path, name: &str) -> Result<Self> {
        let fail = |folder: &Path| format!("could not create the run folder {}", folder.display());
        fs::create_dir_all(runs).with_context(|| fail(runs))?;
        let mut number = 1u32;
        loop {
            let root = runs.join(format!("{name}-{number}"));
            // Creating the folder is what claims the number: another run may be starting at the same moment.
            match fs::create_dir(&root) {
                Ok(()) => return Ok(Self::at(root)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).with_context(|| fail(&root)),
            }
        }
    }

    /// Keeps other processes from training in this folder as long as the answer lives. The system lets go of it however
    /// the process ends.
    pub fn lock(&self) -> Result<Option<File>> {
        // The folder itself is locked, so that no file is left over. Where that is not possible, on some network file
        // systems, training goes on without.
        let Ok(folder) = File::open(&self.root) else { return Ok(None) };
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => bail!(
                "another process is training in {}; wait for it, or give another folder with `--run`",
                self.root.display()
            ),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Opens an existing run.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            bail!("{}: no such run folder", root.display());
        }
        if !root.join("recipe.toml").is_file() {
            bail!("{} is not a run: it has no recipe.toml", root.display());
        }
        Ok(Self::at(root.into()))
    }

    /// The run in `RUNS` that was written to last.
    pub fn newest(runs: &Path) -> Result<Self> {
        let entries = fs::read_dir(runs).ok().into_iter().flatten().flatten();
        let newest = entries
            .filter_map(|entry| {
                let recipe = fs::metadata(entry.path().join("recipe.toml")).ok()?;
                Some((recipe.modified().ok()?, entry.path()))
            })
            .max();
        match newest {
            Some((_, path)) => Self::open(&path),
            None => bail!("there is no run in {}; train one first, or name it with `--run`", runs.display()),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        write_atomic(&self.path(name), content)
    }

    /// Writes JSON, whole or not at all.
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        self.write(name, serde_json::to_string_pretty(value)?.as_bytes())
    }

    /// Reads a text file.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    }

    /// Appends lines of text to a file, all or none of them.
    pub fn append(&self, name: &str, lines: &str) -> Result<()> {
        let path = self.path(name);
        let append = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            let before = file.metadata()?.len();
            // In one piece, so that a program that is killed leaves whole lines; a full disk may have room for half of it.
            file.write_all(lines.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
        };
        append().with_context(|| format!("could not write {}", path.display()))
    }

    /// Removes from a file of JSON lines what a stage told after the place that it goes on from, and the half of a line that
    /// a killed process may have left. A line of the stage stays if `stays` says so.
    pub fn rewind(&self, name: &str, stage: &str, stays: impl Fn(&Value) -> bool) -> Result<()> {
        let Ok(text) = fs::read_to_string(self.path(name)) else { return Ok(()) };
        let kept =
            |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["stage"] != stage || stays(&line));
        let kept: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
        if kept == text { Ok(()) } else { self.write(name, kept.as_bytes()) }
    }
}

/// Writes a file through a sibling that is renamed once it is safely on disk.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let fail = || format!("could not write {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(fail)?;
    }
    let (guard, mut file) = AtomicFile::create(path).with_context(fail)?;
    file.write_all(content).with_context(fail)?;
    drop(file);
    guard.commit().with_context(fail)
}

/// Makes the names in a folder as lasting as the files they name.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Folders can be opened, and need it, on Unix only.
    #[cfg(unix)]
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("could not synchronise {}", folder.display()))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Killed after it told of epoch 3 but before it saved it, in the middle of another line.
    #[test]
    fn metrics_go_back_to_where_a_stage_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        let rewind = |epochs: u64| run.rewind("metrics.jsonl", "b", |line| line["epoch"].as_u64() <= Some(epochs));
        rewind(0).unwrap();
        for (stage, epoch) in [("a", 3), ("b", 1), ("b", 2), ("b", 3)] {
            run.append("metrics.jsonl", &format!("{}\n", json!({"stage": stage, "epoch": epoch}))).unwrap();
        }
        let text = run.read("metrics.jsonl").unwrap();
        run.write("metrics.jsonl", format!("{text}{{\"stage\":\"b").as_bytes()).unwrap();
        rewind(2).unwrap();
        assert!(text.starts_with(&run.read("metrics.jsonl").unwrap()));
        assert_eq!(run.read("metrics.jsonl").unwrap().lines().count(), 3);
    }

    #[test]
    fn losses_are_known_to_all_copies() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        run.clone().with_identity(Identity::default()).note_loss("a checkpoint".into());
        assert_eq!(run.losses(), ["a checkpoint"]);
    }

    #[test]
    fn a_number_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let names = [1, 2].map(|_| RunDir::create_numbered(&runs, "x").unwrap().root().to_path_buf());
        assert_eq!(names, ["x-1", "x-2"].map(|name| runs.join(name)));
    }

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        let held = run.lock().unwrap();
        if held.is_some() {
            assert!(run.lock().unwrap_err().to_string().contains("another process"));
        }
        drop(held);
        assert!(run.lock().is_ok());
    }
}
