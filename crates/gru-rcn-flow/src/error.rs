//! What can go wrong.

use std::path::PathBuf;

use thiserror::Error;

/// Errors of this crate.
#[derive(Debug, Error)]
pub enum FlowError {
    /// A buffer is not as long as its size says.
    #[error("{what} of {width}x{height} needs {expected} values, not {found}")]
    Length {
        /// What was given.
        what: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Values that the size asks for.
        expected: usize,
        /// Values that were given.
        found: usize,
    },
    /// Two things that must agree in size do not.
    #[error("{what} differ in size: {}x{} and {}x{}", first.0, first.1, second.0, second.1)]
    Sizes {
        /// What was compared.
        what: &'static str,
        /// Width and height of the first.
        first: (usize, usize),
        /// Width and height of the second.
        second: (usize, usize),
    },
    /// An image that flow cannot be computed on.
    #[error("an image of {width}x{height} is too small: both sides need at least {least} pixels")]
    TooSmall {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Least number of either.
        least: usize,
    },
    /// NaN or an infinity where a number is needed.
    #[error("{what} has values that are not finite")]
    NotFinite {
        /// What has them.
        what: &'static str,
    },
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
    /// A `.flo` file that is none.
    #[error("not a .flo file: {reason}")]
    BadFlo {
        /// Why.
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
