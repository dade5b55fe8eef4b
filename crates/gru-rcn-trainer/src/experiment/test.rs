//! The test: systems on clips, at the end of training and in `evaluate`.

use std::rc::Rc;

use anyhow::{Result, bail};
use burn::tensor::Device;
use gru_rcn::backbone::{Cnn, Pixels};
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Sample, TestViews};
use gru_rcn_metrics::Comparison;

use super::data::Clips;
use super::percepts::PerceptMaker;
use super::system::{System, TrainedModel, TrainedSystem};
use crate::context::Context;
use crate::observe::Pace;
use crate::percepts::{ClipLoader, FrozenCnn, Live, Source};
use crate::recipe::Recipe;
use crate::run::card::{Calibration, CalibrationError, SystemResult};
use crate::run::scores::Scores;
use crate::scoring::views::{ViewPercepts, ViewPixels};
use crate::scoring::{Scorable, ViewBatch, score_readable, single_view};
use crate::signals::StopFlag;

/// Clips scored at once.
const SCORE_BATCH: usize = 16;

pub(crate) struct TestedSystem {
    pub(crate) system: System,
    pub(crate) result: SystemResult,
    /// A row per clip that could be read.
    pub(crate) scores: Scores,
    /// The places of these clips among those of the test.
    pub(crate) clips: Vec<usize>,
}

/// A test of trained systems.
pub(crate) struct Test<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) samples: &'a [Sample],
    /// The views of each clip.
    pub(crate) rule: TestViews,
    /// Reads the clips, and skips those that cannot be read.
    pub(crate) loader: &'a ClipLoader,
    pub(crate) device: &'a Device,
    pub(crate) stop: &'a StopFlag,
    /// The frozen CNN of the run, on the plain device.
    pub(crate) cnn: &'a Cnn,
    /// What lines on the progress say after a number of clips, such as "clips are scored".
    pub(crate) work: &'a str,
    /// Receives these lines.
    pub(crate) message: &'a dyn Fn(String),
}

/// The temperature of the system that the run is about, with the calibration error of the validation
/// clips that it is fitted on; nothing where that system was trained on them.
pub(super) fn calibrate(
    context: &Context,
    clips: &Clips,
    trained: &[TrainedSystem],
    cnn: &Cnn,
    validation: &Rc<dyn Source<Percepts>>,
) -> Result<Option<(f64, CalibrationError)>> {
    if context.recipe.refit.is_some() {
        context.message("the probabilities are not calibrated: the systems were trained on the validation clips too");
        return Ok(None);
    }
    let test = Test {
        recipe: &context.recipe,
        samples: &clips.dataset.validation,
        rule: TestViews::default(),
        loader: &clips.loader,
        device: &context.device,
        stop: &context.stop,
        cnn,
        work: "validation clips are scored",
        message: &|line| context.message(line),
    };
    let Some(scored) = test.run(&trained[..1], || Ok(validation.clone()))?.pop() else { return Ok(None) };
    let predictions = scored.scores.predictions()?;
    let temperature = predictions.fit_temperature();
    let error = CalibrationError::of(&predictions, temperature);
    context.message(format!(
        "temperature of the probabilities {temperature:.3}: calibration error {:.1} % before and {:.1} % after, on the {} \
         validation clips",
        100.0 * error.before,
        100.0 * error.after,
        error.clips
    ));
    Ok(Some((temperature, error)))
}

/// Scores the systems of a run on its test clips at the end of training; the first has this
/// temperature.
pub(super) fn test_all(
    percepts: PerceptMaker,
    clips: &Clips,
    trained: &[TrainedSystem],
    calibrated: Option<(f64, CalibrationError)>,
) -> Result<Vec<TestedSystem>> {
    let context = percepts.context;
    let (recipe, dataset) = (&context.recipe, &clips.dataset);
    let (rule, loader) = (recipe.views(), clips.test_loader(&context.dir));
    context.message(match rule.is_single() {
        true => "scoring the test clips".to_owned(),
        false => format!("scoring the test clips by {}", recipe.describe_views(rule)),
    });
    let test = Test {
        recipe,
        samples: &dataset.test,
        rule,
        loader: &loader,
        device: &context.device,
        stop: &context.stop,
        cnn: percepts.cnn,
        work: "test clips are scored",
        message: &|line| context.message(line),
    };
    let source = || percepts.scoring_source(&dataset.test, &loader);
    let mut tested = context.clock.time("Test", || test.run(trained, source))?;
    let all = dataset.train.len() + dataset.validation.len();
    for TestedSystem { result, .. } in tested.iter_mut().filter(|tested| tested.system.is_trained()) {
        result.refit = recipe.refit_training().map(|training| training.most_epochs(all));
    }
    if let (Some(main), Some((temperature, validation))) = (tested.first_mut(), calibrated) {
        let test = CalibrationError::of(&main.scores.predictions()?, temperature);
        main.result.calibration = Some(Calibration { temperature, validation, test });
    }
    Ok(tested)
}

impl Test<'_> {
    /// Scores every system, and compares the first to the others. Most take in the same percepts,
    /// which for clips of one view are those of `source`; a GRU-RCN that was trained together with its
    /// CNN takes in those of that CNN, and networks of their own take in pixels.
    pub(crate) fn run(
        &self,
        trained: &[TrainedSystem],
        source: impl Fn() -> Result<Rc<dyn Source<Percepts>>>,
    ) -> Result<Vec<TestedSystem>> {
        let (mut tested, mut shared) = (Vec::new(), Vec::new());
        for system in trained {
            match &system.model {
                TrainedModel::Percepts { model, cnn: None } => shared.push((system, &**model)),
                TrainedModel::Percepts { model, cnn: Some(cnn) } => {
                    tested.extend(self.on_percepts(cnn, || Ok(self.live(cnn)), &[(system, &**model)])?);
                }
                TrainedModel::Pixels { model, pixels } => tested.extend(self.on_pixels(system, &**model, pixels)?),
            }
        }
        if !shared.is_empty() {
            tested.extend(self.on_percepts(self.cnn, source, &shared)?);
        }
        tested.sort_by_key(|tested| trained.iter().position(|trained| trained.system == tested.system));
        if let Some((first, others)) = tested.split_first_mut() {
            let predictions = first.scores.predictions()?;
            for other in others.iter_mut().filter(|other| other.clips == first.clips) {
                other.result.compared = Some(Comparison::new(&predictions, &other.scores.predictions()?)?);
            }
        }
        Ok(tested)
    }

    /// The clips as percepts of a CNN, computed when they are needed.
    pub(crate) fn live(&self, cnn: &Cnn) -> Rc<dyn Source<Percepts>> {
        Rc::new(Live::new(FrozenCnn::new(cnn), self.samples, self.loader.clone(), self.device))
    }

    /// Scores systems that take in the percepts of the same CNN.
    fn on_percepts(
        &self,
        cnn: &Cnn,
        source: impl Fn() -> Result<Rc<dyn Source<Percepts>>>,
        systems: &[(&TrainedSystem, &dyn Scorable<Percepts>)],
    ) -> Result<Vec<TestedSystem>> {
        if self.rule.is_single() {
            let source = source()?;
            self.score(systems, single_view(&*source, SCORE_BATCH))
        } else {
            let cnn = &FrozenCnn::new(cnn);
            let views = ViewPercepts { cnn, loader: self.loader, device: self.device };
            self.score(systems, views.of_clips(self.samples, self.rule))
        }
    }

    /// Scores a system that takes in pixels.
    fn on_pixels(
        &self,
        system: &TrainedSystem,
        model: &dyn Scorable<PixelClips>,
        pixels: &Pixels,
    ) -> Result<Vec<TestedSystem>> {
        let (samples, loader, device) = (self.samples, self.loader, self.device);
        if self.rule.is_single() {
            let source = Live::new(pixels.clone(), samples, loader.clone(), device);
            self.score(&[(system, model)], single_view(&source, SCORE_BATCH))
        } else {
            let views = ViewPixels { pixels, loader, device };
            self.score(&[(system, model)], views.of_clips(samples, self.rule))
        }
    }

    /// Scores systems that take in the same.
    fn score<I: Clone>(
        &self,
        systems: &[(&TrainedSystem, &dyn Scorable<I>)],
        batches: impl Iterator<Item = Result<ViewBatch<I>>>,
    ) -> Result<Vec<TestedSystem>> {
        let models: Vec<&dyn Scorable<I>> = systems.iter().map(|(_, model)| *model).collect();
        let targets: Vec<usize> = self.samples.iter().map(|sample| sample.class).collect();
        let mut pace = Pace::new(self.samples.len());
        let progress = |done: usize| {
            if let Some(line) = pace.line(done, self.work) {
                (self.message)(line);
            }
        };
        let (scores, missing) = score_readable(&models, batches, &targets, self.stop, progress)?;
        if missing.len() == self.samples.len() {
            let first = self.loader.first_fault().map_or(String::new(), |fault| format!("; the first: {fault}"));
            bail!("none of the {} clips could be read{first}", self.samples.len());
        }
        let read = |clip: &usize| missing.binary_search(clip).is_err();
        let clips: Vec<usize> = (0..self.samples.len()).filter(read).collect();
        let tested = systems.iter().zip(scores);
        tested.map(|((system, _), scores)| self.tested(system, scores, clips.clone())).collect()
    }

    fn tested(&self, trained: &TrainedSystem, scores: Scores, clips: Vec<usize>) -> Result<TestedSystem> {
        let system = &trained.system;
        let test = scores.predictions()?.summary();
        let result = SystemResult {
            name: system.name(self.recipe),
            key: system.key(),
            parameters: trained.parameters,
            test,
            mean_of_probabilities: scores.by_mean_probabilities()?.map(|means| means.summary()),
            scores: None,
            levels: system.classifiers(self.recipe).into_iter().zip(scores.level_accuracies()?).collect(),
            calibration: None,
            curve: trained.curve.clone(),
            refit: None,
            compared: None,
        };
        Ok(TestedSystem { system: system.clone(), result, scores, clips })
    }
}
