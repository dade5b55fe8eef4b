//! `fuse`: the class probabilities of several runs, averaged clip by clip, as the paper fuses its RGB and flow streams.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use gru_rcn_data::Split;
use gru_rcn_metrics::{Classification, WILSON_95, wilson_interval};
use serde::Serialize;

use crate::evaluate::SavedScores;

/// A run folder or a score file, and how much it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// The folder, or the file.
    pub path: PathBuf,
    /// Its weight; only the proportions matter.
    pub weight: f64,
}

impl FromStr for Stream {
    type Err = String;

    /// `PATH` or `PATH=WEIGHT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, weight) = match text.rsplit_once('=') {
            // A path may hold `=`; what follows the last one is a weight if it is a number.
            Some((path, weight)) => match weight.parse::<f64>() {
                Ok(weight) => (path, weight),
                Err(_) => (text, 1.0),
            },
            None => (text, 1.0),
        };
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(format!("{text}: a weight is a number above 0"));
        }
        Ok(Self { path: path.into(), weight })
    }
}

/// What `fuse` is asked.
pub struct Options<'a> {
    /// What is averaged.
    pub streams: &'a [Stream],
    /// Which scores of run folders.
    pub split: Split,
    /// Where the averaged scores are written.
    pub out: Option<&'a Path>,
    /// JSON instead of text.
    pub json: bool,
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

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.streams.len() > 1, "one run has nothing to be fused with; name two or more");
    let (mut entries, mut first, mut sum) = (Vec::new(), None::<(PathBuf, SavedScores)>, Vec::new());
    let total: f64 = options.streams.iter().map(|stream| stream.weight).sum();
    for stream in options.streams {
        let path = file(&stream.path, options.split);
        let saved = SavedScores::load(&path)?;
        let test = saved.scores.predictions().with_context(|| path.display().to_string())?.summary();
        entries.push(Entry { path: stream.path.clone(), weight: stream.weight, test });
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
                *sum += stream.weight / total * f64::from(probability);
            }
        }
        first.get_or_insert((path, saved));
    }
    let Some((_, SavedScores { mut scores, clips, classes })) = first else { bail!("name the runs to fuse") };
    scores.probabilities = sum.into_iter().map(|probability| probability as f32).collect();
    scores.levels.clear();
    let fused = scores.predictions()?.summary();
    if let Some(out) = options.out {
        scores.save(out, &clips, &classes)?;
        eprintln!("scores: {}", out.display());
    }
    let fused = Fused { streams: entries, fused };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&fused)?);
    } else {
        print(&fused);
    }
    Ok(())
}

/// The score file of a run folder; a file as it is.
fn file(path: &Path, split: Split) -> PathBuf {
    if path.is_dir() { path.join(format!("scores-{split}.safetensors")) } else { path.to_owned() }
}

fn print(fused: &Fused) {
    let line = |name: &str, result: &Classification| {
        let (low, high) = wilson_interval(result.correct(), result.clips, WILSON_95);
        let [top1, low, high] = [result.top1, low, high].map(|share| 100.0 * share);
        println!("  {name}  {top1:5.1} %  (95 % interval {low:.1} to {high:.1} %), NLL {:.3}", result.nll);
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
        let stream = |text: &str| text.parse::<Stream>().map(|stream| (stream.path, stream.weight));
        assert_eq!(stream("runs/rgb").unwrap(), ("runs/rgb".into(), 1.0));
        assert_eq!(stream("runs/flow=2").unwrap(), ("runs/flow".into(), 2.0));
        assert_eq!(stream("lr=a").unwrap(), ("lr=a".into(), 1.0));
        assert!(stream("runs/flow=0").is_err() && stream("runs/flow=-1").is_err());
    }
}
