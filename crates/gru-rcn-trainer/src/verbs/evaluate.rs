//! `evaluate`: a trained run on a part of its own data, or on other clips of the same classes.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use gru_rcn_data::{Dataset, Sample, Split};
use gru_rcn_metrics::{WILSON_95, wilson_interval};
use serde_json::json;

use super::TrainedRun;
use crate::data;
use crate::evaluate::{Scores, score};
use crate::percepts::{Live, View};
use crate::precision::Precision;

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
    /// JSON instead of text.
    pub json: bool,
    /// What to compute in.
    pub precision: Precision,
}

/// Runs the command.
pub fn run(options: &Options, device: &Device) -> Result<()> {
    let trained = TrainedRun::open(options.run, options.runs, device)?.computing_in(options.precision.dtype());
    let samples = samples(&trained, options)?;
    let reading = trained.reading();
    let source = Rc::new(Live::new(trained.cnn.clone(), &samples, reading, device));
    let source = View::new(source, trained.recipe.model.levels());
    let scores = score(&trained.model, &source, trained.recipe.training.batch.min(16))?;
    // The run's own test scores are not written over by those of other clips.
    let other = options.data.is_some() || options.list.is_some();
    let name = if other { "other".to_string() } else { options.split.to_string() };
    let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
    let path: PathBuf = trained.dir.path(&format!("scores-{name}.safetensors"));
    scores.save(&path, &ids, &trained.card.classes)?;
    print(&trained, &scores, options)?;
    eprintln!("scores: {}", path.display());
    Ok(())
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
