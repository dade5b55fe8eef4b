//! Checkpoints of one training stage: a folder per checkpoint that appears whole or not at all.
//!
//! The members are written into a temporary sibling and synchronised, `MANIFEST.json` with their sizes and checksums
//! last; then the folder is renamed and its parent synchronised. Loading goes from the newest to the oldest and passes
//! over, loudly, what is damaged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use serde::{Deserialize, Serialize};

use crate::report::EpochPoint;

/// What a checkpoint holds beside weights and optimizer.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Epochs done.
    pub epochs: usize,
    /// Optimizer steps done.
    pub steps: u64,
    /// Best validation log-probability so far, negated.
    pub best_loss: Option<f64>,
    /// The epoch it was reached in.
    pub best_epoch: usize,
    /// Seconds spent.
    pub seconds: f64,
    /// The course so far.
    pub curve: Vec<EpochPoint>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    version: u32,
    burn: String,
    progress: Progress,
    /// Checksum of `progress`, as JSON.
    progress_checksum: u64,
    /// Name, bytes and checksum of the other files.
    files: Vec<(String, u64, u64)>,
}

const VERSION: u32 = 1;

/// The checkpoints of one stage.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    root: PathBuf,
}

impl Checkpoints {
    /// In this folder.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn folder(&self, epoch: usize) -> PathBuf {
        self.root.join(format!("epoch-{epoch:06}"))
    }

    /// Saves a model and its optimizer after an epoch, then removes all but this checkpoint and the best epoch's.
    pub fn save<M: Module>(&self, model: &M, optimizer: &ModuleOptimizer, progress: &Progress) -> Result<()> {
        let target = self.folder(progress.epochs);
        let scratch = self.root.join(format!(".epoch-{:06}.tmp", progress.epochs));
        let fail = || format!("could not save the checkpoint {}", target.display());
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(fail)?;
        }
        fs::create_dir_all(&scratch).with_context(fail)?;
        model.clone().into_record().save(scratch.join("model")).with_context(fail)?;
        optimizer.save(scratch.join("optimizer")).with_context(fail)?;
        let mut files = Vec::new();
        for name in ["model.bpk", "optimizer.bpk"] {
            let content = fs::read(scratch.join(name)).with_context(fail)?;
            files.push((name.to_string(), content.len() as u64, checksum(CHECKSUM_START, &content)));
        }
        let manifest = Manifest {
            version: VERSION,
            burn: "0.22.1".into(),
            progress: progress.clone(),
            progress_checksum: checksum(CHECKSUM_START, &serde_json::to_vec(progress)?),
            files,
        };
        crate::run_dir::write_atomic(&scratch.join("MANIFEST.json"), &serde_json::to_vec(&manifest)?)?;
        if target.exists() {
            fs::remove_dir_all(&target).with_context(fail)?;
        }
        fs::rename(&scratch, &target).with_context(fail)?;
        File::open(&self.root).and_then(|folder| folder.sync_all()).with_context(fail)?;
        self.keep(&[progress.epochs, progress.best_epoch]);
        Ok(())
    }

    /// Removes all others; failing to is not worth stopping for.
    fn keep(&self, epochs: &[usize]) {
        for (epoch, path) in self.list() {
            if !epochs.contains(&epoch)
                && let Err(error) = fs::remove_dir_all(&path)
            {
                eprintln!("note: could not remove the old checkpoint {}: {error}", path.display());
            }
        }
    }

    /// Checkpoints on disk, oldest first, by number.
    fn list(&self) -> Vec<(usize, PathBuf)> {
        let mut found: Vec<(usize, PathBuf)> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let epoch = name.to_str()?.strip_prefix("epoch-")?.parse().ok()?;
                Some((epoch, entry.path()))
            })
            .collect();
        found.sort();
        found
    }

    /// The newest checkpoint that is whole, with its model and optimizer loaded into those given.
    pub fn load_newest<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<Option<(M, ModuleOptimizer, Progress)>> {
        for (_, path) in self.list().into_iter().rev() {
            match load(&path, model, optimizer) {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(error) => eprintln!("warning: passing over the checkpoint {}: {error:#}", path.display()),
            }
        }
        Ok(None)
    }

    /// The weights of one epoch.
    pub fn load_model<M: Module>(&self, epoch: usize, model: &M) -> Result<M> {
        let path = self.folder(epoch);
        verify(&path).with_context(|| format!("the checkpoint {} is damaged", path.display()))?;
        let record = ModuleRecord::load(path.join("model"));
        let record = record.with_context(|| format!("could not read the checkpoint {}", path.display()))?;
        model.clone().try_load_record(record).with_context(|| format!("the checkpoint {}", path.display()))
    }
}

/// The manifest of a checkpoint, if all its files are as they were written.
fn verify(path: &Path) -> Result<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(path.join("MANIFEST.json"))?)?;
    if manifest.version != VERSION {
        bail!("it has format {}, this program reads {VERSION}", manifest.version);
    }
    if checksum(CHECKSUM_START, &serde_json::to_vec(&manifest.progress)?) != manifest.progress_checksum {
        bail!("MANIFEST.json is not as it was written");
    }
    for (name, size, sum) in &manifest.files {
        let content = fs::read(path.join(name)).with_context(|| format!("{name} cannot be read"))?;
        if content.len() as u64 != *size {
            bail!("{name} has {} bytes instead of {size}", content.len());
        }
        if checksum(CHECKSUM_START, &content) != *sum {
            bail!("{name} is not as it was written");
        }
    }
    Ok(manifest)
}

/// FNV-1a: nothing against malice, but one bit that flips on the disk changes it. `sum` is that of what came before.
pub(crate) fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The checksum of nothing.
pub(crate) const CHECKSUM_START: u64 = 0xcbf2_9ce4_8422_2325;

fn load<M: Module>(path: &Path, model: &M, optimizer: &ModuleOptimizer) -> Result<(M, ModuleOptimizer, Progress)> {
    let manifest = verify(path)?;
    // The model first: the optimizer's state is keyed by the parameter identities that its record restores.
    let model = model.clone().try_load_record(ModuleRecord::load(path.join("model"))?)?;
    let optimizer = optimizer.clone().load(path.join("optimizer"))?;
    Ok((model, optimizer, manifest.progress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::AdamConfig;
    use burn::tensor::Device;

    fn saved(epochs: &[usize]) -> (tempfile::TempDir, Checkpoints, Linear) {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path().join("stage"));
        let model = LinearConfig::new(2, 3).init(&Device::flex());
        for &epochs in epochs {
            let progress = Progress { epochs, best_epoch: epochs - epochs % 5, ..Progress::default() };
            checkpoints.save(&model, &AdamConfig::new().init(), &progress).unwrap();
        }
        (folder, checkpoints, model)
    }

    #[test]
    fn newest_by_number_and_best_are_kept() {
        let (_folder, checkpoints, model) = saved(&[9, 10, 11]);
        assert_eq!(checkpoints.list().iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [10, 11]);
        let (_, _, progress) = checkpoints.load_newest(&model, &AdamConfig::new().init()).unwrap().unwrap();
        assert_eq!(progress.epochs, 11);
    }

    #[test]
    fn a_damaged_checkpoint_is_passed_over() {
        let flip = |path: &Path, from_end: usize| {
            let mut bytes = fs::read(path).unwrap();
            let at = bytes.len() - from_end;
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        for damage in ["truncate", "remove", "flip", "flip optimizer", "flip manifest"] {
            let (_folder, checkpoints, model) = saved(&[10, 11]);
            let member = |name: &str| checkpoints.folder(11).join(name);
            match damage {
                "truncate" => fs::write(member("model.bpk"), b"torn").unwrap(),
                "remove" => fs::remove_file(member("model.bpk")).unwrap(),
                "flip" => flip(&member("model.bpk"), 9),
                "flip optimizer" => flip(&member("optimizer.bpk"), 1),
                _ => {
                    let text = fs::read_to_string(member("MANIFEST.json")).unwrap();
                    fs::write(member("MANIFEST.json"), text.replace("\"epochs\":11", "\"epochs\":10")).unwrap();
                }
            }
            let (_, _, progress) = checkpoints.load_newest(&model, &AdamConfig::new().init()).unwrap().unwrap();
            assert_eq!(progress.epochs, 10, "{damage}");
        }
    }

    #[test]
    fn none_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let model = LinearConfig::new(2, 3).init(&Device::flex());
        let found = Checkpoints::new(folder.path().join("x")).load_newest(&model, &AdamConfig::new().init());
        assert!(found.unwrap().is_none());
    }
}
