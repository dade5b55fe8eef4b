//! `search`: a random search over the sizes of a captioner, each trial a run of its own.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gru_rcn_data::base::SplitMix64;
use serde::Serialize;

use super::shared::{RecipeArgs, SeriesArgs, print_json};
use crate::captioning::{resolve, result};
use crate::experiment::RunOptions;
use crate::output::{note, say};
use crate::recipe::CaptionRecipe;
use crate::run::dir::write_json;

#[derive(Args, Debug)]
pub(super) struct SearchArgs {
    /// A captioning recipe, built-in or a TOML file. The ranges are in its section `search`.
    recipe: String,
    /// Number of trials; a later call with a larger number continues with further trials.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: u32,
    #[command(flatten)]
    pub(super) series: SeriesArgs,
}

/// A trial, as `search.json` has it.
#[derive(Serialize)]
struct Trial {
    run: PathBuf,
    hidden: usize,
    embedding: usize,
    segments: usize,
    /// Lowest negative log-likelihood of a validation caption.
    validation_nll: f64,
    /// Highest validation score, if the weights are chosen by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_score: Option<f64>,
}

impl SearchArgs {
    pub(super) fn run(&self) -> Result<()> {
        let SeriesArgs { change: RecipeArgs { data, weights, set }, out, json, .. } = &self.series;
        let recipe = resolve(&self.recipe, set, data.as_deref(), weights.as_deref())?;
        let options = self.series.options()?;
        let mut trials = Vec::new();
        for number in 1..=self.trials {
            let run = out.join(format!("trial-{number:04}"));
            note!("trial {number} of {}: {}", self.trials, run.display());
            trials.push(Self::trial(drawn(&recipe, number), run, &options)?);
        }
        // By the score that the weights are chosen by, and by the likelihood where there is none.
        trials.sort_by(|a, b| {
            let scores = b.validation_score.partial_cmp(&a.validation_score);
            scores.unwrap_or(std::cmp::Ordering::Equal).then(a.validation_nll.total_cmp(&b.validation_nll))
        });
        write_json(&out.join("search.json"), &trials)?;
        if *json {
            return print_json(&trials);
        }
        say!("   NLL     score  hidden  embedding  segments  run")?;
        for Trial { run, hidden, embedding, segments, validation_nll, validation_score } in &trials {
            let score = validation_score.map_or("–".into(), |score| format!("{score:.4}"));
            say!("{validation_nll:8.4} {score:>7}  {hidden:6}  {embedding:9}  {segments:8}  {}", run.display())?;
        }
        Ok(())
    }

    fn trial(recipe: CaptionRecipe, run: PathBuf, options: &RunOptions) -> Result<Trial> {
        let (hidden, embedding, segments) = (recipe.decoder.hidden, recipe.decoder.embedding, recipe.segments);
        let result = result(recipe, &run, options)?;
        let validation_score = result.curve.iter().filter_map(|point| point.validation_score).reduce(f64::max);
        Ok(Trial { run, hidden, embedding, segments, validation_nll: result.validation_nll, validation_score })
    }
}

/// The recipe of a trial: sizes and segments drawn from the recipe's seed and the number of the trial.
fn drawn(recipe: &CaptionRecipe, number: u32) -> CaptionRecipe {
    let mut recipe = recipe.clone();
    let ranges = recipe.search.clone().unwrap_or_default();
    let mut words = SplitMix64::new(SplitMix64::at(recipe.seed, number.into()));
    let mut unit = || (words.next_word() >> 11) as f64 / (1u64 << 53) as f64;
    let mut size = |[least, most]: [usize; 2]| -> usize {
        let ratio = (most as f64 / least as f64).powf(unit());
        ((least as f64 * ratio).round() as usize).clamp(least, most)
    };
    recipe.decoder.hidden = size(ranges.hidden);
    recipe.decoder.embedding = size(ranges.embedding);
    let choice = (unit() * ranges.segments.len() as f64) as usize;
    recipe.segments = ranges.segments[choice];
    recipe.name = format!("{}-trial-{number}", recipe.name);
    recipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::parse_as;

    /// A thousand trials: half of the sizes lie below the geometric mean of 100 and 10,000.
    #[test]
    fn sizes_are_drawn_by_their_logarithms() {
        let text = "name = 'x'\ncaptions = 'c.json'\nsegments = 1\nencoders = [{ gru_rcn = 'r' }]\ndata = { folder = {} }\n\
                    decoder = {}\nsearch = { hidden = [100, 10000], embedding = [7, 7], segments = [3, 5] }";
        let recipe: CaptionRecipe = parse_as(text, &[]).unwrap();
        let trials: Vec<CaptionRecipe> = (1..=1000).map(|number| drawn(&recipe, number)).collect();
        let below = trials.iter().filter(|trial| trial.decoder.hidden < 1000).count();
        let five = trials.iter().filter(|trial| trial.segments == 5).count();
        // Five standard deviations of a half of 1,000 are 79.
        assert!(below.abs_diff(500) < 79 && five.abs_diff(500) < 79, "{below} {five}");
        assert!(
            trials.iter().all(|trial| (100..=10_000).contains(&trial.decoder.hidden) && trial.decoder.embedding == 7)
        );
        assert_eq!(drawn(&recipe, 4), trials[3]);
    }
}
