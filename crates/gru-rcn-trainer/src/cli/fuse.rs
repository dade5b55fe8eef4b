//! `fuse`: the class probabilities of several runs, averaged clip by clip, as the paper fuses its
//! RGB and flow streams.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gru_rcn_data::{Split, TestViews};
use gru_rcn_metrics::{Classification, Comparison, Predictions};
use serde::Serialize;

use super::shared::print_json;
use crate::output::{describe, note, say};
use crate::recipe::Recipe;
use crate::run::dir::RunDir;
use crate::run::scores::{SavedScores, ScoreLabels};
use crate::signals::Faults;

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
    /// Take the scores by these views, which `evaluate --views` wrote; by default those of the test
    /// at the end of training.
    #[arg(long, value_name = "NxM")]
    views: Option<TestViews>,
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
    /// By which views its clips were scored, where that is known.
    views: Option<String>,
    test: Classification,
    /// The fused predictions against these, on the same clips.
    fused: Option<Comparison>,
}

impl FuseArgs {
    pub(super) fn run(&self) -> Result<()> {
        ensure!(self.members.len() > 1, "one run cannot be fused with itself; name two or more");
        let (mut entries, mut streams) = (Vec::new(), Vec::<Predictions>::new());
        let (mut first, mut sum) = (None::<(PathBuf, SavedScores)>, Vec::new());
        let total: f64 = self.members.iter().map(|member| member.weight).sum();
        for member in &self.members {
            let (path, saved) = self.scores_of(&member.path)?;
            let order: Vec<usize> = match &first {
                None => (0..saved.clips.len()).collect(),
                Some((other, reference)) => saved
                    .order_of(reference)
                    .with_context(|| format!("{} cannot be fused with {}", path.display(), other.display()))?,
            };
            let classes = saved.scores.classes;
            let row = |&clip: &usize| saved.scores.probabilities[clip * classes..][..classes].iter().copied();
            let probabilities: Vec<f32> = order.iter().flat_map(row).collect();
            sum.resize(probabilities.len(), 0.0);
            for (sum, &probability) in sum.iter_mut().zip(&probabilities) {
                *sum += member.weight / total * f64::from(probability);
            }
            let targets = order.iter().map(|&clip| saved.scores.targets[clip]).collect();
            let stream = Predictions::new(classes, probabilities, targets);
            let stream = stream.with_context(|| path.display().to_string())?;
            let (views, test) = (saved.views.clone(), stream.summary());
            entries.push(Entry { path: member.path.clone(), weight: member.weight, views, test, fused: None });
            streams.push(stream);
            first.get_or_insert((path, saved));
        }
        let Some((_, SavedScores { mut scores, clips, classes, .. })) = first else { bail!("name the runs to fuse") };
        let views = self.common_views(&entries)?;
        scores.probabilities = sum.into_iter().map(|probability| probability as f32).collect();
        scores.levels.clear();
        let fused = scores.predictions()?;
        for (entry, stream) in entries.iter_mut().zip(&streams) {
            entry.fused = Some(Comparison::new(&fused, stream)?);
        }
        let fused = Fused { streams: entries, fused: fused.summary() };
        if self.json {
            print_json(&fused)?;
        } else {
            print(&fused, &views)?;
        }
        let Some(out) = &self.out else { return Ok(()) };
        let part = format!("{} clips, {} score files averaged", clips.len(), self.members.len());
        let labels = ScoreLabels { ids: &clips, classes: &classes, views: &views, part: &part };
        if let Err(error) = scores.save(out, &labels) {
            bail!(Faults(format!("the result is printed, but {}; give another file with --out", describe(&error))));
        }
        note!("scores: {}", out.display());
        Ok(())
    }

    /// The scores of a file, or of a run folder by the views that were asked for.
    fn scores_of(&self, member: &Path) -> Result<(PathBuf, SavedScores)> {
        if !member.is_dir() {
            return Ok((member.to_owned(), SavedScores::load(member)?));
        }
        let split = self.split;
        // Scores that were copied out of a run have no recipe beside them.
        let recipe = match member.join("recipe.toml").is_file() {
            true => Some(RunDir::open_at(member)?.read_recipe()?),
            false => None,
        };
        let own = recipe.as_ref().map(Recipe::views);
        let views = self.views.map(|views| recipe.as_ref().map_or(views, |recipe| views.allowed(recipe.clip.flip)));
        let name = match views {
            Some(views) if Some(views) != own => format!("scores-{split}-{views}.safetensors"),
            _ => format!("scores-{split}.safetensors"),
        };
        let path = member.join(&name);
        if !path.is_file() {
            let views = views.map_or(String::new(), |views| format!(" --views {views}"));
            bail!(
                "{}: no such file; make it with `evaluate --run {} --split {split}{views}`",
                path.display(),
                member.display()
            );
        }
        let mut saved = SavedScores::load(&path)?;
        // An earlier version wrote the views in the name alone.
        saved.views = saved.views.or(views.or(own).map(|views| views.to_string()));
        let others = format!("scores-{split}-");
        let entries = std::fs::read_dir(member).into_iter().flatten().flatten();
        let other = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .find_map(|name| Some(name.strip_prefix(&others)?.strip_suffix(".safetensors")?.to_owned()));
        if let (None, Some(other)) = (self.views, other) {
            note!("note: {} also has scores by {other} views; `--views {other}` takes them", member.display());
        }
        Ok((path, saved))
    }

    /// The views of all members, which must be the same; where `--views` says them, without mirror
    /// images for runs whose classes these would change.
    fn common_views(&self, members: &[Entry]) -> Result<String> {
        let unknown: Vec<&Entry> = members.iter().filter(|entry| entry.views.is_none()).collect();
        if let [first, ..] = unknown[..] {
            note!(
                "warning: {} files do not say by which views their clips were scored, the first {}",
                unknown.len(),
                first.path.display()
            );
        }
        let known: Vec<(&String, &Path)> =
            members.iter().filter_map(|entry| Some((entry.views.as_ref()?, entry.path.as_path()))).collect();
        let Some((first, path)) = known.first().copied() else { return Ok("unknown".into()) };
        for (views, other) in known {
            let (fits, expected) = match self.views {
                Some(asked) => {
                    ([true, false].iter().any(|&flip| asked.allowed(flip).to_string() == *views), asked.to_string())
                }
                None => (views == first, format!("{first} as {}", path.display())),
            };
            ensure!(
                fits,
                "{} was scored by {views} views, not by {expected}; fuse scores by the same views: `evaluate --views` makes \
                 them, and `fuse --views` takes them",
                other.display()
            );
        }
        Ok(first.clone())
    }
}

fn print(fused: &Fused, views: &str) -> Result<()> {
    let line = |name: &str, result: &Classification| say!("  {name}  {}, NLL {:.3}", result.top1_line(), result.nll);
    let names: Vec<String> =
        fused.streams.iter().map(|entry| format!("{} × {}", entry.path.display(), entry.weight)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    say!("{} clips, {views} views, top-1 accuracy", fused.fused.clips)?;
    for (name, entry) in names.iter().zip(&fused.streams) {
        line(&format!("{name:width$}"), &entry.test)?;
    }
    line(&format!("{:width$}", "fused"), &fused.fused)?;
    for (name, entry) in names.iter().zip(&fused.streams) {
        if let Some(fused) = &entry.fused {
            say!("  fused against {name}: {}", fused.line())?;
        }
    }
    Ok(())
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
