//! The reference numbers of the tests, computed again.
//!
//! Every script in `tests/peers` writes the goldens of one subject with PyTorch. The scripts need
//! `python3` with `torch`, `safetensors` and `numpy`. The tests need none of these, because the
//! goldens are part of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{root, run};

const FOLDER: &str = "tests/peers";

/// Runs the scripts in the order of their names, up to the first that fails.
pub(crate) fn goldens() -> Result<()> {
    let root = root()?;
    for script in scripts(&root)? {
        run(Command::new("python3").current_dir(&root).arg(script))?;
    }
    Ok(())
}

/// The scripts, relative to the root. Names that begin with `_` are modules that scripts share.
fn scripts(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join(FOLDER);
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
    let mut scripts = Vec::new();
    for entry in entries {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|e| e == "py") && !name.to_string_lossy().starts_with('_') {
            scripts.push(Path::new(FOLDER).join(name));
        }
    }
    scripts.sort();
    ensure!(!scripts.is_empty(), "no scripts in {}", folder.display());
    Ok(scripts)
}
