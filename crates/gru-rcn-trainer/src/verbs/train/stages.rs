//! The stages of a training run: CNN, percepts, systems, test.

use std::rc::Rc;

use anyhow::{Result, bail};
use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::baselines::{FrameClassifier, FrameClassifierConfig, TopRnn};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::percepts::{PerceptNorm, PerceptNormConfig, Percepts};
use gru_rcn::weights::{export, import};
use gru_rcn_data::Sample;
use serde::{Deserialize, Serialize};

use super::Run;
use crate::backbone::{self, FrameCnn};
use crate::evaluate::{Scores, score};
use crate::fit::{Fit, Interrupted, Trained, mix};
use crate::initial;
use crate::percepts::{Cache, Live, PixelStore, Reading, Source, Store, StorePlan, View, Watched};
use crate::progress::Interval;
use crate::recipe::{Recipe, TrainingSection};
use crate::report::{EpochPoint, SystemResult};
use crate::run_dir::RunDir;
use crate::systems::{self, System};

/// The CNN's file in the run folder.
const BACKBONE: &str = "backbone.safetensors";

/// Clips scored at once when they come straight from the files.
const SCORE_BATCH: usize = 16;

/// Clips whose percepts are measured for the normalisation where not all are kept in memory.
const MEASURED_CLIPS: usize = 64;

/// Training and validation clips as percepts.
pub(super) struct Parts {
    train: Rc<dyn Source>,
    validation: Rc<dyn Source>,
    /// The training clips in memory, for the normalisation's constants.
    measured: Rc<Store>,
}

/// The trained systems.
pub(super) struct TrainedSystems {
    pub(super) gru_rcn: (GruRcnClassifier, Vec<EpochPoint>),
    pub(super) frame: Option<(FrameClassifier, Vec<EpochPoint>)>,
    pub(super) top_rnn: Option<(TopRnn, Vec<EpochPoint>)>,
    pub(super) norms: Vec<(System, (GruRcnClassifier, Vec<EpochPoint>))>,
}

/// A system with its test result.
pub(super) struct Tested {
    pub(super) result: SystemResult,
    pub(super) scores: Scores,
}

/// What is kept of a stage that is done.
#[derive(Serialize, Deserialize)]
struct Done {
    curve: Vec<EpochPoint>,
}

/// The CNN that the recipe names a file for. A run that is gone on with has a copy of its own and needs the file no more.
///
/// # Errors
///
/// Also if the recipe's CNN cannot be built or must be trained but has nothing to be trained by.
pub(super) fn pretrained(
    resumed: Option<&RunDir>,
    recipe: &Recipe,
    classes: usize,
    device: &Device,
) -> Result<Option<Cnn>> {
    backbone::config(recipe, classes)?;
    match &recipe.backbone.weights {
        Some(weights) if !resumed.is_some_and(|dir| dir.path(BACKBONE).is_file()) => {
            Ok(Some(backbone::pretrained(recipe, classes, weights, device)?))
        }
        _ => Ok(None),
    }
}

impl Run {
    /// The frozen CNN on the plain device: as saved with the run, from a file, or trained on single frames.
    pub(super) fn cnn(&mut self, pretrained: Option<Cnn>) -> Result<Cnn> {
        let appearances = backbone::appearances(&self.recipe, &self.dataset)?;
        let config = backbone::config(&self.recipe, appearances)?;
        let kept = self.dir.path(BACKBONE);
        if kept.is_file() {
            return backbone::load(&config, &kept, &self.device);
        }
        let cnn = match (pretrained, self.recipe.backbone.pretrain.clone()) {
            (Some(cnn), _) => cnn,
            (None, Some(training)) => self.timed("CNN", |run| run.pretrain(&config, &training))?,
            (None, None) => bail!("the recipe gives the CNN neither weights nor training"),
        };
        backbone::save(&cnn, &kept)?;
        Ok(cnn)
    }

    fn pretrain(&mut self, config: &gru_rcn::backbone::CnnConfig, training: &TrainingSection) -> Result<Cnn> {
        let seed = self.stage_seed("cnn");
        let model = initial::drawn(seed, &self.device, || FrameCnn { cnn: config.init(&initial::device()) });
        let pixels = model.cnn.pixels();
        let frames = self.recipe.backbone.pretrain_frames;
        let reading = self.reading_for(training);
        let train = PixelStore::fill(&self.dataset.train, frames, &reading, pixels.clone(), &self.device)?;
        let validation = PixelStore::fill(&self.dataset.validation, 0, &self.reading, pixels, &self.device)?;
        let trained = self.fit("cnn", "CNN on single frames", Vec::new(), training, model, &train, &validation)?;
        Ok(trained.model.cnn)
    }

    /// The percepts on disk that the recipe starts from, if it does; they must be what the CNN would give.
    pub(super) fn open_cache(&self, cnn: &Cnn) -> Result<Option<Cache>> {
        let Some(folder) = &self.recipe.features.from else { return Ok(None) };
        let cache = Cache::open(folder)?;
        let (name, weights) = (backbone::name(&self.recipe), backbone::fingerprint(cnn));
        cache.check(&name, &weights, &self.recipe.clip, &cnn.levels())?;
        cache.check_decoder(self.recipe.decoder())?;
        Ok(Some(cache))
    }

    /// Percepts of training and validation clips, in memory if the recipe says so.
    pub(super) fn parts(&mut self, cnn: &Cnn) -> Result<Parts> {
        let features = self.recipe.features.clone();
        let (train, validation) = (self.dataset.train.clone(), self.dataset.validation.clone());
        let training = self.recipe.training.clone();
        let learning = self.reading_for(&training);
        if features.cache {
            let time = self.recipe.clip.temporal.frames();
            let bytes = StorePlan::new(cnn, train.len(), features.copies, time).bytes
                + StorePlan::new(cnn, validation.len(), 0, time).bytes;
            let mib = bytes.div_ceil(1 << 20);
            if mib > features.max_mib {
                bail!(
                    "the percepts of these clips take {mib} MiB, more than features.max_mib = {}; raise it, take fewer \
                     levels or copies, or set features.cache=false",
                    features.max_mib
                );
            }
            self.tell(&match &features.from {
                Some(folder) => format!("reading percepts from {}, {mib} MiB in memory", folder.display()),
                None => format!("computing percepts, {mib} MiB in memory"),
            });
            return self.timed("Percepts", |run| {
                let measured = Rc::new(run.store(cnn, &train, features.copies, &learning)?);
                let validation = Rc::new(run.store(cnn, &validation, 0, &run.reading.clone())?);
                Ok(Parts { train: measured.clone(), validation, measured })
            });
        }
        // A few clips are enough for a handful of constants.
        let measured = Rc::new(self.store(cnn, &train[..train.len().min(MEASURED_CLIPS)], 0, &learning)?);
        Ok(Parts {
            train: self.live(cnn, &train, &learning),
            validation: self.live(cnn, &validation, &self.reading),
            measured,
        })
    }

    fn live(&self, cnn: &Cnn, samples: &[Sample], reading: &Reading) -> Rc<dyn Source> {
        Rc::new(Live::new(cnn.clone(), samples, reading.clone(), &self.device))
    }

    /// The test clips: all systems look at the same percepts, computed once where memory is used at all.
    fn source(&mut self, cnn: &Cnn, samples: &[Sample]) -> Result<Rc<dyn Source>> {
        let reading = self.reading.clone();
        Ok(match self.recipe.features.cache {
            true => Rc::new(self.store(cnn, samples, 0, &reading)?),
            false => self.live(cnn, samples, &reading),
        })
    }

    fn store(&mut self, cnn: &Cnn, samples: &[Sample], copies: usize, reading: &Reading) -> Result<Store> {
        let plan = StorePlan::new(cnn, samples.len(), copies, self.recipe.clip.temporal.frames());
        if plan.bytes > self.recipe.features.max_mib << 20 {
            bail!(
                "the percepts of {} clips take {} MiB, more than features.max_mib = {}; raise it, or set \
                 features.cache=false",
                samples.len(),
                plan.bytes >> 20,
                self.recipe.features.max_mib
            );
        }
        if let Some(cache) = &self.cache {
            return Store::read(cache, cnn.levels(), samples, reading, &self.device);
        }
        let total = samples.len();
        let (progress, stop) = (&mut self.progress, &self.stop);
        let mut told = Interval::default();
        let done = |clips: usize| {
            if told.is_over() {
                progress.message(&format!("percepts of {clips} of {total} clips"));
            }
        };
        match Store::fill(cnn, samples, copies, reading, &self.device, done, || stop.is_set())? {
            Some(store) => Ok(store),
            None => bail!(Interrupted::training(self.stop.exit_code())),
        }
    }

    /// Trains every system that the recipe asks for.
    pub(super) fn systems(&mut self, cnn: &Cnn, parts: &Parts) -> Result<TrainedSystems> {
        let (levels, classes) = (cnn.levels(), self.dataset.classes.len());
        let cpu = initial::device();
        let recipe = self.recipe.clone();
        let recurred = recipe.model.levels();

        let frame = match recipe.baselines.frame {
            false => None,
            true => Some(self.system(&System::Frame, parts, |run| {
                let mut model = systems::frame(&run.recipe, &levels, classes, &cpu);
                let top = |percepts: Percepts| Percepts { maps: vec![percepts.top()] };
                model.norm = run.norm(FrameClassifierConfig::norm(), parts, top);
                model
            })?),
        };
        let top_rnn = match recipe.baselines.top_rnn {
            0 => None,
            _ => Some(self.system(&System::TopRnn, parts, |run| {
                let mut model = systems::top_rnn(&run.recipe, &levels, classes, &cpu);
                model.model.norm = run.norm(run.recipe.model.norm.config(), parts, |p| TopRnn::pooled_top(&p));
                model
            })?),
        };
        let gru_rcn = self.system(&System::GruRcn, parts, |run| {
            let mut model = systems::gru_rcn(&run.recipe, &levels, classes, &cpu);
            model.norm = run.norm(run.recipe.model.norm.config(), parts, |p| p.select(&recurred));
            model
        })?;
        let mut norms = Vec::new();
        for norm in &recipe.baselines.norms {
            let system = System::Norm(norm.clone());
            let trained = self.system(&system, parts, |run| {
                let mut model = systems::gru_rcn(&run.recipe, &levels, classes, &cpu);
                model.norm = run.norm(norm.config(), parts, |p| p.select(&recurred));
                model
            })?;
            norms.push((system, trained));
        }
        Ok(TrainedSystems { gru_rcn, frame, top_rnn, norms })
    }

    /// The normalisation's constants, measured on the training clips.
    fn norm(&self, config: PerceptNormConfig, parts: &Parts, view: impl Fn(Percepts) -> Percepts) -> PerceptNorm {
        PerceptNorm::fit(config, &parts.measured.statistics(view), &self.device.clone().autodiff())
    }

    /// Trains one system, or loads it if an interrupted run had it done.
    fn system<M: ClipClassifier>(
        &mut self,
        system: &System,
        parts: &Parts,
        build: impl FnOnce(&Self) -> M,
    ) -> Result<(M, Vec<EpochPoint>)> {
        let (key, name) = (system.key(), system.name(&self.recipe));
        // Normalisations are compared from the same initial weights.
        let stream = if matches!(system, System::Norm(_)) { System::GruRcn.key() } else { key.clone() };
        let model = initial::drawn(self.stage_seed(&stream), &self.device, || build(self));
        let model = model.computing_in(self.reading.dtype);
        let weights = self.dir.path(&system.weights());
        let done = format!("checkpoints/{key}.json");
        if let Ok(text) = self.dir.read(&done) {
            let kept: Done = serde_json::from_str(&text)?;
            return Ok((import(model.valid(), &weights)?, kept.curve));
        }
        let levels = if system.has_levels() { self.recipe.level_names() } else { Vec::new() };
        let training = self.recipe.training.clone();
        let trained = self.timed(&name, |run| {
            let (train, validation) = (run.seen(system, &parts.train), run.seen(system, &parts.validation));
            run.fit(&key, &name, levels, &training, model, &*train, &*validation)
        })?;
        if let Some(folder) = weights.parent() {
            std::fs::create_dir_all(folder)?;
        }
        export(&trained.model, &weights, &[("system", key.clone()), ("recipe", self.recipe.name.clone())])?;
        self.dir.write_json(&done, &Done { curve: trained.course.curve.clone() })?;
        Ok((trained.model, trained.course.curve))
    }

    /// What of a source a system looks at: GRU-RCN at its levels, a baseline at all, of which it takes the topmost.
    fn seen(&self, system: &System, source: &Rc<dyn Source>) -> Rc<dyn Source> {
        match system.has_levels() {
            true => Rc::new(View::new(source.clone(), self.recipe.model.levels())),
            false => source.clone(),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn fit<M: ClipClassifier>(
        &mut self,
        key: &str,
        name: &str,
        levels: Vec<String>,
        training: &TrainingSection,
        model: M,
        train: &dyn Source,
        validation: &dyn Source,
    ) -> Result<Trained<M>> {
        let seed = self.stage_seed(key);
        let fit = Fit {
            key,
            name,
            levels,
            training,
            loss: self.recipe.model.loss.into(),
            seed,
            device: &self.device,
            replicas: &self.replicas,
            run: &self.dir,
            stop: &self.stop,
        };
        fit.run(model, train, validation, &mut *self.progress)
    }

    /// Each stage draws from a stream of its own, so that leaving one out does not change another.
    fn stage_seed(&self, key: &str) -> u64 {
        key.bytes().fold(self.recipe.seed, |seed, byte| mix(seed, u64::from(byte)))
    }

    /// Scores every system on the test clips, which nothing has looked at before.
    pub(super) fn test(&mut self, cnn: &Cnn, trained: &TrainedSystems) -> Result<Vec<Tested>> {
        let rule = self.recipe.views();
        self.tell(&match rule.is_single() {
            true => "scoring the test clips".to_owned(),
            false => format!("scoring the test clips by {}", self.recipe.spoken(rule)),
        });
        let test = self.dataset.test.clone();
        self.timed("Test", |run| {
            if !rule.is_single() {
                return run.test_by_views(cnn, &test, rule, trained);
            }
            let source = run.source(cnn, &test)?;
            let source = &source;
            let mut tested = vec![run.tested(&System::GruRcn, &trained.gru_rcn, source)?];
            if let Some(frame) = &trained.frame {
                tested.push(run.tested(&System::Frame, frame, source)?);
            }
            if let Some(top_rnn) = &trained.top_rnn {
                tested.push(run.tested(&System::TopRnn, top_rnn, source)?);
            }
            for (system, trained) in &trained.norms {
                tested.push(run.tested(system, trained, source)?);
            }
            Ok(tested)
        })
    }

    fn tested<M: ClipClassifier>(
        &self,
        system: &System,
        trained: &(M, Vec<EpochPoint>),
        source: &Rc<dyn Source>,
    ) -> Result<Tested> {
        let scores = score(&trained.0, &Watched::new(&*self.seen(system, source), &self.stop), SCORE_BATCH)?;
        self.result(system, trained, scores)
    }

    /// What a system's scores are worth.
    pub(super) fn result<M: ClipClassifier>(
        &self,
        system: &System,
        (model, curve): &(M, Vec<EpochPoint>),
        scores: Scores,
    ) -> Result<Tested> {
        let levels = if system.has_levels() {
            self.recipe.level_names().into_iter().zip(scores.level_accuracies()).collect()
        } else {
            Vec::new()
        };
        let result = SystemResult {
            name: system.name(&self.recipe),
            key: system.key(),
            parameters: model.num_params() - system.constants(&self.recipe),
            test: scores.predictions()?.summary(),
            levels,
            curve: curve.clone(),
        };
        Ok(Tested { result, scores })
    }
}
