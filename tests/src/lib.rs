//! Shared code of the tests of the whole project: films made by FFmpeg, the contents of safetensors
//! files, maps over generated clips, and the path of real data that is not part of this project.

pub mod explained;
pub mod films;
pub mod long;
pub mod tensors;

use std::io::Write;
use std::path::PathBuf;

/// The environment variable that names the folder of real data.
pub const DATA_VARIABLE: &str = "GRU_RCN_TEST_DATA";

/// A part of the real data, such as `ucf101`. If the variable is not set, prints that `test` is
/// skipped and returns `None`. If it is set, the part must be there.
pub fn test_data(test: &str, part: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()) else {
        // Bypasses the capture of the test harness, which hides the output of passing tests.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: set {DATA_VARIABLE} to a folder that holds {part}");
        return None;
    };
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
