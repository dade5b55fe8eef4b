//! `predict`: the top classes of any video file.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use clap::Args;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::head::EnsembleLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn::replay::Replay;
use gru_rcn_data::{ClipViews, TestViews, ordered, source_of};
use gru_rcn_metrics::at_temperature;
use serde::Serialize;

use super::results::ResultsFile;
use super::shared::{
    Entry, FilesArgs, ModelArgs, Tally, at_least_one, each_file, print_json, probabilities, probability,
};
use crate::experiment::{System, TrainedModel, TrainedRun, fingerprint};
use crate::observe::percent;
use crate::output::{note, say};
use crate::percepts::{ClipLoader, FrozenCnn};
use crate::run::checksum::checksum;
use crate::run::dir::GRU_RCN;
use crate::run::fingerprint::RunFingerprint;
use crate::run::scores::top_classes;
use crate::scoring::Scorable;
use crate::scoring::views::{ViewPercepts, ViewPixels};
use crate::stream::BACKGROUND;

#[derive(Args, Debug)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Number of classes to print for each file.
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    top: usize,
    /// The views of each file, whose probabilities are averaged: STARTSxCROPS with 1, 5 or 10
    /// crops, 25x10 in the paper.
    #[arg(long, value_name = "NxM", default_value_t)]
    views: TestViews,
    /// Smallest probability of an answer: for a file in which no class but `background` reaches it, the
    /// result says that nothing was recognised.
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f32>,
    /// System to use, by its key, such as `frame`, `top_rnn` or `cnn`, the CNN's own classifier.
    /// `evaluate` prints the keys with the accuracy of each.
    #[arg(long, value_name = "KEY", default_value = GRU_RCN)]
    system: String,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Write the results to this file as CSV, line by line as files are classified. An existing file
    /// is continued.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "jsonl"])]
    csv: Option<PathBuf>,
    /// Write the results to this file as JSON, an object per line. An existing file is continued.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    jsonl: Option<PathBuf>,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

/// What `predict --json` prints for a file that it classified.
#[derive(Serialize)]
struct Prediction {
    /// The file as it was named.
    file: String,
    /// Frames decoded from it.
    frames: usize,
    /// The frames of the file that the model saw.
    from: Place,
    /// With a threshold, the class that reaches it; null if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<String>>,
    /// The most probable classes.
    top: Vec<ClassProbability>,
}

/// The frames of a file that the model saw: their number, and the first and the last of them, counted
/// from 0, with their times in seconds since the first frame of the file if the frame rate is known.
#[derive(Serialize)]
struct Place {
    seen: usize,
    first: usize,
    last: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<[f64; 2]>,
}

impl Place {
    fn of(views: &ClipViews) -> Self {
        let mut seen: Vec<usize> = views.plans().iter().flat_map(|(plan, _)| plan.frames.iter().copied()).collect();
        seen.sort_unstable();
        seen.dedup();
        let (first, last) = (seen.first().copied().unwrap_or(0), seen.last().copied().unwrap_or(0));
        let seconds = views.rate().map(|rate| [first, last].map(|frame| frame as f64 / rate));
        Self { seen: seen.len(), first, last, seconds }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of them from {} to {}", self.seen, self.first, self.last)?;
        match self.seconds {
            Some([from, to]) => write!(f, ", {from:.2} to {to:.2} s"),
            None => Ok(()),
        }
    }
}

/// A class with its probability.
#[derive(Serialize)]
struct ClassProbability {
    class: String,
    probability: f32,
}

/// A GRU-RCN that takes one clip after another, replayed on devices that can.
struct Replayed(RefCell<Replay>);

impl Replayed {
    /// The model takes in percepts of these levels of the CNN.
    fn new(cnn: &Cnn, model: GruRcnClassifier, levels: Vec<usize>) -> Self {
        let channels: Vec<usize> = cnn.levels().iter().map(|level| level.channels).collect();
        let replay = Replay::new(move |maps: Vec<Tensor<4>>| {
            let maps = maps.into_iter().zip(&channels).map(|(map, &channels)| {
                let [views, planes, height, width] = map.dims();
                map.reshape([views, planes / channels, channels, height, width])
            });
            vec![model.forward(Percepts::new(maps.collect()).select(&levels)).logits.unsqueeze_dim(0)]
        });
        Self(replay.into())
    }
}

impl Scorable<Percepts> for Replayed {
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        let maps = percepts.maps.into_iter().map(|map| map.flatten(1, 2));
        EnsembleLogits::new(self.0.borrow_mut().call(maps.collect()).remove(0).squeeze_dim(0))
    }
}

/// The class probabilities of a clip by its views.
type Classifier<'a> = Box<dyn Fn(ClipViews) -> Result<Vec<f32>> + 'a>;

/// Loads a system to classify the clips of this loader.
fn classifier<'a>(
    trained: &TrainedRun,
    system: &System,
    loader: &'a ClipLoader,
    device: &'a Device,
) -> Result<Classifier<'a>> {
    let on_percepts = move |cnn: &Cnn, model: Box<dyn Scorable<Percepts>>| -> Classifier<'a> {
        let cnn = FrozenCnn::new(cnn);
        Box::new(move |views| probabilities(&*model, ViewPercepts { cnn: &cnn, loader, device }.of_clip(0, views)))
    };
    if *system == System::GruRcn {
        let (cnn, model) = trained.gru_rcn()?;
        return Ok(on_percepts(&cnn, Box::new(Replayed::new(&cnn, model, trained.recipe.levels()))));
    }
    Ok(match trained.load(system)?.model {
        TrainedModel::Percepts { model, .. } => on_percepts(&trained.cnn, model),
        TrainedModel::Pixels { model, pixels } => Box::new(move |views| {
            probabilities(&*model, ViewPixels { pixels: &pixels, loader, device }.of_clip(0, &views))
        }),
    })
}

/// Notes that a system of single frames named more of the run's test clips than GRU-RCN, if one did.
fn advise(trained: &TrainedRun) {
    let systems = &trained.card.systems;
    let Some(own) = systems.iter().find(|system| system.key == GRU_RCN) else { return };
    let frames = systems.iter().filter(|system| ["frame", "cnn"].contains(&&*system.key));
    let best = frames.max_by(|a, b| a.test.top1.total_cmp(&b.test.top1));
    if let Some(frames) = best.filter(|frames| frames.test.top1 > own.test.top1) {
        note!(
            "note: single frames did better on the {} test clips of {}, {} against {}: try --system {}",
            own.test.clips,
            trained.dir,
            percent(frames.test.top1),
            percent(own.test.top1),
            frames.key
        );
    }
}

/// The cells of a line of CSV; the times are in seconds.
fn cells(entry: &Entry<Prediction>) -> Vec<String> {
    let Prediction { file, frames, from, answer, top } = match entry {
        Entry::Done(prediction) => prediction,
        Entry::Failure { file, error } => return vec![file.clone(), error.clone()],
    };
    let mut cells = vec![file.clone(), String::new()];
    cells.extend([*frames, from.seen, from.first, from.last].map(|count| count.to_string()));
    cells.extend(from.seconds.map_or_else(Default::default, |times| times.map(|time| format!("{time:.3}"))));
    cells.push(answer.clone().flatten().unwrap_or_default());
    cells.extend(top.iter().flat_map(|top| [top.class.clone(), format!("{:.6}", top.probability)]));
    cells
}

impl PredictArgs {
    /// Files that cannot be classified are exit code 1, or an error if there are no others.
    pub(super) fn run(&self) -> Result<()> {
        let mut files = self.files.files()?;
        let mut trained = self
            .model
            .open_on_rgb("which a video has to be prepared for; use `prepare --flow` and `evaluate --data`")?;
        // Loading GRU-RCN explains why a run has none.
        let system = if self.system == GRU_RCN { System::GruRcn } else { trained.system(&self.system)? };
        let classifier = classifier(&trained, &system, &trained.loader, &trained.device)?;
        let rule = trained.views(self.views);
        let mut results = self.results(&trained, &system, rule)?;
        trained.dir.release_built_in();
        let mut tally = Tally { all: files.len(), failed: 0, done: "classified", kept: results.is_some() };
        if let Some(results) = &mut results {
            let [known, failed] = results.retain_new(&mut files)?;
            tally.failed = failed;
            if known > 0 {
                note!("{}: {known} files have results already", results.path.display());
            }
        }
        if files.iter().any(|video| video.is_file()) {
            trained.loader.reader.require_decoder()?;
        }
        if system == System::GruRcn {
            advise(&trained);
        }
        let (reader, planner) = (trained.loader.reader.clone(), trained.loader.planner.clone());
        let (bytes, limits) = (trained.loader.bytes_of(1), trained.loader.limits);
        // Threads read ahead: starting FFmpeg takes much of the time of a short video.
        let mut clips = ordered(
            files.clone(),
            |_| bytes,
            limits,
            move |video: &PathBuf| reader.read_views(&source_of(video)?, &planner, rule),
        );
        let temperature = trained.temperature_of(&system);
        let classified = |video: &Path| {
            let views = clips.next().context("more files than were read")??;
            self.predict(&trained, &classifier, temperature, video, views)
        };
        let mut entries = Vec::new();
        each_file(&files, &mut tally, classified, |entry| {
            match (&mut results, &entry) {
                (Some(results), entry) => results.add(entry, cells(entry))?,
                (None, _) if self.json => entries.push(entry),
                (None, Entry::Done(prediction)) => self.say(prediction)?,
                (None, Entry::Failure { .. }) => {}
            }
            Ok(())
        })?;
        if self.json {
            print_json(&entries)?;
        }
        let Some(results) = results else { return tally.exit("") };
        note!("results: {}", results.path.display());
        tally.exit("; they are tried again where their lines are removed from the results")
    }

    /// The file of results, if one was asked for.
    fn results(&self, trained: &TrainedRun, system: &System, rule: TestViews) -> Result<Option<ResultsFile>> {
        let Some(path) = self.csv.as_ref().or(self.jsonl.as_ref()) else { return Ok(None) };
        let recipe = RunFingerprint::new(&trained.recipe, &trained.card)?.recipe_hash();
        let weights = system.weights(&trained.dir);
        let weights = fs::read(&weights).with_context(|| format!("could not read {}", weights.display()))?;
        let weights = [fingerprint(&trained.cnn), checksum(&weights)];
        let settings = (rule, self.threshold, self.top, trained.temperature_of(system), trained.loader.dtype);
        let model = checksum(format!("{weights:?} {recipe} {settings:?}").as_bytes());
        let names = ["file", "error", "frames", "seen", "first", "last", "start", "end", "answer"].map(str::to_owned);
        let top = (1..=self.top.min(trained.card.classes.len()))
            .flat_map(|place| [format!("class{place}"), format!("probability{place}")]);
        let columns: Vec<String> = names.into_iter().chain(top).collect();
        ResultsFile::open(path, self.csv.as_ref().map(|_| &columns[..]), model).map(Some)
    }

    fn say(&self, Prediction { file, frames, from, answer, top }: &Prediction) -> Result<()> {
        say!("{file} ({frames} frames, {from})")?;
        if let (Some(None), Some(threshold)) = (answer, self.threshold) {
            say!("  nothing: no class reaches {:.1} %", 100.0 * threshold)?;
        }
        for ClassProbability { class, probability } in top {
            say!("  {:6.1} %  {class}", 100.0 * probability)?;
        }
        Ok(())
    }

    fn predict(
        &self,
        trained: &TrainedRun,
        classifier: &Classifier,
        temperature: f64,
        video: &Path,
        views: ClipViews,
    ) -> Result<Prediction> {
        let (frames, from) = (views.total(), Place::of(&views));
        let probabilities = classifier(views)?;
        ensure!(
            probabilities.iter().all(|probability| probability.is_finite()),
            "{}: the model gives no finite probabilities for it; the weights of {} are damaged",
            video.display(),
            trained.dir
        );
        let (probabilities, classes) = (at_temperature(&probabilities, temperature), &trained.card.classes);
        let answer = self.threshold.map(|threshold| {
            let mut best = top_classes(&probabilities, classes, classes.len());
            best.find(|(class, _)| *class != BACKGROUND).filter(|(_, p)| *p >= threshold).map(|(class, _)| class.into())
        });
        let top = top_classes(&probabilities, classes, self.top);
        Ok(Prediction {
            file: video.display().to_string(),
            frames,
            from,
            answer,
            top: top.map(|(class, probability)| ClassProbability { class: class.into(), probability }).collect(),
        })
    }
}
