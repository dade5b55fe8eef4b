//! Recipe, data, classes, precision and Burn's version: they must be the same for a run to be resumed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use gru_rcn_data::base::Fnv64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::card::RunCard;
use super::dir::{RunDir, read_json, write_json};
use crate::recipe::{Recipe, RecipeKind, leaves};

/// Keys of a recipe that may change when a run is resumed: they say where things are and how fast
/// they are read, and have no influence on what is learnt.
const FREE: [&str; 8] = [
    "about",
    "meteor",
    "data.folder.root",
    "data.folder.validation_root",
    "backbone.weights",
    "features.workers",
    "features.queue_mib",
    "features.max_mib",
];

/// Such keys in every section on training: when to save, and which faults are tolerated.
const FREE_IN_TRAINING: [&str; 4] = ["checkpoint_steps", "checkpoint_minutes", "nonfinite", "max_bad_fraction"];

/// Everything about a run that its checkpoints depend on.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct RunFingerprint {
    /// Version of Burn; checkpoints hold its optimizers and records.
    pub(crate) burn: String,
    pub(crate) data: String,
    /// Names of the classes, in the order of the labels.
    pub(crate) classes: Vec<String>,
    pub(crate) recipe: Value,
    /// Precision of convolutions and gates; unknown for runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dtype: Option<String>,
}

impl RunFingerprint {
    pub(crate) fn new(recipe: &impl RecipeKind, card: &RunCard) -> Result<Self> {
        Ok(Self {
            burn: card.burn.clone(),
            data: card.data.fingerprint.clone(),
            classes: card.classes.clone(),
            recipe: serde_json::to_value(recipe).context("could not write the recipe as JSON")?,
            dtype: Some(card.dtype.clone()),
        })
    }

    /// A hash of the recipe, for people to compare runs by.
    pub(crate) fn recipe_hash(&self) -> String {
        let keys = keys_that_matter(&self.recipe);
        let text: String = keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        format!("{:016x}", Fnv64::default().bytes(text.as_bytes()).finish())
    }

    /// Why this run cannot resume from a state with the fingerprint `saved`; `None` if it can.
    pub(crate) fn obstacle(&self, saved: &Self) -> Option<String> {
        // An earlier version may have written other names of the same keys.
        let resolved = serde_json::from_value::<Recipe>(saved.recipe.clone()).map(Recipe::resolved);
        let resolved = resolved.and_then(serde_json::to_value);
        let saved_recipe = resolved.unwrap_or_else(|_| saved.recipe.clone());
        let (now, then) = (keys_that_matter(&self.recipe), keys_that_matter(&saved_recipe));
        let mut changed: Vec<String> = Vec::new();
        for key in now.keys().chain(then.keys().filter(|key| !now.contains_key(*key))) {
            let value = |keys: &BTreeMap<String, String>| keys.get(key).cloned().unwrap_or_else(|| "not set".into());
            if now.get(key) != then.get(key) {
                changed.push(format!("{key} was {} and is {}", value(&then), value(&now)));
            }
        }
        if !changed.is_empty() {
            return Some(format!(
                "by another recipe: {}. Undo the change in recipe.toml to resume, or train anew in another folder",
                changed.join("; ")
            ));
        }
        if let (Some(now), Some(then)) = (&self.dtype, &saved.dtype)
            && now != then
        {
            return Some(format!(
                "with --dtype {then}, and this is {now}; resume with `--dtype {then}`, or train anew in another folder"
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
                "with Burn {}, and this program has Burn {}, whose optimizers may differ; resume with the program that \
                 made it, or train anew in another folder",
                saved.burn, self.burn
            ));
        }
        None
    }

    /// An error if a run folder has another fingerprint.
    pub(crate) fn check(&self, dir: &RunDir) -> Result<()> {
        if let Some(saved) = read_json::<Self>(&dir.fingerprint())?
            && let Some(obstacle) = self.obstacle(&saved)
        {
            bail!("{dir} was started {obstacle}");
        }
        Ok(())
    }

    /// Writes the fingerprint into a new run folder. An error if the folder has another one.
    pub(crate) fn claim(&self, dir: &RunDir) -> Result<()> {
        self.check(dir)?;
        write_json(&dir.fingerprint(), self)
    }
}

/// The values of a recipe by their dotted keys, without the keys that are free to change.
fn keys_that_matter(recipe: &Value) -> BTreeMap<String, String> {
    let leaves = leaves(recipe).into_iter().map(|(key, value)| (key, value.to_string()));
    // A free key may hold a table, as `nonfinite` does; all keys below it are free as well.
    let free = |key: &str| FREE.contains(&key) || key.split('.').any(|part| FREE_IN_TRAINING.contains(&part));
    leaves.filter(|(key, _)| !free(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::changed;

    fn fingerprint(changes: &[&str]) -> RunFingerprint {
        let recipe = changed("motion", changes).unwrap();
        RunFingerprint {
            burn: "0.22.1".into(),
            data: "abc".into(),
            classes: vec!["a".into()],
            recipe: serde_json::to_value(recipe).unwrap(),
            dtype: Some("f32".into()),
        }
    }

    #[test]
    fn the_precision_may_not_change_where_it_is_known() {
        let with = |dtype: Option<&str>| RunFingerprint { dtype: dtype.map(String::from), ..fingerprint(&[]) };
        let obstacle = with(Some("f32")).obstacle(&with(Some("bf16"))).unwrap();
        assert!(obstacle.contains("resume with `--dtype bf16`"), "{obstacle}");
        for (now, then) in [(Some("bf16"), Some("bf16")), (Some("bf16"), None), (None, Some("bf16"))] {
            assert_eq!(with(now).obstacle(&with(then)), None);
        }
    }

    #[test]
    fn changed_keys_are_named() {
        let obstacle = |changes: &[&str]| fingerprint(changes).obstacle(&fingerprint(&[])).unwrap_or_default();
        let said = obstacle(&["training.batch=7", "backbone.pretrain.epochs=3"]);
        assert!(said.contains("training.batch was 64 and is 7"), "{said}");
        assert!(said.contains("backbone.pretrain.epochs was 9 and is 3"), "{said}");
        assert!(obstacle(&["training.steps=5"]).contains("training.steps was not set and is 5"));
        assert!(
            fingerprint(&[]).obstacle(&fingerprint(&["training.steps=5"])).unwrap().contains("was 5 and is not set")
        );
        assert_ne!(fingerprint(&["seed=2"]).recipe_hash(), fingerprint(&[]).recipe_hash());
    }

    #[test]
    fn free_keys_may_change() {
        let changes = [
            "training.checkpoint_steps=9",
            "backbone.pretrain.checkpoint_minutes=1",
            "training.nonfinite={ skip = 3 }",
            "training.max_bad_fraction=0.5",
            "features.workers=4",
            "about=x",
        ];
        assert_eq!(fingerprint(&changes).obstacle(&fingerprint(&[])), None);
        assert_eq!(fingerprint(&changes).recipe_hash(), fingerprint(&[]).recipe_hash());
    }
}
