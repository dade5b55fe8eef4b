//! The systems that a run trains: GRU-RCN and what it is compared with.

use burn::tensor::Device;
use gru_rcn::baselines::{FrameClassifier, FrameClassifierConfig, TopRnn, TopRnnConfig};
use gru_rcn::classifier::{GruRcnClassifier, GruRcnClassifierConfig};
use gru_rcn::percepts::Level;
use gru_rcn::recurrent::GruRcnConfig;

use crate::recipe::{FormName, NormSection, Recipe};

/// A system by its name in files.
#[derive(Clone, Debug, PartialEq)]
pub enum System {
    /// GRU-RCN in the recipe's form.
    GruRcn,
    /// Every frame on its own.
    Frame,
    /// A fully connected GRU on the pooled top level.
    TopRnn,
    /// GRU-RCN under another normalisation of its percepts.
    Norm(NormSection),
}

impl System {
    /// The name in files and in JSON.
    pub fn key(&self) -> String {
        match self {
            Self::GruRcn => "gru_rcn".into(),
            Self::Frame => "frame".into(),
            Self::TopRnn => "top_rnn".into(),
            Self::Norm(norm) => format!("norm_{}", norm.key()),
        }
    }

    /// The name for people.
    pub fn name(&self, recipe: &Recipe) -> String {
        match (self, recipe.model.form) {
            (Self::Norm(norm), _) => format!("… percepts: {}", norm.key()),
            (Self::Frame, _) => "Per-frame CNN".into(),
            (Self::TopRnn, _) => "RNN on the top layer".into(),
            (Self::GruRcn, FormName::Independent) => "GRU-RCN".into(),
            (Self::GruRcn, FormName::Stacked) => "Stacked GRU-RCN".into(),
            (Self::GruRcn, FormName::Bidirectional) => "Bi-directional GRU-RCN".into(),
        }
    }

    /// Whether it has a classifier per level.
    pub fn has_levels(&self) -> bool {
        matches!(self, Self::GruRcn | Self::Norm(_))
    }

    /// Parameters that are never trained: a factor per level of percepts.
    pub fn constants(&self, recipe: &Recipe) -> usize {
        if self.has_levels() { recipe.model.levels().len() } else { 1 }
    }

    /// Where its weights lie in the run folder.
    pub fn weights(&self) -> String {
        match self {
            Self::GruRcn => "model.safetensors".into(),
            other => format!("baselines/{}.safetensors", other.key()),
        }
    }
}

/// The recipe's GRU-RCN over its levels of the backbone's, freshly drawn.
pub fn gru_rcn(recipe: &Recipe, levels: &[Level], classes: usize, device: &Device) -> GruRcnClassifier {
    let model = &recipe.model;
    let recurred = model.levels();
    let hidden = recurred.iter().map(|&level| model.hidden[level]).collect();
    let levels = recurred.iter().map(|&level| levels[level].clone()).collect();
    let recurrent = GruRcnConfig::new(levels, hidden)
        .with_form(model.form.into())
        .with_kernel_size(model.kernel_size)
        .with_bias(model.bias);
    GruRcnClassifierConfig::new(recurrent, classes)
        .with_norm(model.norm.config())
        .with_dropout(model.dropout)
        .with_pooling(model.pooling.into())
        .init(device)
}

/// The per-frame baseline, freshly drawn.
pub fn frame(recipe: &Recipe, levels: &[Level], classes: usize, device: &Device) -> FrameClassifier {
    FrameClassifierConfig::new(top(levels), classes).with_dropout(recipe.model.dropout).init(device)
}

/// The baseline with a GRU on the top level, freshly drawn.
pub fn top_rnn(recipe: &Recipe, levels: &[Level], classes: usize, device: &Device) -> TopRnn {
    TopRnnConfig::new(top(levels), recipe.baselines.top_rnn, classes)
        .with_norm(recipe.model.norm.config())
        .with_dropout(recipe.model.dropout)
        .init(device)
}

fn top(levels: &[Level]) -> Level {
    levels.last().expect("a validated recipe has a level").clone()
}
