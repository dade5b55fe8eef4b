//! Loading recipes: from a file or by a built-in name, with changes from the command line.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use gru_rcn_data::base::read_text;
use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::DataSection;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../recipes/", $name, ".toml")))),*]
    };
}

/// Name and text of the recipes that come with the program.
pub(crate) const BUILT_IN: [(&str, &str); 28] = built_in![
    "motion",
    "motion-tiny",
    "actions",
    "fights",
    "folder",
    "egogestar",
    "egogestar-flow",
    "fight-surv",
    "fight-surv-flow",
    "ucf101/rgb",
    "ucf101/flow",
    "ucf101/very-deep",
    "ucf101/very-deep-flow",
    "ucf101/two-stream",
    "ucf101/two-stream-flow",
    "ucf101/lrcn",
    "ucf101/lrcn-flow",
    "ucf101/composite-lstm",
    "ucf101/composite-lstm-flow",
    "ucf101/pooling",
    "ucf101/lstm-stack",
    "ucf101/single-frame",
    "ucf101/early-fusion",
    "ucf101/late-fusion",
    "ucf101/slow-fusion",
    "ucf101/c3d",
    "table1/rgb",
    "table1/flow",
];

/// Name and text of the recipes that come with the program and train captioners.
pub(crate) const CAPTIONING: [(&str, &str); 5] =
    built_in!["motion-captions", "msvd/vgg16", "msvd/gru-rcn", "msvd/googlenet", "msvd/googlenet-gru-rcn"];

/// A kind of recipe.
pub(crate) trait RecipeKind: Serialize + DeserializeOwned {
    /// Whether its runs caption videos; all others classify them.
    const CAPTIONS: bool;

    /// Its name, and its clips.
    fn data(&mut self) -> (&str, &mut DataSection);

    /// Whether other runs may need the percepts or features that its run computes.
    fn shares_percepts(&self) -> bool;

    /// The recipe with defaults that depend on other keys.
    fn resolved(self) -> Self;

    /// Checks what the types cannot.
    fn validate(&self) -> Result<()>;
}

/// Whether a recipe by built-in name or path trains a captioner.
pub(crate) fn captions(name: &str) -> Result<bool> {
    Ok(text_captions(&text_of(name)?))
}

/// Whether the text of a recipe has the section that only captioners have. Text that is not TOML has none;
/// the error comes when it is parsed.
pub(crate) fn text_captions(text: &str) -> bool {
    toml::from_str::<Table>(text).is_ok_and(|table| table.contains_key("decoder"))
}

/// Loads a recipe by built-in name or path and applies changes of the form `a.b=c`.
pub(crate) fn load<R: RecipeKind>(name: &str, changes: &[String]) -> Result<R> {
    parse_as(&text_of(name)?, changes).with_context(|| format!("recipe {name}"))
}

/// A recipe of classifiers with changes.
#[cfg(test)]
pub(crate) fn changed(name: &str, changes: &[&str]) -> Result<super::Recipe> {
    load(name, &changes.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn text_of(name: &str) -> Result<String> {
    let built_in = BUILT_IN.iter().chain(&CAPTIONING);
    Ok(match built_in.clone().find(|(known, _)| *known == name) {
        Some((_, text)) => (*text).to_string(),
        None if Path::new(name).is_file() => read_text(Path::new(name)).context("could not read the recipe")?,
        None => {
            let known: Vec<&str> = built_in.map(|(known, _)| *known).collect();
            if let Some(now) = known.iter().find(|known| run_name(known) == name) {
                bail!("{name}: this built-in recipe is called {now}");
            }
            bail!("{name}: no such recipe file, and no built-in recipe; those are {}", known.join(", "))
        }
    })
}

/// The key `name` of a built-in recipe, after which the folders of its runs are named.
fn run_name(built_in: &str) -> String {
    built_in.replace('/', "-")
}

/// Parses a recipe and applies changes of the form `a.b=c`.
pub(crate) fn parse_as<R: RecipeKind>(text: &str, changes: &[String]) -> Result<R> {
    match (R::CAPTIONS, text_captions(text)) {
        (false, true) => bail!("this recipe trains a captioner, and recipes of classifiers are asked for here"),
        (true, false) => bail!("this recipe trains no captioner: it has no section [decoder]"),
        _ => {}
    }
    let mut table: Table = toml::from_str(text).context("not valid TOML")?;
    let changes: Vec<Change> = changes.iter().map(|change| Change::parse(change)).collect::<Result<_>>()?;
    for change in &changes {
        change.apply(&mut table)?;
    }
    for change in &changes {
        change.keep_length(&mut table, &changes);
    }
    // Parsed from text, so that an error names line and key; from the original text if there are no
    // changes.
    let read: Result<R, _> = match &changes[..] {
        [] => toml::from_str(text),
        _ => toml::from_str(&toml::to_string(&table)?),
    };
    let off: Vec<&Change> = changes.iter().filter(|change| change.value.is_none()).collect();
    let lacks = |error: &toml::de::Error, key: &str| error.message() == format!("missing field `{key}`");
    let recipe = match read {
        Ok(recipe) => recipe.resolved(),
        Err(error) => match off.iter().find(|change| lacks(&error, change.key)) {
            Some(change) => return Err(error).context(format!("--set {}", change.text)),
            None => return Err(error.into()),
        },
    };
    off.into_iter().try_for_each(|change| change.check_off(&table, &recipe))?;
    recipe.validate()?;
    Ok(recipe)
}

/// A resolved recipe as TOML.
pub(crate) fn to_toml(recipe: &impl RecipeKind) -> Result<String> {
    toml::to_string(recipe).context("could not write the recipe as TOML")
}

/// Most parts of a key and most bytes of a change: far more than any recipe needs, and few enough
/// for everything that walks over nested tables.
const MOST_PARTS: usize = 16;
const MOST_BYTES: usize = 4096;

/// A change of one key: `a.b=c`, where `c` is a TOML value, or a bare string if it is not valid TOML.
struct Change<'a> {
    text: &'a str,
    /// Sections from the outermost in.
    sections: Vec<&'a str>,
    key: &'a str,
    /// Nothing for `none`, which switches a section or key off.
    value: Option<Value>,
}

impl<'a> Change<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        if text.len() > MOST_BYTES {
            let start: String = text.chars().take(40).collect();
            bail!("--set {start}…: this has {} bytes, more than {MOST_BYTES}; write it into a recipe file", text.len());
        }
        let (path, value) =
            text.split_once('=').ok_or_else(|| anyhow!("--set {text}: expected KEY=VALUE, e.g. training.batch=32"))?;
        let mut keys: Vec<&str> = path.trim().split('.').collect();
        if keys.iter().any(|key| key.is_empty()) {
            bail!("--set {text}: the key has an empty part");
        }
        if keys.len() > MOST_PARTS {
            let (first, parts) = (keys[0], keys.len());
            bail!("--set {first}.…: the key has {parts} parts; a recipe has no key of more than {MOST_PARTS}");
        }
        let parsed = toml::from_str::<Table>(&format!("v = {value}")).ok().and_then(|mut parsed| parsed.remove("v"));
        let value = (value.trim() != "none").then(|| parsed.unwrap_or_else(|| Value::String(value.to_string())));
        let key = keys.pop().expect("a split string has a part");
        Ok(Self { text, sections: keys, key, value })
    }

    /// The section of the key, which is made if it is not there.
    fn section<'t>(&self, table: &'t mut Table) -> Result<&'t mut Table> {
        let mut at = table;
        for key in &self.sections {
            let entry = at.entry((*key).to_string()).or_insert_with(|| Value::Table(Table::new()));
            at = entry.as_table_mut().ok_or_else(|| anyhow!("--set {}: {key} is a value, not a section", self.text))?;
        }
        Ok(at)
    }

    fn apply(&self, table: &mut Table) -> Result<()> {
        match &self.value {
            Some(value) => drop(self.section(table)?.insert(self.key.to_string(), value.clone())),
            // A section that is not there is not made for the key that is to go.
            None if self.lookup(table).is_none() => {}
            None => drop(self.section(table)?.remove(self.key)),
        }
        Ok(())
    }

    /// A length that is given by `epochs` or `steps` is exact: it removes the recipe's `min_steps` beside it,
    /// unless that is given as well.
    fn keep_length(&self, table: &mut Table, all: &[Self]) {
        let least = "min_steps";
        let given = all.iter().any(|other| other.key == least && other.sections == self.sections);
        if ["epochs", "steps"].contains(&self.key)
            && self.value.is_some()
            && !given
            && let Ok(section) = self.section(table)
        {
            section.remove(least);
        }
    }

    /// Checks that a key which was switched off is known and has no default in its place.
    fn check_off<R: RecipeKind>(&self, table: &Table, recipe: &R) -> Result<()> {
        let resolved = Table::try_from(recipe).context("could not write the recipe as TOML")?;
        if let Some(default) = self.lookup(&resolved) {
            bail!("--set {}: this key cannot be switched off; without it, it is {default}", self.text);
        }
        // A key with a value of the wrong kind is another error than an unknown one.
        let mut probed = table.clone();
        self.section(&mut probed)?.insert(self.key.to_string(), Value::Boolean(true));
        match toml::from_str::<R>(&toml::to_string(&probed)?) {
            Err(error) if error.message().contains("unknown field") => {
                Err(error).context(format!("--set {}", self.text))
            }
            _ => Ok(()),
        }
    }

    /// The value of the key, if the table has it.
    fn lookup<'t>(&self, table: &'t Table) -> Option<&'t Value> {
        self.sections.iter().try_fold(table, |at, key| at.get(*key)?.as_table())?.get(self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use gru_rcn::percepts::NormRule;
    use gru_rcn_data::{CropRule, TestViews};

    use super::*;
    use crate::recipe::{CaptionRecipe, Recipe, SelectWeights};

    #[test]
    fn every_built_in_recipe_is_valid_and_survives_a_round_trip() {
        fn check<R: RecipeKind + PartialEq + Debug>((name, text): (&str, &str)) {
            let mut recipe: R = parse_as(text, &[]).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!(recipe.data().0, run_name(name));
            assert_eq!(parse_as::<R>(&to_toml(&recipe).unwrap(), &[]).unwrap(), recipe, "{name}");
        }
        BUILT_IN.into_iter().for_each(check::<Recipe>);
        CAPTIONING.into_iter().for_each(check::<CaptionRecipe>);
    }

    #[test]
    fn a_name_of_before_is_told_the_new_one() {
        let error = changed("ucf101-rgb", &[]).unwrap_err().to_string();
        assert_eq!(error, "ucf101-rgb: this built-in recipe is called ucf101/rgb");
    }

    /// The paper's rules: 250 views, all 16 pairs of crop sizes, and percepts that keep what does not move.
    #[test]
    fn the_papers_recipes_follow_it_where_it_decides() {
        for name in ["ucf101/rgb", "ucf101/flow"] {
            let recipe = changed(name, &[]).unwrap();
            assert_eq!(recipe.views(), TestViews::paper(), "{name}");
            assert_eq!(recipe.clip.crop, CropRule::paper(), "{name}");
            assert_eq!(recipe.model.norm.rule, NormRule::Scale, "{name}");
            assert_eq!(recipe.backbone.finetune.unwrap().training.keep, SelectWeights::Last, "{name}");
            assert_eq!(recipe.training.keep, SelectWeights::Best, "{name}");
        }
    }

    /// The recipe for folders fits every network, by the two topmost levels.
    #[test]
    fn taps_follow_the_network() {
        for (network, taps) in [
            ("squeezenet", ["pool8", "fire9"]),
            ("efficientnet-lite0", ["stage5", "stage7"]),
            ("vgg16", ["pool5", "fc7"]),
            ("googlenet", ["inception5b", "pool5"]),
        ] {
            let recipe = changed("folder", &[&format!("backbone.network={network}")]).unwrap();
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
            let recipe = changed("motion-tiny", &["model.finetune_backbone=true", &others]).unwrap();
            (recipe.baselines.systems(), recipe.uses_percepts())
        };
        assert_eq!(systems("[]"), (vec![], false));
        assert_eq!(systems("['conv_pooling', 'frame', 'conv_pooling']"), (vec![ConvPooling, Frame], true));
    }

    #[test]
    fn changes_and_numbers_without_measure_are_refused() {
        let refused = |change: &str, words: &str| {
            let message = format!("{:#}", changed("motion", &[change]).unwrap_err());
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
            changed("motion", &[&format!("{seed}=9223372036854775807")]).unwrap();
        }
    }

    #[test]
    fn changes_reach_their_keys() {
        let changes = ["training.batch=7", "model.norm.rule=scale", "model.norm.gain=0.5", "seed=9"];
        let recipe = changed("motion", &changes).unwrap();
        assert_eq!((recipe.training.batch, recipe.seed), (7, 9));
        assert_eq!(recipe.model.norm.rule, NormRule::Scale);
        assert_eq!(recipe.model.norm.gain, 0.5);
    }

    #[test]
    fn sections_and_keys_are_switched_off_by_none() {
        assert!(changed("ucf101/rgb", &[]).unwrap().backbone.finetune.is_some());
        assert!(changed("ucf101/rgb", &["backbone.finetune=none"]).unwrap().backbone.finetune.is_none());
        assert!(changed("fight-surv", &["refit = none"]).unwrap().refit.is_none());
        // Off twice, and off where it was never on.
        assert!(changed("folder", &["refit=none", "refit=none"]).unwrap().refit.is_none());
        assert!(changed("folder", &["backbone.finetune.training.steps=none"]).unwrap().backbone.finetune.is_none());
        assert_eq!(changed("folder", &["training.clip_norm=none"]).unwrap().training.clip_norm, None);
        assert_eq!(changed("folder", &["baselines.top_rnn=none"]).unwrap().baselines.top_rnn, None);
        let refused = |change: &str, words: &str| {
            let error = format!("{:#}", changed("folder", &[change]).unwrap_err());
            assert!(error.contains(words) && error.contains(change.split('.').next_back().unwrap()), "{error}");
        };
        refused("training.patience=none", "cannot be switched off; without it, it is 10");
        refused("backbone.taps=none", "cannot be switched off");
        refused("backbone.finetun=none", "unknown field `finetun`");
        refused("backbone.finetune.trainin=none", "unknown field `trainin`");
        refused("refitt=none", "unknown field `refitt`");
        refused("model.form=none", "missing field `form`");
        let error = format!("{:#}", changed("fight-surv", &["refit=none", "training.batch=many"]).unwrap_err());
        assert!(error.contains("many") && !error.contains("refit=none"), "{error}");
    }

    /// The recipe's least number of steps is for a length that nobody chose.
    #[test]
    fn a_given_length_replaces_the_least_number_of_steps() {
        let least = |changes: &[&str]| changed("folder", changes).unwrap().training.min_steps;
        assert_eq!(least(&[]), Some(300));
        assert_eq!(least(&["training.batch=4"]), Some(300));
        assert_eq!(least(&["training.epochs=2"]), None);
        assert_eq!(least(&["training.steps=20"]), None);
        assert_eq!(least(&["training.min_steps=7", "training.epochs=2"]), Some(7));
        assert_eq!(least(&["training.min_steps=none"]), None);
        for name in ["motion", "motion-tiny", "ucf101/rgb", "ucf101/flow"] {
            let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap();
            assert!(!text.contains("min_steps"), "{name} keeps its numbers");
        }
    }
}
