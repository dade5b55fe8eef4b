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
mod plan;
mod svm;
mod system;
mod systems;
mod test;
mod trained;

pub(crate) use backbone::{fingerprint, pretrained, pretrained_network};
pub(crate) use outcome::print;
pub(crate) use plan::{Plan, RunOptions, end};
pub(crate) use system::{System, TrainedModel, TrainedSystem};
pub(crate) use test::{Test, TestedSystem};
pub(crate) use trained::{TrainedRun, unfinished};

use anyhow::Result;
use gru_rcn::backbone::{Backbone, Cnn};

use crate::context::Context;
use crate::preflight;
use crate::preflight::memory::Memory;
use crate::recipe::Recipe;
use crate::run::card::RunCard;
use crate::run::dir::RunDir;
use data::Clips;
use percepts::PerceptMaker;

/// Makes or resumes a run and returns its card. The error
/// [`Interrupted`](crate::signals::Interrupted) means that everything is saved.
pub(crate) fn train(plan: Plan<Recipe>) -> Result<(RunDir, RunCard)> {
    let (recipe, options, resumed) = (&plan.recipe, &plan.options, plan.folder.resumed());
    let clips = Clips::of_recipe(recipe, &options.device, options.precision.dtype())?;
    preflight::check_clips(recipe, &clips.dataset)?;
    let card = outcome::new_card(&plan, &clips.dataset)?;
    let cnn = backbone::config(recipe, card.cnn_classes)?;
    system::check_baselines(recipe, clips.dataset.classes.len())?;
    let memory = Memory::of_run(recipe, &clips.dataset, &clips.loader, cnn);
    let opening = plan.check(card, &clips.dataset, memory)?;
    if let Some(done) = plan.done(&opening, |dir, card| outcome::finished(dir, card, recipe))? {
        return Ok(done);
    }
    let pretrained = cnn::pretrained(resumed, recipe, &options.device)?;
    preflight::probe_clips(recipe, &clips.dataset, &clips.loader, resumed.is_some(), &options.stop)?;

    let lines = outcome::lines(recipe, &opening.card);
    let (session, recipe, card) = plan.open(opening, &clips.dataset, lines)?;
    let context = Context { session, recipe };
    let card = run(&context, &clips, card, pretrained);
    end(context.session, card)
}

fn run(context: &Context, clips: &Clips, card: RunCard, pretrained: Option<Cnn>) -> Result<RunCard> {
    let cnn = cnn::obtain(context, clips, pretrained, &card)?;
    if context.recipe.uses_cnn() {
        let levels: Vec<String> =
            cnn.levels().iter().map(|l| format!("{} {}×{}×{}", l.name, l.channels, l.height, l.width)).collect();
        context.message(format!("levels: {}", levels.join(", ")));
    }
    let kept = percepts::open_kept(context, clips, &cnn)?;
    let percepts = PerceptMaker::new(context, &cnn, kept.as_ref());
    let sources = percepts.training_sources(clips)?;
    let systems = System::of_run(&context.recipe, &card);
    let trained = systems::train_all(context, clips, systems, &cnn, &sources)?;
    let calibrated = test::calibrate(context, clips, &trained, &cnn, &sources.validation)?;
    drop(sources);
    let tested = test::test_all(percepts, clips, &trained, calibrated)?;
    outcome::write(context, clips, card, &tested, &trained, &cnn)
}
