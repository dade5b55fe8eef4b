//! Checkpoints of one training stage: a folder per checkpoint that appears whole or not at all.
//!
//! ```text
//! checkpoints/STAGE/step-00001234/   named by the number of steps done
//!     model.bpk       the weights
//!     optimizer.bpk   the optimizer's state
//!     best.bpk        the weights of the best epoch, after the first epoch
//!     state.json      the place in the order of the clips, sums of the current epoch, early stopping
//!     MANIFEST.json   sizes and checksums of the others, and the fingerprint of the run
//! checkpoints/STAGE/latest           name of the newest, for people and scripts
//! ```
//!
//! The members are written into a temporary sibling and synchronised, the manifest last. Then the
//! folder is renamed, its parent synchronised and `latest` moved, and only then are older
//! checkpoints removed. Loading goes from the newest to the oldest by number. A damaged checkpoint
//! is renamed to `step-….corrupt` and reported; one of another run is refused.

mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use gru_rcn_data::base::{remove, sync_folder, write_atomically};
use serde::{Deserialize, Serialize};

use super::card::EpochPoint;
use super::checksum::Member;
use super::fingerprint::RunFingerprint;
use crate::output::{describe, note};
use manifest::{FILE as MANIFEST, Fault, Manifest};

/// Number of checkpoints kept: one more than needed, in case the newest is damaged.
const KEPT: usize = 2;

const PREFIX: &str = "step-";

#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    root: PathBuf,
    fingerprint: RunFingerprint,
}

/// Everything that a checkpoint holds.
pub(crate) struct State<M> {
    pub(crate) model: M,
    pub(crate) optimizer: ModuleOptimizer,
    /// The weights of the best epoch so far, as [`weights`] gives them.
    pub(crate) best: Option<Vec<u8>>,
    pub(crate) position: Position,
}

/// Everything that a checkpoint holds beside weights and optimizer. It is always between two steps:
/// of a step of several micro-batches nothing is kept until the step is taken.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// Epochs done, their validation included.
    pub(crate) epochs: usize,
    /// Batches of the current epoch done: the place in the order of its clips.
    pub(crate) batches: usize,
    /// Steps done, skipped ones included.
    pub(crate) steps: u64,
    /// Steps skipped because the loss or a gradient was not finite.
    pub(crate) skipped: u64,
    pub(crate) sums: EpochSums,
    /// Best validation log-probability so far, negated.
    pub(crate) best_loss: Option<f64>,
    /// The epoch that reached it.
    pub(crate) best_epoch: usize,
    /// Highest score so far, where weights are kept by a score instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) best_score: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) curve: Vec<EpochPoint>,
}

/// Sums over the finished part of an epoch.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochSums {
    pub(crate) loss: f64,
    pub(crate) correct: usize,
    pub(crate) clips: usize,
    /// Clips that could not be read.
    pub(crate) bad: usize,
    /// Steps skipped because the loss or a gradient was not finite.
    pub(crate) skipped: u64,
    /// Seconds waited for clips.
    pub(crate) wait: f64,
    pub(crate) seconds: f64,
}

impl EpochSums {
    pub(crate) fn add(&mut self, step: &Self) {
        self.loss += step.loss;
        self.correct += step.correct;
        self.clips += step.clips;
        self.bad += step.bad;
        self.skipped += step.skipped;
        self.wait += step.wait;
        self.seconds += step.seconds;
    }

    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.clips.max(1) as f64
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.clips.max(1) as f64
    }
}

pub(crate) fn weights<M: Module>(model: &M) -> Result<Vec<u8>> {
    let bytes = model.clone().into_record().into_bytes().context("could not write the weights")?;
    Ok(bytes.to_vec())
}

pub(crate) fn with_weights<M: Module>(model: &M, weights: Vec<u8>) -> Result<M> {
    let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(weights)).context("could not read the weights")?;
    model.clone().try_load_record(record).context("the weights are not of this model")
}

impl Checkpoints {
    pub(crate) fn new(root: PathBuf, fingerprint: RunFingerprint) -> Self {
        Self { root, fingerprint }
    }

    fn folder(&self, steps: u64) -> PathBuf {
        self.root.join(format!("{PREFIX}{steps:08}"))
    }

    /// Saves everything that training needs to resume, then removes all but the newest two. If it
    /// cannot be written, as on a full disk, the earlier checkpoints remain, and nothing of the
    /// attempt does.
    pub(crate) fn save<M: Module>(&self, state: &State<M>) -> Result<()> {
        let target = self.folder(state.position.steps);
        let scratch = self.root.join(format!(".{PREFIX}{:08}.tmp", state.position.steps));
        let saved = self.write(&scratch, state).and_then(|()| self.commit(&scratch, &target));
        if saved.is_err() {
            // Frees the room; a second failure here adds nothing to the first.
            let _ = remove(&scratch);
        }
        saved.with_context(|| format!("could not save the checkpoint {}", target.display()))?;
        self.remove_old();
        Ok(())
    }

    fn write<M: Module>(&self, scratch: &Path, state: &State<M>) -> Result<()> {
        remove(scratch)?;
        // Once: a member must not make the folder again, should the run's have been renamed meanwhile.
        fs::create_dir_all(scratch)?;
        let mut files = Vec::new();
        let mut add = |name: &str, content: &[u8]| -> Result<()> {
            write_atomically(&scratch.join(name), content)?;
            files.push(Member::new(name, content));
            Ok(())
        };
        // One after the other, so that only one of them is in memory at a time.
        add("model.bpk", &weights(&state.model)?)?;
        add("optimizer.bpk", &state.optimizer.into_bytes().context("could not write the optimizer")?)?;
        if let Some(best) = &state.best {
            add("best.bpk", best)?;
        }
        add("state.json", &serde_json::to_vec_pretty(&state.position)?)?;
        let manifest = Manifest {
            program: env!("CARGO_PKG_VERSION").into(),
            recipe_hash: self.fingerprint.recipe_hash(),
            identity: self.fingerprint.clone(),
            files,
        };
        Ok(write_atomically(&scratch.join(MANIFEST), &manifest.to_json()?)?)
    }

    /// Gives a checkpoint its final name after it is whole on disk.
    fn commit(&self, scratch: &Path, target: &Path) -> Result<()> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let old = self.root.join(format!(".{name}.old"));
        if target.exists() {
            // The end of an epoch has the number of its last step, so the name may be taken. The
            // old folder is renamed first, to a name by which `recover` finds it.
            remove(&old)?;
            fs::rename(target, &old)?;
        }
        fs::rename(scratch, target)?;
        sync_folder(&self.root)?;
        remove(&old)?;
        Ok(write_atomically(&self.root.join("latest"), format!("{name}\n").as_bytes())?)
    }

    /// Removes all but the newest; a failure does not stop the training.
    fn remove_old(&self) {
        for (_, path) in self.list().into_iter().rev().skip(KEPT) {
            if let Err(error) = fs::remove_dir_all(&path) {
                note!("note: could not remove the old checkpoint {}: {error}", path.display());
            }
        }
    }

    /// Checkpoints on disk, ascending by number.
    fn list(&self) -> Vec<(u64, PathBuf)> {
        let steps = |name: &str| name.strip_prefix(PREFIX)?.parse().ok();
        let mut found: Vec<(u64, PathBuf)> =
            self.names().into_iter().filter_map(|name| Some((steps(&name)?, self.root.join(&name)))).collect();
        found.sort();
        found
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Cleans up after a process that was killed while saving.
    fn recover(&self) -> Result<()> {
        for name in self.names() {
            let path = self.root.join(&name);
            let Some(hidden) = name.strip_prefix('.').filter(|name| name.starts_with(PREFIX)) else {
                if name.starts_with("epoch-") {
                    bail!(
                        "{} was saved by an earlier version of this program, after whole epochs only; finish the run with \
                         that version, or train anew in another folder",
                        path.display()
                    );
                }
                continue;
            };
            let fail = || format!("could not clean up {}", path.display());
            match hidden.strip_suffix(".old") {
                Some(target) if !self.root.join(target).exists() => {
                    fs::rename(&path, self.root.join(target)).with_context(fail)?;
                }
                _ => remove(&path).with_context(fail)?,
            }
        }
        Ok(())
    }

    /// Lets `latest` name the newest checkpoint, which a process that was killed between two renames
    /// may have left undone. Without a checkpoint there is no such file. A failure does not stop the
    /// training.
    fn mend_latest(&self) {
        let path = self.root.join("latest");
        let newest = self.list().pop().map(|(_, path)| path);
        let mended = match newest.as_deref().and_then(Path::file_name) {
            None if !path.exists() => Ok(()),
            None => remove(&path),
            Some(name) => {
                let line = format!("{}\n", name.to_string_lossy());
                let is_right = fs::read_to_string(&path).is_ok_and(|before| before == line);
                if is_right { Ok(()) } else { write_atomically(&path, line.as_bytes()) }
            }
        };
        if let Err(error) = mended {
            note!("note: {} does not name the newest checkpoint: {error:#}", path.display());
        }
    }

    /// The newest whole checkpoint, loaded into the given model and optimizer. `warn` is called for
    /// each damaged one. One of another run or format is an error; no older one is taken instead.
    pub(crate) fn load_newest<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        mut warn: impl FnMut(&str),
    ) -> Result<Option<State<M>>> {
        self.recover()?;
        for (_, path) in self.list().into_iter().rev() {
            match self.load(&path, model, optimizer) {
                Ok(loaded) => {
                    self.mend_latest();
                    return Ok(Some(loaded));
                }
                Err(Fault::Foreign(error)) => {
                    return Err(error.context(format!("the checkpoint {} cannot be resumed from", path.display())));
                }
                Err(Fault::Damaged(error)) => {
                    let aside = match set_aside(&path) {
                        Ok(aside) => format!("it is kept as {}", aside.display()),
                        Err(error) => format!("it could not be renamed: {error}"),
                    };
                    warn(&format!(
                        "warning: skipping the checkpoint {}: {}; {aside}",
                        path.display(),
                        describe(&error)
                    ));
                }
            }
        }
        self.mend_latest();
        Ok(None)
    }

    fn load<M: Module>(&self, path: &Path, model: &M, optimizer: &ModuleOptimizer) -> Result<State<M>, Fault> {
        let manifest = Manifest::read(path)?;
        if let Some(obstacle) = self.fingerprint.obstacle(&manifest.identity) {
            return Err(Fault::Foreign(anyhow!("it was made {obstacle}")));
        }
        let read = |name: &str| -> Result<Option<Vec<u8>>, Fault> {
            let member = manifest.files.iter().find(|member| member.name == name);
            member.map(|member| member.read(path).map_err(Fault::Damaged)).transpose()
        };
        let need = |name: &str| -> Result<Vec<u8>, Fault> {
            read(name)?.ok_or_else(|| Fault::Foreign(anyhow!("{MANIFEST} does not list {name}")))
        };
        // All members are checked before any is used; one that is whole may still not fit.
        let (weights, state, best) = (need("model.bpk")?, need("optimizer.bpk")?, read("best.bpk")?);
        let position = serde_json::from_slice(&need("state.json")?)
            .map_err(|error| Fault::Foreign(anyhow!("state.json is not as this program writes it: {error}")))?;
        // The model first: its record restores the identities by which the optimizer's state is
        // keyed.
        let model = with_weights(model, weights).map_err(|error| Fault::Foreign(error.context("model.bpk")))?;
        let optimizer = optimizer
            .clone()
            .from_bytes(Bytes::from_bytes_vec(state))
            .map_err(|error| Fault::Foreign(anyhow!("optimizer.bpk: {error}")))?;
        Ok(State { model, optimizer, best, position })
    }
}

/// Renames a damaged checkpoint, so that it is not loaded but not lost either.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut aside = path.with_file_name(format!("{name}.corrupt"));
    let mut number = 2;
    while aside.exists() {
        aside = path.with_file_name(format!("{name}.corrupt-{number}"));
        number += 1;
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests;
