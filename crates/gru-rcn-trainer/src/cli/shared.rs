//! Arguments and output that several verbs share.

use std::collections::BTreeMap;
use std::io::{ErrorKind, read_to_string, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::Args;
use globset::GlobBuilder;
use gru_rcn_data::base::read_text;
use gru_rcn_data::{Modality, printable};
use serde::Serialize;
use serde_json::{Value, json};
use walkdir::{DirEntry, WalkDir};

use crate::captioning::TrainedCaptioner;
use crate::device::backend::Backend;
use crate::device::precision::Precision;
use crate::experiment::{RunOptions, TrainedRun};
use crate::observe::Pace;
use crate::output::{describe, note, say};
use crate::run::built_in::{BuiltIn, MODELS};
use crate::run::card::SystemResult;
use crate::run::dir::{PerceptFolder, RunDir};
use crate::run::scores::{ScoreLabels, Scores};
use crate::scoring::{Scorable, ViewBatch, score};
use crate::signals::{Faults, Interrupted, StopFlag};

/// Options of every verb that computes.
#[derive(Args, Debug)]
pub(super) struct DeviceArgs {
    /// Device to compute on: cpu, wgpu, vulkan, metal, `cuda:N` or `remote:ADDRESS:PORT`.
    #[arg(long, default_value = "cpu")]
    pub(super) backend: Backend,
}

/// The precision of verbs that run a model.
#[derive(Args, Debug)]
pub(super) struct PrecisionArgs {
    /// Precision of convolutions and gates; weights, normalisation, softmax and loss are always f32.
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
    /// The run folder; by default a new one for `train` and the newest one for other verbs. The names
    /// of the built-in models, fights and actions, are accepted by `watch`, `predict`, `explain` and
    /// `evaluate`; the first three use fights if there is no run.
    #[arg(long, value_name = "DIR")]
    pub(super) run: Option<PathBuf>,
    /// Folder of all runs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(super) runs: PathBuf,
}

impl RunArgs {
    /// The named run, else the newest one, which a line on standard error names.
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

    /// The run with its model on the device. Where there is no run and none is named, a built-in model. A
    /// run on optical flow is an error; `advice` says what to do with it.
    pub(super) fn open_on_rgb(&self, advice: &str) -> Result<TrainedRun> {
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
        let trained = self.open(dir)?;
        ensure!(trained.recipe.clip.modality == Modality::Rgb, "{} takes in optical flow, {advice}", trained.dir);
        Ok(trained)
    }

    pub(super) fn open(&self, dir: RunDir) -> Result<TrainedRun> {
        TrainedRun::open(dir, &self.device()?, self.precision.dtype.dtype())
    }

    pub(super) fn open_captioner(&self, dir: RunDir) -> Result<TrainedCaptioner> {
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
    /// Where the runs and the list of their results are kept. Finished runs in it are not made again, and
    /// interrupted ones are resumed.
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

/// Makes one of several runs. The outer error is a requested stop; the inner one says why the run has no
/// result.
pub(super) fn attempt<T>(
    run: &Path,
    options: &RunOptions,
    make: impl FnOnce() -> Result<T>,
) -> Result<Result<T, String>> {
    ensure!(!options.stop.is_set(), options.stop.interrupted());
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

/// Characters that make a name a pattern.
const WILD: [char; 3] = ['*', '?', '['];

/// Parses a threshold for probabilities.
pub(super) fn probability(text: &str) -> Result<f32, String> {
    let p = text.parse().ok().filter(|p: &f32| *p > 0.0 && *p <= 1.0);
    p.ok_or_else(|| "it is a probability above 0 and at most 1".to_owned())
}

/// Parses a count of at least one.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "it is a whole number from 1".to_owned())
}

/// The files that a verb takes.
#[derive(Args, Debug)]
pub(super) struct FilesArgs {
    /// Video files, folders of frames, or quoted patterns of their names, such as 'clips/**/*.mp4'.
    #[arg(required_unless_present = "list", value_name = "VIDEO")]
    videos: Vec<PathBuf>,
    /// A list of further files, one path per line; - reads it from standard input.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

impl FilesArgs {
    /// The files in the order in which they are named; those of a pattern sorted by name.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for video in &self.videos {
            // A file's own name may look like a pattern.
            match video.to_str().filter(|name| name.contains(WILD) && !video.exists()) {
                Some(pattern) => files.extend(matches(pattern)?),
                None => files.push(video.clone()),
            }
        }
        if let Some(list) = &self.list {
            let text = match list.as_os_str() == "-" {
                true => read_to_string(stdin()).context("could not read the list from standard input")?,
                false => read_text(list)?,
            };
            files.extend(text.lines().filter(|line| !line.is_empty()).map(PathBuf::from));
        }
        ensure!(!files.is_empty(), "the list names no file");
        Ok(files)
    }
}

/// The paths of a pattern, sorted. As in a shell, a name that begins with a dot is matched only by a part
/// that begins with a dot; behind `**`, if any part does.
fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let parts: Vec<&str> = Path::new(pattern).components().filter_map(|part| part.as_os_str().to_str()).collect();
    let fixed = parts.iter().take_while(|part| !part.contains(WILD)).count();
    let root: PathBuf = parts[..fixed].iter().collect();
    let glob = GlobBuilder::new(&parts.iter().collect::<PathBuf>().to_string_lossy()).literal_separator(true).build();
    let glob = glob.with_context(|| format!("{pattern} is neither a file nor a pattern"))?.compile_matcher();
    let deepest = if parts.contains(&"**") { usize::MAX } else { parts.len() - fixed };
    // The part of the pattern for the names at a depth; none from the first `**` on.
    let part = |depth: usize| parts[fixed..].iter().take_while(|part| **part != "**").nth(depth - 1);
    let dotted_deeper = parts.iter().skip_while(|part| **part != "**").any(|part| part.starts_with('.'));
    let here = Path::new(".");
    let walk =
        WalkDir::new(if fixed == 0 { here } else { &root }).max_depth(deepest).follow_links(true).sort_by_file_name();
    let seen = |entry: &DirEntry| {
        entry.depth() == 0
            || !entry.file_name().as_encoded_bytes().starts_with(b".")
            || part(entry.depth()).map_or(dotted_deeper, |part| part.starts_with('.'))
    };
    let mut paths = Vec::new();
    for entry in walk.into_iter().filter_entry(seen) {
        let dangling =
            |error: &walkdir::Error| error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound);
        let path = match entry {
            Ok(entry) => entry.into_path(),
            // A link to a folder above it; or the pattern's folder does not exist.
            Err(error) if error.loop_ancestor().is_some() || error.depth() == 0 => continue,
            // A dangling link, which is an error when it is read.
            Err(error) if dangling(&error) => error.path().context("a link has a path")?.to_owned(),
            Err(error) => return Err(error).with_context(|| format!("the pattern {pattern}")),
        };
        let path = if fixed == 0 { path.strip_prefix(here)? } else { &path };
        if glob.is_match(path) {
            paths.push(path.to_owned());
        }
    }
    ensure!(!paths.is_empty(), "{pattern}: no such file or folder, and no name that this pattern matches");
    Ok(paths)
}

/// The outcome for one of several files, as JSON.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Entry<T> {
    Done(T),
    /// The file as it was named, and what is wrong with it.
    Failure {
        file: String,
        error: String,
    },
}

/// How many files there are, and how many of them failed.
pub(super) struct Tally {
    pub(super) all: usize,
    pub(super) failed: usize,
    /// What the verb does with them: "classified".
    pub(super) done: &'static str,
    /// Whether the outcomes are written to a file.
    pub(super) kept: bool,
}

/// Takes one file after another and passes each outcome to `keep`. A file that fails is reported, and the
/// next one follows. It is an error if all files fail: that of the file, if there is one only and its
/// outcome is not kept.
pub(super) fn each_file<T>(
    files: &[PathBuf],
    tally: &mut Tally,
    mut take: impl FnMut(&Path) -> Result<T>,
    mut keep: impl FnMut(Entry<T>) -> Result<()>,
) -> Result<()> {
    let mut pace = Pace::new(files.len());
    for (index, path) in files.iter().enumerate() {
        let entry = match take(path) {
            Ok(entry) => Entry::Done(entry),
            Err(error) if tally.all == 1 && !tally.kept => return Err(error),
            Err(error) => {
                let (file, error) = (path.display().to_string(), describe(&error));
                note!("failed: {}", printable(&error));
                tally.failed += 1;
                Entry::Failure { file, error }
            }
        };
        keep(entry)?;
        if let Some(line) = pace.line(index + 1, "files are done") {
            note!("{line}");
        }
    }
    let Tally { all, failed, done, .. } = tally;
    ensure!(failed < all, "none of the {all} files could be {done}");
    Ok(())
}

impl Tally {
    /// The end of a verb: exit code 1 if files failed, with advice.
    pub(super) fn exit(self, advice: &str) -> Result<()> {
        let Self { all, failed, done, .. } = self;
        ensure!(failed == 0, Faults(format!("{failed} of {all} files could not be {done}{advice}")));
        Ok(())
    }
}

/// This program, to be started again without input.
pub(super) fn this_program() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Reports the clips of `total` that could not be read in one line, if there are any.
pub(super) fn faults_line(faults: &BTreeMap<String, String>, total: usize) {
    if let Some((first, fault)) = faults.iter().next() {
        note!("warning: {} of {total} clips could not be read, the first {first}: {fault}", faults.len());
    }
}

/// Adds the clips that could not be read to a JSON document, as `errors`, if there are any.
pub(super) fn faults_json(document: &mut Value, faults: &BTreeMap<String, String>) {
    if !faults.is_empty() {
        document["errors"] = faults.iter().map(|(clip, error)| json!({ "clip": clip, "error": error })).collect();
    }
}

/// The end of a verb that skips clips that cannot be read: exit code 1, if there are any.
pub(super) fn faults_exit(faults: &BTreeMap<String, String>, total: usize) -> Result<()> {
    ensure!(faults.is_empty(), Faults(format!("{} of {total} clips could not be read", faults.len())));
    Ok(())
}

/// The class probabilities of one clip, averaged over its views.
pub(super) fn probabilities<I: Clone>(
    model: &dyn Scorable<I>,
    views: impl Iterator<Item = Result<ViewBatch<I>>>,
) -> Result<Vec<f32>> {
    // The class is not known; the score of class 0 is not looked at.
    let mut scores = score(&[model], views, &[0], &StopFlag::default(), |_| ())?;
    Ok(scores.swap_remove(0).probabilities)
}

/// Writes scores whose result is printed already: exit code 1 if they cannot be written.
pub(super) fn save_scores(scores: &Scores, path: &Path, labels: &ScoreLabels) -> Result<()> {
    scores.save(path, labels).map_err(|error| {
        Faults(format!("the result is printed, but {}; give another file with --out", describe(&error)))
    })?;
    note!("scores: {}", path.display());
    Ok(())
}

/// The rows of a table that are named, or all if none is.
pub(super) fn chosen_rows<'r, R>(rows: &'r [R], key: impl Fn(&R) -> &str, names: &[String]) -> Result<Vec<&'r R>> {
    for name in names {
        let known: Vec<&str> = rows.iter().map(&key).collect();
        ensure!(known.contains(&name.as_str()), "--rows: there is no row {name}; those are {}", known.join(", "));
    }
    Ok(rows.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == key(row))).collect())
}

/// The result of a system in a JSON document, with the file of its scores.
pub(super) fn system_json(result: &SystemResult, scores: &Path) -> Value {
    let mut entry = json!({
        "key": result.key, "name": result.name, "test": result.test, "interval": result.test.top1_interval(),
        "scores": scores.display().to_string(),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_hidden_name_is_matched_by_its_part_of_the_pattern_alone() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a/1.mp4", "a/.2.mp4", ".b/3.mp4", ".b/.4.mp4"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (pattern, expected) in [
            ("*/*.mp4", &["a/1.mp4"][..]),
            (".*/*.mp4", &[".b/3.mp4"]),
            ("*/.*.mp4", &["a/.2.mp4"]),
            ("**/*.mp4", &["a/1.mp4"]),
            // Behind `**` a dot in any part allows hidden names in all of them.
            ("**/.*.mp4", &[".b/.4.mp4", "a/.2.mp4"]),
        ] {
            let found = matches(folder.path().join(pattern).to_str().unwrap()).unwrap();
            let names = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap());
            assert!(names.eq(expected.iter().copied()), "{pattern}: {found:?}");
        }
    }
}
