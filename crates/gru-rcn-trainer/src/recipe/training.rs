//! The section that says how systems are trained.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How gradients become steps.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Adam.
    #[default]
    Adam,
    /// Gradient descent with momentum.
    Sgd,
}

/// How the learning rate falls.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// From epoch to epoch along half a cosine, to `final_learning_rate`.
    #[default]
    Cosine,
    /// By a factor every so many steps.
    Step {
        /// Steps between two falls.
        every: u64,
        /// What the rate is multiplied with then.
        factor: f64,
    },
}

/// What becomes of a step whose loss or gradients are not finite. It is never taken.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Nonfinite {
    /// The run stops.
    #[default]
    Stop,
    /// So many of them are left out in one training; the next one stops the run.
    Skip(u64),
}

/// How systems are trained.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TrainingSection {
    /// Most epochs.
    #[serde(default = "hundred")]
    pub epochs: usize,
    /// Steps after which training ends, in place of `epochs`; the last epoch may be cut short by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Clips that are computed together; 64 in the paper.
    #[serde(default = "sixty_four")]
    pub batch: usize,
    /// Batches whose gradients are averaged, over their clips, into one step.
    #[serde(default = "one_batch")]
    pub accumulate: usize,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerName,
    /// Momentum of `sgd`; Adam has its own.
    #[serde(default = "usual_momentum")]
    pub momentum: f64,
    /// The learning rate.
    #[serde(default = "milli")]
    pub learning_rate: f64,
    /// Factor of the learning rate for biases; 2 in much of the field's fine-tuning.
    #[serde(default = "unit")]
    pub bias_learning_rate: f64,
    /// How the learning rate falls.
    #[serde(default)]
    pub schedule: Schedule,
    /// Factor that the learning rate has fallen to at the last epoch, along a half cosine; 1 keeps it constant.
    #[serde(default = "unit")]
    pub final_learning_rate: f64,
    /// Stop after so many epochs without a better validation log-probability; the best epoch's weights are kept.
    #[serde(default = "ten")]
    pub patience: usize,
    /// Largest norm of all gradients together; 0 leaves them as they are.
    #[serde(default)]
    pub clip_norm: f32,
    /// Factor of the weights that is added to their gradients, after those are clipped: an L2 penalty. Biases have none.
    #[serde(default)]
    pub weight_decay: f32,
    /// What becomes of a step whose loss or gradients are not finite.
    #[serde(default)]
    pub nonfinite: Nonfinite,
    /// Largest share of the training clips that may be left out because they cannot be read.
    #[serde(default)]
    pub max_bad_fraction: f64,
    /// Save after every so many steps; 0 leaves it to the minutes. After every epoch it is saved in any case.
    #[serde(default)]
    pub checkpoint_steps: u64,
    /// Save when so many minutes have passed since the last time; 0 leaves it to the steps.
    #[serde(default = "five")]
    pub checkpoint_minutes: f64,
}

fn hundred() -> usize {
    100
}

fn sixty_four() -> usize {
    64
}

fn one_batch() -> usize {
    1
}

fn usual_momentum() -> f64 {
    0.9
}

fn milli() -> f64 {
    1e-3
}

fn unit() -> f64 {
    1.0
}

fn ten() -> usize {
    10
}

fn five() -> f64 {
    5.0
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            epochs: hundred(),
            steps: None,
            batch: sixty_four(),
            accumulate: one_batch(),
            optimizer: OptimizerName::default(),
            momentum: usual_momentum(),
            learning_rate: milli(),
            bias_learning_rate: unit(),
            schedule: Schedule::default(),
            final_learning_rate: unit(),
            patience: ten(),
            clip_norm: 0.0,
            weight_decay: 0.0,
            nonfinite: Nonfinite::default(),
            max_bad_fraction: 0.0,
            checkpoint_steps: 0,
            checkpoint_minutes: five(),
        }
    }
}

impl TrainingSection {
    pub(super) fn validate(&self) -> Result<()> {
        ensure!(self.epochs > 0, "recipe: training.epochs is 0; train at least one");
        ensure!(self.steps != Some(0), "recipe: training.steps is 0; take at least one, or leave the key out");
        ensure!(self.batch > 0, "recipe: training.batch is 0; a step needs at least one clip");
        ensure!(self.accumulate > 0, "recipe: training.accumulate is 0; a step needs at least one batch");
        ensure!(self.patience > 0, "recipe: training.patience is 0; wait at least one epoch");
        let positive = [("learning_rate", self.learning_rate), ("bias_learning_rate", self.bias_learning_rate)];
        for (key, value) in positive {
            ensure!(value > 0.0 && value.is_finite(), "recipe: training.{key} is {value}, it must be positive");
        }
        ensure!(
            (0.0..1.0).contains(&self.momentum),
            "recipe: training.momentum is {}, it must be from 0 to below 1",
            self.momentum
        );
        ensure!(
            self.final_learning_rate > 0.0 && self.final_learning_rate <= 1.0,
            "recipe: training.final_learning_rate is {}, it must be above 0 and at most 1",
            self.final_learning_rate
        );
        if let Schedule::Step { every, factor } = self.schedule {
            ensure!(
                every > 0 && factor > 0.0 && factor <= 1.0,
                "recipe: training.schedule falls every {every} steps by the factor {factor}; the steps must be at least 1, \
                 the factor above 0 and at most 1"
            );
            ensure!(
                self.final_learning_rate == 1.0,
                "recipe: training.final_learning_rate belongs to the cosine; leave it out with schedule = {{ step = … }}"
            );
        }
        ensure!(
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "recipe: training.weight_decay is {}, it cannot be negative",
            self.weight_decay
        );
        ensure!(self.clip_norm >= 0.0, "recipe: training.clip_norm is {}, it cannot be negative", self.clip_norm);
        ensure!(
            (0.0..1.0).contains(&self.max_bad_fraction),
            "recipe: training.max_bad_fraction is {}, it must be from 0 to below 1",
            self.max_bad_fraction
        );
        ensure!(
            self.checkpoint_minutes >= 0.0 && self.checkpoint_minutes.is_finite(),
            "recipe: training.checkpoint_minutes is {}, it cannot be negative",
            self.checkpoint_minutes
        );
        Ok(())
    }

    /// Steps of an epoch over so many clips.
    pub fn steps_per_epoch(&self, clips: usize) -> usize {
        clips.div_ceil(self.batch).div_ceil(self.accumulate)
    }

    /// Most epochs, over so many clips, whether the recipe counts epochs or steps.
    pub fn most_epochs(&self, clips: usize) -> usize {
        match self.steps {
            Some(steps) => usize::try_from(steps).unwrap_or(usize::MAX).div_ceil(self.steps_per_epoch(clips).max(1)),
            None => self.epochs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten clips in batches of 4 are 3 batches, in pairs 2 steps; 5 steps reach into the third epoch.
    #[test]
    fn steps_and_epochs() {
        let training = TrainingSection { batch: 4, accumulate: 2, steps: Some(5), ..Default::default() };
        assert_eq!((training.steps_per_epoch(10), training.most_epochs(10)), (2, 3));
        assert_eq!(TrainingSection { steps: None, ..training }.most_epochs(10), 100);
    }

    #[test]
    fn the_forms_of_the_keys() {
        let parse = |text: &str| toml::from_str::<TrainingSection>(text);
        assert_eq!(parse("").unwrap(), TrainingSection::default());
        let text =
            "schedule = { step = { every = 4000, factor = 0.1 } }\nnonfinite = { skip = 3 }\noptimizer = \"sgd\"";
        let section = parse(text).unwrap();
        assert_eq!(section.schedule, Schedule::Step { every: 4000, factor: 0.1 });
        assert_eq!(section.nonfinite, Nonfinite::Skip(3));
        assert_eq!(section.optimizer, OptimizerName::Sgd);
        assert_eq!(parse(&toml::to_string(&section).unwrap()).unwrap(), section);
        assert!(parse("schedule = { step = { every = 1, by = 2 } }").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        let message = |section: TrainingSection| section.validate().unwrap_err().to_string();
        let base = TrainingSection::default;
        assert!(message(TrainingSection { accumulate: 0, ..base() }).contains("training.accumulate"));
        assert!(message(TrainingSection { momentum: 1.0, ..base() }).contains("training.momentum"));
        assert!(message(TrainingSection { bias_learning_rate: 0.0, ..base() }).contains("bias_learning_rate"));
        assert!(message(TrainingSection { max_bad_fraction: 1.0, ..base() }).contains("max_bad_fraction"));
        let schedule = Schedule::Step { every: 0, factor: 0.1 };
        assert!(message(TrainingSection { schedule, ..base() }).contains("training.schedule"));
        let schedule = Schedule::Step { every: 9, factor: 0.1 };
        assert!(message(TrainingSection { schedule, final_learning_rate: 0.5, ..base() }).contains("cosine"));
    }
}
