//! What a trainer is told of one training.

use burn::module::ParamGroup;
use gru_rcn::head::LossKind;

use crate::recipe::TrainingSection;

/// One training: what it is called and how it is done.
pub(crate) struct Stage {
    /// Its name in files; its seed is derived from it.
    pub(crate) key: String,
    /// Its name for people.
    pub(crate) name: String,
    /// How the model is trained.
    pub(crate) training: TrainingSection,
    /// The loss, for models that have no loss of their own.
    pub(crate) loss: LossKind,
    /// Names of the classes by which the clips are labelled; empty if they are labelled by something else.
    pub(crate) classes: Vec<String>,
    /// Names of the model's classifiers; empty if it has one only.
    pub(crate) levels: Vec<String>,
    /// Groups of parameters that have a learning rate of their own: a factor of the stage's rate.
    pub(crate) lr_factors: Vec<(ParamGroup, f64)>,
}

impl Stage {
    /// A stage whose model has one classifier and one learning rate.
    pub(crate) fn new(key: &str, name: &str, training: &TrainingSection) -> Self {
        Self {
            key: key.into(),
            name: name.into(),
            training: training.clone(),
            loss: LossKind::default(),
            classes: Vec::new(),
            levels: Vec::new(),
            lr_factors: Vec::new(),
        }
    }
}
