//! The test: every system on the test clips, which nothing has looked at before.

use anyhow::{Result, ensure};
use gru_rcn::backbone::Pixels;
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::Dataset;

use super::data::Clips;
use super::percepts::PerceptMaker;
use super::system::{System, TrainedModel, TrainedSystem};
use crate::context::Context;
use crate::observe::Pace;
use crate::percepts::{FrozenCnn, Live};
use crate::run::card::SystemResult;
use crate::run::scores::Scores;
use crate::scoring::views::{ViewPercepts, ViewPixels};
use crate::scoring::{Scorable, ViewBatch, score_readable, single_view};

/// Clips scored at once.
pub(crate) const SCORE_BATCH: usize = 16;

pub(crate) struct TestedSystem {
    pub(crate) system: System,
    pub(crate) result: SystemResult,
    /// A row per clip that could be read.
    pub(crate) scores: Scores,
    /// The places of these clips among the test clips.
    pub(crate) clips: Vec<usize>,
}

/// Scores every system. Most take in the same percepts; a GRU-RCN that was trained together with its CNN
/// takes in those of that CNN, and networks of their own take in pixels.
pub(crate) fn test_all(percepts: PerceptMaker, clips: &Clips, trained: &[TrainedSystem]) -> Result<Vec<TestedSystem>> {
    let context = percepts.context;
    let rule = context.recipe.views();
    context.message(match rule.is_single() {
        true => "scoring the test clips".to_owned(),
        false => format!("scoring the test clips by {}", context.recipe.describe_views(rule)),
    });
    context.clock.time("Test", || {
        let (mut results, mut shared) = (Vec::new(), Vec::new());
        for system in trained {
            match &system.model {
                TrainedModel::Percepts { model, cnn: None } => shared.push((system, &**model)),
                TrainedModel::Percepts { model, cnn: Some(cnn) } => {
                    let percepts = PerceptMaker { cnn, cache: None, in_memory: false, ..percepts };
                    results.extend(test_percepts(percepts, clips, &[(system, &**model)])?);
                }
                TrainedModel::Pixels { model, pixels } => {
                    results.extend(test_pixels(context, clips, system, &**model, pixels)?);
                }
            }
        }
        if !shared.is_empty() {
            results.extend(test_percepts(percepts, clips, &shared)?);
        }
        // In the order of training again, the system that the run is about first.
        results.sort_by_key(|tested| trained.iter().position(|trained| trained.system == tested.system));
        Ok(results)
    })
}

/// Scores systems that take in the percepts of the same CNN.
fn test_percepts(
    percepts: PerceptMaker,
    clips: &Clips,
    systems: &[(&TrainedSystem, &dyn Scorable<Percepts>)],
) -> Result<Vec<TestedSystem>> {
    let PerceptMaker { context, cnn, .. } = percepts;
    let (samples, loader, rule) = (&clips.dataset.test, &clips.test_loader(&context.dir), context.recipe.views());
    if rule.is_single() {
        let source = percepts.scoring_source(samples, loader)?;
        test(context, clips, systems, single_view(&*source, SCORE_BATCH))
    } else {
        let cnn = &FrozenCnn::new(cnn);
        let batches = ViewPercepts { cnn, loader, device: &context.device }.of_clips(samples, rule);
        test(context, clips, systems, batches)
    }
}

/// Scores a system that takes in pixels.
fn test_pixels(
    context: &Context,
    clips: &Clips,
    system: &TrainedSystem,
    model: &dyn Scorable<PixelClips>,
    pixels: &Pixels,
) -> Result<Vec<TestedSystem>> {
    let (samples, loader, rule) = (&clips.dataset.test, &clips.test_loader(&context.dir), context.recipe.views());
    if rule.is_single() {
        let source = Live::new(pixels.clone(), samples, loader.clone(), &context.device);
        test(context, clips, &[(system, model)], single_view(&source, SCORE_BATCH))
    } else {
        let batches = ViewPixels { pixels, loader, device: &context.device }.of_clips(samples, rule);
        test(context, clips, &[(system, model)], batches)
    }
}

/// Scores systems that take in the same.
fn test<I: Clone>(
    context: &Context,
    clips: &Clips,
    systems: &[(&TrainedSystem, &dyn Scorable<I>)],
    batches: impl Iterator<Item = Result<ViewBatch<I>>>,
) -> Result<Vec<TestedSystem>> {
    let (dataset, record) = (&clips.dataset, context.dir.quarantine());
    let samples = &dataset.test;
    let models: Vec<&dyn Scorable<I>> = systems.iter().map(|(_, model)| *model).collect();
    let targets: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
    let mut pace = Pace::new(samples.len());
    let progress = |done: usize| {
        if let Some(line) = pace.line(done, "test clips are scored") {
            context.message(line);
        }
    };
    let (scores, missing) = score_readable(&models, batches, &targets, &context.stop, progress)?;
    let clips: Vec<usize> = (0..samples.len()).filter(|clip| missing.binary_search(clip).is_err()).collect();
    ensure!(!clips.is_empty(), "none of the {} test clips could be read; see {}", samples.len(), record.display());
    let tested = |((system, _), scores): (&(&TrainedSystem, &dyn Scorable<I>), Scores)| {
        tested(context, dataset, system, scores, clips.clone())
    };
    systems.iter().zip(scores).map(tested).collect()
}

fn tested(
    context: &Context,
    dataset: &Dataset,
    trained: &TrainedSystem,
    scores: Scores,
    clips: Vec<usize>,
) -> Result<TestedSystem> {
    let (recipe, system) = (&context.recipe, &trained.system);
    let all_clips = dataset.train.len() + dataset.validation.len();
    let result = SystemResult {
        name: system.name(recipe),
        key: system.key(),
        parameters: trained.parameters,
        test: scores.predictions()?.summary(),
        levels: system.classifiers(recipe).into_iter().zip(scores.level_accuracies()?).collect(),
        curve: trained.curve.clone(),
        refit: recipe.refit_training().map(|training| training.most_epochs(all_clips)),
        compared: None,
    };
    Ok(TestedSystem { system: system.clone(), result, scores, clips })
}
