//! Why a compared system cannot be built.

/// Why a system cannot be built as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// Nothing is left of a frame after the last layer.
    #[error("frames of {}x{} pixels are too small for {system}; {}x{} are its own size", size[0], size[1], own[0], own[1])]
    FramesTooSmall {
        /// The system.
        system: &'static str,
        /// Height and width asked for.
        size: [usize; 2],
        /// Height and width in the authors' network.
        own: [usize; 2],
    },
    /// The system takes clips of another number of frames.
    #[error("{system} takes clips of {expected} frames, not of {frames}")]
    Frames {
        /// The system.
        system: &'static str,
        /// Frames asked for.
        frames: usize,
        /// Frames that it takes.
        expected: usize,
    },
    /// A count of channels, classes, units or frames is zero.
    #[error("{system} with zero {what} cannot be built")]
    Zero {
        /// The system.
        system: &'static str,
        /// What is zero.
        what: &'static str,
    },
    /// Channels cannot be divided into groups.
    #[error("{system}: {channels} channels cannot be divided into {groups} groups")]
    Groups {
        /// The system.
        system: &'static str,
        /// Channels of a layer.
        channels: usize,
        /// Its groups.
        groups: usize,
    },
    /// The network under the system cannot be built.
    #[error(transparent)]
    Backbone(#[from] crate::backbone::BackboneConfigError),
}

/// Refuses a system with a count of zero, or with a layer of no channels or units.
pub(super) fn no_zeros<'a>(
    system: &'static str,
    counts: &[(&'static str, usize)],
    widths: impl IntoIterator<Item = &'a usize>,
) -> Result<(), BaselineError> {
    let widths = widths.into_iter().map(|&width| ("channels or units", width));
    match counts.iter().copied().chain(widths).find(|&(_, count)| count == 0) {
        Some((what, _)) => Err(BaselineError::Zero { system, what }),
        None => Ok(()),
    }
}
