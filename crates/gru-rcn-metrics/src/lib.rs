//! Classification metrics for video: top-k and mean-class accuracy, negative log-likelihood, the
//! confusion matrix, and how far to trust them.
//!
//! The crate takes plain numbers (probabilities and labels) and gives plain numbers back. It
//! knows no tensor library, so a scores file, another framework or a spreadsheet can be judged by
//! the same code as a training run.
//!
//! ```
//! use gru_rcn_metrics::{Predictions, WILSON_95, wilson_interval};
//!
//! // Two clips, three classes; the second clip is taken for class 0 but is of class 2.
//! let predictions = Predictions::new(3, vec![0.7, 0.2, 0.1, 0.5, 0.2, 0.3], vec![0, 2])?;
//! let summary = predictions.summary();
//! assert_eq!(summary.top1, 0.5);
//! assert_eq!(summary.top5, 1.0);
//!
//! let (low, high) = wilson_interval(summary.correct(), summary.clips, WILSON_95);
//! assert!(low < 0.5 && 0.5 < high);
//! # Ok::<(), gru_rcn_metrics::MetricsError>(())
//! ```
//!
//! **Ties are counted against the model.** A constant prediction has every class in a tie; by
//! index it would look like a model that knows class 0. Here it is right about nothing, in the
//! accuracies and in the confusion matrix alike, so that the two always agree.

mod classification;
mod confusion;
mod error;
mod predictions;
mod statistics;

pub use classification::Classification;
pub use confusion::ConfusionMatrix;
pub use error::MetricsError;
pub use predictions::Predictions;
pub use statistics::{WILSON_95, mean_std, wilson_interval};
