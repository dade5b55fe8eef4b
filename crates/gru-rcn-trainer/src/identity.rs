//! What must be the same for a run to go on: recipe, data, classes and Burn's version.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{CHECKSUM_START, checksum};
use crate::recipe::Recipe;
use crate::run_card::RunCard;
use crate::run_dir::RunDir;

/// Keys of a recipe that may change between the pieces of a run: they say where things are and how fast they are read, and
/// have no part in what is learnt.
const FREE: [&str; 6] =
    ["about", "data.folder.root", "backbone.weights", "features.workers", "features.queue_mib", "features.max_mib"];

/// The same of every section on training: what is saved, and what is put up with.
const FREE_IN_TRAINING: [&str; 4] = ["checkpoint_steps", "checkpoint_minutes", "nonfinite", "max_bad_fraction"];

/// Its place in a run folder.
const FILE: &str = "checkpoints/identity.json";

/// What a run is, as far as its checkpoints depend on it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Version of Burn, whose optimizers and records they hold.
    pub burn: String,
    /// Fingerprint of the data set.
    pub data: String,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// The recipe as resolved.
    pub recipe: Value,
}

impl Identity {
    /// Of a run.
    pub fn new(recipe: &Recipe, card: &RunCard) -> Result<Self> {
        Ok(Self {
            burn: card.burn.clone(),
            data: card.data.fingerprint.clone(),
            classes: card.classes.clone(),
            recipe: serde_json::to_value(recipe).context("could not write the recipe as JSON")?,
        })
    }

    /// One number that is the same for the same recipe, for people to compare runs by.
    pub fn recipe_hash(&self) -> String {
        let keys = keys_that_matter(&self.recipe);
        let text: String = keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        format!("{:016x}", checksum(CHECKSUM_START, text.as_bytes()))
    }

    /// What keeps a run of this kind from going on from something of that kind, said of it, or nothing.
    pub fn obstacle(&self, saved: &Self) -> Option<String> {
        let (now, then) = (keys_that_matter(&self.recipe), keys_that_matter(&saved.recipe));
        let mut changed: Vec<String> = Vec::new();
        for key in now.keys().chain(then.keys().filter(|key| !now.contains_key(*key))) {
            let said = |keys: &BTreeMap<String, String>| keys.get(key).cloned().unwrap_or_else(|| "not set".into());
            if now.get(key) != then.get(key) {
                changed.push(format!("{key} was {} and is {}", said(&then), said(&now)));
            }
        }
        if !changed.is_empty() {
            return Some(format!(
                "by another recipe: {}. Undo the change in recipe.toml to go on, or train anew in another folder",
                changed.join("; ")
            ));
        }
        if self.classes != saved.classes {
            return Some(format!("for other classes: {}", saved.classes.join(", ")));
        }
        if self.data != saved.data {
            return Some(format!("on other clips ({} then, {} now)", saved.data, self.data));
        }
        if self.burn != saved.burn {
            return Some(format!(
                "with Burn {}, and this program has Burn {}, whose optimizers may differ; go on with the program that it \
                 was made by, or train anew in another folder",
                saved.burn, self.burn
            ));
        }
        None
    }

    /// Refuses a run folder that belongs to something else, and marks one that does not yet belong to anything.
    pub fn claim(&self, dir: &RunDir) -> Result<()> {
        if let Ok(text) = dir.read(FILE) {
            let saved: Self =
                serde_json::from_str(&text).with_context(|| format!("{} cannot be read", dir.path(FILE).display()))?;
            if let Some(obstacle) = self.obstacle(&saved) {
                bail!("{} was started {obstacle}", dir.root().display());
            }
        }
        dir.write_json(FILE, self)
    }
}

/// The leaves of a recipe by their dotted keys, without those that are free to change.
fn keys_that_matter(recipe: &Value) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, leaves: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (key, value) in members {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&path, value, leaves);
                }
            }
            leaf => {
                leaves.insert(path.to_string(), leaf.to_string());
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk("", recipe, &mut leaves);
    // A free key may hold a table, as `nonfinite` does; all below it is free as well.
    let free = |key: &str| FREE.contains(&key) || key.split('.').any(|part| FREE_IN_TRAINING.contains(&part));
    leaves.retain(|key, _| !free(key));
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{BUILT_IN, parse};

    fn identity(changes: &[&str]) -> Identity {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let recipe = parse(BUILT_IN[0].1, &changes).unwrap();
        Identity {
            burn: "0.22.1".into(),
            data: "abc".into(),
            classes: vec!["a".into()],
            recipe: serde_json::to_value(recipe).unwrap(),
        }
    }

    #[test]
    fn changed_keys_are_named() {
        let obstacle = |changes: &[&str]| identity(changes).obstacle(&identity(&[])).unwrap_or_default();
        let said = obstacle(&["training.batch=7", "backbone.pretrain.epochs=3"]);
        assert!(said.contains("training.batch was 64 and is 7"), "{said}");
        assert!(said.contains("backbone.pretrain.epochs was 9 and is 3"), "{said}");
        assert!(obstacle(&["training.steps=5"]).contains("training.steps was not set and is 5"));
        assert!(identity(&[]).obstacle(&identity(&["training.steps=5"])).unwrap().contains("was 5 and is not set"));
        assert_ne!(identity(&["seed=2"]).recipe_hash(), identity(&[]).recipe_hash());
    }

    #[test]
    fn some_keys_are_free() {
        let changes = [
            "training.checkpoint_steps=9",
            "backbone.pretrain.checkpoint_minutes=1",
            "training.nonfinite={ skip = 3 }",
            "training.max_bad_fraction=0.5",
            "features.workers=4",
            "about=x",
        ];
        assert_eq!(identity(&changes).obstacle(&identity(&[])), None);
        assert_eq!(identity(&changes).recipe_hash(), identity(&[]).recipe_hash());
    }

    #[test]
    fn other_data_classes_and_versions() {
        let base = identity(&[]);
        let obstacle = |other: Identity| base.obstacle(&other).unwrap();
        assert!(obstacle(Identity { data: "abd".into(), ..base.clone() }).contains("abd then, abc now"));
        assert!(obstacle(Identity { classes: vec!["b".into()], ..base.clone() }).contains("for other classes: b"));
        assert!(obstacle(Identity { burn: "0.21.0".into(), ..base.clone() }).contains("with Burn 0.21.0"));
    }
}
