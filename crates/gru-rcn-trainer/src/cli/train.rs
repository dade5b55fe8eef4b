//! `train`: a model by a recipe, with its baselines, and a report on the test clips.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::shared::{DeviceArgs, PrecisionArgs, RecipeArgs, RunArgs, print_json, system_json};
use crate::captioning::{self, print_result};
use crate::device::backend::Backend;
use crate::experiment::data::{place, resolve};
use crate::experiment::{Plan, RunOptions, print, train};
use crate::output::say;
use crate::recipe::{self, RecipeKind};
use crate::report::RunReport;
use crate::run::dir::{Folder, PerceptFolder, RunDir};
use crate::signals::{Faults, StopFlag};

#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    /// A built-in recipe, such as motion, folder or ucf101/rgb (a wrong name lists them all), or a TOML
    /// file. A recipe with a section `decoder` trains a captioner.
    #[arg(default_value = "motion")]
    pub(super) recipe: String,
    #[command(flatten)]
    change: RecipeArgs,
    /// Seed of everything random; the same as --set seed=N.
    #[arg(long)]
    seed: Option<u64>,
    /// Memory limit of the run, GiB; by default the memory of the machine.
    #[arg(long, value_name = "GIB")]
    max_memory: Option<f64>,
    /// Resume an interrupted run.
    #[arg(long)]
    resume: bool,
    /// Train on several devices at once, each taking a part of every batch, such as
    /// `cuda:0,cuda:1`; instead of --backend.
    #[arg(long, value_delimiter = ',', conflicts_with = "backend")]
    devices: Vec<Backend>,
    /// Folder in which runs share percepts, or `none`. By default the percepts of a CNN with
    /// `--weights` and the features of a captioner are kept in the folder `percepts` beside the run.
    #[arg(long, value_name = "DIR")]
    percepts: Option<PathBuf>,
    /// Print plain lines on a terminal too.
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

/// Loads a recipe with its changes, the folder of the clips and the weights.
type Resolve<R> = fn(&str, &[String], Option<&Path>, Option<&Path>) -> Result<R>;

impl TrainArgs {
    /// The devices; the first holds the model.
    pub(super) fn backends(&self) -> Vec<Backend> {
        if self.devices.is_empty() { vec![self.device.backend] } else { self.devices.clone() }
    }

    pub(super) fn run(&self) -> Result<()> {
        let folder = self.folder()?;
        let captions = match folder.resumed() {
            Some(dir) => dir.captions_videos()?,
            None => recipe::captions(&self.recipe)?,
        };
        if captions {
            return self.captioner(folder);
        }
        let (dir, card) = train(self.plan(self.recipe(&folder, resolve)?, folder)?)?;
        let verdict = RunReport::read(&dir)?.verdict;
        if self.json {
            let mut document = json!({ "run": dir.to_string(), "test": card.systems[0].test });
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
        report_losses(&dir)
    }

    /// Trains a captioner.
    fn captioner(&self, folder: Folder) -> Result<()> {
        let recipe = self.recipe(&folder, captioning::resolve)?;
        let (dir, card) = captioning::train(self.plan(recipe, folder)?)?;
        let test = card.captioner.and_then(|captioner| captioner.result).map(|result| result.test).unwrap_or_default();
        if self.json {
            let scores: Map<String, Value> = test.into_iter().map(|(key, value)| (key, json!(value))).collect();
            let mut document = json!({ "run": dir.to_string(), "test": scores });
            if !card.notes.is_empty() {
                document["notes"] = json!(card.notes);
            }
            print_json(&document)?;
        } else {
            say!()?;
            print_result(card.data.test, "test", &test)?;
            say!("model   {}", dir.model().display())?;
            say!("report  {}", dir.report().display())?;
        }
        report_losses(&dir)
    }

    fn folder(&self) -> Result<Folder> {
        Ok(match (&self.run.run, self.resume) {
            (_, true) => Folder::Resumed(self.run.open()?),
            (Some(run), false) => Folder::New(run.clone()),
            (None, false) => Folder::Numbered(self.run.runs.clone()),
        })
    }

    fn plan<R>(&self, recipe: R, folder: Folder) -> Result<Plan<R>> {
        let backends = self.backends();
        let devices = backends.iter().map(|&backend| self.precision.device(backend));
        let mut devices = devices.collect::<Result<Vec<_>>>()?;
        let options = RunOptions {
            device: devices.remove(0),
            others: devices,
            device_names: backends.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            precision: self.precision.dtype,
            max_memory: self.max_memory,
            percepts: self.percepts.clone().map(PerceptFolder::from).unwrap_or_default(),
            plain: self.plain || self.json,
            stop: StopFlag::install("resume with --resume")?,
        };
        Ok(Plan { recipe, folder, moved: self.resume && self.change.data.is_some(), options })
    }

    /// The recipe of a run. Of a resumed run the command line can only say where its clips are now.
    fn recipe<R: RecipeKind>(&self, folder: &Folder, resolve: Resolve<R>) -> Result<R> {
        let RecipeArgs { data, weights, set } = &self.change;
        let set: Vec<String> = set.iter().cloned().chain(self.seed.map(|seed| format!("seed={seed}"))).collect();
        let Folder::Resumed(dir) = folder else {
            return resolve(&self.recipe, &set, data.as_deref(), weights.as_deref());
        };
        ensure!(
            set.is_empty() && weights.is_none(),
            "--resume keeps the run's own recipe; remove --set, --weights and --seed. --data may name the place that the \
             same clips were moved to"
        );
        let mut recipe = dir.read_recipe_as().context("this run cannot be resumed")?;
        place(&mut recipe, data.as_deref())?;
        Ok(recipe)
    }
}

/// The end of a training: exit code 1 if a checkpoint, lines of a log or scores were lost.
fn report_losses(dir: &RunDir) -> Result<()> {
    let losses = dir.losses().join(", ");
    ensure!(
        losses.is_empty(),
        Faults(format!("the run is done, but not all could be kept: {losses}; see the warnings above"))
    );
    Ok(())
}
