//! `train`: a model by a recipe, with its baselines, and a report on the test clips.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Args;
use serde_json::{Map, Value, json};

use super::shared::{DeviceArgs, PrecisionArgs, RecipeArgs, RunArgs, print_json, system_json};
use crate::device::backend::Backend;
use crate::experiment::data::{resolve, set_root};
use crate::experiment::{Plan, print, train};
use crate::report::RunReport;
use crate::run::dir::{Folder, RunDir};
use crate::signals::Faults;

#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    /// A built-in recipe (motion, folder, egogestar, egogestar-flow, fight-surv, fight-surv-flow,
    /// ucf101/rgb, ucf101/flow; for compared systems ucf101/ with very-deep, two-stream, lrcn,
    /// composite-lstm, each also with -flow, pooling, lstm-stack, single-frame, early-fusion,
    /// late-fusion, slow-fusion, c3d) or a TOML file.
    #[arg(default_value = "motion")]
    pub(super) recipe: String,
    #[command(flatten)]
    change: RecipeArgs,
    /// Seed of everything random; the same as --set seed=N.
    #[arg(long)]
    seed: Option<u64>,
    /// Most memory that the run may take, GiB; what the machine has if not given.
    #[arg(long, value_name = "GIB")]
    max_memory: Option<f64>,
    /// Resume an interrupted run.
    #[arg(long)]
    resume: bool,
    /// Train on several devices at once, each taking a part of every batch, such as
    /// `cuda:0,cuda:1`; instead of --backend.
    #[arg(long, value_delimiter = ',', conflicts_with = "backend")]
    devices: Vec<Backend>,
    /// Plain lines even on a terminal.
    #[arg(long)]
    plain: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
}

impl TrainArgs {
    /// The devices; the first holds the model.
    pub(super) fn backends(&self) -> Vec<Backend> {
        if self.devices.is_empty() { vec![self.device.backend] } else { self.devices.clone() }
    }

    pub(super) fn run(&self) -> Result<()> {
        let (dir, card) = train(self.plan()?)?;
        let verdict = RunReport::read(&dir)?.verdict;
        if self.json {
            let mut document = json!({ "run": dir.root(), "test": card.systems[0].test });
            let systems = card.systems.iter();
            document["systems"] =
                systems.map(|system| system_json(system, &dir.scores_of(&system.key, "test"))).collect();
            if let Some(verdict) = &verdict {
                document["verdict"] = json!(verdict);
            }
            if !card.notes.is_empty() {
                document["notes"] = json!(card.notes);
            }
            let baselines = card.systems[1..].iter().map(|system| (system.key.clone(), json!(system.test)));
            let baselines: Map<String, Value> = baselines.collect();
            if !baselines.is_empty() {
                document["baselines"] = Value::Object(baselines);
            }
            print_json(&document)?;
        } else {
            print(&dir, &card, verdict.as_ref())?;
        }
        match dir.losses() {
            losses if losses.is_empty() => Ok(()),
            losses => bail!(Faults(format!(
                "the run is done, but not all could be kept: {}; see the warnings above",
                losses.join(", ")
            ))),
        }
    }

    fn plan(&self) -> Result<Plan> {
        let backends = self.backends();
        let devices: Vec<Device> =
            backends.iter().map(|&backend| self.precision.device(backend)).collect::<Result<_>>()?;
        let folder = match (&self.run.run, self.resume) {
            (_, true) => Folder::Resumed(self.run.open()?),
            (Some(run), false) => Folder::New(run.clone()),
            (None, false) => Folder::Numbered(self.run.runs.clone()),
        };
        let names: Vec<String> = backends.iter().map(ToString::to_string).collect();
        Ok(Plan {
            recipe: match &folder {
                Folder::Resumed(dir) => self.resumed_recipe(dir)?,
                _ => self.new_recipe()?,
            },
            folder,
            moved: self.resume && self.change.data.is_some(),
            device: devices[0].clone(),
            others: devices[1..].to_vec(),
            device_names: names.join(","),
            precision: self.precision.dtype,
            max_memory: self.max_memory,
            plain: self.plain || self.json,
        })
    }

    fn new_recipe(&self) -> Result<crate::recipe::Recipe> {
        let mut set = self.change.set.clone();
        set.extend(self.seed.map(|seed| format!("seed={seed}")));
        let RecipeArgs { data, weights, .. } = &self.change;
        resolve(&self.recipe, &set, data.as_deref(), weights.as_deref())
    }

    /// The recipe of the run that is resumed, of which the command line can only say where its clips
    /// are now.
    fn resumed_recipe(&self, dir: &RunDir) -> Result<crate::recipe::Recipe> {
        let RecipeArgs { data, weights, set } = &self.change;
        if !set.is_empty() || self.seed.is_some() || weights.is_some() {
            bail!(
                "--resume keeps the run's own recipe; remove --set, --weights and --seed. --data may name the place that \
                 the same clips were moved to"
            );
        }
        let mut recipe = dir.read_recipe().context("this run cannot be resumed")?;
        if let Some(root) = data {
            set_root(&mut recipe, root)?;
        }
        Ok(recipe)
    }
}
