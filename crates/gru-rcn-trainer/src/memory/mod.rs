//! How much memory a run will take, before it takes any.
//!
//! VGG-16's activations outgrow a machine long before its weights do, and a run that is killed for memory in its second
//! stage has wasted the first. So every stage is added up from the shapes of its tensors by the rules of `tape`, and a
//! run that cannot fit is refused with the part that is too large. The rules are those of the CPU backend; for others there
//! is no estimate.

mod cnn;
mod machine;
mod plan;
mod recurrent;
mod tape;

pub use machine::{peak, resident, total};

use anyhow::{Result, bail};

/// Bytes of a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// What every stage of a run takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    stages: Vec<Stage>,
}

/// What one stage takes at its highest point.
#[derive(Clone, Debug, PartialEq)]
struct Stage {
    name: String,
    /// What for, and bytes.
    parts: Vec<(&'static str, usize)>,
}

impl Stage {
    fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Estimate {
    /// The most that any stage takes, bytes.
    pub fn bytes(&self) -> usize {
        self.highest().map_or(0, Stage::bytes)
    }

    fn highest(&self) -> Option<&Stage> {
        self.stages.iter().max_by_key(|stage| stage.bytes())
    }

    /// One line: the whole, the stage that takes it, and what for, the largest part first.
    pub fn line(&self) -> String {
        let Some(stage) = self.highest() else { return "memory: nothing to speak of".into() };
        let mut parts = stage.parts.clone();
        parts.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|&(_, bytes)| bytes > stage.bytes() / 100)
            .map(|(what, bytes)| format!("{what} {:.2}", bytes as f64 / GIB))
            .collect();
        let all = stage.bytes() as f64 / GIB;
        format!("memory: about {all:.2} GiB at most, in the stage {} ({})", stage.name, parts.join(", "))
    }

    /// Refuses a run that takes more than a limit, which is what the user gave (GiB) or what the machine has.
    pub fn check(&self, given: Option<f64>) -> Result<()> {
        let limit = given.map(|gib| (gib * GIB) as usize).or_else(total);
        match limit {
            Some(limit) if self.bytes() > limit => bail!(
                "{}, more than {} {:.2} GiB. A smaller training.batch takes less, in the CNN's fine-tuning \
                 backbone.finetune.training.batch; so do fewer levels and copies, or features.cache=false. --max-memory GIB \
                 sets another limit",
                self.line(),
                if given.is_some() { "the --max-memory of" } else { "this machine's" },
                limit as f64 / GIB
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate() -> Estimate {
        let stage = |name: &str, parts: &[(&'static str, usize)]| Stage { name: name.into(), parts: parts.to_vec() };
        Estimate {
            stages: vec![
                stage("CNN fine-tuning", &[("program", 1 << 20), ("weights", 1 << 29), ("activations", 5 << 28)]),
                stage("GRU-RCN", &[("weights", 1 << 30)]),
            ],
        }
    }

    /// 0.5 and 1.25 GiB; a MiB is less than a hundredth and not told.
    #[test]
    fn the_line_names_stage_and_parts() {
        assert_eq!(
            estimate().line(),
            "memory: about 1.75 GiB at most, in the stage CNN fine-tuning (activations 1.25, weights 0.50)"
        );
    }

    #[test]
    fn a_limit_is_held_against_the_highest_stage() {
        let error = estimate().check(Some(1.5)).unwrap_err().to_string();
        assert!(error.contains("more than the --max-memory of 1.50 GiB"), "{error}");
        assert!(error.contains("CNN fine-tuning"), "{error}");
        estimate().check(Some(1.8)).unwrap();
        // No machine that runs this test has less than 2 GiB.
        estimate().check(None).unwrap();
    }
}
