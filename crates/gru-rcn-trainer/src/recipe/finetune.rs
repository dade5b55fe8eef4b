//! Fine-tuning of the CNN: the paper's first stage, in which a network trained on ImageNet learns
//! the clips' classes.

use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::TrainingSection;

/// Training of the pretrained CNN on single frames, or single stacks of flow, by the clips'
/// classes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FinetuneSection {
    /// Drop probabilities of the network's training: after fc-6 and fc-7 of VGG-16, before conv10
    /// of SqueezeNet. Empty keeps those of ImageNet, 0.5 each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropout: Vec<f64>,
    /// Standard deviation of the new classifier's first weights.
    pub(crate) classifier_std: f64,
    /// Frames, or stacks of flow, of each clip in each epoch: a random one of each of as many equal
    /// parts. They share the clip's crop and mirroring.
    pub(crate) frames: usize,
    /// Read every clip once, as it is evaluated, and keep its frames in memory, instead of reading
    /// and cutting frames anew in every epoch. For small sets: nothing is augmented then.
    pub(crate) cache: bool,
    /// How it is trained; `batch` counts clips.
    pub(crate) training: TrainingSection,
}

impl Default for FinetuneSection {
    fn default() -> Self {
        Self {
            dropout: Vec::new(),
            classifier_std: 1e-3,
            frames: 1,
            cache: false,
            training: TrainingSection::default(),
        }
    }
}

impl FinetuneSection {
    /// Checks what the types cannot.
    pub(super) fn validate(&self) -> Result<()> {
        if let Some(drop) = self.dropout.iter().find(|drop| !(0.0..1.0).contains(*drop)) {
            return Err(anyhow!("backbone.finetune.dropout has {drop}, it must be from 0 to below 1"));
        }
        ensure!(
            self.classifier_std >= 0.0 && self.classifier_std.is_finite(),
            "backbone.finetune.classifier_std is {}, it cannot be negative",
            self.classifier_std
        );
        ensure!(self.frames > 0, "backbone.finetune.frames is 0; take at least one frame of each clip");
        self.training.validate("backbone.finetune.training")
    }
}
