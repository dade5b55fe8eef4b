//! The error type of the crate.

use std::path::PathBuf;

use thiserror::Error;

/// An invalid input, or a failure to read or write.
#[derive(Debug, Error)]
pub enum FlowError {
    /// A buffer with the wrong number of values.
    #[error("{what} of {width}x{height} needs {expected} values, not {found}")]
    Length {
        /// The buffer.
        what: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Images or flows that differ in size.
    #[error("{what} differ in size: {}x{} and {}x{}", first.0, first.1, second.0, second.1)]
    Sizes {
        /// What differs in size.
        what: &'static str,
        /// Width and height of the first.
        first: (usize, usize),
        /// Width and height of the second.
        second: (usize, usize),
    },
    /// An image too small for optical flow.
    #[error("an image of {width}x{height} is too small: both sides need at least {least} pixels")]
    TooSmall {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Least number of columns and of rows.
        least: usize,
    },
    /// NaN or an infinity where a number is needed.
    #[error("an image has values that are not finite")]
    NotFinite,
    /// A setting outside its range.
    #[error("{setting} = {value}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        reason: &'static str,
    },
    /// Data that are not a `.flo` file.
    #[error("not a .flo file: {reason}")]
    BadFlo {
        /// The reason.
        reason: String,
    },
    /// Reading from or writing to a stream failed.
    #[error("a stream of flow: {source}")]
    Stream {
        /// The cause.
        source: std::io::Error,
    },
    /// Reading or writing a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Fails for a setting outside its range.
pub(crate) fn ensure(
    ok: bool,
    setting: &'static str,
    value: impl std::fmt::Display,
    reason: &'static str,
) -> Result<(), FlowError> {
    if ok { Ok(()) } else { Err(FlowError::Setting { setting, value: value.to_string(), reason }) }
}
