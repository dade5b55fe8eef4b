//! A recipe's data section to a list of clips.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gru_rcn_data::{Dataset, DecoderKind, FolderOptions, QUARANTINE};

use crate::recipe::{DataSection, FolderSection, Recipe};

/// Lists the clips of a recipe.
pub fn dataset(recipe: &Recipe) -> Result<Dataset> {
    match &recipe.data {
        DataSection::Motion(config) => Ok(config.dataset()?),
        DataSection::Folder(section) => {
            if section.root.as_os_str().is_empty() {
                bail!("the recipe {} needs the folder of its clips: give it with --data DIR", recipe.name);
            }
            Ok(Dataset::from_folder(&options(section))?)
        }
    }
}

fn options(section: &FolderSection) -> FolderOptions {
    FolderOptions {
        root: section.root.clone(),
        train_list: section.train_list.clone(),
        validation_list: section.validation_list.clone(),
        test_list: section.test_list.clone(),
        groups: section.groups.clone(),
        quarantine: quarantine(section),
        validation_fraction: section.validation_fraction,
        test_fraction: section.test_fraction,
        seed: section.seed,
    }
}

/// The recipe's list of clips to leave out, or the one that `verify --quarantine` wrote into the folder.
fn quarantine(section: &FolderSection) -> Option<PathBuf> {
    let found = section.root.join(QUARANTINE);
    section.quarantine.clone().or_else(|| found.is_file().then_some(found))
}

/// Puts a folder given on the command line into the recipe, as an absolute path, so that the run can be used from anywhere.
pub fn set_root(recipe: &mut Recipe, root: &Path) -> Result<()> {
    match &mut recipe.data {
        DataSection::Motion(_) => {
            bail!("the recipe {} generates its clips, --data has no meaning for it; try `train folder`", recipe.name)
        }
        DataSection::Folder(section) => {
            section.root = absolute(root);
            Ok(())
        }
    }
}

/// Puts a decoder named on the command line into the recipe, so that the run goes on with it.
pub fn set_decoder(recipe: &mut Recipe, decoder: Option<DecoderKind>) -> Result<()> {
    let Some(decoder) = decoder else { return Ok(()) };
    match &mut recipe.data {
        DataSection::Motion(_) => {
            bail!("the recipe {} generates its clips, --decoder has no meaning for it; try `train folder`", recipe.name)
        }
        DataSection::Folder(section) => {
            section.decoder = decoder;
            Ok(())
        }
    }
}

/// The path made absolute, unchanged if that fails.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
