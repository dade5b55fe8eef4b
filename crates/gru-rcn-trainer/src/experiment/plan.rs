//! A run that is planned, whatever it trains, and how its folder is made or opened again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn_data::Dataset;

use crate::context::{Clock, Session};
use crate::device::precision::Precision;
use crate::device::replicas::Replicas;
use crate::observe::{Event, Observers};
use crate::output::note;
use crate::preflight::machine::peak;
use crate::preflight::memory::Memory;
use crate::preflight::{check_same_data, digests};
use crate::recipe::RecipeKind;
use crate::run::card::RunCard;
use crate::run::clips::RunClips;
use crate::run::dir::{Folder, PerceptFolder, RunDir, write_json};
use crate::run::fingerprint::RunFingerprint;
use crate::signals::StopFlag;

/// A run to make or to resume.
pub(crate) struct Plan<R> {
    pub(crate) recipe: R,
    pub(crate) folder: Folder,
    /// Whether the data set of a resumed run is in another place than before.
    pub(crate) moved: bool,
    pub(crate) options: RunOptions,
}

/// Where and how runs are made.
#[derive(Clone)]
pub(crate) struct RunOptions {
    /// The device that holds the models.
    pub(crate) device: Device,
    /// Devices that share each batch with it.
    pub(crate) others: Vec<Device>,
    /// All devices, as they are named on the command line.
    pub(crate) device_names: String,
    /// What convolutions and gates are computed in.
    pub(crate) precision: Precision,
    /// Most memory that a run may take, GiB; what the machine has if not given.
    pub(crate) max_memory: Option<f64>,
    /// Where percepts and features are kept for other runs.
    pub(crate) percepts: PerceptFolder,
    pub(crate) plain: bool,
    pub(crate) stop: StopFlag,
}

impl RunOptions {
    /// The plan of a run in this folder, which is resumed if it is there.
    pub(crate) fn plan<R>(&self, recipe: R, folder: &Path) -> Result<Plan<R>> {
        Ok(Plan { recipe, folder: Folder::at(folder)?, moved: false, options: self.clone() })
    }
}

/// What a run folder is to record, and what it recorded before.
pub(crate) struct Opening {
    pub(crate) card: RunCard,
    /// The card of a resumed run.
    before: Option<RunCard>,
    fingerprint: RunFingerprint,
    /// Digests of the clips' files.
    digests: BTreeMap<String, String>,
    warning: Option<String>,
    memory: Memory,
}

impl<R: RecipeKind> Plan<R> {
    /// Checks a run with this card against the machine's memory, and a resumed one against the records of its
    /// folder.
    pub(crate) fn check(&self, mut card: RunCard, dataset: &Dataset, memory: Memory) -> Result<Opening> {
        memory.check(self.options.max_memory)?;
        let (resumed, digests) = (self.folder.resumed(), digests(dataset));
        let before = resumed.map(RunDir::read_card).transpose()?.flatten();
        let fingerprint = RunFingerprint::new(&self.recipe, &card)?;
        let mut warning = None;
        if let Some((dir, before)) = resumed.zip(before.as_ref()) {
            warning = check_same_data(dir, before, &card, &digests, self.moved)?;
            card.follow(before);
            fingerprint.check(dir)?;
        }
        Ok(Opening { card, before, fingerprint, digests, warning, memory })
    }

    /// The run and its card if it is `finished` and nothing is left to compute.
    pub(crate) fn done(
        &self,
        opening: &Opening,
        finished: impl FnOnce(&RunDir, &RunCard) -> Result<bool>,
    ) -> Result<Option<(RunDir, RunCard)>> {
        match self.folder.resumed().zip(opening.before.as_ref()) {
            Some((dir, before)) if finished(dir, before)? => {
                note!("{dir} is done already; nothing is left to compute");
                Ok(Some((dir.clone(), before.clone())))
            }
            _ => Ok(None),
        }
    }

    /// Makes the folder or opens it again, writes what is known from the start into it, and logs it after these
    /// lines.
    pub(crate) fn open(self, opening: Opening, dataset: &Dataset, lines: Vec<String>) -> Result<(Session, R, RunCard)> {
        let Opening { card, fingerprint, digests, warning, memory, .. } = opening;
        let RunOptions { device, others, percepts, plain, stop, .. } = self.options;
        let dir = self.folder.open(&card.recipe)?;
        let lock = dir.lock()?;
        dir.tidy()?;
        fingerprint.claim(&dir)?;
        dir.write_recipe(&self.recipe)?;
        dir.write_card(&card)?;
        if !digests.is_empty() {
            write_json(&dir.clip_digests(), &digests)?;
        }
        RunClips::of(dataset).write(&dir)?;
        let session = Session {
            observers: Observers::of_run(&dir, plain),
            seed: card.seed,
            replicas: Replicas::new(device.clone(), others),
            clock: Clock::default(),
            percepts: percepts.of(&dir, self.recipe.shares_percepts()),
            _lock: lock,
            dir,
            fingerprint,
            device,
            stop,
        };
        session.message(format!("run folder {}", session.dir));
        let notes = card.notes.iter().map(|note| format!("note: {note}"));
        let devices = card.earlier_devices.last().map(|before| {
            format!("the run was on {before} before, and is on {} now; the run card names both", card.devices())
        });
        let replicas = session.replicas.line().map(str::to_owned);
        let lines = lines.into_iter().chain(notes).chain(devices).chain(replicas).chain(memory.line()).chain(warning);
        lines.for_each(|line| session.message(line));
        Ok((session, self.recipe, card))
    }
}

/// Ends a run that has come to a card or an error.
pub(crate) fn end(session: Session, card: Result<RunCard>) -> Result<(RunDir, RunCard)> {
    session.observers.send(Event::RunEnded);
    if let Some(peak) = peak() {
        session.message(format!("memory: {:.2} GiB at most were taken", peak as f64 / (1u64 << 30) as f64));
    }
    Ok((session.dir, card?))
}
