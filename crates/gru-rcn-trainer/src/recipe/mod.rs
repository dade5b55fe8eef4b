//! Recipes: one TOML file per experiment.
//!
//! Every key is listed here with its meaning; an unknown key is an error. `--set a.b=c` changes one key, and the recipe
//! as resolved is saved with the run.

mod finetune;
mod load;
mod sections;

pub use finetune::FinetuneSection;
pub use load::{BUILT_IN, load, parse, to_toml};
pub use sections::{
    BackboneSection, BaselinesSection, DataSection, FeaturesSection, FolderSection, FormName, LossName, ModelSection,
    Network, NormName, NormSection, TrainingSection,
};

use anyhow::{Result, ensure};
use gru_rcn_data::ClipPlanner;
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
    /// What it is compared with.
    #[serde(default)]
    pub baselines: BaselinesSection,
}

impl Recipe {
    /// Names of the levels that are recurred over, bottom up.
    pub fn level_names(&self) -> Vec<String> {
        self.model.levels().into_iter().map(|level| self.backbone.taps[level].clone()).collect()
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
        self.baselines.validate()?;
        Ok(())
    }
}
