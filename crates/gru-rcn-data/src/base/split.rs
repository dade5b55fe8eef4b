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

super::named!(
    Split,
    "split",
    "it is train, validation (or val) or test",
    Train = "train",
    Validation = "validation" | "val",
    Test = "test"
);

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
