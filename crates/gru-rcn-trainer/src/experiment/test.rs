//! The test: every system on the test clips, which nothing has looked at before.

use anyhow::{Result, ensure};
use gru_rcn::percepts::Percepts;
use gru_rcn_data::Dataset;

use super::data::Clips;
use super::percepts::PerceptMaker;
use super::system::{System, TrainedSystem};
use crate::context::Context;
use crate::observe::Pace;
use crate::percepts::FrozenCnn;
use crate::run::card::SystemResult;
use crate::run::scores::Scores;
use crate::scoring::views::ViewPercepts;
use crate::scoring::{Scorable, score_readable, single_view};

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

/// Scores every system; all take in the same percepts, except for a GRU-RCN that was trained together
/// with its CNN, which takes in those of that CNN.
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
            let Some(cnn) = &system.cnn else {
                shared.push(system);
                continue;
            };
            let percepts = PerceptMaker { cnn, cache: None, in_memory: false, ..percepts };
            results.extend(test(percepts, clips, &[system])?);
        }
        if !shared.is_empty() {
            results.extend(test(percepts, clips, &shared)?);
        }
        Ok(results)
    })
}

/// Scores systems that take in the percepts of the same CNN.
fn test(percepts: PerceptMaker, clips: &Clips, systems: &[&TrainedSystem]) -> Result<Vec<TestedSystem>> {
    let PerceptMaker { context, cnn, .. } = percepts;
    let (dataset, loader, rule) = (&clips.dataset, &clips.test_loader(&context.dir), context.recipe.views());
    let (samples, record) = (&dataset.test, context.dir.quarantine());
    let models: Vec<&dyn Scorable<Percepts>> = systems.iter().map(|system| &*system.model).collect();
    let targets: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
    let mut pace = Pace::new(samples.len());
    let progress = |done: usize| {
        if let Some(line) = pace.line(done, "test clips are scored") {
            context.message(line);
        }
    };
    let (scores, missing) = if rule.is_single() {
        let source = percepts.scoring_source(samples, loader)?;
        score_readable(&models, single_view(&*source, SCORE_BATCH), &targets, &context.stop, progress)?
    } else {
        let cnn = &FrozenCnn::new(cnn);
        let batches = ViewPercepts { cnn, loader, device: &context.device }.of_clips(samples, rule);
        score_readable(&models, batches, &targets, &context.stop, progress)?
    };
    let clips: Vec<usize> = (0..samples.len()).filter(|clip| missing.binary_search(clip).is_err()).collect();
    ensure!(!clips.is_empty(), "none of the {} test clips could be read; see {}", samples.len(), record.display());
    let tested = |(system, scores): (&&TrainedSystem, Scores)| tested(context, dataset, system, scores, clips.clone());
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
    };
    Ok(TestedSystem { system: system.clone(), result, scores, clips })
}
