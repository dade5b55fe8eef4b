//! `evaluate`: a trained run on a part of its own data, or on other clips of the same classes.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use gru_rcn::percepts::Percepts;
use gru_rcn_data::{Dataset, Sample, Split, TestViews};
use serde_json::json;

use super::shared::{ModelArgs, print_json};
use crate::experiment::TrainedRun;
use crate::experiment::data::dataset;
use crate::observe::Pace;
use crate::percepts::Live;
use crate::preflight::notes;
use crate::report::{NLL, TRIVIAL_TOP5};
use crate::run::scores::Scores;
use crate::scoring::views::ViewPercepts;
use crate::scoring::{Scorable, ViewBatch, score, single_view};
use crate::signals::StopFlag;

#[derive(Args, Debug)]
pub(super) struct EvaluateArgs {
    /// Another folder of clips than the run was trained on.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// List of the clips to score, relative to the folder; without it, all clips of another folder.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Which part of the data: train, validation or test.
    #[arg(long, default_value_t = Split::Test)]
    split: Split,
    /// The views of each clip, whose probabilities are averaged: STARTSxCROPS with 1, 5 or 10
    /// crops, 25x10 in the paper. By default what the run's recipe says.
    #[arg(long, value_name = "NxM")]
    views: Option<TestViews>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

impl EvaluateArgs {
    pub(super) fn run(&self) -> Result<()> {
        let trained = self.model.open()?;
        let samples = self.samples(&trained)?;
        let own = self.data.is_none() && self.list.is_none();
        if own && self.split == Split::Validation && trained.recipe.refit.is_some() {
            eprintln!("note: this run was trained on its validation clips too, as its recipe's refit says");
        }
        let rule = trained.views(self.views.unwrap_or(trained.recipe.evaluation.views));
        let scores = scores(&trained, &samples, rule)?;
        // The run's own test scores are not overwritten by those of other clips or other views.
        let mut name = if own { self.split.to_string() } else { "other".to_string() };
        if rule != trained.recipe.views() {
            name += &format!("-{rule}");
        }
        let ids: Vec<String> = samples.iter().map(|sample| sample.id.clone()).collect();
        let path = trained.dir.scores(&name);
        scores.save(&path, &ids, &trained.card.classes)?;
        self.print(&trained, &scores)?;
        eprintln!("scores: {}", path.display());
        Ok(())
    }

    /// The clips to score: those of another folder or list, or a part of the run's own.
    fn samples(&self, trained: &TrainedRun) -> Result<Vec<Sample>> {
        if self.data.is_some() || self.list.is_some() {
            let Some(root) = self.data.clone().or_else(|| trained.root()) else {
                bail!("the clips of this run are generated; name a folder with --data");
            };
            return Dataset::clips_of(&root, self.list.as_deref(), &trained.card.classes)
                .with_context(|| format!("{} cannot be evaluated on these clips", trained.dir));
        }
        let dataset = dataset(&trained.recipe)?;
        for note in notes(&dataset) {
            eprintln!("note: {note}");
        }
        if dataset.classes != trained.card.classes {
            bail!(
                "{} was made for other classes: it knows {}; the data has {}",
                trained.dir,
                trained.card.classes.join(", "),
                dataset.classes.join(", ")
            );
        }
        let trained_on = &trained.card.data.fingerprint;
        // With another number of clips the parts are drawn anew, and training clips may be scored.
        if dataset.fingerprint() != *trained_on {
            bail!(
                "{} was trained on other clips of {} ({trained_on} then, {} now), so its parts are not the same any more; \
                 name the clips to score with --list",
                trained.dir,
                dataset.name,
                dataset.fingerprint()
            );
        }
        let samples = dataset.split(self.split).to_vec();
        if samples.is_empty() {
            bail!("{} has no {} clips", dataset.name, self.split);
        }
        Ok(samples)
    }

    fn print(&self, trained: &TrainedRun, scores: &Scores) -> Result<()> {
        let summary = scores.predictions()?.summary();
        if self.json {
            return print_json(&json!({ "test": summary }));
        }
        println!("{} on {} {} clips", trained.dir, summary.clips, self.split);
        println!("  top-1      {}", summary.top1_line());
        if scores.classes > TRIVIAL_TOP5 {
            println!("  top-5       {:5.1} %", 100.0 * summary.top5);
        }
        println!("  mean class  {:5.1} %", 100.0 * summary.mean_class);
        println!("  NLL         {:7.3}  ({NLL})", summary.nll);
        for (level, accuracy) in trained.recipe.level_names().iter().zip(scores.level_accuracies()) {
            println!("  {level:<10}  {:5.1} %", 100.0 * accuracy);
        }
        Ok(())
    }
}

/// The run's GRU-RCN on clips by a rule of views.
fn scores(trained: &TrainedRun, samples: &[Sample], rule: TestViews) -> Result<Scores> {
    let stop = StopFlag::install("run the command again")?;
    let mut pace = Pace::new(samples.len());
    let progress = |clips: usize| {
        if let Some(line) = pace.line(clips, "clips are scored") {
            eprintln!("{line}");
        }
    };
    let (cnn, loader, device) = (&trained.cnn, &trained.loader, &trained.device);
    let source = Live::new(cnn.clone(), samples, loader.clone(), device);
    let batches: Box<dyn Iterator<Item = Result<ViewBatch<Percepts>>>> = match rule.is_single() {
        true => Box::new(single_view(&source, trained.recipe.training.batch.min(16))),
        false => Box::new(ViewPercepts { cnn, loader, device }.of_clips(samples, rule)),
    };
    let targets: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
    let models: [&dyn Scorable<Percepts>; 1] = [&trained.model];
    Ok(score(&models, batches, &targets, &stop, progress)?.swap_remove(0))
}
