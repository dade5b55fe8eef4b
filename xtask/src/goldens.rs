//! The reference numbers that tests compare with, computed again.
//!
//! Every script in `tests/peers` writes the goldens of one subject with PyTorch. They need
//! `python3` with `torch`, `safetensors` and `numpy`; tests need none of it, because the goldens
//! are part of the repository.

use crate::cargo::{exit_code, root, run};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Runs every script in the order of their names; stops at the first that fails.
pub(crate) fn run_scripts() -> Result<ExitCode> {
    for script in scripts()? {
        let status = run(Command::new("python3").current_dir(root()).arg(script))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The scripts, relative to the root. Names beginning with `_` are shared parts, not scripts.
fn scripts() -> Result<Vec<PathBuf>> {
    let folder = root().join("tests/peers");
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
    let mut scripts = Vec::new();
    for entry in entries {
        let name = PathBuf::from(entry?.file_name());
        let shared = name.to_string_lossy().starts_with('_');
        if name.extension().is_some_and(|e| e == "py") && !shared {
            scripts.push(PathBuf::from("tests/peers").join(name));
        }
    }
    scripts.sort();
    ensure!(!scripts.is_empty(), "no scripts in {}", folder.display());
    Ok(scripts)
}
