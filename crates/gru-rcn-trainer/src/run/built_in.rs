//! Models that come with the program: finished runs without what only training needs.
//!
//! Their files lie in `assets/models`, and their recipes are built in under the same names. How both
//! were trained is in `docs/watch.md`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::dir::RunDir;
use crate::output::note;
use crate::recipe::{self, Recipe};

/// A model and the files of its run, but for the recipe.
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! packed {
    ($name:literal: $($file:literal),+) => {
        BuiltIn { name: $name, files: &[$(($file, include_bytes!(concat!("../../assets/models/", $name, "/", $file)))),+] }
    };
}

/// All of them; the first is used where there is no run.
pub(crate) const MODELS: &[BuiltIn] = &[
    packed!("fights": "run.json", "clips.json", "model.safetensors"),
    packed!("actions": "run.json", "model.safetensors"),
];

/// The CNN of all.
const CNN: &[u8] = include_bytes!("../../assets/models/squeezenet.safetensors");

impl BuiltIn {
    /// The model that a value of `--run` names. A folder of this name comes first, after a line that
    /// says so.
    pub(crate) fn named(run: &Path) -> Option<&'static Self> {
        let model = MODELS.iter().find(|model| run == Path::new(model.name))?;
        if run.is_dir() {
            note!("run: the folder {0}, not the built-in model {0}", model.name);
            return None;
        }
        Some(model)
    }

    /// Its run, in a folder that exists as long as the value lives. A line says what the model knows.
    pub(crate) fn open(&self) -> Result<RunDir> {
        let folder = tempfile::Builder::new().prefix("gru-rcn-").tempdir();
        let folder = folder.context("there is no place for the files of a built-in model")?;
        let dir = RunDir::of_built_in(self.name, folder);
        let own = self.files.iter().map(|(file, bytes)| (dir.root().join(file), *bytes));
        for (path, bytes) in own.chain([(dir.backbone(), CNN)]) {
            fs::write(&path, bytes).with_context(|| format!("could not write {}", path.display()))?;
        }
        let (recipe, card): (Recipe, _) = (recipe::load(self.name, &[])?, dir.card()?);
        dir.write_recipe(&recipe)?;
        let test = card.systems.first().map_or(String::new(), |system| {
            format!(" Right on {} of {} test clips.", system.test.top1_line().trim(), system.test.clips)
        });
        note!("model: {}, built in. {} Classes: {}.{test}", self.name, recipe.about, card.classes.join(", "));
        Ok(dir)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The list is that of `sha256sum` in the folder of the models.
    #[test]
    fn files_are_as_listed_and_below_6_mb() {
        let of_model = |model: &'static BuiltIn| {
            model.files.iter().map(|(file, content)| (format!("{}/{file}", model.name), *content))
        };
        let files = MODELS.iter().flat_map(of_model).chain([("squeezenet.safetensors".into(), CNN)]);
        let (mut list, mut bytes) = (Vec::new(), 0);
        for (file, content) in files {
            let sum: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            list.push(format!("{sum}  {file}"));
            bytes += content.len();
        }
        let mut listed: Vec<&str> = include_str!("../../assets/models/SHA256SUMS").lines().collect();
        list.sort_unstable();
        listed.sort_unstable();
        assert_eq!(list, listed);
        assert!(bytes < 6_000_000, "{bytes}");
    }

    #[test]
    fn the_folder_goes_with_the_run() {
        for model in MODELS {
            let dir = model.open().unwrap();
            let root = dir.root().to_owned();
            assert_eq!(dir.clone().to_string(), format!("the built-in model {}", model.name));
            assert!(dir.backbone().is_file() && dir.model().is_file() && dir.read_recipe().is_ok());
            drop(dir);
            assert!(!root.exists());
        }
    }
}
