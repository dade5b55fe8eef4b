//! From the name of a recipe, with changes of the command line, to its clips.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::tensor::{Device, FloatDType};
use gru_rcn_data::{DataError, Dataset, FolderOptions, QUARANTINE};

use crate::percepts::{ClipLoader, SkippedClips};
use crate::recipe::{self, DataSection, Recipe, RecipeKind, TrainingSection};
use crate::run::dir::RunDir;

/// The clips of a run, and how they are read.
pub(crate) struct Clips {
    pub(crate) dataset: Dataset,
    /// Reads clips; one that cannot be read is an error.
    pub(crate) loader: ClipLoader,
    /// Training clips that could not be read, by stage.
    skipped: RefCell<Vec<Arc<SkippedClips>>>,
    /// Test clips that could not be read.
    failed: OnceCell<Arc<SkippedClips>>,
}

impl Clips {
    pub(crate) fn of_recipe(recipe: &Recipe, device: &Device, dtype: FloatDType) -> Result<Self> {
        let loader = ClipLoader::new(recipe, device, dtype);
        Ok(Self { dataset: dataset(recipe)?, loader, skipped: RefCell::default(), failed: OnceCell::new() })
    }

    /// Reads the clips of a training stage; of those that cannot be read it skips what the recipe
    /// allows.
    pub(crate) fn training_loader(&self, dir: &RunDir, training: &TrainingSection) -> ClipLoader {
        let clips = self.dataset.train.len();
        let skipped = Arc::new(SkippedClips::new(dir.quarantine(), clips, training.max_bad_fraction));
        self.skipped.borrow_mut().push(skipped.clone());
        self.loader.skipping(&skipped)
    }

    /// Reads the test clips. One that cannot be read is skipped and recorded: after hours of training it
    /// must not cost the results of the others.
    pub(crate) fn test_loader(&self, dir: &RunDir) -> ClipLoader {
        let new = || Arc::new(SkippedClips::new(dir.quarantine(), self.dataset.test.len(), 1.0));
        self.loader.skipping(self.failed.get_or_init(new))
    }

    /// Names of the test clips that could not be read, sorted.
    pub(crate) fn failed(&self) -> Vec<String> {
        self.failed.get().map(|failed| failed.names()).unwrap_or_default()
    }

    /// Names of the training clips that could not be read, sorted.
    pub(crate) fn skipped(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.skipped.borrow().iter().flat_map(|stage| stage.names()).collect();
        names.into_iter().collect()
    }
}

pub(crate) fn dataset(recipe: &Recipe) -> Result<Dataset> {
    dataset_of(&recipe.name, &recipe.data, Dataset::from_folder)
}

/// The clips of a recipe of this name; `read` makes them of a folder.
pub(crate) fn dataset_of(
    recipe: &str,
    data: &DataSection,
    read: impl FnOnce(&FolderOptions) -> Result<Dataset, DataError>,
) -> Result<Dataset> {
    match data {
        DataSection::Motion(config) => Ok(config.dataset()?),
        DataSection::Folder(section) => {
            if section.root.as_os_str().is_empty() {
                bail!("the recipe {recipe} needs the folder of its clips: give it with --data DIR");
            }
            // Without a list of clips to skip, the one that `verify --quarantine` wrote is used.
            let found = section.root.join(QUARANTINE);
            let quarantine = section.quarantine.clone().or_else(|| found.is_file().then_some(found));
            Ok(read(&FolderOptions { quarantine, ..section.clone() })?)
        }
    }
}

/// A recipe with the values of the command line, its paths absolute.
pub(crate) fn resolve(name: &str, set: &[String], root: Option<&Path>, weights: Option<&Path>) -> Result<Recipe> {
    let mut recipe: Recipe = recipe::load(name, set)?;
    place(&mut recipe, root)?;
    if let Some(weights) = weights {
        recipe.backbone.weights = Some(absolute(weights));
        recipe.backbone.pretrain = None;
    }
    recipe.backbone.weights = recipe.backbone.weights.map(|weights| absolute(&weights));
    if let Some(folder) = &recipe.features.from {
        bail!("features.from is a key of earlier versions; remove it and give `--percepts {}`", folder.display());
    }
    if recipe.uses_cnn() && recipe.backbone.weights.is_none() && recipe.backbone.pretrain.is_none() {
        bail!(
            "the recipe {} needs pretrained weights of its CNN, in torchvision's layout: give them with --weights FILE",
            recipe.name
        );
    }
    if let Some(weights) = recipe.backbone.weights.as_ref().filter(|weights| !weights.exists()) {
        bail!("{}: no such weight file", weights.display());
    }
    Ok(recipe)
}

/// Makes the folder of the clips an absolute path: the one given on the command line, if there is one.
pub(crate) fn place(recipe: &mut impl RecipeKind, root: Option<&Path>) -> Result<()> {
    match recipe.data() {
        (name, DataSection::Motion(_)) if root.is_some() => {
            bail!("the recipe {name} generates its clips, --data has no meaning for it; try `train folder`")
        }
        (_, DataSection::Motion(_)) => {}
        (_, DataSection::Folder(section)) => section.root = absolute(root.unwrap_or(&section.root)),
    }
    Ok(())
}

/// The path made absolute, unchanged if that fails.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
