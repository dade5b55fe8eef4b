//! Trains every system of a recipe, or loads those that an interrupted run has trained.

use std::rc::Rc;

use anyhow::Result;
use burn::module::Module;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::baselines::{Baseline, BaselineModel, BaselineVisitor, LstmClassifier, PerceptLstm, PixelBaseline};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn::recognizer::RecognizerDescription;
use gru_rcn::weights::{export, import};
use gru_rcn_data::Sample;

use super::data::Clips;
use super::joint;
use super::percepts::Sources;
use super::svm;
use super::system::{self, System, TrainedSystem};
use super::{backbone, cnn};
use crate::context::Context;
use crate::device::initial;
use crate::percepts::{Changed, ClipLoader, FrozenCnn, Live, Source};
use crate::recipe::{CompositeSection, TrainingSection};
use crate::run::card::EpochPoint;
use crate::train::{Stage, Trainer};

/// Trains or loads these systems; the first of the result is the one that the run is about.
pub(crate) fn train_all(
    context: &Context,
    clips: &Clips,
    systems: Vec<System>,
    cnn: &Cnn,
    sources: &Sources,
) -> Result<Vec<TrainedSystem>> {
    let checksum = if context.recipe.uses_cnn() { backbone::fingerprint(cnn) } else { String::new() };
    let work = Work { context, clips, cnn, checksum: &checksum, sources };
    let mut trained: Vec<TrainedSystem> =
        systems.into_iter().map(|system| work.train(system)).collect::<Result<_>>()?;
    System::sort(&mut trained, |trained| &trained.system);
    Ok(trained)
}

#[derive(Clone, Copy)]
struct Work<'a> {
    context: &'a Context,
    clips: &'a Clips,
    cnn: &'a Cnn,
    /// Of its weights.
    checksum: &'a str,
    sources: &'a Sources,
}

impl Work<'_> {
    fn train(self, system: System) -> Result<TrainedSystem> {
        let recipe = &self.context.recipe;
        match &system {
            System::GruRcn if recipe.model.finetune_backbone => {
                joint::train(self.context, self.clips, self.cnn, || self.gru_rcn(&system))
            }
            System::GruRcn | System::Form(_) | System::Norm(_) => {
                let classes = || self.clips.dataset.classes.clone();
                let describe = |model: &_| Ok(Some(RecognizerDescription::new(self.cnn, false, model, classes())?));
                self.on_percepts(&system, || self.gru_rcn(&system), Ok, describe)
            }
            System::Cnn => Ok(TrainedSystem::of_cnn(self.cnn.clone(), cnn::finetuning_curve(&self.context.dir)?)),
            System::Baseline(Baseline::LstmClassifier) => {
                let start = |model| match &recipe.baselines.composite_lstm {
                    Some(section) => self.with_encoder(model, section),
                    None => Ok(model),
                };
                self.on_percepts(&system, || self.baseline(&system), start, |_| Ok(None))
            }
            System::Baseline(baseline) => baseline.visit(TrainBaseline { work: self, system: &system }),
            System::C3dSvm(section) => svm::train(self.context, self.clips, section, self.checksum),
        }
    }

    /// A GRU-RCN with freshly drawn weights, on the CPU.
    fn gru_rcn(self, system: &System) -> GruRcnClassifier {
        let (recipe, classes) = (&self.context.recipe, self.clips.dataset.classes.len());
        let levels = recipe.levels();
        let statistics = self.sources.measured.statistics(|percepts| percepts.select(&levels));
        system::gru_rcn(recipe, &self.cnn.levels(), classes, system).init_fitted(&statistics, &initial::device())
    }

    /// A baseline on percepts with freshly drawn weights, on the CPU.
    fn baseline<M: BaselineModel>(self, system: &System) -> M {
        let (recipe, classes) = (&self.context.recipe, self.clips.dataset.classes.len());
        let options = system::baseline_options(recipe, system, &self.cnn.levels(), classes);
        M::init_fitted(&options, &self.sources.measured.statistics(M::measured), &initial::device())
    }

    /// The classifier with the encoder of a composite LSTM, which is trained first, without labels.
    fn with_encoder(self, classifier: LstmClassifier, section: &CompositeSection) -> Result<LstmClassifier> {
        let (context, dataset) = (self.context, &self.clips.dataset);
        let (key, name) = ("composite_lstm", "Composite LSTM, without labels");
        let build =
            || PerceptLstm::for_classifier(&classifier, section.future, section.conditional, &initial::device());
        let model = initial::drawn(context.stage_seed(key), &context.device, build);
        let live = |samples: &[Sample], loader: &ClipLoader| {
            Live::new(FrozenCnn::new(self.cnn), samples, loader.longer(section.future), &context.device)
        };
        let train = live(&dataset.train, &self.clips.training_loader(&context.dir, &section.training));
        let validation = live(&dataset.validation, &self.clips.loader);
        let trained = context.clock.time(name, || {
            Trainer::new(context, Stage::new(key, name, &section.training)).run(model, &train, &validation)
        })?;
        Ok(classifier.with_encoder(&trained.model.composite.train()))
    }

    /// A system on percepts; training starts from what `start` makes of the freshly drawn weights.
    fn on_percepts<M>(
        self,
        system: &System,
        build: impl FnOnce() -> M,
        start: impl FnOnce(M) -> Result<M>,
        describe: impl FnOnce(&M) -> Result<Option<RecognizerDescription>>,
    ) -> Result<TrainedSystem>
    where
        M: ClipClassifier<Input = Percepts> + 'static,
    {
        let recipe = &self.context.recipe;
        let source = |source: &Rc<dyn Source<Percepts>>| -> Rc<dyn Source<Percepts>> {
            let source: Rc<dyn Source<Percepts>> = match system.levels(recipe) {
                Some(levels) => Rc::new(Changed::of_levels(source.clone(), levels)),
                None => source.clone(),
            };
            match recipe.model.context {
                Some(clips) if *system == System::GruRcn => Rc::new(Changed::with_context(source, clips)),
                _ => source,
            }
        };
        let Sources { train, validation, all, .. } = self.sources;
        let (model, curve) =
            self.train_or_load(system, build, start, [train, validation, all].map(source), describe)?;
        Ok(TrainedSystem::new(recipe, system.clone(), model, None, curve))
    }

    /// A system on pixels.
    fn on_pixels<M: PixelBaseline>(self, system: &System) -> Result<TrainedSystem> {
        let (context, dataset) = (self.context, &self.clips.dataset);
        let options = context.recipe.pixel_options(dataset.classes.len());
        let pixels = M::pixels(options.in_channels);
        let training = self.clips.training_loader(&context.dir, &context.recipe.training);
        let live = |samples: &[Sample], loader: &ClipLoader| -> Rc<dyn Source<PixelClips>> {
            Rc::new(Live::new(pixels.clone(), samples, loader.clone(), &context.device))
        };
        let all = [&dataset.train[..], &dataset.validation].concat();
        let parts =
            [live(&dataset.train, &training), live(&dataset.validation, &self.clips.loader), live(&all, &training)];
        let build = || M::from_options(&options, &initial::device()).expect("the baseline was checked");
        let (model, curve) = self.train_or_load(system, build, Ok, parts, |_| Ok(None))?;
        Ok(TrainedSystem::of_pixels(system.clone(), model, pixels, curve))
    }

    /// A model and its learning curve, from the training clips, the validation clips, and both together.
    fn train_or_load<M: ClipClassifier + 'static>(
        self,
        system: &System,
        build: impl FnOnce() -> M,
        start: impl FnOnce(M) -> Result<M>,
        [train, validation, all]: [Rc<dyn Source<M::Input>>; 3],
        describe: impl FnOnce(&M) -> Result<Option<RecognizerDescription>>,
    ) -> Result<(M, Vec<EpochPoint>)> {
        let context = self.context;
        let (recipe, device) = (&context.recipe, &context.device);
        let (key, name) = (system.key(), system.name(recipe));
        let model = initial::drawn(context.stage_seed(&system.initial_key()), device, build);
        let model = model.computing_in(self.clips.loader.dtype);
        let weights = system.weights(&context.dir);
        if let Some(curve) = context.finished(&key, &name, self.checksum, std::slice::from_ref(&weights))? {
            return Ok((import(model.valid(), &weights)?, curve));
        }
        let model = start(model)?;
        let stage = |key: &str, name: &str, training: &TrainingSection| Stage {
            loss: recipe.model.loss,
            classes: self.clips.dataset.classes.clone(),
            levels: system.classifiers(recipe),
            ..Stage::new(key, name, training)
        };
        let first_weights = model.clone();
        let mut trained = context.clock.time(&name, || {
            let trainer = Trainer::new(context, stage(&key, &name, &recipe.training));
            trainer.run(model, &*train, &*validation)
        })?;
        if let Some(training) = recipe.refit_training() {
            context.message("training again, on the validation clips too; their metrics say nothing from here on");
            let (key, name) = (format!("{key}-refit"), format!("{name}, all clips"));
            let stage = stage(&key, &name, &training);
            trained.model = context
                .clock
                .time(&name, || Ok(Trainer::new(context, stage).run(first_weights, &*all, &*validation)?.model))?;
        }
        context.dir.check_there()?;
        if let Some(folder) = weights.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let description = describe(&trained.model)?;
        export(&trained.model, &weights, &system.metadata(recipe, description.as_ref()))?;
        context.dir.mark_done(&key, &trained.position.curve, self.checksum)?;
        Ok((trained.model, trained.position.curve))
    }
}

struct TrainBaseline<'a> {
    work: Work<'a>,
    system: &'a System,
}

impl BaselineVisitor for TrainBaseline<'_> {
    type Output = Result<TrainedSystem>;

    fn visit<M: BaselineModel>(self) -> Self::Output {
        self.work.on_percepts(self.system, || self.work.baseline::<M>(self.system), Ok, |_| Ok(None))
    }

    fn visit_pixels<M: PixelBaseline>(self) -> Self::Output {
        self.work.on_pixels::<M>(self.system)
    }
}
