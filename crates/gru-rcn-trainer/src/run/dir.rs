//! The folder of one run and the files in it; every file name is a method of [`RunDir`].
//!
//! ```text
//! recipe.toml            the resolved recipe
//! run.json               the run card: versions, data, seed, device, parameters, results
//! clips.json             the names of its training, validation and test clips
//! metrics.jsonl          one line per epoch of every stage
//! progress.jsonl         one line every few seconds of training
//! nonfinite.jsonl        steps that were not taken because something was not finite
//! quarantine.jsonl       training clips that could not be read
//! tensorboard/STAGE/     the same figures for TensorBoard
//! backbone.safetensors   the CNN, in the key layout of its PyTorch original
//! model.safetensors      the trained GRU-RCN; baselines/ has the other systems
//! scores-test.safetensors  class probabilities of every test clip; baselines/ has those of the others
//! checkpoints/STAGE/     the states that --resume starts from
//! vocabulary.json        of a captioner: its words
//! encoders/N/            its encoders, each as a part of a run folder
//! captions-test.json     its captions of the test clips; references-test.json has the references
//! report.json, report.html
//! ```

use std::cmp::Reverse;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use gru_rcn_data::base::{self, FolderLock, if_there, read_text, read_text_if_there};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use super::card::{EpochPoint, RunCard, VERSION};
use crate::recipe::{self, Recipe, RecipeKind};

// The logs: files that grow line by line.
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const PROGRESS: &str = "progress.jsonl";
pub(crate) const NONFINITE: &str = "nonfinite.jsonl";

/// Key of the system that has no key in the names of its files.
pub(crate) const GRU_RCN: &str = "gru_rcn";

/// The folder of a run to make or to resume.
pub(crate) enum Folder {
    Resumed(RunDir),
    /// A new folder of this name.
    New(PathBuf),
    /// A new numbered folder in this one, named after the recipe.
    Numbered(PathBuf),
}

/// Where percepts and features are kept for other runs.
#[derive(Clone, Debug, Default)]
pub(crate) enum PerceptFolder {
    /// In `percepts` beside the run folder, where other runs may need them.
    #[default]
    Beside,
    At(PathBuf),
    Nowhere,
}

impl From<PathBuf> for PerceptFolder {
    fn from(folder: PathBuf) -> Self {
        if folder == Path::new("none") { Self::Nowhere } else { Self::At(folder) }
    }
}

impl PerceptFolder {
    /// The folder for a run; `needed` says whether other runs may need what it keeps.
    pub(crate) fn of(self, dir: &RunDir, needed: bool) -> Option<PathBuf> {
        match self {
            Self::Beside => needed.then(|| dir.percepts()),
            Self::At(folder) => Some(folder),
            Self::Nowhere => None,
        }
    }
}

impl Folder {
    /// The run in this folder, if there is one, else a new one.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        Ok(match path.join("recipe.toml").is_file() {
            true => Self::Resumed(RunDir::open_at(path)?),
            false => Self::New(path.to_owned()),
        })
    }

    pub(crate) fn resumed(&self) -> Option<&RunDir> {
        if let Self::Resumed(dir) = self { Some(dir) } else { None }
    }

    pub(crate) fn open(self, recipe: &str) -> Result<RunDir> {
        match self {
            Self::Resumed(dir) => Ok(dir),
            Self::New(path) => RunDir::create(&path),
            Self::Numbered(runs) => RunDir::create_numbered(&runs, recipe),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    root: PathBuf,
    /// Checkpoints and lines that could not be written; shared by all copies.
    losses: Arc<Mutex<Vec<String>>>,
    /// The name of a built-in model, and its folder, which is removed with the last copy.
    built_in: Option<(&'static str, Option<Arc<TempDir>>)>,
}

/// The mark of a trained system.
#[derive(Serialize, serde::Deserialize, Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) curve: Vec<EpochPoint>,
    /// Checksum of the frozen CNN that it was trained on; unknown in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cnn: Option<String>,
}

macro_rules! files {
    ($($(#[$doc:meta])* $name:ident($($key:ident),*) => $file:literal;)*) => {
        impl RunDir {
            $($(#[$doc])* pub(crate) fn $name(&self $(, $key: &str)*) -> PathBuf { self.path(format_args!($file)) })*
        }
    };
}

files! {
    recipe_file() => "recipe.toml";
    card_file() => "run.json";
    /// The ids of the clips of every part.
    clips_file() => "clips.json";
    backbone() => "backbone.safetensors";
    /// The CNN that was trained together with GRU-RCN. The frozen CNN that it started from, which
    /// the baselines use, has its own file.
    joint_backbone() => "backbone-joint.safetensors";
    model() => "model.safetensors";
    /// The weights of another system, by its key.
    baseline(key) => "baselines/{key}.safetensors";
    /// The class probabilities of GRU-RCN on the clips called `name`, such as `test`.
    scores(name) => "scores-{name}.safetensors";
    /// The class probabilities of another system.
    baseline_scores(key, name) => "baselines/scores-{name}-{key}.safetensors";
    quarantine() => "quarantine.jsonl";
    tensorboard(stage) => "tensorboard/{stage}";
    checkpoints(stage) => "checkpoints/{stage}";
    fingerprint() => "checkpoints/identity.json";
    /// Digests of the clips' files, by which a data set that was moved is known again.
    clip_digests() => "checkpoints/clips.json";
    /// The data that the report is drawn from.
    report_data() => "report.json";
    report() => "report.html";
    done_file(key) => "checkpoints/{key}.json";
    vocabulary() => "vocabulary.json";
    /// The encoder of this number.
    encoder(number) => "encoders/{number}";
    /// Factors of the features of a captioner's encoders.
    scales() => "encoders/scales.json";
    /// Captions of the clips called `name`, such as `test`.
    captions(name) => "captions-{name}.json";
    /// Their references.
    references(name) => "references-{name}.json";
}

impl fmt::Display for RunDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.built_in {
            Some(model) => write!(f, "the built-in model {}", model.0),
            None => self.root.display().fmt(f),
        }
    }
}

impl RunDir {
    /// The files of a folder, whether it holds a run or not.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root, losses: Arc::default(), built_in: None }
    }

    /// The run of a built-in model, in a folder of its own.
    pub(super) fn of_built_in(name: &'static str, folder: TempDir) -> Self {
        let root = folder.path().into();
        Self { built_in: Some((name, Some(Arc::new(folder)))), ..Self::at(root) }
    }

    pub(crate) fn is_built_in(&self) -> bool {
        self.built_in.is_some()
    }

    /// Removes the files of a built-in model, once they are loaded. A signal that ends the program later
    /// then leaves none behind.
    pub(crate) fn release_built_in(&mut self) {
        if let Some((_, folder)) = &mut self.built_in {
            *folder = None;
        }
    }

    fn path(&self, name: fmt::Arguments) -> PathBuf {
        self.root.join(name.to_string())
    }

    /// Creates a new run in an empty or absent folder.
    pub(crate) fn create(root: &Path) -> Result<Self> {
        if root.join("recipe.toml").exists() {
            bail!(
                "{} already holds a run; resume it with `--resume`, or give another folder with `--run`",
                root.display()
            );
        }
        fs::create_dir_all(root).with_context(|| format!("could not create the run folder {}", root.display()))?;
        Ok(Self::at(root.into()))
    }

    /// A new folder `RUNS/NAME-N` with the smallest free N.
    pub(crate) fn create_numbered(runs: &Path, name: &str) -> Result<Self> {
        let fail = |folder: &Path| format!("could not create the run folder {}", folder.display());
        fs::create_dir_all(runs).with_context(|| fail(runs))?;
        let mut number = 1u32;
        loop {
            let root = runs.join(format!("{name}-{number}"));
            // Creating the folder claims the number: another run may start at the same moment.
            match fs::create_dir(&root) {
                Ok(()) => return Ok(Self::at(root)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).with_context(|| fail(&root)),
            }
        }
    }

    pub(crate) fn open_at(root: &Path) -> Result<Self> {
        if !root.is_dir() {
            bail!("{}: no such run folder", root.display());
        }
        if !root.join("recipe.toml").is_file() {
            bail!("{} is not a run: it has no recipe.toml", root.display());
        }
        Ok(Self::at(root.into()))
    }

    /// The run in `RUNS` that was started or resumed last, if there is one, by the time that its card
    /// states: a copy of a run is no newer than the run. Runs of earlier versions have the time of their
    /// recipe.
    pub(crate) fn newest(runs: &Path) -> Result<Option<Self>> {
        #[derive(serde::Deserialize)]
        struct Started {
            started: Option<u64>,
        }
        let entries = fs::read_dir(runs).ok().into_iter().flatten().flatten();
        let newest = entries
            .filter_map(|entry| {
                let root = entry.path();
                let recipe = fs::metadata(root.join("recipe.toml")).ok()?.modified().ok()?;
                // A damaged card is an error when the run is opened, not when it is looked for.
                let card = fs::read(root.join("run.json")).ok();
                let card = card.and_then(|text| serde_json::from_slice::<Started>(&text).ok());
                let started = card.and_then(|card| UNIX_EPOCH.checked_add(Duration::from_millis(card.started?)));
                // Of a run and its copy, the one whose name is first.
                Some((started.unwrap_or(recipe), Reverse(root)))
            })
            .max();
        newest.map(|(_, Reverse(path))| Self::open_at(&path)).transpose()
    }

    /// The class probabilities of any system, by its key, on the clips called `name`.
    pub(crate) fn scores_of(&self, key: &str, name: &str) -> PathBuf {
        if key == GRU_RCN { self.scores(name) } else { self.baseline_scores(key, name) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder beside the run in which percepts are kept for other runs.
    pub(crate) fn percepts(&self) -> PathBuf {
        self.root.with_file_name("percepts")
    }

    /// The run card, which a run has once it has begun.
    pub(crate) fn card(&self) -> Result<RunCard> {
        self.read_card()?.with_context(|| format!("{}: no such file", self.card_file().display()))
    }

    pub(crate) fn read_recipe(&self) -> Result<Recipe> {
        self.read_recipe_as()
    }

    /// The recipe of any kind.
    pub(crate) fn read_recipe_as<R: RecipeKind>(&self) -> Result<R> {
        let path = self.recipe_file();
        recipe::parse_as(&read_text(&path)?, &[]).with_context(|| path.display().to_string())
    }

    /// Whether it is the run of a captioner.
    pub(crate) fn captions_videos(&self) -> Result<bool> {
        Ok(recipe::text_captions(&read_text(&self.recipe_file())?))
    }

    pub(crate) fn write_recipe(&self, recipe: &impl RecipeKind) -> Result<()> {
        write_atomically(&self.recipe_file(), recipe::to_toml(recipe)?.as_bytes())
    }

    /// The run card, if it has been written.
    pub(crate) fn read_card(&self) -> Result<Option<RunCard>> {
        let path = self.card_file();
        let card: Option<RunCard> = read_json(&path)?;
        if let Some(card) = &card
            && card.version != VERSION
        {
            bail!("{} has layout {}, this program reads {VERSION}", path.display(), card.version);
        }
        Ok(card)
    }

    pub(crate) fn write_card(&self, card: &RunCard) -> Result<()> {
        write_json(&self.card_file(), card)
    }

    /// The mark of a trained system; `None` if it is not trained yet.
    pub(crate) fn done(&self, key: &str) -> Result<Option<Done>> {
        read_json(&self.done_file(key))
    }

    /// Marks a system as trained on a CNN with this checksum, after its weights are saved.
    pub(crate) fn mark_done(&self, key: &str, curve: &[EpochPoint], cnn: &str) -> Result<()> {
        write_json(&self.done_file(key), &Done { curve: curve.to_vec(), cnn: Some(cnn.into()) })
    }

    /// Checks that the folder has not been removed or renamed since training began in it. Nothing
    /// may be written then, which would leave half a run under its name.
    pub(crate) fn check_there(&self) -> Result<()> {
        if !self.recipe_file().is_file() {
            bail!(
                "the run folder {self} was removed or renamed while the run was going on, and nothing more is written; \
                 if it was renamed, continue with `train --resume --run NEW_NAME`"
            );
        }
        Ok(())
    }

    /// Removes files that processes were writing when they were killed. The caller has to hold the lock.
    pub(crate) fn tidy(&self) -> Result<()> {
        let folders = [self.root.clone(), self.root.join("baselines"), self.root.join("checkpoints")];
        for folder in folders {
            let Some(entries) = if_there(&folder, fs::read_dir(&folder))? else { continue };
            for entry in entries.flatten() {
                if entry.file_name().to_str().is_some_and(is_unfinished) {
                    base::remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Notes a loss, such as a checkpoint for which there was no room. Training continues, and the
    /// program finally ends with exit code 1.
    pub(crate) fn note_loss(&self, what: String) {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub(crate) fn losses(&self) -> Vec<String> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps other processes from training in this folder as long as the lock lives.
    pub(crate) fn lock(&self) -> Result<FolderLock> {
        FolderLock::whole(&self.root).with_context(|| {
            format!("another process is training in {self}; wait for it, or give another folder with `--run`")
        })
    }

    /// Appends lines to a log, all or none of them.
    pub(crate) fn append(&self, log: &str, lines: &str) -> Result<()> {
        let path = self.root.join(log);
        let append = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            let before = file.metadata()?.len();
            // In one call, so that a killed program leaves whole lines. A full disk may have room
            // for a part of the lines only.
            file.write_all(lines.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
        };
        append().with_context(|| format!("could not write {}", path.display()))
    }

    /// Removes from the logs what a stage wrote after the checkpoint that it resumes from, after
    /// `epochs` epochs and `steps` steps.
    pub(crate) fn rewind(&self, stage: &str, epochs: usize, steps: u64) -> Result<()> {
        self.rewind_log(METRICS, stage, |line| line["epoch"].as_u64() <= Some(epochs as u64))?;
        for log in [PROGRESS, NONFINITE] {
            self.rewind_log(log, stage, |line| line["steps"].as_u64() <= Some(steps))?;
        }
        Ok(())
    }

    /// Keeps the lines of other stages, and those of this stage that `keep` accepts. An incomplete
    /// line, which a killed process may have left, is removed.
    fn rewind_log(&self, log: &str, stage: &str, keep: impl Fn(&Value) -> bool) -> Result<()> {
        let path = self.root.join(log);
        let Some(text) = read_text_if_there(&path)? else { return Ok(()) };
        let kept =
            |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["stage"] != stage || keep(&line));
        let kept: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
        if kept == text { Ok(()) } else { write_atomically(&path, kept.as_bytes()) }
    }
}

/// Whether a file has the name of one that is being written: `.NAME.partial`, or for weights
/// `NAME.PID-N.tmp`.
fn is_unfinished(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let weights = name.strip_suffix(".tmp").and_then(|name| name.rsplit_once('.')?.1.split_once('-'));
    weights.is_some_and(|(process, n)| number(process) && number(n))
        || (name.starts_with('.') && name.ends_with(".partial"))
}

/// Reads a JSON file; nothing if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = read_text_if_there(path)?;
    text.map(|text| serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))).transpose()
}

/// Writes a JSON file, whole or not at all.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomically(path, serde_json::to_string_pretty(value)?.as_bytes())
}

/// Writes a file whole or not at all, in a folder that is made if it is not there.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("could not write {}", path.display()))?;
    }
    base::write_atomically(path, content).map_err(|error| anyhow!("could not write {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        (folder, run)
    }

    /// The process was killed after it logged epoch 3, before it saved that epoch, within a line.
    #[test]
    fn logs_are_rewound_to_the_checkpoint() {
        let (folder, run) = run();
        run.rewind("b", 0, 0).unwrap();
        for (stage, epoch) in [("a", 3), ("b", 1), ("b", 2), ("b", 3)] {
            run.append(METRICS, &format!("{}\n", json!({"stage": stage, "epoch": epoch}))).unwrap();
        }
        let metrics = folder.path().join("metrics.jsonl");
        let text = fs::read_to_string(&metrics).unwrap();
        fs::write(&metrics, format!("{text}{{\"stage\":\"b")).unwrap();
        run.rewind("b", 2, 0).unwrap();
        let kept = fs::read_to_string(&metrics).unwrap();
        assert!(text.starts_with(&kept));
        assert_eq!(kept.lines().count(), 3);
    }

    /// A missing file means that the system is not trained; a damaged one is an error.
    #[test]
    fn a_damaged_mark_is_an_error() {
        let (folder, run) = run();
        assert!(run.done("frame").unwrap().is_none());
        run.mark_done("frame", &[], "abc").unwrap();
        assert_eq!(run.done("frame").unwrap(), Some(Done { curve: Vec::new(), cnn: Some("abc".into()) }));
        fs::write(folder.path().join("checkpoints/frame.json"), "{").unwrap();
        assert!(run.done("frame").unwrap_err().to_string().contains("frame.json is damaged"));
    }

    #[test]
    fn files_of_killed_processes_are_removed_and_no_others() {
        let (folder, run) = run();
        let left = ["model.safetensors.4711-0.tmp", "baselines/frame.safetensors.1-12.tmp", ".run.json.partial"];
        let kept = ["model.safetensors", "notes.tmp", "x.1-a.tmp", "a.partial", "baselines/frame.safetensors"];
        for name in left.iter().chain(&kept) {
            write_atomically(&folder.path().join(name), b"x").unwrap();
        }
        run.tidy().unwrap();
        assert_eq!(left.map(|name| folder.path().join(name).exists()), [false; 3]);
        assert_eq!(kept.map(|name| folder.path().join(name).exists()), [true; 5]);
    }

    #[test]
    fn a_folder_that_is_gone_is_noticed() {
        let (folder, run) = run();
        fs::write(run.recipe_file(), "").unwrap();
        run.check_there().unwrap();
        fs::remove_file(folder.path().join("recipe.toml")).unwrap();
        assert!(run.check_there().unwrap_err().to_string().contains("removed or renamed"));
    }

    #[test]
    fn copies_share_the_losses() {
        let (_folder, run) = run();
        run.clone().note_loss("a checkpoint".into());
        assert_eq!(run.losses(), ["a checkpoint"]);
    }

    /// The copy of an older run has newer files. A run without a card counts by its recipe.
    #[test]
    fn the_newest_run_is_the_one_started_last() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, started: Option<u64>| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("recipe.toml"), "").unwrap();
            if let Some(started) = started {
                fs::write(folder.path().join(name).join("run.json"), json!({"started": started}).to_string()).unwrap();
            }
        };
        let newest = || RunDir::newest(folder.path()).unwrap().unwrap().root().file_name().unwrap().to_owned();
        write("b", Some(2000));
        write("a", Some(1000));
        write("copy-of-a", Some(1000));
        write("copy-of-b", Some(2000));
        assert_eq!(newest(), "b");
        write("of-an-earlier-version", None);
        assert_eq!(newest(), "of-an-earlier-version");
    }

    #[test]
    fn numbered_folders_are_claimed_once() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let names = [1, 2].map(|_| RunDir::create_numbered(&runs, "x").unwrap().root().to_path_buf());
        assert_eq!(names, ["x-1", "x-2"].map(|name| runs.join(name)));
    }
}
