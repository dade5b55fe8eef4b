//! Building the CUDA backend without a network.
//!
//! The crate `cubecl-cuda` depends on `cubecl-llvm`, whose build script downloads LLVM. Where NVRTC
//! compiles the kernels, LLVM is never called, so a stub takes its place:
//! `third-party/cubecl-llvm-stub`, by a patch on Cargo's command line. Cargo writes the effect of a
//! patch into `Cargo.lock`, and that of the workspace must stay as it is. The patched build
//! therefore happens in a workspace of links, `target/nvrtc`, with a copy of the lock file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo::root;

/// The parts of the workspace that a build reads.
const PARTS: [&str; 5] = ["Cargo.toml", "crates", "tests", "xtask", "third-party"];

/// Makes the workspace of links and returns its folder.
///
/// # Errors
///
/// If it cannot be written, as on systems without symbolic links.
pub(crate) fn workspace() -> Result<PathBuf> {
    let root = root()?;
    let folder = root.join("target/nvrtc");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for part in PARTS {
        let link = folder.join(part);
        if link.symlink_metadata().is_err() {
            symlink(&root.join(part), &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
    }
    // Copied each time: the patch changed the copy.
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
    Ok(folder)
}

/// Cargo's arguments for the patch.
pub(crate) fn patch() -> Result<[OsString; 2]> {
    let stub = root()?.join("third-party/cubecl-llvm-stub");
    // Basic strings of TOML escape backslashes and quotes.
    let path = stub.to_string_lossy().replace('\\', r"\\").replace('"', "\\\"");
    Ok(["--config".into(), format!("patch.crates-io.cubecl-llvm.path=\"{path}\"").into()])
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
    fn links_only_existing_parts() {
        for part in PARTS {
            assert!(root().unwrap().join(part).exists(), "{part}");
        }
    }

    /// Cargo takes a patch only if it has the version that the lock file names.
    #[test]
    fn patches_with_a_stub_of_the_locked_version() {
        let [_, patch] = patch().unwrap();
        let patch = patch.to_string_lossy().into_owned();
        let stub = patch.strip_prefix("patch.crates-io.cubecl-llvm.path=\"").and_then(|path| path.strip_suffix('"'));
        let manifest = std::fs::read_to_string(Path::new(stub.expect("a patch")).join("Cargo.toml")).unwrap();
        let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
        let lock = std::fs::read_to_string(root().unwrap().join("Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"cubecl-llvm\"\nversion = {version}\n")), "{version}");
    }
}
