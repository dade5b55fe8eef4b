//! Trains every system of a recipe, or loads those that an interrupted run has trained.

use std::rc::Rc;

use anyhow::Result;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::baselines::{BaselineModel, BaselineVisitor};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::percepts::Percepts;
use gru_rcn::recognizer::RecognizerDescription;
use gru_rcn::weights::{export, import};

use super::backbone;
use super::data::Clips;
use super::joint;
use super::percepts::Sources;
use super::system::{self, System, TrainedSystem};
use crate::context::Context;
use crate::device::initial;
use crate::percepts::{Levels, Source};
use crate::recipe::{NormSection, RefitSection, TrainingSection};
use crate::train::{SelectWeights, Stage, Trainer};

/// Trains or loads all systems; the first of the result is the one that the run is about.
pub(crate) fn train_all(context: &Context, clips: &Clips, cnn: &Cnn, sources: &Sources) -> Result<Vec<TrainedSystem>> {
    let checksum = backbone::fingerprint(cnn);
    let work = Work { context, clips, cnn, checksum: &checksum, sources };
    let systems = System::of_recipe(&context.recipe);
    let mut trained: Vec<TrainedSystem> =
        systems.into_iter().map(|system| work.train(system)).collect::<Result<_>>()?;
    trained.sort_by_key(|trained| trained.system != System::GruRcn);
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
                joint::train(self.context, self.clips, self.cnn, || self.gru_rcn(&recipe.model.norm))
            }
            System::GruRcn => {
                let classes = || self.clips.dataset.classes.clone();
                let describe = |model: &_| Ok(Some(RecognizerDescription::new(self.cnn, false, model, classes())?));
                self.train_or_load(&system, || self.gru_rcn(&recipe.model.norm), describe)
            }
            System::Norm(norm) => self.train_or_load(&system, || self.gru_rcn(norm), |_| Ok(None)),
            System::Baseline(baseline) => baseline.visit(TrainBaseline { work: self, system: &system }),
        }
    }

    /// A GRU-RCN with freshly drawn weights under a normalisation, on the CPU.
    fn gru_rcn(self, norm: &NormSection) -> GruRcnClassifier {
        let (recipe, classes) = (&self.context.recipe, self.clips.dataset.classes.len());
        let levels = recipe.levels();
        let statistics = self.sources.statistics(|percepts| percepts.select(&levels));
        system::gru_rcn(recipe, &self.cnn.levels(), classes, norm).init_fitted(&statistics, &initial::device())
    }

    fn train_or_load<M>(
        self,
        system: &System,
        build: impl FnOnce() -> M,
        describe: impl FnOnce(&M) -> Result<Option<RecognizerDescription>>,
    ) -> Result<TrainedSystem>
    where
        M: ClipClassifier<Input = Percepts> + 'static,
    {
        let Self { context, sources, .. } = self;
        let (recipe, device) = (&context.recipe, &context.device);
        let (key, name) = (system.key(), system.name(recipe));
        let model = initial::drawn(context.stage_seed(&system.initial_key()), device, build);
        let model = model.computing_in(self.clips.loader.dtype);
        let weights = system.weights(&context.dir);
        if let Some(curve) = context.finished(&key, &name, self.checksum, std::slice::from_ref(&weights))? {
            let model = import(model.valid(), &weights)?;
            return Ok(TrainedSystem::new(recipe, system.clone(), model, None, curve));
        }
        let of_system = |source: &Rc<dyn Source<Percepts>>| -> Rc<dyn Source<Percepts>> {
            match system.levels(recipe) {
                Some(levels) => Rc::new(Levels::new(source.clone(), levels)),
                None => source.clone(),
            }
        };
        let validation = of_system(&sources.validation);
        let stage = |key: &str, name: &str, training: &TrainingSection| Stage {
            levels: system.classifiers(recipe),
            ..Stage::new(key, name, training)
        };
        let first_weights = model.clone();
        let mut trained = context.clock.time(&name, || {
            let trainer = Trainer::new(context, stage(&key, &name, &recipe.training));
            trainer.run(model, &*of_system(&sources.train), &*validation)
        })?;
        if let Some(RefitSection { epochs }) = recipe.refit {
            context.message("training again, on the validation clips too; their metrics say nothing from here on");
            let (key, name) = (format!("{key}-refit"), format!("{name}, all clips"));
            let training = TrainingSection { epochs, steps: None, ..recipe.training.clone() };
            let stage = Stage { select: SelectWeights::Last, ..stage(&key, &name, &training) };
            trained.model = context.clock.time(&name, || {
                let all = of_system(&sources.all);
                Ok(Trainer::new(context, stage).run(first_weights, &*all, &*validation)?.model)
            })?;
        }
        context.dir.check_there()?;
        if let Some(folder) = weights.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let description = describe(&trained.model)?;
        export(&trained.model, &weights, &system.metadata(recipe, description.as_ref()))?;
        context.dir.mark_done(&key, &trained.position.curve, self.checksum)?;
        Ok(TrainedSystem::new(recipe, system.clone(), trained.model, None, trained.position.curve))
    }
}

struct TrainBaseline<'a> {
    work: Work<'a>,
    system: &'a System,
}

impl BaselineVisitor for TrainBaseline<'_> {
    type Output = Result<TrainedSystem>;

    fn visit<M: BaselineModel>(self) -> Self::Output {
        let work = self.work;
        let build = || {
            let (levels, classes) = (work.cnn.levels(), work.clips.dataset.classes.len());
            let options = system::baseline(&work.context.recipe, &levels, classes);
            M::init_fitted(&options, &work.sources.statistics(M::measured), &initial::device())
        };
        work.train_or_load(self.system, build, |_| Ok(None))
    }
}
