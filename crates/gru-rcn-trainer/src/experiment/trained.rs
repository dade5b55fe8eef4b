//! A finished run opened for use: its CNN, its systems and its classes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, FloatDType, Tensor};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::baselines::{BaselineModel, BaselineVisitor, PixelBaseline};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::percepts::{PerceptStatistics, Percepts};
use gru_rcn::weights::import;
use gru_rcn_data::TestViews;

use super::backbone;
use super::svm;
use super::system::{self, System, TrainedSystem};
use crate::output::note;
use crate::percepts::ClipLoader;
use crate::recipe::{DataSection, Recipe};
use crate::run::card::RunCard;
use crate::run::dir::RunDir;

pub(crate) struct TrainedRun {
    pub(crate) dir: RunDir,
    pub(crate) recipe: Recipe,
    pub(crate) card: RunCard,
    /// The frozen CNN; without its weights in a run that needs none.
    pub(crate) cnn: Cnn,
    pub(crate) device: Device,
    pub(crate) loader: ClipLoader,
}

impl TrainedRun {
    /// Opens a run to compute in a precision. Its systems are loaded when they are asked for.
    pub(crate) fn open(dir: RunDir, device: &Device, dtype: FloatDType) -> Result<Self> {
        let (recipe, card) = (dir.read_recipe()?, dir.card()?);
        let config = backbone::config(&recipe, card.cnn_classes)?;
        let cnn = match recipe.uses_cnn() {
            true if !dir.backbone().is_file() => return Err(unfinished(&dir, &dir.backbone())),
            true => backbone::load(&config, &dir.backbone(), device)?,
            false => config.init(device),
        };
        let loader = ClipLoader::new(&recipe, device, dtype);
        Ok(Self { dir, recipe, card, cnn, device: device.clone(), loader })
    }

    /// Its systems, the one that it is about first.
    pub(crate) fn systems(&self) -> Vec<System> {
        let mut systems = System::of_run(&self.recipe, &self.card);
        System::sort(&mut systems, |system| system);
        systems
    }

    /// The system of this key.
    pub(crate) fn system(&self, key: &str) -> Result<System> {
        let systems = self.systems();
        let known: Vec<String> = systems.iter().map(System::key).collect();
        let found = systems.into_iter().find(|system| system.key() == key);
        found.with_context(|| format!("{} has no system {key}; it has {}", self.dir, known.join(", ")))
    }

    /// A system with its trained weights.
    pub(crate) fn load(&self, system: &System) -> Result<TrainedSystem> {
        let (recipe, weights) = (&self.recipe, system.weights(&self.dir));
        if !weights.is_file() {
            return Err(unfinished(&self.dir, &weights));
        }
        match system {
            System::GruRcn => {
                let (cnn, model) = self.gru_rcn()?;
                let cnn = recipe.model.finetune_backbone.then_some(cnn);
                Ok(TrainedSystem::new(recipe, System::GruRcn, model, cnn, Vec::new()))
            }
            System::Form(_) | System::Norm(_) => {
                let model = self.gru_rcn_of(system, &weights)?;
                Ok(TrainedSystem::new(recipe, system.clone(), model, None, Vec::new()))
            }
            System::Cnn => Ok(TrainedSystem::of_cnn(self.cnn.clone(), Vec::new())),
            System::C3dSvm(_) => svm::load(&self.dir, recipe, system.clone(), self.card.classes.len(), &self.device),
            System::Baseline(baseline) => baseline.visit(LoadBaseline { run: self, system, weights: &weights }),
        }
    }

    /// Its GRU-RCN with the CNN whose percepts it takes in, which is one of its own if both were trained
    /// together.
    pub(crate) fn gru_rcn(&self) -> Result<(Cnn, GruRcnClassifier)> {
        let (dir, recipe, weights) = (&self.dir, &self.recipe, self.dir.model());
        if !recipe.model.train {
            bail!(
                "{dir} has no GRU-RCN: its recipe has model.train = false; choose a run that trains it, or for `predict` \
                 one of its systems by --system"
            );
        }
        if !weights.is_file() {
            return Err(unfinished(dir, &weights));
        }
        let cnn = match recipe.model.finetune_backbone {
            true => {
                backbone::load(&backbone::config(recipe, self.card.cnn_classes)?, &dir.joint_backbone(), &self.device)?
            }
            false => self.cnn.clone(),
        };
        Ok((cnn, self.gru_rcn_of(&System::GruRcn, &weights)?))
    }

    fn gru_rcn_of(&self, system: &System, weights: &Path) -> Result<GruRcnClassifier> {
        let config = system::gru_rcn(&self.recipe, &self.cnn.levels(), self.card.classes.len(), system);
        Ok(import(config.init(&self.device), weights)?.computing_in(self.loader.dtype))
    }

    /// The temperature of its GRU-RCN.
    pub(crate) fn temperature(&self) -> f64 {
        self.temperature_of(&System::GruRcn)
    }

    /// The temperature of a system, fitted on the validation clips; 1 where none was fitted.
    pub(crate) fn temperature_of(&self, system: &System) -> f64 {
        let system = self.card.systems.iter().find(|other| other.key == system.key());
        system.and_then(|system| system.calibration.as_ref()).map_or(1.0, |calibration| calibration.temperature)
    }

    /// The requested views as far as the labels allow them, after saying so if they are several.
    pub(crate) fn views(&self, requested: TestViews) -> TestViews {
        let rule = requested.allowed(self.recipe.clip.flip);
        if !rule.is_single() {
            note!("{}", self.recipe.describe_views(rule));
        }
        rule
    }

    /// The folder of its clips, if they are not generated.
    pub(crate) fn root(&self) -> Option<PathBuf> {
        match &self.recipe.data {
            DataSection::Motion(_) => None,
            DataSection::Folder(section) => Some(section.root.clone()),
        }
    }
}

pub(crate) fn unfinished(dir: &RunDir, missing: &Path) -> anyhow::Error {
    let missing = missing.strip_prefix(dir.root()).unwrap_or(missing);
    anyhow::anyhow!(
        "{dir} is not finished: it has no {}; continue with `train --resume --run {dir}`",
        missing.display()
    )
}

struct LoadBaseline<'a> {
    run: &'a TrainedRun,
    system: &'a System,
    weights: &'a Path,
}

impl BaselineVisitor for LoadBaseline<'_> {
    type Output = Result<TrainedSystem>;

    fn visit<M: BaselineModel>(self) -> Self::Output {
        let run = self.run;
        let options = system::baseline_options(&run.recipe, self.system, &run.cnn.levels(), run.card.classes.len());
        // The constants of its normalisation are in the file.
        let mut statistics = PerceptStatistics::default();
        statistics.observe(&Percepts::new(vec![Tensor::zeros([1, 2, 1, 1, 1], &run.device)]));
        let model = import(M::init_fitted(&options, &statistics, &run.device), self.weights)?;
        let model = model.computing_in(run.loader.dtype);
        Ok(TrainedSystem::new(&run.recipe, self.system.clone(), model, None, Vec::new()))
    }

    fn visit_pixels<M: PixelBaseline>(self) -> Self::Output {
        let run = self.run;
        let options = run.recipe.pixel_options(run.card.classes.len());
        let model = import(M::from_options(&options, &run.device)?, self.weights)?.computing_in(run.loader.dtype);
        Ok(TrainedSystem::of_pixels(self.system.clone(), model, M::pixels(options.in_channels), Vec::new()))
    }
}
