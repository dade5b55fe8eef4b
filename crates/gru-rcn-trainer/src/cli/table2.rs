//! `table2`: the authors' own rows of the paper's second table, one run for each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use super::shared::{DeviceArgs, PrecisionArgs, print_json};
use crate::captioning::{Series, resolve};
use crate::experiment::data::absolute;
use crate::output::{note, say};
use crate::recipe::{CaptionRecipe, EncoderSection, Select};
use crate::run::dir::write_json;
use crate::signals::StopFlag;

#[derive(Args, Debug)]
pub(super) struct Table2Args {
    /// A folder of MSVD that `prepare msvd` made, with captions.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The run of ucf101/rgb, whose VGG-16 and GRU-RCN are the encoders, in place of the recipes'
    /// runs/ucf101-rgb-1.
    #[arg(long, value_name = "RUN")]
    encoder: Option<PathBuf>,
    /// GoogLeNet's weights of ImageNet, in torchvision's layout.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// METEOR's folder with its table of paraphrases. Without it METEOR is lower than the paper's, and
    /// the row that is selected by METEOR is selected by that.
    #[arg(long, value_name = "DIR")]
    meteor: Option<PathBuf>,
    /// Rows of the table, with commas; all if not given.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<String>,
    /// Change one key of all recipes; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the runs and the table are kept. Runs that are there are resumed.
    #[arg(long, value_name = "DIR", default_value = "runs/table2")]
    out: PathBuf,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
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

/// A row with its result, as `table2.json` has it.
#[derive(Serialize)]
struct Line {
    row: &'static str,
    name: &'static str,
    selected_on: &'static str,
    run: PathBuf,
    bleu4: f64,
    /// With the paraphrases or without, as the key in the run says.
    meteor: f64,
    cider_d: f64,
    /// What the paper prints.
    printed: [f64; 3],
}

impl Table2Args {
    pub(super) fn run(&self) -> Result<()> {
        for row in &self.rows {
            let known: Vec<&str> = ROWS.iter().map(|row| row.key).collect();
            ensure!(known.contains(&row.as_str()), "there is no row {row}; the rows are {}", known.join(", "));
        }
        let rows = ROWS.iter().filter(|row| self.rows.is_empty() || self.rows.iter().any(|key| key == row.key));
        let series = Series {
            device: self.precision.device(self.device.backend)?,
            device_name: self.device.backend.to_string(),
            precision: self.precision.dtype,
            plain: self.json,
            stop: StopFlag::install("give the command again, it goes on")?,
        };
        let mut lines = Vec::new();
        for row in rows {
            note!("row {}: {}, selected on {}", row.key, row.name, row.select.name());
            lines.push(self.line(row, &series)?);
            write_json(&self.out.join("table2.json"), &lines)?;
        }
        if self.json {
            return print_json(&lines);
        }
        if self.meteor.is_none() {
            note!("note: METEOR without paraphrases, which is lower than the paper's; --meteor DIR gives its tables");
        }
        say!("{:36} {:9} {:>15} {:>15} {:>15}", "", "selected", "BLEU-4", "METEOR", "CIDEr-D")?;
        for Line { name, selected_on, bleu4, meteor, cider_d, printed, .. } in &lines {
            let cell = |value: &f64, printed: f64| format!("{value:.4} ({printed:.4})");
            let cells = [cell(bleu4, printed[0]), cell(meteor, printed[1]), cell(cider_d, printed[2])];
            say!("{name:36} {selected_on:9} {:>15} {:>15} {:>15}", cells[0], cells[1], cells[2])?;
        }
        say!("in brackets what the paper prints")
    }

    fn recipe(&self, row: &Row) -> Result<CaptionRecipe> {
        let mut recipe: CaptionRecipe = crate::recipe::load_as(row.recipe, &self.set)?;
        // The weights are GoogLeNet's, which not every row has.
        let takes_weights = recipe.encoders.iter().any(|encoder| match encoder {
            EncoderSection::GruRcn(_) => false,
            EncoderSection::Cnn(cnn) => cnn.run.is_none() && cnn.weights.is_none(),
        });
        let weights = self.weights.as_deref().filter(|_| takes_weights);
        recipe = resolve(row.recipe, &self.set, Some(&self.data), weights)?;
        recipe.training.select = row.select;
        recipe.meteor = self.meteor.as_deref().map(absolute).or(recipe.meteor);
        if let Some(run) = &self.encoder {
            recipe.encoders.iter_mut().for_each(|encoder| put(encoder, run));
        }
        Ok(recipe)
    }

    fn line(&self, row: &Row, series: &Series) -> Result<Line> {
        let recipe = self.recipe(row)?;
        let run = self.out.join(row.key);
        let result = series.train(recipe, &run, "a run of other options")?;
        let metric = |key: &str| -> Result<f64> {
            let found = result.test.iter().find(|(known, _)| known.starts_with(key));
            Ok(found.with_context(|| format!("the run has no {key}"))?.1)
        };
        Ok(Line {
            row: row.key,
            name: row.name,
            selected_on: row.select.name(),
            run,
            bleu4: metric("bleu4")?,
            meteor: metric("meteor")?,
            cider_d: metric("cider_d")?,
            printed: row.printed,
        })
    }
}

/// Puts another run in the place of the recipe's.
fn put(encoder: &mut EncoderSection, run: &Path) {
    match encoder {
        EncoderSection::GruRcn(own) => *own = absolute(run),
        EncoderSection::Cnn(cnn) => {
            if let Some(own) = &mut cnn.run {
                *own = absolute(run);
            }
        }
    }
}
