//! The three parts of a data set.

use serde::{Deserialize, Serialize};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training the weights.
    Train,
    /// For choices such as early stopping.
    Validation,
    /// For the reported result.
    Test,
}

impl Split {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

super::named!(Split, "split", "it is train, validation (or val) or test", Train, Validation | "val", Test);
