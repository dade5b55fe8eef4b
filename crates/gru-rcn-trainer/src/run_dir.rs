//! The folder of one run and the files in it.
//!
//! ```text
//! recipe.toml            the recipe as resolved
//! run.json               the run card: versions, data, seed, device, parameters, results
//! metrics.jsonl          one line per epoch of every stage
//! backbone.safetensors   the CNN, in torchvision's key layout
//! model.safetensors      the trained GRU-RCN; baselines/ has the others
//! scores-test.safetensors  class probabilities of every test clip
//! checkpoints/STAGE/     what --resume goes on from
//! report.json, report.html
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::store::burn_pack::AtomicFile;
use serde::Serialize;
use serde_json::Value;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Creates a new run in an empty or absent folder.
    pub fn create(root: &Path) -> Result<Self> {
        if root.join("recipe.toml").exists() {
            bail!(
                "{} holds a run already; go on with it by `--resume`, or give another folder with `--run`",
                root.display()
            );
        }
        fs::create_dir_all(root).with_context(|| format!("could not create the run folder {}", root.display()))?;
        Ok(Self { root: root.into() })
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
                Ok(()) => return Ok(Self { root }),
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
        Ok(Self { root: root.into() })
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

    /// Appends one line of JSON to `metrics.jsonl`.
    pub fn append_metrics(&self, line: &Value) -> Result<()> {
        let path = self.path("metrics.jsonl");
        let mut file: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("could not write {}", path.display()))?;
        // In one piece, so that a program that is killed leaves whole lines.
        file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("could not write {}", path.display()))
    }

    /// Removes from `metrics.jsonl` what a stage told after the epoch that it goes on from.
    pub fn rewind_metrics(&self, stage: &str, epochs: usize) -> Result<()> {
        let Ok(text) = fs::read_to_string(self.path("metrics.jsonl")) else { return Ok(()) };
        let stays = |line: &&str| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| {
                line["stage"] != stage || line["epoch"].as_u64().is_some_and(|epoch| epoch <= epochs as u64)
            })
        };
        let kept: String = text.lines().filter(stays).map(|line| format!("{line}\n")).collect();
        if kept == text { Ok(()) } else { self.write("metrics.jsonl", kept.as_bytes()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Killed after it told of epoch 3 but before it saved it, in the middle of another line.
    #[test]
    fn metrics_go_back_to_where_a_stage_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        run.rewind_metrics("b", 0).unwrap();
        for (stage, epoch) in [("a", 3), ("b", 1), ("b", 2), ("b", 3)] {
            run.append_metrics(&json!({"stage": stage, "epoch": epoch})).unwrap();
        }
        let text = run.read("metrics.jsonl").unwrap();
        run.write("metrics.jsonl", format!("{text}{{\"stage\":\"b").as_bytes()).unwrap();
        run.rewind_metrics("b", 2).unwrap();
        assert!(text.starts_with(&run.read("metrics.jsonl").unwrap()));
        assert_eq!(run.read("metrics.jsonl").unwrap().lines().count(), 3);
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
