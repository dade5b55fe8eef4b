//! The error type for classification metrics.

use thiserror::Error;

/// Invalid predictions or counts.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// No classes.
    #[error("there must be at least one class")]
    NoClasses,
    /// No clips, so that accuracies are undefined.
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
    /// A true label outside the classes.
    #[error("clip {clip} has label {label}, but there are {classes} classes (0 to {})", classes - 1)]
    Label {
        /// Position of the clip.
        clip: usize,
        /// The label out of range.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A value that is not a probability: negative, above one, infinite or NaN.
    #[error("clip {clip} gives class {class} the probability {value}")]
    Probability {
        /// Position of the clip.
        clip: usize,
        /// The class.
        class: usize,
        /// The value.
        value: f32,
    },
    /// The probabilities of a clip do not sum to one, often because they are scores before the softmax.
    #[error("the probabilities of clip {clip} sum to {sum}, not to 1")]
    Sum {
        /// Position of the clip.
        clip: usize,
        /// Their sum.
        sum: f64,
    },
    /// Two systems to compare were scored on different clips.
    #[error("the systems to compare were not scored on the same clips: their true classes differ")]
    OtherClips,
    /// A confusion matrix that is not square.
    #[error("row {row} of the confusion matrix has {got} columns, expected {classes}")]
    NotSquare {
        /// The offending row.
        row: usize,
        /// Its length.
        got: usize,
        /// Number of rows.
        classes: usize,
    },
}
