//! The section that says how systems are trained.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{check_below_one, check_not_negative, check_positive};

/// How gradients become steps.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OptimizerName {
    /// Adam.
    #[default]
    Adam,
    /// Gradient descent with momentum.
    Sgd,
    /// Adadelta, which finds its own step sizes; its authors' learning rate is 1.
    Adadelta,
}

/// How the learning rate falls.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Schedule {
    /// From epoch to epoch along half a cosine, to `final_lr_factor`.
    #[default]
    Cosine,
    /// By a factor every N steps.
    Step {
        /// Steps between two falls.
        every: u64,
        /// What the rate is multiplied with then.
        factor: f64,
    },
}

/// What happens to a step whose loss or gradients are not finite. It is never taken.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Nonfinite {
    /// The run stops.
    #[default]
    Stop,
    /// Up to this many are skipped in one training; the next one stops the run.
    Skip(u64),
}

/// Which weights of a training are its result.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SelectWeights {
    /// Those of the epoch with the best validation log-probability.
    #[default]
    Best,
    /// Those after the last step, whatever validation says. Nothing stops such a training early.
    Last,
}

/// How much clips count in the loss, by their classes. Weights are scaled such that their mean over the
/// training clips is 1, so that they leave the learning rate what it was.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "kebab-case", expecting = "expected `none`, `auto` or a table of weights by class")]
pub(crate) enum ClassWeights {
    /// All alike.
    #[default]
    None,
    /// Inversely to how frequent the class is: N / (K n) for a class of n of the N clips of K classes.
    Auto,
    /// The weights of these classes; of the others 1.
    #[serde(untagged)]
    ByClass(BTreeMap<String, f64>),
}

impl ClassWeights {
    /// The weight of each class, for training clips of the classes `targets`; nothing where all are alike.
    pub(crate) fn of(&self, classes: &[String], targets: &[usize]) -> Option<Vec<f32>> {
        let clips = |class| targets.iter().filter(|&&target| target == class).count() as f64;
        let weights: Vec<f64> = match self {
            Self::None => return None,
            // A class without clips is not looked at.
            Self::Auto => (0..classes.len()).map(|class| 1.0 / clips(class).max(1.0)).collect(),
            Self::ByClass(weights) => classes.iter().map(|class| *weights.get(class).unwrap_or(&1.0)).collect(),
        };
        let mean = targets.iter().map(|&class| weights[class]).sum::<f64>() / targets.len() as f64;
        Some(weights.into_iter().map(|weight| (weight / mean) as f32).collect())
    }
}

/// Which clips an epoch is made of.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sampling {
    /// Every clip once, in an order drawn anew.
    #[default]
    Shuffled,
    /// As many clips, the classes equally frequent.
    Balanced,
}

/// How systems are trained.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TrainingSection {
    /// Most epochs.
    pub(crate) epochs: usize,
    /// Steps after which training ends, in place of `epochs`; the last epoch may be cut short by
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<u64>,
    /// Least number of steps. Where `epochs` hold fewer, training has more epochs, and it does not
    /// stop early before. It is for sets so small that an epoch is a few steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_steps: Option<u64>,
    /// Clips of a micro-batch, which are computed together; 64 in the paper.
    pub(crate) batch: usize,
    /// Micro-batches whose gradients are averaged, over their clips, into one step.
    pub(crate) accumulate: usize,
    /// How much clips count in the loss, by their classes.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) class_weights: ClassWeights,
    /// Which clips an epoch is made of.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) sampling: Sampling,
    /// The optimizer.
    pub(crate) optimizer: OptimizerName,
    /// Momentum of `sgd`; Adam has its own.
    pub(crate) momentum: f64,
    /// The learning rate.
    pub(crate) learning_rate: f64,
    /// Factor of the learning rate for biases; 2 in much of the field's fine-tuning.
    #[serde(alias = "bias_learning_rate")]
    pub(crate) bias_lr_factor: f64,
    /// How the learning rate falls.
    pub(crate) schedule: Schedule,
    /// Factor of the learning rate at the last epoch, along a half cosine; 1 keeps it constant.
    #[serde(alias = "final_learning_rate")]
    pub(crate) final_lr_factor: f64,
    /// Which weights are kept.
    pub(crate) keep: SelectWeights,
    /// Stop after this many epochs without a better validation log-probability; with `keep = "best"`
    /// only.
    pub(crate) patience: usize,
    /// Largest norm of all gradients together; they are not clipped if not given.
    #[serde(deserialize_with = "zero_is_none", skip_serializing_if = "Option::is_none")]
    pub(crate) clip_norm: Option<f32>,
    /// L2 penalty: this factor times the weights is added to their gradients after clipping. Biases
    /// have none.
    pub(crate) weight_decay: f32,
    /// What happens to a step whose loss or gradients are not finite.
    pub(crate) nonfinite: Nonfinite,
    /// Largest share of the training clips that may be skipped because they cannot be read.
    pub(crate) max_bad_fraction: f64,
    /// Save every N steps; by the minutes alone if not given. Every epoch is saved in any case.
    #[serde(deserialize_with = "zero_is_none", skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint_steps: Option<u64>,
    /// Save when this many minutes have passed since the last time; in a file, 0 is never.
    #[serde(deserialize_with = "zero_is_none", serialize_with = "none_is_zero")]
    pub(crate) checkpoint_minutes: Option<f64>,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            epochs: 100,
            steps: None,
            min_steps: None,
            batch: 64,
            accumulate: 1,
            class_weights: ClassWeights::default(),
            sampling: Sampling::default(),
            optimizer: OptimizerName::default(),
            momentum: 0.9,
            learning_rate: 1e-3,
            bias_lr_factor: 1.0,
            schedule: Schedule::default(),
            final_lr_factor: 1.0,
            keep: SelectWeights::default(),
            patience: 10,
            clip_norm: None,
            weight_decay: 0.0,
            nonfinite: Nonfinite::default(),
            max_bad_fraction: 0.0,
            checkpoint_steps: None,
            checkpoint_minutes: Some(5.0),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a number that earlier versions wrote as 0 where there was none.
pub(super) fn zero_is_none<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.filter(|value| *value != T::default()))
}

/// Writes 0 for a number that is not there but has a default.
pub(super) fn none_is_zero<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + Default + Copy,
    S: Serializer,
{
    value.unwrap_or_default().serialize(serializer)
}

impl TrainingSection {
    /// `section` is its name in the recipe.
    pub(super) fn validate(&self, section: &str) -> Result<()> {
        ensure!(self.epochs > 0, "{section}.epochs is 0; train at least one");
        ensure!(self.steps != Some(0), "{section}.steps is 0; take at least one, or remove the key");
        if let (Some(steps), Some(least)) = (self.steps, self.min_steps) {
            ensure!(least <= steps, "{section}.min_steps is {least}, more than {section}.steps = {steps}");
        }
        ensure!(self.batch > 0, "{section}.batch is 0; a step needs at least one clip");
        ensure!(self.accumulate > 0, "{section}.accumulate is 0; a step needs at least one batch");
        ensure!(self.patience > 0, "{section}.patience is 0; wait at least one epoch");
        let positive = [("learning_rate", self.learning_rate), ("bias_lr_factor", self.bias_lr_factor)];
        for (key, value) in positive {
            check_positive(&format!("{section}.{key}"), value)?;
        }
        for (key, value) in [("momentum", self.momentum), ("max_bad_fraction", self.max_bad_fraction)] {
            check_below_one(&format!("{section}.{key}"), value)?;
        }
        ensure!(
            self.final_lr_factor > 0.0 && self.final_lr_factor <= 1.0,
            "{section}.final_lr_factor is {}, it must be above 0 and at most 1",
            self.final_lr_factor
        );
        if let Schedule::Step { every, factor } = self.schedule {
            ensure!(
                every > 0 && factor > 0.0 && factor <= 1.0,
                "{section}.schedule falls every {every} steps by the factor {factor}; the steps must be at least 1, \
                 the factor above 0 and at most 1"
            );
            ensure!(
                self.final_lr_factor == 1.0,
                "{section}.final_lr_factor belongs to the cosine; remove it with schedule = {{ step = … }}"
            );
        }
        check_not_negative(&format!("{section}.weight_decay"), self.weight_decay)?;
        ensure!(
            self.weight_decay == 0.0 || self.optimizer != OptimizerName::Adadelta,
            "{section}.weight_decay is {}; adadelta has none here, remove it or take another optimizer",
            self.weight_decay
        );
        if let Some(norm) = self.clip_norm {
            ensure!(norm > 0.0, "{section}.clip_norm is {norm}, it cannot be negative");
        }
        if let ClassWeights::ByClass(weights) = &self.class_weights
            && let Some((class, weight)) = weights.iter().find(|(_, weight)| !(**weight > 0.0 && weight.is_finite()))
        {
            bail!("{section}.class_weights has {weight} for {class:?}, it must be positive");
        }
        ensure!(
            self.class_weights != ClassWeights::Auto || self.sampling != Sampling::Balanced,
            "{section}.sampling = \"balanced\" makes all classes equally frequent, and {section}.class_weights = \"auto\" \
             would count rare ones twice; remove one of the two"
        );
        if let Some(minutes) = self.checkpoint_minutes {
            check_not_negative(&format!("{section}.checkpoint_minutes"), minutes)?;
        }
        Ok(())
    }

    /// An error if classes are told apart here, for a training `of` something that knows none.
    pub(super) fn refuse_classes(&self, section: &str, of: &str) -> Result<()> {
        let weights = (!is_default(&self.class_weights)).then_some("class_weights");
        if let Some(key) = weights.or((!is_default(&self.sampling)).then_some("sampling")) {
            bail!("{section}.{key} is about the classes of clips, and {of} has no part in it; remove the key");
        }
        Ok(())
    }

    /// An error if a weight is of a class that is not one of these.
    pub(crate) fn check_classes(&self, section: &str, classes: &[String]) -> Result<()> {
        let ClassWeights::ByClass(weights) = &self.class_weights else { return Ok(()) };
        let Some(unknown) = weights.keys().find(|class| !classes.contains(class)) else { return Ok(()) };
        let nearest = classes.iter().min_by_key(|class| strsim::damerau_levenshtein(unknown, class));
        let nearest = nearest.map(|class| format!("; the nearest name is {class:?}")).unwrap_or_default();
        bail!("{section}.class_weights names {unknown:?}, which is no class of the clips{nearest}")
    }

    /// Numbers that the optimizer keeps of every weight.
    pub(crate) fn moments(&self) -> usize {
        match self.optimizer {
            OptimizerName::Adam | OptimizerName::Adadelta => 2,
            OptimizerName::Sgd => usize::from(self.momentum > 0.0),
        }
    }

    /// Steps of an epoch over `clips` clips.
    pub(crate) fn steps_per_epoch(&self, clips: usize) -> usize {
        clips.div_ceil(self.batch).div_ceil(self.accumulate)
    }

    /// Most epochs over `clips` clips, whether the recipe counts epochs or steps.
    pub(crate) fn most_epochs(&self, clips: usize) -> usize {
        let epochs_of =
            |steps: u64| usize::try_from(steps).unwrap_or(usize::MAX).div_ceil(self.steps_per_epoch(clips).max(1));
        self.steps.map_or_else(|| self.epochs.max(epochs_of(self.min_steps.unwrap_or(0))), epochs_of)
    }

    /// Whether training ends after `steps` steps if `waited` epochs have brought nothing better.
    pub(crate) fn is_patience_over(&self, waited: usize, steps: u64) -> bool {
        waited >= self.patience && steps >= self.min_steps.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten clips in batches of 4 are 3 batches, in pairs 2 steps; 5 steps reach into the third
    /// epoch.
    #[test]
    fn steps_and_epochs() {
        let training = TrainingSection { batch: 4, accumulate: 2, steps: Some(5), ..Default::default() };
        assert_eq!((training.steps_per_epoch(10), training.most_epochs(10)), (2, 3));
        assert_eq!(TrainingSection { steps: None, ..training }.most_epochs(10), 100);
    }

    /// 24 clips in batches of 16 are 2 steps an epoch: 90 steps are 45 epochs, and patience of 15
    /// epochs ends nothing before them. On 160 clips the 40 epochs are 400 steps, which suffice.
    #[test]
    fn a_least_number_of_steps_extends_epochs_and_patience() {
        let training =
            TrainingSection { epochs: 40, batch: 16, patience: 15, min_steps: Some(90), ..Default::default() };
        assert_eq!((training.most_epochs(24), training.most_epochs(160)), (45, 40));
        assert!(!training.is_patience_over(15, 32) && !training.is_patience_over(14, 90));
        assert!(training.is_patience_over(15, 90));
        assert!(TrainingSection { min_steps: None, ..training.clone() }.is_patience_over(15, 32));
        let error = TrainingSection { steps: Some(89), ..training }.validate("training").unwrap_err().to_string();
        assert!(error.contains("training.min_steps is 90, more than training.steps = 89"), "{error}");
    }

    #[test]
    fn the_forms_of_the_keys() {
        let parse = |text: &str| toml::from_str::<TrainingSection>(text);
        assert_eq!(parse("").unwrap(), TrainingSection::default());
        let text = "schedule = { step = { every = 4000, factor = 0.1 } }\nnonfinite = { skip = 3 }\noptimizer = \"sgd\"\n\
             keep = \"last\"";
        let section = parse(text).unwrap();
        assert_eq!(section.schedule, Schedule::Step { every: 4000, factor: 0.1 });
        assert_eq!(section.nonfinite, Nonfinite::Skip(3));
        assert_eq!((section.optimizer, section.keep), (OptimizerName::Sgd, SelectWeights::Last));
        assert_eq!(parse(&toml::to_string(&section).unwrap()).unwrap(), section);
        assert!(parse("schedule = { step = { every = 1, by = 2 } }").is_err());
        let unknown = parse("keep = \"first\"").unwrap_err().to_string();
        assert!(unknown.contains("`best` or `last`"), "{unknown}");
    }

    /// 20 clips of a class and 2 of another: 22 / (2 · 20) = 0.55 and 22 / (2 · 2) = 5.5, of mean
    /// (20 · 0.55 + 2 · 5.5) / 22 = 1. The weight 3 of the second and 1 of the first have the mean
    /// (20 + 6) / 22 = 13/11.
    #[test]
    fn class_weights_by_hand() {
        let (classes, targets) = (["calm", "fight"].map(str::to_owned), [[0; 20].to_vec(), vec![1; 2]].concat());
        let of = |text: &str| {
            let section: TrainingSection = toml::from_str(text).unwrap();
            assert_eq!(toml::from_str::<TrainingSection>(&toml::to_string(&section).unwrap()).unwrap(), section);
            section.validate("training").unwrap();
            section.class_weights.of(&classes, &targets)
        };
        assert_eq!((of(""), of("class_weights = \"none\"")), (None, None));
        assert_eq!(of("class_weights = \"auto\""), Some(vec![0.55, 5.5]));
        assert_eq!(of("class_weights = { fight = 3 }"), Some(vec![(11.0 / 13.0) as f32, (33.0 / 13.0) as f32]));
        let message = |text: &str| match toml::from_str::<TrainingSection>(text) {
            Ok(section) => section.validate("training").and(section.check_classes("training", &classes)).unwrap_err(),
            Err(error) => error.into(),
        };
        let refused = |text: &str, words: &str| {
            let message = message(text).to_string();
            assert!(message.contains(words), "{message}");
        };
        refused(
            "class_weights = { figth = 3 }",
            "names \"figth\", which is no class of the clips; the nearest name is \"fight\"",
        );
        refused("class_weights = { fight = 0 }", "training.class_weights has 0 for \"fight\"");
        refused("class_weights = \"rare\"", "`none`, `auto` or a table");
        refused("class_weights = \"auto\"\nsampling = \"balanced\"", "rare ones twice");
    }

    /// Recipes of runs that were made before.
    #[test]
    fn earlier_names_and_zeros_are_read() {
        let parse = |text: &str| toml::from_str::<TrainingSection>(text).unwrap();
        let before =
            parse("bias_learning_rate = 2.0\nfinal_learning_rate = 0.1\nclip_norm = 0.0\ncheckpoint_minutes = 0");
        assert_eq!((before.bias_lr_factor, before.final_lr_factor), (2.0, 0.1));
        assert_eq!((before.clip_norm, before.checkpoint_minutes), (None, None));
        assert_eq!(parse(&toml::to_string(&before).unwrap()), before);
    }

    #[test]
    fn mistakes_are_named() {
        let message = |section: TrainingSection| section.validate("training").unwrap_err().to_string();
        let base = TrainingSection::default;
        assert!(message(TrainingSection { accumulate: 0, ..base() }).contains("training.accumulate"));
        assert!(message(TrainingSection { momentum: 1.0, ..base() }).contains("training.momentum"));
        assert!(message(TrainingSection { bias_lr_factor: 0.0, ..base() }).contains("bias_lr_factor"));
        assert!(message(TrainingSection { max_bad_fraction: 1.0, ..base() }).contains("max_bad_fraction"));
        let schedule = Schedule::Step { every: 0, factor: 0.1 };
        assert!(message(TrainingSection { schedule, ..base() }).contains("training.schedule"));
        let schedule = Schedule::Step { every: 9, factor: 0.1 };
        assert!(message(TrainingSection { schedule, final_lr_factor: 0.5, ..base() }).contains("cosine"));
    }
}
