//! `evaluate`: a trained run on a part of its own data, or on other clips of the same classes.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use gru_rcn_data::{Dataset, DecoderKind, Sample, Split, ViewRule};
use gru_rcn_metrics::{WILSON_95, wilson_interval};
use serde_json::json;

use super::TrainedRun;
use crate::data;
use crate::evaluate::{Scores, score};
use crate::fit::Interrupted;
use crate::percepts::{Live, View};
use crate::precision::Precision;
use crate::progress::Interval;
use crate::signals::StopFlag;

/// What `evaluate` is asked.
pub struct Options<'a> {
    /// The run to use.
    pub run: Option<&'a Path>,
    /// Where runs are.
    pub runs: &'a Path,
    /// Another folder of clips than the run's own.
    pub data: Option<&'a Path>,
    /// A list of clips to score instead of the recipe's test list, relative to the folder.
    pub list: Option<&'a Path>,
    /// The part of the data.
    pub split: Split,
    /// The views of each clip, in place of what the run's recipe says.
    pub views: Option<ViewRule>,
    /// What decodes video files, in place of what the run's recipe says.
    pub decoder: Option<DecoderKind>,
    /// JSON instead of text.
    pub json: bool,
    /// What to compute in.
    pub precision: Precision,
}

/// Runs the command.
pub fn run(options: &Options, device: &Device) -> Result<()> {
    let trained = TrainedRun::open(options.run, options.runs, device)?
        .with_decoder(options.decoder)
        .computing_in(options.precision.dtype());
    let samples = samples(&trained, options)?;
    let own = options.data.is_none() && options.list.is_none();
    if own && options.split == Split::Validation && trained.recipe.refit.is_some() {
        eprintln!("note: this run was trained on its validation clips too, as its recipe's refit says");
    }
    let rule = trained.views(options.views.unwrap_or(trained.recipe.evaluation.views));
    let scores = if rule.is_single() {
        let source = Rc::new(Live::new(trained.cnn.clone(), &samples, trained.reading(), device));
        let source = View::new(source, trained.recipe.model.levels());
        score(&trained.model, &source, trained.recipe.training.batch.min(16))?
    } else {
        by_views(&trained, &samples, rule)?
    };
    // The run's own test scores are not written over by those of other clips or other views.
    let mut name = if own { options.split.to_string() } else { "other".to_string() };
    if rule != trained.recipe.views() {
        name += &format!("-{rule}");
    }
    let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
    let path: PathBuf = trained.dir.path(&format!("scores-{name}.safetensors"));
    scores.save(&path, &ids, &trained.card.classes)?;
    print(&trained, &scores, options)?;
    eprintln!("scores: {}", path.display());
    Ok(())
}

fn by_views(trained: &TrainedRun, samples: &[Sample], rule: ViewRule) -> Result<Scores> {
    let stop = StopFlag::install()?;
    let mut told = Interval::default();
    let done = |clips: usize| {
        if told.is_over() {
            eprintln!("{clips} of {} clips", samples.len());
        }
    };
    let reading = trained.reading();
    let mut scores = trained.scorer(&reading, rule).score(samples, &[trained.model()], done, || stop.is_set())?;
    match scores.as_mut().and_then(Vec::pop) {
        Some(scores) => Ok(scores),
        None => bail!(Interrupted { exit_code: stop.exit_code(), advice: "run the command again" }),
    }
}

/// The clips to score: those of another folder or list, or a part of the run's own.
fn samples(trained: &TrainedRun, options: &Options) -> Result<Vec<Sample>> {
    if options.data.is_some() || options.list.is_some() {
        let root = match options.data.map(Path::to_path_buf).or_else(|| trained.root()) {
            Some(root) => root,
            None => bail!("the clips of this run are generated; name a folder with --data"),
        };
        return Dataset::clips_of(&root, options.list, &trained.card.classes)
            .with_context(|| format!("{} cannot be tried on these clips", trained.dir.root().display()));
    }
    let recipe = &trained.recipe;
    let dataset = data::dataset(recipe)?;
    if dataset.classes != trained.card.classes {
        bail!(
            "{} was made for other classes: it knows {}; the data has {}",
            trained.dir.root().display(),
            trained.card.classes.join(", "),
            dataset.classes.join(", ")
        );
    }
    let trained_on = &trained.card.data.fingerprint;
    // With a clip more or less the parts are drawn anew, and clips that the model has learnt from come among the others.
    if dataset.fingerprint() != *trained_on {
        bail!(
            "{} was trained on other clips of {} ({trained_on} then, {} now), so its parts are not the same any more; name \
             the clips to score with --list",
            trained.dir.root().display(),
            dataset.name,
            dataset.fingerprint()
        );
    }
    let samples = dataset.split(options.split).to_vec();
    if samples.is_empty() {
        bail!("{} has no {} clips", dataset.name, options.split);
    }
    Ok(samples)
}

fn print(trained: &TrainedRun, scores: &Scores, options: &Options) -> Result<()> {
    let summary = scores.predictions()?.summary();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "test": summary }))?);
        return Ok(());
    }
    let (low, high) = wilson_interval(summary.correct(), summary.clips, WILSON_95);
    println!("{} on {} {} clips", trained.dir.root().display(), summary.clips, options.split);
    println!(
        "  top-1       {:5.1} %  (95 % interval {:.1} to {:.1} %)",
        100.0 * summary.top1,
        100.0 * low,
        100.0 * high
    );
    println!("  top-5       {:5.1} %", 100.0 * summary.top5);
    println!("  mean class  {:5.1} %", 100.0 * summary.mean_class);
    println!("  NLL         {:7.3}", summary.nll);
    for (level, accuracy) in trained.recipe.level_names().iter().zip(scores.level_accuracies()) {
        println!("  {level:<10}  {:5.1} %", 100.0 * accuracy);
    }
    Ok(())
}
