//! `train`: from a recipe to trained systems, their test results and a report.
//!
//! [`train`] and [`run`] tell the story. What can be wrong with the input is checked before the
//! run folder is made. Then come the stages, each of which finds what an interrupted run has done: the
//! CNN, its percepts, the systems, the test, the report.

mod backbone;
mod cnn;
pub(crate) mod data;
mod joint;
mod outcome;
mod percepts;
mod svm;
mod system;
mod systems;
mod test;
mod trained;

pub(crate) use backbone::{fingerprint, pretrained, pretrained_network};
pub(crate) use outcome::print;
pub(crate) use system::{System, TrainedModel, TrainedSystem};
pub(crate) use test::{Test, TestedSystem};
pub(crate) use trained::{TrainedRun, unfinished};

use anyhow::Result;
use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, Cnn};

use crate::context::{Clock, Context, Session};
use crate::device::precision::Precision;
use crate::device::replicas::Replicas;
use crate::observe::{Event, Observers};
use crate::preflight;
use crate::preflight::memory::Memory;
use crate::recipe::Recipe;
use crate::run::card::RunCard;
use crate::run::clips::RunClips;
use crate::run::dir::{Folder, RunDir, write_json};
use crate::run::fingerprint::RunFingerprint;
use crate::signals::StopFlag;
use data::Clips;
use percepts::PerceptMaker;

/// A run to make or to resume.
pub(crate) struct Plan {
    pub(crate) recipe: Recipe,
    pub(crate) folder: Folder,
    /// Whether the data set of a resumed run is in another place than before.
    pub(crate) moved: bool,
    /// The device that holds the models.
    pub(crate) device: Device,
    /// Devices that share each batch with it.
    pub(crate) others: Vec<Device>,
    /// All devices, as they are named on the command line.
    pub(crate) device_names: String,
    /// What convolutions and gates are computed in.
    pub(crate) precision: Precision,
    /// Most memory that the run may take, GiB; what the machine has if not given.
    pub(crate) max_memory: Option<f64>,
    pub(crate) plain: bool,
}

/// Makes or resumes a run and returns its card. The error
/// [`Interrupted`](crate::signals::Interrupted) means that everything is saved.
pub(crate) fn train(plan: Plan) -> Result<(RunDir, RunCard)> {
    let stop = StopFlag::install("resume with --resume")?;
    let clips = Clips::of_recipe(&plan.recipe, &plan.device, plan.precision.dtype())?;
    preflight::check_clips(&plan.recipe, &clips.dataset)?;
    let weights = cnn::weights_file(plan.folder.resumed(), &plan.recipe);
    let (devices, precision) = (&plan.device_names, plan.precision);
    let mut card = outcome::new_card(&plan.recipe, &clips.dataset, weights.as_deref(), devices, precision)?;
    let cnn = backbone::config(&plan.recipe, card.cnn_classes)?;
    system::check_baselines(&plan.recipe, clips.dataset.classes.len())?;
    let memory = Memory::of_run(&plan.recipe, &clips.dataset, &clips.loader, cnn);
    memory.check(plan.max_memory)?;
    let resumed = plan.folder.resumed();
    let before = resumed.map(RunDir::read_card).transpose()?.flatten();
    let digests = preflight::digests(&clips.dataset);
    let mut warning = None;
    if let Some((dir, before)) = resumed.zip(before.as_ref()) {
        warning = preflight::check_same_data(dir, before, &card, &digests, plan.moved)?;
        card.follow(before);
    }
    let fingerprint = RunFingerprint::new(&plan.recipe, &card)?;
    if let Some((dir, before)) = resumed.zip(before)
        && let Some(finished) = outcome::finished(dir, before, &plan.recipe, &fingerprint)?
    {
        return Ok(finished);
    }
    let pretrained = cnn::pretrained(resumed, &plan.recipe, &plan.device)?;
    preflight::probe_clips(&plan.recipe, &clips.dataset, &clips.loader, resumed.is_some(), &stop)?;

    let dir = plan.folder.open(&plan.recipe.name)?;
    let _lock = dir.lock()?;
    dir.tidy()?;
    fingerprint.claim(&dir)?;
    dir.write_recipe(&plan.recipe)?;
    dir.write_card(&card)?;
    if !digests.is_empty() {
        write_json(&dir.clip_digests(), &digests)?;
    }
    RunClips::of(&clips.dataset).write(&dir)?;
    let replicas = Replicas::new(plan.device.clone(), plan.others);
    let session = Session {
        observers: Observers::of_run(&dir, plan.plain),
        dir,
        fingerprint,
        seed: plan.recipe.seed,
        device: plan.device,
        replicas,
        stop,
        clock: Clock::default(),
    };
    let context = Context { session, recipe: plan.recipe };
    outcome::announce(&context, &clips.dataset, &card, &memory);
    if let Some(warning) = warning {
        context.message(warning);
    }

    let card = run(&context, &clips, card, pretrained);
    context.observers.send(Event::RunEnded);
    if let Some(peak) = preflight::machine::peak() {
        context.message(format!("memory: {:.2} GiB at most were taken", peak as f64 / (1u64 << 30) as f64));
    }
    Ok((context.session.dir, card?))
}

fn run(context: &Context, clips: &Clips, card: RunCard, pretrained: Option<Cnn>) -> Result<RunCard> {
    let cnn = cnn::obtain(context, clips, pretrained, &card)?;
    if context.recipe.uses_cnn() {
        let levels: Vec<String> =
            cnn.levels().iter().map(|l| format!("{} {}×{}×{}", l.name, l.channels, l.height, l.width)).collect();
        context.message(format!("levels: {}", levels.join(", ")));
    }
    let cache = percepts::open_cache(context, &clips.dataset, &cnn)?;
    let percepts = PerceptMaker::new(context, &cnn, cache.as_ref());
    let sources = percepts.training_sources(clips)?;
    let systems = System::of_run(&context.recipe, &card);
    let trained = systems::train_all(context, clips, systems, &cnn, &sources)?;
    let calibrated = test::calibrate(context, clips, &trained, &cnn, &sources.validation)?;
    drop(sources);
    let tested = test::test_all(percepts, clips, &trained, calibrated)?;
    outcome::write(context, clips, card, &tested)
}
