//! Shared code of the tests of the whole project: films made by FFmpeg, the contents of safetensors
//! files, maps over generated clips, and the path of real data, which is not part of this project.

pub mod explained;
pub mod films;
pub mod long;
pub mod tensors;

use std::path::PathBuf;

/// The environment variable that names the folder of real data.
pub const DATA_VARIABLE: &str = "GRU_RCN_TEST_DATA";

/// Returns from the test that calls it, and prints that it is skipped and why. The line bypasses the
/// capture of the test harness, which hides the output of passing tests.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        fn here() {}
        let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("SKIPPED {test}: {}\n", format_args!($($reason)*)),
        );
        return;
    }};
}

/// A part of the real data, such as `ucf101`. Where the variable is not set, the test that calls it is
/// skipped. Where it is set, the part must be there.
#[macro_export]
macro_rules! needs_data {
    ($part:literal) => {
        match $crate::test_data($part) {
            Some(folder) => folder,
            None => $crate::skip!("set {} to a folder that holds {}", $crate::DATA_VARIABLE, $part),
        }
    };
}

/// A part of the real data, if there is any.
///
/// # Panics
///
/// If the variable names a folder without the part.
pub fn test_data(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty())?;
    let path = PathBuf::from(root).join(part);
    assert!(path.is_dir(), "{DATA_VARIABLE} is set, but there is no folder {}", path.display());
    Some(path)
}

/// The examples of the library guide compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/library.md")]
mod library_guide {}

/// And those of the pages.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../crates/gru-rcn/README.md")]
mod pages {}
