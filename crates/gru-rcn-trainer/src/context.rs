//! What every part of a run needs: its folder, recipe, devices and observers.

use burn::tensor::Device;

use crate::device::replicas::Replicas;
use crate::observe::Observers;
use crate::recipe::Recipe;
use crate::recipe::seed::stage_seed;
use crate::run::dir::RunDir;
use crate::run::fingerprint::RunFingerprint;
use crate::signals::StopFlag;

/// One run under way.
pub(crate) struct Context {
    pub(crate) dir: RunDir,
    /// What its checkpoints belong to.
    pub(crate) fingerprint: RunFingerprint,
    pub(crate) recipe: Recipe,
    /// The plain device that models and percepts are on.
    pub(crate) device: Device,
    /// That device and those that share batches with it.
    pub(crate) replicas: Replicas,
    pub(crate) stop: StopFlag,
    pub(crate) observers: Observers,
}

impl Context {
    pub(crate) fn message(&self, text: impl Into<String>) {
        self.observers.message(text);
    }

    pub(crate) fn stage_seed(&self, key: &str) -> u64 {
        stage_seed(self.recipe.seed, key)
    }
}
