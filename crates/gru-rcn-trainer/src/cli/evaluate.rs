//! `evaluate`: the systems of a run on a part of its own data, or on other clips of the same classes.

use std::collections::{BTreeMap, HashSet};
use std::fs::canonicalize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gru_rcn_data::{ClipSource, DataError, Dataset, FolderOptions, QUARANTINE, Sample, Split, TestViews};
use serde_json::{Map, Value, json};

use super::shared::{ModelArgs, faults_exit, faults_json, faults_line, print_json, save_scores, system_json};
use crate::captioning::metrics::paraphrases;
use crate::captioning::{CaptionedClips, print_result};
use crate::experiment::data::{dataset, place};
use crate::experiment::{System, Test, TestedSystem, TrainedRun, TrainedSystem};
use crate::output::{note, say};
use crate::percepts::SkippedClips;
use crate::preflight::notes;
use crate::recipe::DataSection;
use crate::report::{NLL, TRIVIAL_TOP5};
use crate::run::clips::RunClips;
use crate::run::dir::RunDir;
use crate::run::scores::ScoreLabels;
use crate::signals::StopFlag;

#[derive(Args, Debug)]
pub(super) struct EvaluateArgs {
    /// The folder of clips, if it is not the one that the run was trained on. The run's own clips in a new
    /// place are divided as in the run; a folder of other clips is scored whole.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// List of the clips to score, relative to the folder of clips.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Part of the data: train, validation or test (default). Clips that the run was trained on are
    /// scored with `train` only.
    #[arg(long)]
    split: Option<Split>,
    /// The views of each clip, whose probabilities are averaged: STARTSxCROPS with 1, 5 or 10
    /// crops, 25x10 in the paper. By default those of the run's recipe.
    #[arg(long, value_name = "NxM")]
    views: Option<TestViews>,
    /// Score one system only, by its key, such as `gru_rcn`, `top_rnn` or `cnn`, the CNN's own
    /// classifier. By default every system of the run is scored.
    #[arg(long, value_name = "KEY")]
    system: Option<String>,
    /// Write the scores to this file instead of the run folder. Only one system is scored then: that of
    /// `--system`, by default the main system of the run.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// METEOR's folder, in place of the recipe's; for runs of captioners.
    #[arg(long, value_name = "DIR")]
    meteor: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

/// The clips to score.
struct Chosen {
    samples: Vec<Sample>,
    /// Their description without a number: `test clips of films`.
    words: String,
    /// Whether these are all such clips.
    all: bool,
    /// Their name in the name of the score file: `test`, `other`.
    name: String,
}

/// Scored systems, and the errors of the clips that could not be read.
struct Scored {
    /// The one that the result is about first; all on the same clips.
    systems: Vec<TestedSystem>,
    faults: BTreeMap<String, String>,
}

impl EvaluateArgs {
    /// Clips that cannot be read are exit code 1; so are scores that cannot be written, after the
    /// result is printed.
    pub(super) fn run(&self) -> Result<()> {
        let dir = self.model.dir()?;
        if dir.captions_videos()? {
            return self.captions(dir);
        }
        ensure!(self.meteor.is_none(), "--meteor is for captions, and {dir} classifies clips");
        ensure!(
            self.out.is_some() || !dir.is_built_in(),
            "{dir} keeps no scores; say with --out FILE where they are to be written"
        );
        let trained = self.model.open(dir)?;
        let chosen = self.chosen(&trained)?;
        if chosen.samples.iter().any(|sample| matches!(sample.source, ClipSource::Video(_))) {
            trained.loader.reader.require_decoder()?;
        }
        let rule = trained.views(self.views.unwrap_or(trained.recipe.evaluation.views));
        let systems = self.systems(&trained)?;
        let scored = score(&trained, &systems, &chosen.samples, rule)?;
        self.print(&trained, &chosen, &scored, rule)?;
        self.save(&trained, &chosen, &scored, rule)?;
        faults_exit(&scored.faults, chosen.samples.len())
    }

    /// Captions a part of the run's own clips and scores the captions.
    fn captions(&self, dir: RunDir) -> Result<()> {
        let others = self.list.is_some() || self.views.is_some() || self.system.is_some() || self.out.is_some();
        ensure!(
            !others,
            "--list, --views, --system and --out are for runs that classify clips, and {dir} captions them"
        );
        let captioner = self.model.open_captioner(dir)?;
        let (dir, split) = (&captioner.dir, self.split());
        let mut recipe = captioner.recipe.clone();
        place(&mut recipe, self.data.as_deref())?;
        let clips = CaptionedClips::of_recipe(&recipe).with_context(|| format!("{dir} cannot be evaluated"))?;
        captioner.check_same(&clips)?;
        let table = self.meteor.as_deref().or(recipe.meteor.as_deref()).map(paraphrases).transpose()?;
        let tested = captioner.test(&clips, split, table.as_ref())?;
        let samples = clips.dataset.split(split);
        if self.json {
            let test: Map<String, Value> =
                tested.result().into_iter().map(|(key, value)| (key, json!(value))).collect();
            let clips = tested.to_json(samples);
            print_json(&json!({ "run": dir.to_string(), "part": split.to_string(), "test": test, "clips": clips }))?;
        } else {
            print_result(samples.len(), &split.to_string(), &tested.result())?;
        }
        tested.save(dir, &clips)?;
        note!("captions: {}", dir.captions(&split.to_string()).display());
        Ok(())
    }

    /// The systems to score, the one that the result is about first.
    fn systems(&self, trained: &TrainedRun) -> Result<Vec<TrainedSystem>> {
        let mut systems = match &self.system {
            Some(key) => vec![trained.system(key)?],
            None => trained.systems(),
        };
        if self.out.is_some() {
            systems.truncate(1);
        }
        systems.iter().map(|system| trained.load(system)).collect()
    }

    fn split(&self) -> Split {
        self.split.unwrap_or(Split::Test)
    }

    fn chosen(&self, trained: &TrainedRun) -> Result<Chosen> {
        let chosen = match (&self.list, &self.data) {
            (None, None) => self.own_part(trained),
            (Some(list), data) => {
                let Some(root) = data.clone().or_else(|| trained.root()) else {
                    bail!("the clips of this run are generated; name a folder with --data");
                };
                self.listed(trained, &root, list)
            }
            (None, Some(root)) => match self.part_of(trained, root)? {
                Some(part) => Ok(part),
                None => self.whole(trained, root),
            },
        }?;
        ensure!(!chosen.samples.is_empty(), "there are no {}", chosen.words);
        Ok(chosen)
    }

    /// A part of the run's clips, in the folder that it was trained on.
    fn own_part(&self, trained: &TrainedRun) -> Result<Chosen> {
        let dataset = dataset(&trained.recipe).with_context(|| {
            format!("the clips of {} cannot be found; if they were moved, name their folder with --data", trained.dir)
        })?;
        ensure!(
            dataset.classes == trained.card.classes,
            "{} was made for other classes: it knows {}; the data has {}",
            trained.dir,
            trained.card.classes.join(", "),
            dataset.classes.join(", ")
        );
        let trained_on = &trained.card.data.fingerprint;
        // With another number of clips the parts are drawn again, and training clips may be scored.
        ensure!(
            dataset.fingerprint() == *trained_on,
            "{} was trained on other clips of {} ({trained_on} then, {} now), so its parts are not the same any more; \
             name the clips to score with --list",
            trained.dir,
            dataset.name,
            dataset.fingerprint()
        );
        let of = dataset.name.clone();
        Ok(self.part(trained, dataset, &of, ""))
    }

    fn part(&self, trained: &TrainedRun, dataset: Dataset, of: &str, prefix: &str) -> Chosen {
        for text in notes(&dataset) {
            note!("note: {text}");
        }
        let split = self.split();
        if split == Split::Validation && trained.recipe.refit.is_some() {
            note!("note: this run was trained on its validation clips too, as its recipe's refit says");
        }
        Chosen {
            samples: dataset.split(split).to_vec(),
            words: format!("{split} clips of {of}"),
            all: false,
            name: format!("{prefix}{split}"),
        }
    }

    /// A part of another folder by the rules of the recipe, if it holds the run's own clips, moved or
    /// copied, or has the recipe's lists. `None` for a folder of other clips.
    fn part_of(&self, trained: &TrainedRun, root: &Path) -> Result<Option<Chosen>> {
        let DataSection::Folder(section) = &trained.recipe.data else { return Ok(None) };
        let mut recipe = trained.recipe.clone();
        place(&mut recipe, Some(root))?;
        let lists = [&section.train_list, &section.validation_list, &section.test_list];
        let listed = lists.into_iter().any(Option::is_some);
        let dataset = match dataset(&recipe) {
            Ok(dataset) => dataset,
            // The folder's lists are wrong, not only absent.
            Err(error) if listed && !matches!(error.downcast_ref(), Some(DataError::NotFound(_))) => return Err(error),
            Err(_) => return Ok(None),
        };
        let same = dataset.fingerprint() == trained.card.data.fingerprint;
        if !same && (!listed || dataset.classes != trained.card.classes) {
            return Ok(None);
        }
        if !same && self.split() != Split::Train {
            refuse_seen(trained, root, dataset.split(self.split()))?;
        }
        // A copy beside the run's own folder may differ from it, and has a score file of its own.
        let own = canonicalize(&section.root).ok();
        let moved = own.is_none() || own == canonicalize(root).ok();
        let prefix = if same && moved { "" } else { "other-" };
        Ok(Some(self.part(trained, dataset, &root.display().to_string(), prefix)))
    }

    /// The clips that a list names.
    fn listed(&self, trained: &TrainedRun, root: &Path, list: &Path) -> Result<Chosen> {
        ensure!(
            self.split != Some(Split::Validation),
            "--list names the clips itself; beside it --split train allows clips that the run was trained on"
        );
        let set = clips_of(trained, root, Some(list))?;
        if self.split != Some(Split::Train) {
            refuse_seen(trained, root, &set.test)?;
        }
        let words = format!("clips of {} that {} names", root.display(), list.display());
        Ok(Chosen { samples: set.test, words, all: false, name: "other".into() })
    }

    /// All clips of a folder.
    fn whole(&self, trained: &TrainedRun, root: &Path) -> Result<Chosen> {
        let set = clips_of(trained, root, None)?;
        let (mut samples, shown) = (set.test, root.display());
        let words = match self.split {
            None | Some(Split::Test) => {
                refuse_seen(trained, root, &samples)?;
                format!("clips of {shown}")
            }
            Some(Split::Train) => {
                let seen = seen(trained, root, &samples)?;
                samples.retain(|sample| seen.contains(&sample.id));
                format!("clips of {shown} that {} was trained on", trained.dir)
            }
            Some(Split::Validation) => bail!(
                "{shown} does not hold the clips of {}, so it has no validation part; leave out --split to score all its \
                 clips, or name some with --list",
                trained.dir
            ),
        };
        Ok(Chosen { samples, words, all: true, name: "other".into() })
    }

    fn print(&self, trained: &TrainedRun, chosen: &Chosen, scored: &Scored, rule: TestViews) -> Result<()> {
        let TestedSystem { system, result, scores, .. } = &scored.systems[0];
        let (summary, clips) = (&result.test, chosen.counted(result.test.clips));
        faults_line(&scored.faults, chosen.samples.len());
        if self.json {
            let of = |tested: &TestedSystem| system_json(&tested.result, &self.path(trained, chosen, tested, rule));
            let systems: Vec<Value> = scored.systems.iter().map(of).collect();
            let mut document = json!({
                "test": summary, "run": trained.dir.to_string(), "clips": clips, "views": rule.to_string(), "systems": systems,
            });
            faults_json(&mut document, &scored.faults);
            return print_json(&document);
        }
        // The heading names every system but GRU-RCN.
        let named = if *system == System::GruRcn { String::new() } else { format!(", {}", result.name) };
        say!("{}{named} on {clips}", trained.dir)?;
        say!("  top-1      {}", summary.top1_line())?;
        if scores.classes > TRIVIAL_TOP5 {
            say!("  top-5       {:5.1} %", 100.0 * summary.top5)?;
        }
        say!("  mean class  {:5.1} %", 100.0 * summary.mean_class)?;
        say!("  NLL         {:7.3}  ({NLL})", summary.nll)?;
        if let Some(means) = &result.mean_of_probabilities {
            say!("  top-1 by the mean of probabilities {:5.1} %", 100.0 * means.top1)?;
        }
        for (level, accuracy) in &result.levels {
            say!("  {level:<10}  {:5.1} %", 100.0 * accuracy)?;
        }
        if scored.systems.len() > 1 {
            say!("other systems of the run, top-1")?;
        }
        for TestedSystem { result, .. } in &scored.systems[1..] {
            say!("  {:<24} {}", result.name, result.test.top1_line())?;
            if let Some(means) = &result.mean_of_probabilities {
                say!("    mean of probabilities {:5.1} %", 100.0 * means.top1)?;
            }
        }
        Ok(())
    }

    /// The file of a system's scores. Those of other clips or other views do not overwrite the run's own
    /// test scores.
    fn path(&self, trained: &TrainedRun, chosen: &Chosen, tested: &TestedSystem, rule: TestViews) -> PathBuf {
        let other_views = if rule == trained.recipe.views() { String::new() } else { format!("-{rule}") };
        let own = || trained.dir.scores_of(&tested.result.key, &format!("{}{other_views}", chosen.name));
        self.out.clone().unwrap_or_else(own)
    }

    fn save(&self, trained: &TrainedRun, chosen: &Chosen, scored: &Scored, rule: TestViews) -> Result<()> {
        for tested in &scored.systems {
            let path = self.path(trained, chosen, tested, rule);
            let ids: Vec<String> = tested.clips.iter().map(|&clip| chosen.samples[clip].id.clone()).collect();
            let labels = ScoreLabels {
                ids: &ids,
                classes: &trained.card.classes,
                views: &rule.to_string(),
                part: &chosen.counted(ids.len()),
            };
            save_scores(&tested.scores, &path, &labels)?;
        }
        Ok(())
    }
}

impl Chosen {
    /// The description with the number of clips that were scored.
    fn counted(&self, clips: usize) -> String {
        let all = if self.all && clips == self.samples.len() { "all " } else { "" };
        format!("{all}{clips} {}", self.words)
    }
}

/// Clips of a folder, all or those of a list, without those in its quarantine.
fn clips_of(trained: &TrainedRun, root: &Path, list: Option<&Path>) -> Result<Dataset> {
    let quarantine = root.join(QUARANTINE);
    let options = FolderOptions {
        root: root.to_owned(),
        test_list: list.map(Path::to_owned),
        quarantine: quarantine.is_file().then(|| QUARANTINE.into()),
        ..FolderOptions::default()
    };
    let set = Dataset::clips_of(&options, &trained.card.classes)
        .with_context(|| format!("{} cannot be evaluated on these clips", trained.dir))?;
    for text in &set.notes {
        note!("note: {text}");
    }
    Ok(set)
}

/// An error if the run was trained on any of these clips of a folder.
fn refuse_seen(trained: &TrainedRun, root: &Path, samples: &[Sample]) -> Result<()> {
    let seen = seen(trained, root, samples)?;
    let Some(first) = samples.iter().map(|sample| &sample.id).find(|id| seen.contains(*id)) else { return Ok(()) };
    bail!(
        "{} was trained on {} of these {} clips of {}, {first} the first of them, by their names; name others with --list, \
         or score training clips with --split train",
        trained.dir,
        seen.len(),
        samples.len(),
        root.display()
    )
}

/// The ids of these clips of a folder, as far as the run was trained on them.
fn seen(trained: &TrainedRun, root: &Path, samples: &[Sample]) -> Result<HashSet<String>> {
    let known = match RunClips::read(&trained.dir)? {
        Some(clips) => Some(clips),
        // An earlier version did not keep the names; the clips may still be there.
        None => {
            let dataset = dataset(&trained.recipe).ok();
            let same = dataset.filter(|dataset| dataset.fingerprint() == trained.card.data.fingerprint);
            same.map(|dataset| RunClips::of(&dataset))
        }
    };
    let Some(known) = known else {
        note!(
            "warning: an earlier version made {}, without a list of its training clips, and they are not where they were: \
             any of them among these clips are scored too",
            trained.dir
        );
        return Ok(HashSet::new());
    };
    let seen = known.seen(trained.recipe.refit.is_some());
    // A folder within that of the run: its clips have longer ids there.
    let own = trained.root().and_then(|own| canonicalize(own).ok());
    let inner = canonicalize(root).ok().zip(own).and_then(|(root, own)| Some(root.strip_prefix(own).ok()?.to_owned()));
    let prefix: String = inner.iter().flatten().map(|part| format!("{}/", part.to_string_lossy())).collect();
    let ids = samples.iter().map(|sample| &sample.id);
    Ok(ids.filter(|id| seen.has(&format!("{prefix}{id}"))).cloned().collect())
}

/// Systems of a run on clips by a rule of views, without those that cannot be read.
fn score(trained: &TrainedRun, systems: &[TrainedSystem], samples: &[Sample], rule: TestViews) -> Result<Scored> {
    let stop = StopFlag::install("run the command again")?;
    let skipped = SkippedClips::collecting();
    let test = Test {
        recipe: &trained.recipe,
        samples,
        rule,
        loader: &trained.loader.skipping(&skipped),
        device: &trained.device,
        stop: &stop,
        cnn: &trained.cnn,
        work: "clips are scored",
        message: &|line| note!("{line}"),
    };
    let systems = test.run(systems, || Ok(test.live(&trained.cnn)));
    Ok(Scored {
        systems: systems.with_context(|| format!("{} cannot be evaluated", trained.dir))?,
        faults: skipped.faults(),
    })
}
