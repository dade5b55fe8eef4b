//! Building the CUDA backend where there is no network.
//!
//! The crate `cubecl-cuda` depends on `cubecl-llvm`, whose build script downloads LLVM. Where kernels are compiled by NVRTC
//! it is never called, so a stand-in takes its place: `third-party/cubecl-llvm-stub`, by a patch on Cargo's command line.
//! Cargo writes what a patch changes into `Cargo.lock`, and the workspace's own must stay as it is; the patched build
//! therefore happens in a workspace of links, `target/nvrtc`, with a copy of the lock file.

use crate::cargo::root;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a build needs of the workspace.
const PARTS: [&str; 7] = ["Cargo.toml", "crates", "tests", "xtask", "third-party", "assets", "docs"];

/// Makes the workspace of links; returns its folder.
///
/// # Errors
///
/// When it cannot be written, or on systems without symbolic links.
pub(crate) fn workspace() -> Result<PathBuf> {
    let folder = root().join("target/nvrtc");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for part in PARTS {
        let link = folder.join(part);
        if link.symlink_metadata().is_err() {
            symlink(&root().join(part), &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
    }
    // Copied each time, so that the two never drift apart: what the patch takes out, Cargo takes out again.
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
    Ok(folder)
}

/// Cargo's arguments for the patch.
pub(crate) fn patch() -> [OsString; 2] {
    let stub = root().join("third-party/cubecl-llvm-stub");
    // TOML's basic strings escape backslashes and quotes.
    let path = stub.to_string_lossy().replace('\\', r"\\").replace('"', "\\\"");
    ["--config".into(), format!("patch.crates-io.cubecl-llvm.path=\"{path}\"").into()]
}

#[cfg(unix)]
fn symlink(original: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

#[cfg(not(unix))]
fn symlink(_original: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::Error::other("--kernel-compiler nvrtc needs a system with symbolic links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_there() {
        for part in PARTS {
            assert!(root().join(part).exists(), "{part}");
        }
    }

    #[test]
    fn the_patch_names_the_stand_in() {
        let [_, patch] = patch();
        let patch = patch.to_string_lossy();
        assert!(
            patch.starts_with("patch.crates-io.cubecl-llvm.path=\"") && patch.ends_with("cubecl-llvm-stub\""),
            "{patch}"
        );
    }

    /// The stand-in must be of the version that the lock file names, or Cargo would not take it.
    #[test]
    fn the_stand_in_is_of_the_locked_version() {
        let manifest = std::fs::read_to_string(root().join("third-party/cubecl-llvm-stub/Cargo.toml")).unwrap();
        let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
        let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"cubecl-llvm\"\nversion = {version}\n")), "{version}");
    }
}
