//! Recipes: one TOML file per experiment.
//!
//! Every key is listed here with its meaning; an unknown key is an error. `--set a.b=c` changes one key, and the recipe
//! as resolved is saved with the run.

mod finetune;
mod load;
mod sections;
mod training;

pub use finetune::FinetuneSection;
pub use load::{BUILT_IN, load, parse, to_toml};
pub use sections::{
    BackboneSection, BaselinesSection, DataSection, EvaluationSection, FeaturesSection, FolderSection, FormName,
    LossName, ModelSection, Network, NormName, NormSection, PoolingName, RefitSection,
};
pub use training::{Nonfinite, OptimizerName, Schedule, TrainingSection};

use anyhow::{Result, ensure};
use gru_rcn_data::{ClipPlanner, DecoderKind, ViewRule};
use serde::{Deserialize, Serialize};

/// One experiment.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name; runs are kept in a folder of that name.
    pub name: String,
    /// What it is, for the report.
    #[serde(default)]
    pub about: String,
    /// Seed of everything random: initial weights, order, augmentation, dropout.
    #[serde(default)]
    pub seed: u64,
    /// The clips.
    pub data: DataSection,
    /// Which frames and which part of them a clip is made of.
    pub clip: ClipPlanner,
    /// The CNN.
    pub backbone: BackboneSection,
    /// What becomes of its percepts.
    #[serde(default)]
    pub features: FeaturesSection,
    /// The recurrent model.
    pub model: ModelSection,
    /// Its training.
    #[serde(default)]
    pub training: TrainingSection,
    /// Whether the validation clips are trained on as well in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refit: Option<RefitSection>,
    /// How test clips are scored.
    #[serde(default)]
    pub evaluation: EvaluationSection,
    /// What it is compared with.
    #[serde(default)]
    pub baselines: BaselinesSection,
}

impl Recipe {
    /// Names of the levels that are recurred over, bottom up.
    pub fn level_names(&self) -> Vec<String> {
        self.model.levels().into_iter().map(|level| self.backbone.taps[level].clone()).collect()
    }

    /// What decodes video files.
    pub fn decoder(&self) -> DecoderKind {
        match &self.data {
            DataSection::Motion(_) => DecoderKind::default(),
            DataSection::Folder(section) => section.decoder,
        }
    }

    /// The views by which test clips are scored; without mirror images where the labels do not allow them.
    pub fn views(&self) -> ViewRule {
        self.evaluation.views.allowed(self.clip.flip)
    }

    /// A rule of views in words, and what became of mirror images that were asked for.
    pub fn spoken(&self, rule: ViewRule) -> String {
        let (starts, crops) = (rule.starts, rule.crops.count());
        let without = match self.clip.flip {
            true => "",
            false => ", no mirror images since clip.flip is off",
        };
        format!("{} views each, {starts} starts of {crops} crops{without}", rule.count())
    }

    /// Whether anything looks at the maps of the frozen CNN: all but a GRU-RCN that is trained together with it.
    pub fn uses_percepts(&self) -> bool {
        !self.model.finetune_backbone || self.baselines.frame || self.baselines.top_rnn > 0
    }

    /// Checks what the types cannot.
    pub fn validate(&self) -> Result<()> {
        // Runs are kept in folders of that name.
        ensure!(
            self.name.starts_with(char::is_alphanumeric) && !self.name.contains(['/', '\\', '\0']),
            "recipe: name is {:?}; it begins with a letter or a digit and holds no slashes",
            self.name
        );
        self.clip.validate()?;
        self.backbone.validate()?;
        self.features.validate()?;
        let (taps, hidden) = (self.backbone.taps.len(), self.model.hidden.len());
        ensure!(
            taps == hidden,
            "recipe: backbone.taps names {taps} levels but model.hidden has {hidden} sizes; give one per level"
        );
        self.model.validate()?;
        ensure!(
            !self.model.finetune_backbone || (self.baselines.norms.is_empty() && self.features.from.is_none()),
            "recipe: model.finetune_backbone trains the CNN, but {} of a frozen one; leave one of the two out",
            if self.features.from.is_some() { "features.from has the maps" } else { "baselines.norms compares maps" }
        );
        self.training.validate()?;
        if let Some(refit) = &self.refit {
            refit.validate()?;
            ensure!(
                !self.model.finetune_backbone,
                "recipe: refit is for systems on a frozen CNN, model.finetune_backbone trains it; leave one of the two out"
            );
        }
        self.evaluation.views.validate()?;
        self.baselines.validate()?;
        Ok(())
    }
}
