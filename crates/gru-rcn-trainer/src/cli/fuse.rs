//! `fuse`: the class probabilities of several runs, averaged clip by clip, as the paper fuses its
//! RGB and flow streams.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gru_rcn_data::Split;
use gru_rcn_metrics::Classification;
use serde::Serialize;

use super::shared::print_json;
use crate::run::scores::SavedScores;

/// A run folder or a score file, and its weight in the average; only the proportions matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    path: PathBuf,
    weight: f64,
}

#[derive(Args, Debug)]
pub(super) struct FuseArgs {
    /// Finished runs, or files of scores, each with its weight if it is not 1:
    /// `runs/rgb runs/flow=2` is the paper's fusion.
    #[arg(value_name = "RUN[=WEIGHT]", required = true)]
    members: Vec<Member>,
    /// Which scores of the runs: those of test, or what `evaluate --split` wrote.
    #[arg(long, default_value_t = Split::Test)]
    split: Split,
    /// Write the averaged probabilities to this file, which has the form of the runs' own.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl FromStr for Member {
    type Err = String;

    /// `PATH` or `PATH=WEIGHT`.
    fn from_str(text: &str) -> Result<Self, String> {
        // A path may hold `=`; what follows the last one is a weight if it is a number.
        let parsed = text.rsplit_once('=').and_then(|(path, weight)| Some((path, weight.parse::<f64>().ok()?)));
        let (path, weight) = parsed.unwrap_or((text, 1.0));
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(format!("{text}: a weight is a number above 0"));
        }
        Ok(Self { path: path.into(), weight })
    }
}

/// What `fuse --json` prints.
#[derive(Serialize)]
struct Fused {
    streams: Vec<Entry>,
    fused: Classification,
}

#[derive(Serialize)]
struct Entry {
    path: PathBuf,
    weight: f64,
    test: Classification,
}

impl FuseArgs {
    pub(super) fn run(&self) -> Result<()> {
        ensure!(self.members.len() > 1, "one run cannot be fused with itself; name two or more");
        let (mut entries, mut first, mut sum) = (Vec::new(), None::<(PathBuf, SavedScores)>, Vec::new());
        let total: f64 = self.members.iter().map(|member| member.weight).sum();
        for member in &self.members {
            let path = file(&member.path, self.split);
            let saved = SavedScores::load(&path)?;
            let test = saved.scores.predictions().with_context(|| path.display().to_string())?.summary();
            entries.push(Entry { path: member.path.clone(), weight: member.weight, test });
            let order = match &first {
                None => (0..saved.clips.len()).collect(),
                Some((other, reference)) => saved
                    .order_of(reference)
                    .with_context(|| format!("{} cannot be fused with {}", path.display(), other.display()))?,
            };
            let classes = saved.scores.classes;
            sum.resize(order.len() * classes, 0.0);
            for (place, clip) in order.into_iter().enumerate() {
                let row = &saved.scores.probabilities[clip * classes..][..classes];
                for (sum, &probability) in sum[place * classes..].iter_mut().zip(row) {
                    *sum += member.weight / total * f64::from(probability);
                }
            }
            first.get_or_insert((path, saved));
        }
        let Some((_, SavedScores { mut scores, clips, classes })) = first else { bail!("name the runs to fuse") };
        scores.probabilities = sum.into_iter().map(|probability| probability as f32).collect();
        scores.levels.clear();
        let fused = scores.predictions()?.summary();
        if let Some(out) = &self.out {
            scores.save(out, &clips, &classes)?;
            eprintln!("scores: {}", out.display());
        }
        let fused = Fused { streams: entries, fused };
        if self.json {
            return print_json(&fused);
        }
        print(&fused);
        Ok(())
    }
}

/// The score file of a run folder; a file as it is.
fn file(path: &Path, split: Split) -> PathBuf {
    if path.is_dir() { path.join(format!("scores-{split}.safetensors")) } else { path.to_owned() }
}

fn print(fused: &Fused) {
    let line = |name: &str, result: &Classification| {
        println!("  {name}  {}, NLL {:.3}", result.top1_line(), result.nll);
    };
    let names: Vec<String> =
        fused.streams.iter().map(|entry| format!("{} × {}", entry.path.display(), entry.weight)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    println!("{} clips, top-1 accuracy", fused.fused.clips);
    for (name, entry) in names.iter().zip(&fused.streams) {
        line(&format!("{name:width$}"), &entry.test);
    }
    line(&format!("{:width$}", "fused"), &fused.fused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_path() {
        let member = |text: &str| text.parse::<Member>().map(|member| (member.path, member.weight));
        assert_eq!(member("runs/rgb").unwrap(), ("runs/rgb".into(), 1.0));
        assert_eq!(member("runs/flow=2").unwrap(), ("runs/flow".into(), 2.0));
        assert_eq!(member("lr=a").unwrap(), ("lr=a".into(), 1.0));
        assert!(member("runs/flow=0").is_err() && member("runs/flow=-1").is_err());
    }
}
