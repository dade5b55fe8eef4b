//! The sections of a recipe.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use gru_rcn::head::{LossKind, Pooling};
use gru_rcn::percepts::{NormRule, PerceptNormConfig};
use gru_rcn::recurrent::Form;
use gru_rcn_data::{DecoderKind, MotionConfig, ViewRule};
use serde::{Deserialize, Serialize};

use super::{FinetuneSection, TrainingSection};

/// Where the clips come from: the built-in motion data, or a folder.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataSection {
    /// Generated clips, nothing to download.
    Motion(MotionConfig),
    /// A folder of clips per class, with or without lists.
    Folder(FolderSection),
}

/// A folder of videos or of frame folders.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FolderSection {
    /// The folder; `--data` sets it.
    #[serde(default)]
    pub root: PathBuf,
    /// What decodes video files: `ffmpeg`, or `pure`, which reads UCF-101's own format with nothing installed. `--decoder`
    /// sets it. Frames that were prepared have their decoder in the manifest.
    #[serde(default)]
    pub decoder: DecoderKind,
    /// List of training clips, relative to the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_list: Option<PathBuf>,
    /// List of validation clips; without it they are held out of the training clips, by group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_list: Option<PathBuf>,
    /// List of test clips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_list: Option<PathBuf>,
    /// JSON map from clip to group (source video, scene); clips of a group stay together when parts are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<PathBuf>,
    /// Clips to leave out, as `verify` lists them, relative to the root; a list of that name in the root is taken by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<PathBuf>,
    /// Share of clips held out for validation where no list names them.
    #[serde(default = "held_out")]
    pub validation_fraction: f32,
    /// Share of clips held out for testing where no list names them.
    #[serde(default = "held_out")]
    pub test_fraction: f32,
    /// Seed of these draws, apart from the recipe's, so that seeds share their parts.
    #[serde(default)]
    pub seed: u64,
}

fn held_out() -> f32 {
    0.15
}

/// Which CNN.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// VGG-16, full size.
    Vgg16,
    /// VGG-16's design with four narrow stages, for small frames.
    Small,
    /// SqueezeNet 1.0.
    SqueezeNet,
}

/// The CNN under the recurrent layers.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct BackboneSection {
    /// Which network.
    pub network: Network,
    /// The levels to recur over, bottom up; `pool1`… and `fc7` for VGG-16, `pool1`, `pool4`, `pool8`, `fire9` for
    /// SqueezeNet.
    pub taps: Vec<String>,
    /// Pretrained weights in torchvision's layout (.safetensors, .pth); `--weights` sets it. Without them the network
    /// must be pretrained by the section below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Training of the CNN on single frames, by the clips' appearances; `batch` counts clips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrain: Option<TrainingSection>,
    /// In that training, frames drawn from each clip in each epoch; 0 takes all.
    #[serde(default)]
    pub pretrain_frames: usize,
    /// Fine-tuning of the CNN on the clips' classes, before it is frozen; the paper's first stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<FinetuneSection>,
}

impl BackboneSection {
    pub(super) fn validate(&self) -> Result<()> {
        ensure!(!self.taps.is_empty(), "recipe: backbone.taps is empty; name at least one level");
        ensure!(
            self.weights.is_none() || self.pretrain.is_none(),
            "recipe: backbone.weights and backbone.pretrain exclude each other"
        );
        if let Some(pretrain) = &self.pretrain {
            pretrain.validate().map_err(|error| anyhow::anyhow!("backbone.pretrain: {error}"))?;
        }
        if let Some(finetune) = &self.finetune {
            finetune.validate(if self.network == Network::SqueezeNet { 1 } else { 2 })?;
        }
        Ok(())
    }
}

/// A second training of every system. Of few clips a fifth held out for validation is much to go without: once it has told how
/// good the recipe is, each system is trained again from the same initial weights on the training and validation clips
/// together, for a number of epochs that is fixed ahead, and what it ends with is tested.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RefitSection {
    /// How many epochs; the learning rate falls within them. Nothing stops them early, for no clip is left to tell.
    pub epochs: usize,
}

impl RefitSection {
    pub(super) fn validate(&self) -> Result<()> {
        ensure!(self.epochs > 0, "recipe: refit.epochs is 0; train at least one, or leave refit out");
        Ok(())
    }
}

/// What becomes of the percepts of the frozen CNN.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FeaturesSection {
    /// Compute the percepts of every clip once and keep them in memory, instead of running the CNN in every epoch.
    #[serde(default = "yes")]
    pub cache: bool,
    /// With the cache: augmented versions of each training clip kept beside the original; each epoch draws one of all.
    /// Without the cache every epoch draws a new one.
    #[serde(default)]
    pub copies: usize,
    /// A folder written by `gru-rcn features` to take the percepts from instead of computing them; for clips that are not
    /// augmented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Most memory the cache may take, MiB.
    #[serde(default = "eight_gib")]
    pub max_mib: usize,
    /// Threads that read clips.
    #[serde(default = "two")]
    pub workers: usize,
    /// Most memory that clips on their way to the CNN may take, MiB.
    #[serde(default = "half_gib")]
    pub queue_mib: usize,
}

impl FeaturesSection {
    pub(super) fn validate(&self) -> Result<()> {
        ensure!(
            self.from.is_none() || (self.cache && self.copies == 0),
            "recipe: features.from holds each clip once, as it is evaluated; set features.copies=0 and features.cache=true"
        );
        Ok(())
    }
}

fn yes() -> bool {
    true
}

fn eight_gib() -> usize {
    8192
}

fn half_gib() -> usize {
    512
}

fn two() -> usize {
    2
}

impl Default for FeaturesSection {
    fn default() -> Self {
        Self { cache: yes(), copies: 0, from: None, max_mib: eight_gib(), workers: two(), queue_mib: half_gib() }
    }
}

/// Arrangement of the recurrent layers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum FormName {
    /// Each level on its own.
    Independent,
    /// Each level's gates see the level below.
    Stacked,
    /// Each level on its own, in both directions of time.
    Bidirectional,
}

impl From<FormName> for Form {
    fn from(name: FormName) -> Self {
        match name {
            FormName::Independent => Self::Independent,
            FormName::Stacked => Self::Stacked,
            FormName::Bidirectional => Self::Bidirectional,
        }
    }
}

/// Rule of percept normalisation.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NormName {
    /// As they are: the paper, literally.
    Identity,
    /// Divided by their RMS.
    Scale,
    /// Minus the clip's mean over time, divided by the RMS.
    Centre,
    /// Minus the mean of the frames so far, divided by the RMS.
    CausalCentre,
    /// Minus the frame before, divided by the RMS.
    Difference,
    /// The magnitude of the difference from the frame before, divided by its RMS.
    AbsDifference,
}

impl From<NormName> for NormRule {
    fn from(name: NormName) -> Self {
        match name {
            NormName::Identity => Self::Identity,
            NormName::Scale => Self::Scale,
            NormName::Centre => Self::Centre,
            NormName::CausalCentre => Self::CausalCentre,
            NormName::Difference => Self::Difference,
            NormName::AbsDifference => Self::AbsDifference,
        }
    }
}

/// Normalisation of the percepts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct NormSection {
    /// The rule.
    pub rule: NormName,
    /// Factor on top of it.
    #[serde(default = "one")]
    pub gain: f32,
}

fn one() -> f32 {
    1.0
}

impl NormSection {
    /// A short name, such as `scale-0.1`, for files and tables.
    pub fn key(&self) -> String {
        let rule = match self.rule {
            NormName::Identity => "identity",
            NormName::Scale => "scale",
            NormName::Centre => "centre",
            NormName::CausalCentre => "causal-centre",
            NormName::Difference => "difference",
            NormName::AbsDifference => "abs-difference",
        };
        if self.gain == 1.0 { rule.into() } else { format!("{rule}-{}", self.gain) }
    }

    fn validate(&self, section: &str) -> Result<()> {
        let gain = self.gain;
        ensure!(gain > 0.0 && gain.is_finite(), "recipe: {section} has gain = {gain}, it must be positive");
        Ok(())
    }

    /// The model crate's configuration of it.
    pub fn config(&self) -> PerceptNormConfig {
        PerceptNormConfig::new().with_rule(self.rule.into()).with_gain(self.gain)
    }
}

/// Pooling of hidden maps before they are classified.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PoolingName {
    /// The mean over the cells: the paper.
    #[default]
    Average,
    /// The largest value over the cells.
    Max,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::Average => Self::Average,
            PoolingName::Max => Self::Max,
        }
    }
}

/// The loss of models with several classifiers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LossName {
    /// `-log` of the averaged probability.
    Mixture,
    /// Mean of the classifiers' cross-entropies.
    PerHead,
}

impl From<LossName> for LossKind {
    fn from(name: LossName) -> Self {
        match name {
            LossName::Mixture => Self::Mixture,
            LossName::PerHead => Self::PerHead,
        }
    }
}

/// The recurrent model.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Arrangement of the recurrent layers.
    pub form: FormName,
    /// Hidden channels per level, bottom up; 0 leaves a level to the baselines, which look at the topmost.
    pub hidden: Vec<usize>,
    /// Kernel of levels with spatial extent.
    #[serde(default = "three")]
    pub kernel_size: usize,
    /// Biases in the recurrent layers; the paper has none.
    #[serde(default)]
    pub bias: bool,
    /// Drop probability on the classifiers' inputs; 0.7 in the paper.
    #[serde(default = "paper_dropout")]
    pub dropout: f64,
    /// Pooling of the last hidden maps before they are classified.
    #[serde(default)]
    pub pooling: PoolingName,
    /// The loss.
    #[serde(default = "mixture")]
    pub loss: LossName,
    /// Normalisation of the percepts.
    pub norm: NormSection,
    /// Train the CNN together with the recurrent model, from pixels, instead of keeping it frozen.
    #[serde(default)]
    pub finetune_backbone: bool,
    /// With it, the factor of the learning rate for the CNN's weights.
    #[serde(default = "tenth")]
    pub backbone_rate: f64,
}

fn tenth() -> f64 {
    0.1
}

fn three() -> usize {
    3
}

fn paper_dropout() -> f64 {
    0.7
}

fn mixture() -> LossName {
    LossName::Mixture
}

impl ModelSection {
    /// Positions of the levels that are recurred over.
    pub fn levels(&self) -> Vec<usize> {
        (0..self.hidden.len()).filter(|&level| self.hidden[level] > 0).collect()
    }

    pub(super) fn validate(&self) -> Result<()> {
        ensure!(!self.levels().is_empty(), "recipe: model.hidden has no level to recur over");
        ensure!(self.kernel_size % 2 == 1, "recipe: model.kernel_size is {}, it must be odd", self.kernel_size);
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            "recipe: model.dropout is {}, it must be from 0 to below 1",
            self.dropout
        );
        ensure!(
            self.backbone_rate > 0.0 && self.backbone_rate.is_finite(),
            "recipe: model.backbone_rate is {}, it must be positive; model.finetune_backbone=false keeps the CNN frozen",
            self.backbone_rate
        );
        self.norm.validate("model.norm")
    }
}

/// How test clips are scored.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// The views of each clip, whose probabilities are averaged: one, or the paper's 25 starts of ten crops. Mirror images
    /// are left out where `clip.flip` is off.
    #[serde(default)]
    pub views: ViewRule,
}

/// What the model is compared with, on the same frozen CNN and by the same training.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(deny_unknown_fields)]
pub struct BaselinesSection {
    /// A linear classifier of single frames on the top level.
    #[serde(default)]
    pub frame: bool,
    /// A fully connected GRU on the pooled top level, with so many hidden units; 512 in the paper, 0 leaves it out.
    #[serde(default)]
    pub top_rnn: usize,
    /// The same GRU-RCN under other normalisations of its percepts.
    #[serde(default)]
    pub norms: Vec<NormSection>,
}

impl BaselinesSection {
    pub(super) fn validate(&self) -> Result<()> {
        let mut keys: Vec<String> = self.norms.iter().map(NormSection::key).collect();
        for norm in &self.norms {
            norm.validate("baselines.norms")?;
        }
        keys.sort();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            anyhow::bail!("recipe: baselines.norms has {} twice", pair[0]);
        }
        Ok(())
    }
}
