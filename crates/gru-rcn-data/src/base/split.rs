//! The three parts of a data set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::DataError;

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

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "train" => Ok(Self::Train),
            "validation" | "val" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            _ => Err(DataError::setting("split", text, "it is train, validation (or val) or test")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_read_back() {
        for split in [Split::Train, Split::Validation, Split::Test] {
            assert_eq!(split.to_string().parse::<Split>().unwrap(), split);
        }
        assert_eq!("val".parse::<Split>().unwrap(), Split::Validation);
        assert!("tset".parse::<Split>().unwrap_err().to_string().contains("tset"));
    }
}
