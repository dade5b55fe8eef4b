//! What every part of a run needs: its folder, devices, clock and observers; and the recipe.

use std::cell::RefCell;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use gru_rcn_data::base::FolderLock;

use crate::device::replicas::Replicas;
use crate::observe::Observers;
use crate::recipe::Recipe;
use crate::recipe::seed::stage_seed;
use crate::run::card::EpochPoint;
use crate::run::dir::RunDir;
use crate::run::fingerprint::RunFingerprint;
use crate::signals::StopFlag;

/// One run under way, whatever it trains.
pub(crate) struct Session {
    pub(crate) dir: RunDir,
    /// Where percepts and features are kept for other runs, if they are.
    pub(crate) percepts: Option<PathBuf>,
    /// What its checkpoints have to match.
    pub(crate) fingerprint: RunFingerprint,
    /// The seed of its recipe.
    pub(crate) seed: u64,
    /// The plain device that models and percepts are on.
    pub(crate) device: Device,
    /// That device and those that share batches with it.
    pub(crate) replicas: Replicas,
    pub(crate) stop: StopFlag,
    /// Durations of its parts.
    pub(crate) clock: Clock,
    /// What its events are sent to.
    pub(crate) observers: Observers,
    /// Keeps other processes from training in the folder.
    pub(crate) _lock: FolderLock,
}

/// A run that trains classifiers of clips.
pub(crate) struct Context {
    pub(crate) session: Session,
    pub(crate) recipe: Recipe,
}

impl Deref for Context {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Session {
    pub(crate) fn message(&self, text: impl Into<String>) {
        self.observers.message(text);
    }

    /// The learning curve of a system that an earlier session has trained on the CNN with this
    /// checksum. If one of its `files` is gone, it counts as not trained, after a warning.
    pub(crate) fn finished(
        &self,
        key: &str,
        name: &str,
        cnn: &str,
        files: &[PathBuf],
    ) -> Result<Option<Vec<EpochPoint>>> {
        let Some(done) = self.dir.done(key)? else { return Ok(None) };
        if let Some(gone) = files.iter().find(|file| !file.is_file()) {
            self.message(format!("warning: {name} was trained, but {} is gone; it is trained again", gone.display()));
            return Ok(None);
        }
        if let Some(before) = done.cnn.filter(|before| before != cnn) {
            bail!(
                "{name} was trained on the percepts of another CNN ({before}, this is {cnn}); put {} back as it was, or \
                 train anew in another folder",
                self.dir.backbone().display()
            );
        }
        Ok(Some(done.curve))
    }

    pub(crate) fn stage_seed(&self, key: &str) -> u64 {
        stage_seed(self.seed, key)
    }
}

/// Seconds of each part of the work.
#[derive(Default)]
pub(crate) struct Clock {
    parts: RefCell<Vec<(String, f64)>>,
}

impl Clock {
    /// Does a part of the work and keeps its duration.
    pub(crate) fn time<T>(&self, part: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = work()?;
        self.parts.borrow_mut().push((part.to_string(), started.elapsed().as_secs_f64()));
        Ok(result)
    }

    /// The parts so far.
    pub(crate) fn take(&self) -> Vec<(String, f64)> {
        self.parts.take()
    }
}
