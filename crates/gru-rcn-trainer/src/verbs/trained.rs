//! A trained run opened for use: CNN, model and classes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, FloatDType};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::{ClipClassifier, GruRcnClassifier};
use gru_rcn::weights::import;
use gru_rcn_data::{ClipReader, DecoderKind, LoaderConfig, ViewRule};

use super::train::JOINT_BACKBONE;
use crate::percepts::Reading;
use crate::recipe::{self, Recipe};
use crate::run_card::{RunCard, VERSION};
use crate::run_dir::RunDir;
use crate::systems::{self, System};
use crate::views::{Model, ViewScorer};
use crate::{backbone, recipe::DataSection};

/// A finished run.
pub struct TrainedRun {
    /// Its folder.
    pub dir: RunDir,
    /// Its recipe.
    pub recipe: Recipe,
    /// Its card.
    pub card: RunCard,
    /// Its CNN.
    pub cnn: Cnn,
    /// Its GRU-RCN.
    pub model: GruRcnClassifier,
    /// The device both are on.
    pub device: Device,
    /// What decodes video files: what the recipe says, unless told otherwise.
    pub decoder: DecoderKind,
    /// What both compute in.
    pub dtype: FloatDType,
}

impl TrainedRun {
    /// Opens the run in a folder, or without one the newest in `runs`.
    pub fn open(run: Option<&Path>, runs: &Path, device: &Device) -> Result<Self> {
        let dir = match run {
            Some(path) => RunDir::open(path)?,
            None => RunDir::newest(runs)?,
        };
        let recipe = recipe::parse(&dir.read("recipe.toml")?, &[])
            .with_context(|| format!("{}", dir.path("recipe.toml").display()))?;
        let weights = dir.path(&System::GruRcn.weights());
        if !weights.is_file() {
            bail!(
                "{} is not trained to its end: it has no {}; go on with `train --resume --run {0}`",
                dir.root().display(),
                System::GruRcn.weights()
            );
        }
        let card: RunCard = serde_json::from_str(&dir.read("run.json")?)
            .with_context(|| format!("{} cannot be read", dir.path("run.json").display()))?;
        if card.version != VERSION {
            bail!("{} has layout {}, this program reads {VERSION}", dir.path("run.json").display(), card.version);
        }
        let config = backbone::config(&recipe, card.cnn_classes)?;
        let file = if recipe.model.finetune_backbone { JOINT_BACKBONE } else { "backbone.safetensors" };
        let cnn = backbone::load(&config, &dir.path(file), device)?;
        let model = import(systems::gru_rcn(&recipe, &cnn.levels(), card.classes.len(), device), &weights)?;
        let decoder = recipe.decoder();
        Ok(Self { dir, recipe, card, cnn, model, device: device.clone(), decoder, dtype: FloatDType::F32 })
    }

    /// The same run with another decoder for video files, where one is named.
    pub fn with_decoder(self, decoder: Option<DecoderKind>) -> Self {
        Self { decoder: decoder.unwrap_or(self.decoder), ..self }
    }

    /// The same run, to compute in this precision.
    pub fn computing_in(self, dtype: FloatDType) -> Self {
        Self { model: self.model.computing_in(dtype), dtype, ..self }
    }

    /// How its clips are read.
    pub fn reading(&self) -> Reading {
        Reading { dtype: self.dtype, ..reading(&self.recipe, self.decoder, &self.device) }
    }

    /// The views that were asked for as far as the labels allow them, after saying so where they are several.
    pub fn views(&self, asked: ViewRule) -> ViewRule {
        let rule = asked.allowed(self.recipe.clip.flip);
        if !rule.is_single() {
            eprintln!("{}", self.recipe.spoken(rule));
        }
        rule
    }

    /// Its GRU-RCN, for the percepts of all levels.
    pub fn model(&self) -> Model<'_> {
        let levels = self.recipe.model.levels();
        Box::new(move |percepts| self.model.forward(percepts.select(&levels)))
    }

    /// Scores by several views.
    pub fn scorer<'a>(&'a self, reading: &'a Reading, rule: ViewRule) -> ViewScorer<'a> {
        ViewScorer { cnn: &self.cnn, reading, rule, device: &self.device }
    }

    /// The folder of its clips, if they are not generated.
    pub fn root(&self) -> Option<PathBuf> {
        match &self.recipe.data {
            DataSection::Motion(_) => None,
            DataSection::Folder(section) => Some(section.root.clone()),
        }
    }
}

/// How a recipe's clips are read, in float32.
pub(super) fn reading(recipe: &Recipe, decoder: DecoderKind, device: &Device) -> Reading {
    Reading {
        planner: recipe.clip.clone(),
        reader: Arc::new(ClipReader::default().with_decoder(decoder)),
        loader: LoaderConfig { workers: recipe.features.workers, max_bytes: recipe.features.queue_mib << 20 },
        seed: recipe.seed,
        on_cpu: *device == Device::flex(),
        dtype: FloatDType::F32,
        bad: None,
    }
}
