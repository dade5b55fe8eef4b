//! The stages of a training run after its CNN: percepts, systems, test.

use std::rc::Rc;

use anyhow::{Result, bail};
use burn::module::ParamGroup;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::baselines::{FrameClassifier, FrameClassifierConfig, TopRnn};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::percepts::{PerceptNorm, PerceptNormConfig, Percepts};
use gru_rcn::weights::{export, import};
use gru_rcn_data::Sample;
use serde::{Deserialize, Serialize};

use super::Run;
use crate::backbone;
use crate::evaluate::{Scores, score};
use crate::fit::{Fit, Interrupted, Keep, Trained, mix};
use crate::initial;
use crate::percepts::{Cache, Live, MEASURED_CLIPS, Part, Reading, Source, Store, StorePlan, View, Watched};
use crate::progress::Interval;
use crate::recipe::{RefitSection, TrainingSection};
use crate::report::{EpochPoint, SystemResult};
use crate::systems::{self, System};

/// Clips scored at once when they come straight from the files.
const SCORE_BATCH: usize = 16;

/// Training and validation clips as percepts.
pub(super) struct Parts {
    train: Rc<dyn Source>,
    validation: Rc<dyn Source>,
    /// Both together, where systems are trained again.
    all: Rc<dyn Source>,
    /// Training clips in memory, its first ones, and how many; for the normalisation's constants.
    measured: (Rc<Store>, usize),
}

/// The trained systems.
pub(super) struct TrainedSystems {
    pub(super) gru_rcn: (GruRcnClassifier, Vec<EpochPoint>),
    /// The CNN that was trained with GRU-RCN, if it was.
    pub(super) joint: Option<Cnn>,
    pub(super) frame: Option<(FrameClassifier, Vec<EpochPoint>)>,
    pub(super) top_rnn: Option<(TopRnn, Vec<EpochPoint>)>,
    pub(super) norms: Vec<(System, (GruRcnClassifier, Vec<EpochPoint>))>,
}

/// A system with its test result.
pub(super) struct Tested {
    pub(super) result: SystemResult,
    pub(super) scores: Scores,
}

/// A stage of training, by name.
pub(super) struct Stage<'a> {
    /// Its name in files.
    pub(super) key: &'a str,
    /// Its name for people.
    pub(super) name: &'a str,
    /// Names of the model's classifiers; empty if it has but one.
    pub(super) levels: Vec<String>,
    /// Which weights are its result.
    pub(super) keep: Keep,
    /// Parameters that learn at another rate, and the factor of theirs.
    pub(super) rate_factors: Vec<(ParamGroup, f64)>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(key: &'a str, name: &'a str) -> Self {
        Self { key, name, levels: Vec::new(), keep: Keep::Best, rate_factors: Vec::new() }
    }
}

/// What is kept of a stage that is done.
#[derive(Serialize, Deserialize)]
struct Done {
    curve: Vec<EpochPoint>,
}

fn done_file(key: &str) -> String {
    format!("checkpoints/{key}.json")
}

impl Run {
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
        let mut all = train.clone();
        if self.recipe.refit.is_some() {
            all.extend(validation.iter().cloned());
        }
        let training = self.recipe.training.clone();
        let learning = self.reading_for(&training);
        if features.cache && self.recipe.uses_percepts() {
            let time = self.recipe.clip.temporal.frames();
            let bytes = StorePlan::new(cnn, all.len(), features.copies, time).bytes
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
                let store = Rc::new(run.store(cnn, &all, features.copies, &learning)?);
                // Of its own, also where all have them: here a clip that cannot be read is an error, there it is left out.
                let validation = Rc::new(run.store(cnn, &validation, 0, &run.reading.clone())?);
                Ok(Parts {
                    train: Rc::new(Part::new(store.clone(), 0..train.len())),
                    validation,
                    all: store.clone(),
                    measured: (store, train.len()),
                })
            });
        }
        // A few clips are enough for a handful of constants.
        let measured = train.len().min(MEASURED_CLIPS);
        let store = Rc::new(self.store(cnn, &train[..measured], 0, &learning)?);
        Ok(Parts {
            train: self.live(cnn, &train, &learning),
            validation: self.live(cnn, &validation, &self.reading),
            all: self.live(cnn, &all, &learning),
            measured: (store, measured),
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
        let build = |run: &Self| {
            let mut model = systems::gru_rcn(&run.recipe, &levels, classes, &cpu);
            model.norm = run.norm(run.recipe.model.norm.config(), parts, |p| p.select(&recurred));
            model
        };
        let (gru_rcn, joint) = match recipe.model.finetune_backbone {
            false => (self.system(&System::GruRcn, parts, build)?, None),
            true => {
                let (joint, gru_rcn) = self.joint(cnn, build)?;
                (gru_rcn, Some(joint))
            }
        };
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
        Ok(TrainedSystems { gru_rcn, joint, frame, top_rnn, norms })
    }

    /// The normalisation's constants, measured on the training clips.
    fn norm(&self, config: PerceptNormConfig, parts: &Parts, view: impl Fn(Percepts) -> Percepts) -> PerceptNorm {
        let (store, clips) = &parts.measured;
        PerceptNorm::fit(config, &store.statistics(*clips, view), &self.device.clone().autodiff())
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
        if let Some(curve) = self.done(&key)? {
            return Ok((import(model.valid(), &weights)?, curve));
        }
        let levels = if system.has_levels() { self.recipe.level_names() } else { Vec::new() };
        let training = self.recipe.training.clone();
        let fresh = model.clone();
        let validation = self.seen(system, &parts.validation);
        let mut trained = self.timed(&name, |run| {
            let train = run.seen(system, &parts.train);
            let stage = Stage { levels: levels.clone(), ..Stage::new(&key, &name) };
            run.fit(stage, &training, model, &*train, &*validation)
        })?;
        if let Some(RefitSection { epochs }) = self.recipe.refit {
            self.tell("now on the validation clips too, whose figures say nothing from here on");
            let (key, name) = (format!("{key}-refit"), format!("{name}, all clips"));
            let training = TrainingSection { epochs, steps: None, ..training };
            trained.model = self.timed(&name, |run| {
                let stage = Stage { levels, keep: Keep::Last, ..Stage::new(&key, &name) };
                let all = run.seen(system, &parts.all);
                Ok(run.fit(stage, &training, fresh, &*all, &*validation)?.model)
            })?;
        }
        if let Some(folder) = weights.parent() {
            std::fs::create_dir_all(folder)?;
        }
        export(&trained.model, &weights, &[("system", key.clone()), ("recipe", self.recipe.name.clone())])?;
        self.finish(&key, &trained.course.curve)?;
        Ok((trained.model, trained.course.curve))
    }

    /// The course of a system that an interrupted run had done.
    pub(super) fn done(&self, key: &str) -> Result<Option<Vec<EpochPoint>>> {
        match self.dir.read(&done_file(key)) {
            Ok(text) => Ok(Some(serde_json::from_str::<Done>(&text)?.curve)),
            Err(_) => Ok(None),
        }
    }

    /// Marks a system as done, after its weights are saved.
    pub(super) fn finish(&self, key: &str, curve: &[EpochPoint]) -> Result<()> {
        self.dir.write_json(&done_file(key), &Done { curve: curve.to_vec() })
    }

    /// What of a source a system looks at: GRU-RCN at its levels, a baseline at all, of which it takes the topmost.
    fn seen(&self, system: &System, source: &Rc<dyn Source>) -> Rc<dyn Source> {
        match system.has_levels() {
            true => Rc::new(View::new(source.clone(), self.recipe.model.levels())),
            false => source.clone(),
        }
    }

    /// Trains a model that lives on the autodiff device.
    pub(super) fn fit<M: ClipClassifier>(
        &mut self,
        stage: Stage,
        training: &TrainingSection,
        model: M,
        train: &dyn Source,
        validation: &dyn Source,
    ) -> Result<Trained<M>> {
        let fit = Fit {
            key: stage.key,
            name: stage.name,
            levels: stage.levels,
            training,
            keep: stage.keep,
            loss: self.recipe.model.loss.into(),
            rate_factors: stage.rate_factors,
            seed: self.stage_seed(stage.key),
            device: &self.device,
            replicas: &self.replicas,
            run: &self.dir,
            stop: &self.stop,
        };
        fit.run(model, train, validation, &mut *self.progress)
    }

    /// Each stage draws from a stream of its own, so that leaving one out does not change another.
    pub(super) fn stage_seed(&self, key: &str) -> u64 {
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
            let source =
                if run.recipe.uses_percepts() { run.source(cnn, &test)? } else { run.live(cnn, &test, &run.reading) };
            let source = &source;
            let mut tested = vec![match &trained.joint {
                None => run.tested(&System::GruRcn, &trained.gru_rcn, source)?,
                Some(cnn) => run.tested(&System::GruRcn, &trained.gru_rcn, &run.live(cnn, &test, &run.reading))?,
            }];
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
            refit: self.recipe.refit.as_ref().map(|refit| refit.epochs),
        };
        Ok(Tested { result, scores })
    }
}
