//! Recipes: one TOML file per experiment.
//!
//! Every key is listed here with its meaning; an unknown key is an error. `--set a.b=c` changes one key, and the recipe
//! as resolved is saved with the run.

mod captioning;
mod load;
mod sections;
pub(crate) mod seed;
mod training;

pub(crate) use captioning::{CaptionRecipe, CnnEncoder, DecoderSection, EncoderSection, Select};
#[cfg(test)]
pub(crate) use load::changed;
pub(crate) use load::{RecipeKind, captions, load, parse_as, text_captions, to_toml};
pub(crate) use sections::{
    BackboneSection, BaselinesSection, CompositeSection, DataSection, EvaluationSection, FeaturesSection,
    FinetuneSection, ModelSection, NormSection, RefitSection, SvmSection,
};
#[cfg(test)]
pub(crate) use training::ClassWeights;
pub(crate) use training::{Nonfinite, OptimizerName, Sampling, Schedule, SelectWeights, TrainingSection};

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::{Context, Result, bail, ensure};
use gru_rcn::baselines::PixelOptions;
use gru_rcn_data::{ClipPlanner, TestViews};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One experiment.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Its name; runs are kept in a folder of that name.
    pub(crate) name: String,
    /// What it is, for the report.
    #[serde(default)]
    pub(crate) about: String,
    /// Seed of everything random: initial weights, order, augmentation, dropout.
    #[serde(default)]
    pub(crate) seed: u64,
    /// The clips.
    pub(crate) data: DataSection,
    /// Which frames and which part of them a clip is made of.
    pub(crate) clip: ClipPlanner,
    /// The CNN.
    pub(crate) backbone: BackboneSection,
    /// How its percepts are computed and kept.
    #[serde(default)]
    pub(crate) features: FeaturesSection,
    /// The recurrent model.
    pub(crate) model: ModelSection,
    /// Its training.
    #[serde(default)]
    pub(crate) training: TrainingSection,
    /// Whether systems are trained again on the validation clips too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refit: Option<RefitSection>,
    /// How test clips are scored.
    #[serde(default)]
    pub(crate) evaluation: EvaluationSection,
    /// The systems that it is compared with.
    #[serde(default)]
    pub(crate) baselines: BaselinesSection,
}

/// Largest whole number of a recipe, seeds apart.
const MOST: u64 = 1 << 40;

/// Largest value of a key of [`SIZES`].
const MOST_OF_SIZES: u64 = 1 << 20;

/// Keys of numbers that are multiplied with other sizes.
const SIZES: [&str; 18] = [
    "accumulate",
    "batch",
    "beam",
    "context",
    "copies",
    "embedding",
    "epochs",
    "frames",
    "future",
    "hidden",
    "kernel_size",
    "max_distort",
    "max_length",
    "pretrain_frames",
    "segments",
    "starts",
    "top_rnn",
    "validate_every",
];

/// The values of a recipe by their dotted keys; a list is one value.
pub(crate) fn leaves(recipe: &Value) -> BTreeMap<String, &Value> {
    fn walk<'a>(path: &str, value: &'a Value, leaves: &mut BTreeMap<String, &'a Value>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (key, value) in members {
                    walk(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, leaves);
                }
            }
            leaf => {
                leaves.insert(path.to_string(), leaf);
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk("", recipe, &mut leaves);
    leaves
}

/// Refuses whole numbers so large that a size could not be computed from them.
fn check_numbers(recipe: &impl Serialize) -> Result<()> {
    let recipe = serde_json::to_value(recipe).context("could not write the recipe as JSON")?;
    for (path, value) in leaves(&recipe) {
        let key = path.rsplit('.').next().unwrap_or_default();
        let most = if SIZES.contains(&key) { MOST_OF_SIZES } else { MOST };
        let numbers = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if let Some(number) = numbers.iter().filter_map(Value::as_u64).find(|&number| number > most && key != "seed") {
            bail!("{path} has {number}; at most {most} is possible");
        }
    }
    Ok(())
}

/// Refuses a value that is not positive.
fn check_positive(key: &str, value: f64) -> Result<()> {
    ensure!(value > 0.0 && value.is_finite(), "{key} is {value}, it must be positive");
    Ok(())
}

/// Refuses a negative value.
fn check_not_negative<F: Into<f64> + Copy + Display>(key: &str, value: F) -> Result<()> {
    ensure!((0.0..f64::INFINITY).contains(&value.into()), "{key} is {value}, it cannot be negative");
    Ok(())
}

/// Refuses a value that is not from 0 to below 1, such as a drop probability of 1.
fn check_below_one(key: &str, value: f64) -> Result<()> {
    ensure!((0.0..1.0).contains(&value), "{key} is {value}, it must be from 0 to below 1");
    Ok(())
}

/// Refuses a name by which the folders of runs cannot be named.
fn check_name(name: &str) -> Result<()> {
    ensure!(
        name.starts_with(char::is_alphanumeric) && !name.contains(['/', '\\', '\0']),
        "name is {name:?}; it begins with a letter or a digit and holds no slashes"
    );
    Ok(())
}

impl Recipe {
    /// Names of the levels that are recurred over, bottom up.
    pub(crate) fn level_names(&self) -> Vec<String> {
        self.model.level_names(&self.backbone.taps).to_vec()
    }

    /// Their positions among the taps.
    pub(crate) fn levels(&self) -> Vec<usize> {
        let (taps, names) = (&self.backbone.taps, self.model.level_names(&self.backbone.taps));
        (0..taps.len()).filter(|&tap| names.contains(&taps[tap])).collect()
    }

    /// The views by which test clips are scored; without mirror images where the labels do not allow them.
    pub(crate) fn views(&self) -> TestViews {
        self.evaluation.views.allowed(self.clip.flip)
    }

    /// A rule of views in words, and why there are no mirror images, if they were requested.
    pub(crate) fn describe_views(&self, rule: TestViews) -> String {
        let (starts, crops) = (rule.starts, rule.crops.count());
        let without = match self.clip.flip {
            true => "",
            false => ", no mirror images since clip.flip is off",
        };
        format!("{} views each, {starts} starts of {crops} crops{without}", rule.count())
    }

    /// Whether any system takes in the percepts of the frozen CNN: all but a GRU-RCN that is trained
    /// together with it, and networks of their own.
    pub(crate) fn uses_percepts(&self) -> bool {
        let gru_rcn = self.model.train && !self.model.finetune_backbone;
        gru_rcn || self.baselines.systems().iter().any(|baseline| !baseline.takes_pixels())
    }

    /// Whether the CNN is needed: by a system, or as one, where it is fine-tuned.
    pub(crate) fn uses_cnn(&self) -> bool {
        self.model.train || self.uses_percepts() || self.backbone.finetune.is_some()
    }

    /// What baselines on pixels are built from.
    pub(crate) fn pixel_options(&self, classes: usize) -> PixelOptions {
        PixelOptions {
            num_classes: classes,
            in_channels: self.clip.modality.channels(),
            frames: self.clip.temporal.frames(),
            input_size: self.clip.input_size,
            width: self.baselines.width(),
            dropout: self.baselines.dropout,
        }
    }

    /// How systems are trained again on all clips, if they are.
    pub(crate) fn refit_training(&self) -> Option<TrainingSection> {
        let RefitSection { epochs } = *self.refit.as_ref()?;
        Some(TrainingSection { epochs, steps: None, keep: SelectWeights::Last, ..self.training.clone() })
    }

    /// An error if a section names a class that is not one of these.
    pub(crate) fn check_classes(&self, classes: &[String]) -> Result<()> {
        self.training.check_classes("training", classes)?;
        let finetune = self.backbone.finetune.as_ref();
        finetune.map_or(Ok(()), |finetune| finetune.training.check_classes("backbone.finetune.training", classes))
    }
}

impl RecipeKind for Recipe {
    const CAPTIONS: bool = false;

    fn data(&mut self) -> (&str, &mut DataSection) {
        (&self.name, &mut self.data)
    }

    /// Other runs have no use for the percepts of a CNN that this run trains.
    fn shares_percepts(&self) -> bool {
        self.backbone.pretrain.is_none() && self.backbone.finetune.is_none()
    }

    /// Besides, it puts what earlier versions wrote into today's words.
    fn resolved(mut self) -> Self {
        self.backbone.name_taps(self.clip.input_size);
        self.model.name_levels(&self.backbone.taps);
        self
    }

    fn validate(&self) -> Result<()> {
        check_numbers(self)?;
        check_name(&self.name)?;
        self.clip.validate()?;
        self.backbone.validate()?;
        let workers = self.features.workers;
        ensure!(workers <= 1024, "features.workers is {workers}; at most 1024 threads read clips");
        self.model.validate(&self.backbone.taps)?;
        let variants = self.baselines.variants();
        if self.model.finetune_backbone
            && let Some((key, has)) = variants
        {
            bail!("model.finetune_backbone trains the CNN, but {key} {has} of a frozen one; remove one of the two");
        }
        if !self.model.train {
            ensure!(
                !self.baselines.systems().is_empty() || self.backbone.finetune.is_some(),
                "model.train = false leaves nothing to train; name a system in baselines.others, fine-tune the CNN by \
                 backbone.finetune, or train the model"
            );
            let joint = self.model.finetune_backbone.then_some("model.finetune_backbone");
            if let Some(key) = joint.or(variants.map(|(key, _)| key)) {
                bail!("{key} is about GRU-RCN, which model.train = false does not train; remove one of the two");
            }
        }
        if let Some(form) = self.baselines.forms.iter().find(|form| **form == self.model.form) {
            bail!("baselines.forms has {form}, which is model.form; name the others");
        }
        self.training.validate("training")?;
        if let Some(refit) = &self.refit {
            ensure!(refit.epochs > 0, "refit.epochs is 0; train at least one, or remove refit");
            ensure!(
                !self.model.finetune_backbone,
                "refit is for systems on a frozen CNN, model.finetune_backbone trains it; remove one of the two"
            );
        }
        if self.baselines.c3d_svm.is_some() {
            self.training.refuse_classes("training", "the linear SVM of baselines.c3d_svm")?;
        }
        self.evaluation.views.validate()?;
        self.baselines.validate()
    }
}
