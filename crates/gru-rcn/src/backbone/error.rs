//! Errors in a backbone's configuration.

use super::layers::Plan;

/// Why a backbone cannot be built or changed as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneConfigError {
    /// The backbone does not have this tap.
    #[error("{backbone} has no tap \"{name}\"; it has {}", known.join(", "))]
    UnknownTap {
        /// The backbone.
        backbone: &'static str,
        /// The name asked for.
        name: String,
        /// The names of its taps.
        known: Vec<String>,
    },
    /// The list of taps is empty.
    #[error("{backbone} without a tap gives no percepts; it has {}", known.join(", "))]
    NoTaps {
        /// The backbone.
        backbone: &'static str,
        /// The names of its taps.
        known: Vec<String>,
    },
    /// The taps of this backbone cannot be changed.
    #[error("this backbone has fixed taps: {}", known.join(", "))]
    FixedTaps {
        /// The names of its taps.
        known: Vec<String>,
    },
    /// The pooling stages would leave nothing of a frame.
    #[error("frames of {}x{} pixels are too small for {backbone}: it needs {least}x{least} at least", size[0], size[1])]
    FramesTooSmall {
        /// The backbone.
        backbone: &'static str,
        /// Height and width asked for.
        size: [usize; 2],
        /// The least height and width.
        least: usize,
    },
    /// More layers than any network of this kind has.
    #[error("{backbone} with {layers} convolutions is too deep: at most {most} are supported")]
    TooDeep {
        /// The backbone.
        backbone: &'static str,
        /// Convolutions asked for.
        layers: usize,
        /// The most that are supported.
        most: usize,
    },
    /// A count of channels or classes is zero.
    #[error("{backbone} with zero {what} cannot be built")]
    Zero {
        /// The backbone.
        backbone: &'static str,
        /// What is zero.
        what: &'static str,
    },
    /// The number of drop probabilities is not that of the network.
    #[error("{found} drop probabilities do not fit this network: it has {expected}")]
    DropoutCount {
        /// Drop probabilities of the network.
        expected: usize,
        /// Drop probabilities given.
        found: usize,
    },
    /// A drop probability is outside `[0, 1)`.
    #[error("the drop probability {0} is outside [0, 1)")]
    DropoutRange(f64),
    /// There is no network of this name.
    #[error("there is no network \"{name}\"; known are {}", known.join(", "))]
    UnknownNetwork {
        /// The name asked for.
        name: String,
        /// The names of all networks.
        known: Vec<&'static str>,
    },
}

/// Checks tap names against those of the plan.
pub(super) fn check_taps(backbone: &'static str, plan: &Plan, taps: &[String]) -> Result<(), BackboneConfigError> {
    let known = || plan.levels.iter().map(|level| level.name.clone()).collect();
    if taps.is_empty() {
        return Err(BackboneConfigError::NoTaps { backbone, known: known() });
    }
    match taps.iter().find(|&name| plan.levels.iter().all(|level| level.name != *name)) {
        Some(name) => Err(BackboneConfigError::UnknownTap { backbone, name: name.clone(), known: known() }),
        None => Ok(()),
    }
}

/// Checks the frame size against the least side.
pub(super) fn check_size(backbone: &'static str, size: [usize; 2], least: usize) -> Result<(), BackboneConfigError> {
    match size.iter().any(|&side| side < least) {
        true => Err(BackboneConfigError::FramesTooSmall { backbone, size, least }),
        false => Ok(()),
    }
}

/// Checks drop probabilities against the number that the network has.
pub(super) fn check_dropout(probabilities: &[f64], expected: usize) -> Result<(), BackboneConfigError> {
    if probabilities.len() != expected {
        return Err(BackboneConfigError::DropoutCount { expected, found: probabilities.len() });
    }
    match probabilities.iter().find(|p| !(0.0..1.0).contains(*p)) {
        Some(&p) => Err(BackboneConfigError::DropoutRange(p)),
        None => Ok(()),
    }
}
