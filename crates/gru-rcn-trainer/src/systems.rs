//! The systems that a run trains: GRU-RCN and what it is compared with.

use burn::tensor::Device;
use gru_rcn::baselines::{FrameClassifier, FrameClassifierConfig, TopRnn, TopRnnConfig};
use gru_rcn::classifier::{GruRcnClassifier, GruRcnClassifierConfig};
use gru_rcn::percepts::Level;
use gru_rcn::recurrent::GruRcnConfig;

use crate::recipe::{FormName, Recipe};

/// A system by its name in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// GRU-RCN in the recipe's form.
    GruRcn,
    /// Every frame on its own.
    Frame,
    /// A fully connected GRU on the pooled top level.
    TopRnn,
}

impl System {
    /// The name in files and in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::GruRcn => "gru_rcn",
            Self::Frame => "frame",
            Self::TopRnn => "top_rnn",
        }
    }

    /// The name for people.
    pub fn name(self, recipe: &Recipe) -> String {
        match (self, recipe.model.form) {
            (Self::GruRcn, FormName::Independent) => "GRU-RCN".into(),
            (Self::GruRcn, FormName::Stacked) => "Stacked GRU-RCN".into(),
            (Self::GruRcn, FormName::Bidirectional) => "Bi-directional GRU-RCN".into(),
            (Self::Frame, _) => "Per-frame CNN".into(),
            (Self::TopRnn, _) => "RNN on the top layer".into(),
        }
    }

    /// Where its weights lie in the run folder.
    pub fn weights(self) -> &'static str {
        match self {
            Self::GruRcn => "model.safetensors",
            Self::Frame => "baselines/frame.safetensors",
            Self::TopRnn => "baselines/top_rnn.safetensors",
        }
    }
}

/// The recipe's GRU-RCN, freshly drawn.
pub fn gru_rcn(recipe: &Recipe, levels: &[Level], classes: usize, device: &Device) -> GruRcnClassifier {
    let model = &recipe.model;
    let recurrent = GruRcnConfig::new(levels.to_vec(), model.hidden.clone())
        .with_form(model.form.into())
        .with_kernel_size(model.kernel_size)
        .with_bias(model.bias);
    GruRcnClassifierConfig::new(recurrent, classes)
        .with_norm(model.norm.config())
        .with_dropout(model.dropout)
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
