//! `table2`: the authors' own rows of the paper's second table, one run for each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::shared::{RecipeArgs, SeriesArgs, attempt, chosen_rows, print_json};
use crate::captioning::{locate, result};
use crate::experiment::RunOptions;
use crate::output::say;
use crate::recipe::{CaptionRecipe, EncoderSection, Select, load};
use crate::run::dir::write_json;
use crate::signals::Faults;

#[derive(Args, Debug)]
#[command(mut_arg("out", |out| out.required(false).default_value("runs/table2")))]
pub(super) struct Table2Args {
    /// The run of ucf101/rgb, whose VGG-16 and GRU-RCN are the encoders, in place of the recipes'
    /// runs/ucf101-rgb-1.
    #[arg(long, value_name = "RUN")]
    encoder: Option<PathBuf>,
    /// METEOR's folder with its table of paraphrases. Without it METEOR is lower than the paper's, and
    /// so is the value that selects the weights of the row `both-meteor`.
    #[arg(long, value_name = "DIR")]
    meteor: Option<PathBuf>,
    /// Captioning recipe for other data; each row replaces its encoders.
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// Rows of the table, comma-separated; by default all.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<String>,
    #[command(flatten)]
    pub(super) series: SeriesArgs,
}

/// A row of the table.
struct Row {
    key: &'static str,
    name: &'static str,
    recipe: &'static str,
    select: Select,
    /// BLEU-4, METEOR and CIDEr as the paper prints them.
    printed: [f64; 3],
}

const BOTH: (&str, &str) = ("GoogLeNet + Bi-directional GRU-RCN", "msvd/googlenet-gru-rcn");

const ROWS: [Row; 7] = [
    row("vgg16", ("VGG-16 Encoder", "msvd/vgg16"), Select::Bleu4, [0.3700, 0.2640, 0.4330]),
    row("gru-rcn", ("Bi-directional GRU-RCN Encoder", "msvd/gru-rcn"), Select::Bleu4, [0.4100, 0.2850, 0.5010]),
    row("googlenet", ("GoogLeNet Encoder", "msvd/googlenet"), Select::Bleu4, [0.4128, 0.2900, 0.4804]),
    row("both-bleu", BOTH, Select::Bleu4, [0.4963, 0.3075, 0.5937]),
    row("both-nll", BOTH, Select::Nll, [0.4790, 0.3114, 0.6782]),
    row("both-meteor", BOTH, Select::Meteor, [0.4842, 0.3170, 0.6538]),
    row("both-cider", BOTH, Select::Cider, [0.4326, 0.3160, 0.6801]),
];

const fn row(
    key: &'static str,
    (name, recipe): (&'static str, &'static str),
    select: Select,
    printed: [f64; 3],
) -> Row {
    Row { key, name, recipe, select, printed }
}

impl Row {
    fn line(&self, recipe: CaptionRecipe, run: PathBuf, options: &RunOptions) -> Result<Line> {
        let (test, note) = match attempt(&run, options, || result(recipe, &run, options))? {
            Ok(result) => (result.test.into_iter().collect(), None),
            Err(reason) => (BTreeMap::new(), Some(reason)),
        };
        let Self { key: row, name, select, printed, .. } = *self;
        Ok(Line { row, name, selected_on: select.name(), run, test, printed, note })
    }
}

/// A row with its result, as `table2.json` has it.
#[derive(Serialize)]
struct Line {
    row: &'static str,
    name: &'static str,
    selected_on: &'static str,
    run: PathBuf,
    /// The metrics of the test captions by their keys, METEOR's with the paraphrases or without.
    #[serde(flatten)]
    test: BTreeMap<String, f64>,
    /// What the paper prints.
    printed: [f64; 3],
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Table2Args {
    pub(super) fn run(&self) -> Result<()> {
        let rows = chosen_rows(&ROWS, |row| row.key, &self.rows)?.into_iter();
        let SeriesArgs { change, out, json, .. } = &self.series;
        ensure!(change.data.is_some(), "give the folder that `gru-rcn prepare msvd` made by --data");
        let rows: Vec<(&Row, CaptionRecipe)> = rows.map(|row| Ok((row, self.recipe(row)?))).collect::<Result<_>>()?;
        let options = self.series.options()?;
        let mut lines = Vec::new();
        for (row, recipe) in rows {
            lines.push(row.line(recipe, out.join(row.key), &options)?);
            write_json(&out.join("table2.json"), &lines)?;
        }
        if *json {
            print_json(&lines)?;
        } else {
            print(&lines)?;
            if let Some(recipe) = &self.recipe {
                say!("those are of MSVD, by VGG-16; these are by the recipe {recipe}")?;
            }
        }
        let failed = lines.iter().filter(|line| line.note.is_some()).count();
        ensure!(failed == 0, Faults(format!("{failed} rows have no result; the table says why")));
        Ok(())
    }

    fn recipe(&self, row: &Row) -> Result<CaptionRecipe> {
        let RecipeArgs { data, weights, set } = &self.series.change;
        let mut recipe: CaptionRecipe = load(self.recipe.as_deref().unwrap_or(row.recipe), set)?;
        if self.recipe.is_some() {
            recipe.encoders = load::<CaptionRecipe>(row.recipe, &[])?.encoders;
        }
        recipe.training.select = row.select;
        recipe.meteor = self.meteor.clone().or(recipe.meteor);
        if let Some(run) = &self.encoder {
            for encoder in &mut recipe.encoders {
                match encoder {
                    EncoderSection::GruRcn(own) => own.clone_from(run),
                    EncoderSection::Cnn(cnn) => cnn.run = cnn.run.as_ref().map(|_| run.clone()),
                }
            }
        }
        // The weights are GoogLeNet's, which not every row has.
        locate(&mut recipe, data.as_deref(), weights.as_deref())?;
        Ok(recipe)
    }
}

fn print(lines: &[Line]) -> Result<()> {
    const WITHOUT: &str = "meteor_without_paraphrases";
    say!("{:36} {:9} {:>15} {:>15} {:>15}", "", "selected", "BLEU-4", "METEOR", "CIDEr-D")?;
    for Line { row, name, selected_on, test, printed, note, .. } in lines {
        let cell = |keys: &[&str], printed: f64| match keys.iter().find_map(|key| test.get(*key)) {
            Some(value) => format!("{value:.4} ({printed:.4})"),
            None => format!("– ({printed:.4})"),
        };
        let [bleu4, meteor, cider] = *printed;
        let cells = [cell(&["bleu4"], bleu4), cell(&["meteor", WITHOUT], meteor), cell(&["cider_d"], cider)];
        say!("{name:36} {selected_on:9} {:>15} {:>15} {:>15}", cells[0], cells[1], cells[2])?;
        if let Some(note) = note {
            say!("  {row}: {note}")?;
        }
    }
    if lines.iter().any(|line| line.test.contains_key(WITHOUT)) {
        say!("METEOR is without paraphrases, and lower than the paper's; --meteor DIR names its tables")?;
    }
    say!("in brackets what the paper prints")
}
