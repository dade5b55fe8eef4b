//! What can be wrong with a backbone's configuration.

/// Why a backbone cannot be built as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneConfigError {
    /// A tap was asked for that the backbone does not have.
    #[error("{backbone} has no tap \"{name}\"; it has {}", known.join(", "))]
    UnknownTap {
        /// The backbone.
        backbone: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// There is nothing to hand over.
    #[error("{backbone} without a tap gives no percepts; it has {}", known.join(", "))]
    NoTaps {
        /// The backbone.
        backbone: &'static str,
        /// The names there are.
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
}

/// Checks tap names against those there are, and the frame size against the least.
pub(super) fn check(
    backbone: &'static str,
    asked: &[String],
    known: &[String],
    size: [usize; 2],
    least: usize,
) -> Result<(), BackboneConfigError> {
    if asked.is_empty() {
        return Err(BackboneConfigError::NoTaps { backbone, known: known.to_vec() });
    }
    if let Some(name) = asked.iter().find(|name| !known.contains(name)) {
        return Err(BackboneConfigError::UnknownTap { backbone, name: name.clone(), known: known.to_vec() });
    }
    if size.iter().any(|&side| side < least) {
        return Err(BackboneConfigError::FramesTooSmall { backbone, size, least });
    }
    Ok(())
}
