//! Arguments that several verbs share, and what they print alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::captioning::TrainedCaptioner;
use crate::device::backend::Backend;
use crate::device::precision::Precision;
use crate::experiment::{RunOptions, TrainedRun};
use crate::output::{describe, note, say};
use crate::run::built_in::{BuiltIn, MODELS};
use crate::run::card::SystemResult;
use crate::run::dir::{PerceptFolder, RunDir};
use crate::signals::{Faults, Interrupted, StopFlag};

/// Options of every verb that computes.
#[derive(Args, Debug)]
pub(super) struct DeviceArgs {
    /// Where to compute: cpu, wgpu, vulkan, metal, `cuda:N` or `remote:ADDRESS:PORT`.
    #[arg(long, default_value = "cpu")]
    pub(super) backend: Backend,
}

/// The precision of verbs that run a model.
#[derive(Args, Debug)]
pub(super) struct PrecisionArgs {
    /// What convolutions and gates are computed in; weights, normalisation, softmax and loss are
    /// f32 always.
    #[arg(long, value_enum, default_value_t)]
    pub(super) dtype: Precision,
}

impl PrecisionArgs {
    /// The device of a backend, if it can compute in this precision.
    pub(super) fn device(&self, backend: Backend) -> Result<Device> {
        let device = backend.device()?;
        self.dtype.check(backend, &device)?;
        Ok(device)
    }
}

/// Options that name a run.
#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// The run folder. Without it, `train` makes a new one and the other verbs use the newest.
    /// `watch`, `predict` and `evaluate` also take the built-in models, fights and actions; the first two
    /// take fights where there is no run.
    #[arg(long, value_name = "DIR")]
    pub(super) run: Option<PathBuf>,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(super) runs: PathBuf,
}

impl RunArgs {
    /// The run: the one that is named, else the newest, which a message names.
    pub(super) fn open(&self) -> Result<RunDir> {
        match &self.run {
            Some(root) => RunDir::open_at(root),
            None => self.newest()?.with_context(|| {
                format!("there is no run in {}; train one first, or name it with `--run`", self.runs.display())
            }),
        }
    }

    fn newest(&self) -> Result<Option<RunDir>> {
        let newest = RunDir::newest(&self.runs)?;
        Ok(newest.inspect(|dir| note!("run: {dir}, the one that was started last")))
    }
}

/// Options of verbs that run the model of a run.
#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
}

impl ModelArgs {
    /// The run's folder, or that of a built-in model. A backend that is not compiled in is refused
    /// first.
    pub(super) fn dir(&self) -> Result<RunDir> {
        self.device()?;
        match self.run.run.as_deref().and_then(BuiltIn::named) {
            Some(model) => model.open(),
            None => self.run.open(),
        }
    }

    /// The run with its model on the device. Where there is no run and none is named, a built-in model.
    pub(super) fn open(&self) -> Result<TrainedRun> {
        self.device()?;
        let dir = match self.run.run {
            Some(_) => self.dir()?,
            None => match self.run.newest()? {
                Some(dir) => dir,
                None => {
                    note!("there is no run in {}: a built-in model is used", self.run.runs.display());
                    MODELS[0].open()?
                }
            },
        };
        self.open_at(dir)
    }

    pub(super) fn open_at(&self, dir: RunDir) -> Result<TrainedRun> {
        TrainedRun::open(dir, &self.device()?, self.precision.dtype.dtype())
    }

    /// The captioner of the run.
    pub(super) fn open_captioner(&self) -> Result<TrainedCaptioner> {
        self.open_captioner_at(self.dir()?)
    }

    pub(super) fn open_captioner_at(&self, dir: RunDir) -> Result<TrainedCaptioner> {
        TrainedCaptioner::open(dir, &self.device()?, self.precision.dtype.dtype())
    }

    fn device(&self) -> Result<Device> {
        self.precision.device(self.device.backend)
    }
}

/// Options that complete or change a recipe.
#[derive(Args, Debug)]
pub(super) struct RecipeArgs {
    /// Folder of the clips, for recipes that need one.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Pretrained weights of the CNN in torchvision's layout: safetensors, or a file of torch.save.
    #[arg(long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// Change one key of the recipe; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// Options of verbs that make several runs by recipes. `--out` may have a default.
#[derive(Args, Debug)]
pub(super) struct SeriesArgs {
    #[command(flatten)]
    pub(super) change: RecipeArgs,
    /// Where the runs and the list of their results are kept. A run that is there is not made again,
    /// and one that was interrupted is resumed.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
}

impl SeriesArgs {
    pub(super) fn options(&self) -> Result<RunOptions> {
        Ok(RunOptions {
            device: self.precision.device(self.device.backend)?,
            others: Vec::new(),
            device_names: self.device.backend.to_string(),
            precision: self.precision.dtype,
            max_memory: None,
            percepts: PerceptFolder::Beside,
            plain: self.json,
            stop: StopFlag::install("the same command continues where it stopped")?,
        })
    }
}

/// Makes one of several runs. The error is that of a stop; any other is why the run has no result.
pub(super) fn attempt<T>(
    run: &Path,
    options: &RunOptions,
    make: impl FnOnce() -> Result<T>,
) -> Result<Result<T, String>> {
    if options.stop.is_set() {
        bail!(options.stop.interrupted());
    }
    note!("{}", run.display());
    match make() {
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => {
            note!("error: {}: {}", run.display(), describe(&error));
            Ok(Err(describe(&error)))
        }
        Ok(made) => Ok(Ok(made)),
    }
}

/// What became of one of several files, as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<T> {
    Done(T),
    /// The file as it was named, and what is wrong with it.
    Failure {
        file: String,
        error: String,
    },
}

/// What became of several files.
pub(super) struct Entries<T> {
    entries: Vec<Entry<T>>,
    /// Those that failed, and all, in words; none if all are done.
    failed: Option<String>,
}

/// Takes file after file. One that fails is said and passed over; an error if all do, and at once if
/// there is one file. `done` is what is done with them: "classified".
pub(super) fn each_file<T>(
    files: &[PathBuf],
    done: &str,
    mut take: impl FnMut(&Path) -> Result<T>,
) -> Result<Entries<T>> {
    let (mut entries, mut failures) = (Vec::new(), 0);
    for path in files {
        match take(path) {
            Ok(entry) => entries.push(Entry::Done(entry)),
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) => {
                let (file, error) = (path.display().to_string(), describe(&error));
                note!("failed: {error}");
                entries.push(Entry::Failure { file, error });
                failures += 1;
            }
        }
    }
    let all = files.len();
    ensure!(failures < all, "none of the {all} files could be {done}");
    Ok(Entries { entries, failed: (failures > 0).then(|| format!("{failures} of {all} files could not be {done}")) })
}

impl<T: Serialize> Entries<T> {
    /// Prints them as JSON if asked; files that failed are exit code 1.
    pub(super) fn finish(self, json: bool) -> Result<()> {
        if json {
            print_json(&self.entries)?;
        }
        self.failed.map_or(Ok(()), |failed| bail!(Faults(failed)))
    }
}

/// This program, to be started again without input.
pub(super) fn this_program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.stdin(Stdio::null());
    Ok(command)
}

/// One line on the clips of `total` that could not be read, if there are any.
pub(super) fn faults_line(faults: &BTreeMap<String, String>, total: usize) {
    if let Some((first, fault)) = faults.iter().next() {
        note!("warning: {} of {total} clips could not be read, the first {first}: {fault}", faults.len());
    }
}

/// Names them in a JSON document, as `errors`, if there are any.
pub(super) fn faults_json(document: &mut Value, faults: &BTreeMap<String, String>) {
    if !faults.is_empty() {
        document["errors"] = faults.iter().map(|(clip, error)| json!({ "clip": clip, "error": error })).collect();
    }
}

/// The end of a verb that did its work without them: exit code 1, if there are any.
pub(super) fn faults_exit(faults: &BTreeMap<String, String>, total: usize) -> Result<()> {
    match faults.len() {
        0 => Ok(()),
        faults => bail!(Faults(format!("{faults} of {total} clips could not be read"))),
    }
}

/// The result of a system in a JSON document, with the file of its scores.
pub(super) fn system_json(result: &SystemResult, scores: &Path) -> Value {
    let mut entry = json!({
        "key": result.key, "name": result.name, "test": result.test, "interval": result.test.top1_interval(),
        "scores": scores,
    });
    if let Some(means) = &result.mean_of_probabilities {
        entry["mean_of_probabilities"] = json!(means);
    }
    if let Some(compared) = &result.compared {
        entry["compared"] = json!(compared);
    }
    entry
}

/// Prints one JSON document on standard output.
pub(super) fn print_json(document: &impl Serialize) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(document)?)
}
