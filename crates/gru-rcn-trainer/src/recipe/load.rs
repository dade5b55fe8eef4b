//! Loading recipes: from a file or by a built-in name, with changes from the command line.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::{Table, Value};

use super::Recipe;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../recipes/", $name, ".toml")))),*]
    };
}

/// Name and text of the recipes that come with the program.
pub(crate) const BUILT_IN: [(&str, &str); 9] = built_in![
    "motion",
    "motion-tiny",
    "folder",
    "egogestar",
    "egogestar-flow",
    "fight-surv",
    "fight-surv-flow",
    "ucf101-rgb",
    "ucf101-flow",
];

/// Loads a recipe by built-in name or path and applies changes of the form `a.b=c`.
pub(crate) fn load(name: &str, changes: &[String]) -> Result<Recipe> {
    let text = match BUILT_IN.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => (*text).to_string(),
        None if Path::new(name).is_file() => {
            std::fs::read_to_string(name).with_context(|| format!("could not read the recipe {name}"))?
        }
        None => {
            let known: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
            bail!("{name}: no such recipe file, and no built-in recipe; those are {}", known.join(", "))
        }
    };
    parse(&text, changes).with_context(|| format!("recipe {name}"))
}

/// Parses a recipe and applies changes of the form `a.b=c`.
pub(crate) fn parse(text: &str, changes: &[String]) -> Result<Recipe> {
    let mut table: Table = toml::from_str(text).context("not valid TOML")?;
    for change in changes {
        set(&mut table, change)?;
    }
    // Parsed from text, so that an error names line and key; from the original text if there are no
    // changes.
    let recipe: Recipe = match changes {
        [] => toml::from_str(text)?,
        _ => toml::from_str(&toml::to_string(&table)?)?,
    };
    let recipe = recipe.resolved();
    recipe.validate()?;
    Ok(recipe)
}

/// A resolved recipe as TOML.
pub(crate) fn to_toml(recipe: &Recipe) -> Result<String> {
    toml::to_string(recipe).context("could not write the recipe as TOML")
}

/// Most parts of a key and most bytes of a change: far more than any recipe needs, and few enough
/// for everything that walks over nested tables.
const MOST_PARTS: usize = 16;
const MOST_BYTES: usize = 4096;

/// Sets one key: `a.b=c`, where `c` is a TOML value, or a bare string if it is not valid TOML.
fn set(table: &mut Table, change: &str) -> Result<()> {
    if change.len() > MOST_BYTES {
        let start: String = change.chars().take(40).collect();
        bail!("--set {start}…: this has {} bytes, more than {MOST_BYTES}; write it into a recipe file", change.len());
    }
    let (path, value) =
        change.split_once('=').ok_or_else(|| anyhow!("--set {change}: expected KEY=VALUE, e.g. training.batch=32"))?;
    let keys: Vec<&str> = path.trim().split('.').collect();
    if keys.iter().any(|key| key.is_empty()) {
        bail!("--set {change}: the key has an empty part");
    }
    if keys.len() > MOST_PARTS {
        bail!("--set {}.…: the key has {} parts; a recipe has no key of more than {MOST_PARTS}", keys[0], keys.len());
    }
    let value = toml::from_str::<Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_string()));
    let (last, parents) = keys.split_last().expect("a split string has a part");
    let mut at = table;
    for key in parents {
        let entry = at.entry((*key).to_string()).or_insert_with(|| Value::Table(Table::new()));
        at = entry.as_table_mut().ok_or_else(|| anyhow!("--set {change}: {key} is a value, not a section"))?;
    }
    at.insert((*last).to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_is_valid_and_survives_a_round_trip() {
        for (name, text) in BUILT_IN {
            let recipe = parse(text, &[]).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!(recipe.name, name);
            assert_eq!(parse(&to_toml(&recipe).unwrap(), &[]).unwrap(), recipe, "{name}");
        }
    }

    /// The recipe for folders fits every network, by the two topmost levels.
    #[test]
    fn taps_follow_the_network() {
        let (_, folder) = BUILT_IN.iter().find(|(name, _)| *name == "folder").unwrap();
        for (network, taps) in [
            ("squeezenet", ["pool8", "fire9"]),
            ("efficientnet-lite0", ["stage5", "stage7"]),
            ("vgg16", ["pool5", "fc7"]),
        ] {
            let recipe = parse(folder, &[format!("backbone.network={network}")]).unwrap();
            assert_eq!(recipe.backbone.taps, taps);
            assert_eq!(recipe.level_names(), taps);
        }
    }

    /// Beside a GRU-RCN that is trained with its CNN, any baseline takes in percepts of the frozen one.
    #[test]
    fn baselines_are_trained_once_and_use_percepts() {
        use gru_rcn::baselines::Baseline::{ConvPooling, Frame};
        let systems = |others: &str| {
            let others = format!("baselines={{ others = {others} }}");
            let recipe = parse(BUILT_IN[1].1, &["model.finetune_backbone=true".into(), others]).unwrap();
            (recipe.baselines.systems(), recipe.uses_percepts())
        };
        assert_eq!(systems("[]"), (vec![], false));
        assert_eq!(systems("['conv_pooling', 'frame', 'conv_pooling']"), (vec![ConvPooling, Frame], true));
    }

    #[test]
    fn changes_and_numbers_without_measure_are_refused() {
        let refused = |change: &str, words: &str| {
            let message = parse(BUILT_IN[0].1, &[change.into()]).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        };
        refused(&format!("{}=1", vec!["a"; 2000].join(".")), "2000 parts");
        refused(&format!("{}=1", vec!["a"; 16_000].join(".")), "32001 bytes");
        refused(&format!("a={}", "[".repeat(9000)), "9002 bytes");
        // Sizes that could not be computed in 64 bits.
        for key in ["features.max_mib", "features.queue_mib", "training.patience", "training.steps"] {
            refused(&format!("{key}=9223372036854775807"), &format!("{key} has 9223372036854775807"));
        }
        for key in ["features.copies", "training.batch", "training.epochs", "clip.temporal.consecutive.frames"] {
            refused(&format!("{key}=1048577"), &format!("{key} has 1048577; at most 1048576"));
        }
        refused("model.hidden=[3, 4611686018427387904]", "model.hidden has 4611686018427387904");
        refused("features.workers=5000", "features.workers");
        for seed in ["seed", "data.motion.seed"] {
            parse(BUILT_IN[0].1, &[format!("{seed}=9223372036854775807")]).unwrap();
        }
    }

    #[test]
    fn changes_reach_their_keys() {
        let changes = ["training.batch=7", "model.norm.rule=scale", "model.norm.gain=0.5", "seed=9"].map(String::from);
        let recipe = parse(BUILT_IN[0].1, &changes).unwrap();
        assert_eq!((recipe.training.batch, recipe.seed), (7, 9));
        assert_eq!(recipe.model.norm.rule, gru_rcn::percepts::NormRule::Scale);
        assert_eq!(recipe.model.norm.gain, 0.5);
    }
}
