//! What can be wrong with a set of predictions.

use thiserror::Error;

/// Why predictions or counts were refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A classifier without classes.
    #[error("there must be at least one class")]
    NoClasses,
    /// An accuracy over nothing is not a number.
    #[error("there must be at least one clip")]
    NoClips,
    /// The probabilities do not fill `[clips, classes]`.
    #[error(
        "{clips} clips of {classes} classes need {} probabilities, got {got}",
        clips * classes
    )]
    Shape {
        /// Number of labels given.
        clips: usize,
        /// Number of classes.
        classes: usize,
        /// Number of probabilities given.
        got: usize,
    },
    /// A label, true or predicted, that names no class.
    #[error("clip {clip} has label {label}, but there are {classes} classes (0 to {})", classes - 1)]
    Label {
        /// Position of the clip.
        clip: usize,
        /// The label out of range.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A value that is no probability: negative, above one, infinite or not a number.
    #[error("clip {clip} gives class {class} the probability {value}")]
    Probability {
        /// Position of the clip.
        clip: usize,
        /// The class.
        class: usize,
        /// The value.
        value: f32,
    },
    /// The probabilities of a clip do not sum to one; often these are scores before the softmax.
    #[error("the probabilities of clip {clip} sum to {sum}, not to 1")]
    Sum {
        /// Position of the clip.
        clip: usize,
        /// What they sum to.
        sum: f64,
    },
    /// Counts that do not form a square.
    #[error("row {row} of the confusion matrix has {got} columns, expected {classes}")]
    NotSquare {
        /// The offending row.
        row: usize,
        /// Its length.
        got: usize,
        /// Number of rows.
        classes: usize,
    },
    /// True and predicted labels of different number.
    #[error("{truth} true labels but {predicted} predicted ones")]
    Lengths {
        /// Number of true labels.
        truth: usize,
        /// Number of predicted labels.
        predicted: usize,
    },
}
