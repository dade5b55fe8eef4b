//! A finished run opened for use: CNN, model and classes.

use std::path::PathBuf;

use anyhow::{Result, bail};
use burn::tensor::{Device, FloatDType};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::weights::import;
use gru_rcn_data::TestViews;

use super::backbone;
use super::system::{self, OfLevels, System};
use crate::output::note;
use crate::percepts::ClipLoader;
use crate::recipe::{DataSection, Recipe};
use crate::run::card::RunCard;
use crate::run::dir::RunDir;

pub(crate) struct TrainedRun {
    pub(crate) dir: RunDir,
    pub(crate) recipe: Recipe,
    pub(crate) card: RunCard,
    pub(crate) cnn: Cnn,
    /// Its GRU-RCN, for percepts of all levels of the CNN.
    pub(crate) model: OfLevels<GruRcnClassifier>,
    pub(crate) device: Device,
    pub(crate) loader: ClipLoader,
}

impl TrainedRun {
    /// Opens a run to compute in a precision.
    pub(crate) fn open(dir: RunDir, device: &Device, dtype: FloatDType) -> Result<Self> {
        let recipe = dir.read_recipe()?;
        if !recipe.model.train {
            bail!("{dir} has no GRU-RCN: its recipe has model.train = false; choose a run that trains it");
        }
        let weights = dir.model();
        if !weights.is_file() {
            bail!("{dir} is not finished: it has no model.safetensors; continue with `train --resume --run {dir}`");
        }
        let card = dir.card()?;
        let config = backbone::config(&recipe, card.cnn_classes)?;
        let file = if recipe.model.finetune_backbone { dir.joint_backbone() } else { dir.backbone() };
        let cnn = backbone::load(&config, &file, device)?;
        let classifier = system::gru_rcn(&recipe, &cnn.levels(), card.classes.len(), &System::GruRcn).init(device);
        let model = import(classifier, &weights)?.computing_in(dtype);
        let model = OfLevels { model, levels: Some(recipe.levels()) };
        let loader = ClipLoader::new(&recipe, device, dtype);
        Ok(Self { dir, recipe, card, cnn, model, device: device.clone(), loader })
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
