//! Classification metrics for video: top-k and mean-class accuracy, negative log-likelihood, the
//! confusion matrix, confidence intervals, calibration, and the difference of two systems with
//! McNemar's test. Metrics of captions are in [`caption`].
//!
//! The crate works on plain numbers, probabilities and labels, without a tensor library. So it can score
//! a file, a spreadsheet or the output of another framework with the code of a training run.
//!
//! ```
//! use gru_rcn_metrics::Predictions;
//!
//! // Two clips, three classes; the second clip is predicted as class 0 but belongs to class 2.
//! let predictions = Predictions::new(3, vec![0.7, 0.2, 0.1, 0.5, 0.2, 0.3], vec![0, 2])?;
//! let summary = predictions.summary();
//! assert_eq!(summary.top1, 0.5);
//! assert_eq!(summary.top5, 1.0);
//!
//! let (low, high) = summary.top1_interval();
//! assert!(low < 0.5 && 0.5 < high);
//! # Ok::<(), gru_rcn_metrics::MetricsError>(())
//! ```
//!
//! **Ties count against the model.** In a constant prediction all classes tie. If the first class won the
//! tie, the model would seem to know class 0. Here no clip is correct in that case, neither in the
//! accuracies nor in the confusion matrix, so the two always agree.

mod calibration;
pub mod caption;
mod classification;
mod comparison;
mod confusion;
mod error;
mod predictions;
mod statistics;

pub use calibration::{Answers, BINS, ReliabilityBin, TEMPERATURES, at_temperature};
pub use classification::Classification;
pub use comparison::Comparison;
pub use confusion::ConfusionMatrix;
pub use error::MetricsError;
pub use predictions::Predictions;
pub use statistics::{WILSON_95, binomial_tail, mean_std, wilson_interval};

/// The examples of the page compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod page {}
