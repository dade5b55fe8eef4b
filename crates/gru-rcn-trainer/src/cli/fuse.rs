//! `fuse`: the class probabilities of several runs, or of other systems of theirs, averaged clip by
//! clip, as the paper fuses its RGB and flow streams.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use gru_rcn_data::{Split, TestViews};
use gru_rcn_metrics::{Classification, Comparison, Predictions};
use serde::Serialize;

use super::shared::{print_json, save_scores};
use crate::output::{note, say};
use crate::recipe::Recipe;
use crate::run::dir::{GRU_RCN, RunDir};
use crate::run::scores::{SavedScores, ScoreLabels, Scores, average};

/// The second member's share in the paper's fusion, one part RGB and two parts flow.
const PAPERS_SHARE: f64 = 2.0 / 3.0;

/// A run, one of its systems or a score file, and its weight in the average; only the proportions
/// matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    name: String,
    weight: Option<f64>,
}

#[derive(Args, Debug)]
pub(super) struct FuseArgs {
    /// Finished runs, or files of scores, each with its weight if it is not 1:
    /// `runs/rgb runs/flow=2` is the paper's fusion. RUN is the system that the run is about, RUN:KEY
    /// another one by its key: `runs/rgb:cnn runs/flow:cnn=2` fuses the fine-tuned CNNs. An
    /// existing path is read as a path, even with a colon or an equals sign in it.
    #[arg(value_name = "RUN[:KEY][=WEIGHT]", required = true)]
    members: Vec<Member>,
    /// Scores of the test clips, or of another part that `evaluate --split` wrote.
    #[arg(long, default_value_t = Split::Test)]
    split: Split,
    /// Take the scores by these views, which `evaluate --views` wrote; by default those of the test at
    /// the end of training.
    #[arg(long, value_name = "NxM")]
    views: Option<TestViews>,
    /// Choose the weights of two members on the validation clips, then fuse the test scores by them.
    /// The shares 0, 0.1 … 1 of the second member and the paper's 2/3 (1:2, RGB to flow) are tried. The
    /// best top-1 accuracy wins, and among equals the share nearest to 2/3. The runs need scores of
    /// their validation clips, from `evaluate --split validation`.
    #[arg(long, conflicts_with = "split")]
    sweep: bool,
    /// Write the averaged probabilities to this file, which has the form of the runs' own.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl FromStr for Member {
    type Err = String;

    /// `NAME` or `NAME=WEIGHT`.
    fn from_str(text: &str) -> Result<Self, String> {
        // A path may hold `=`; what follows the last one is a weight if it is a number.
        let parsed = text.rsplit_once('=').and_then(|(name, weight)| Some((name, weight.parse::<f64>().ok()?)));
        let (name, weight) = parsed.map_or((text, None), |(name, weight)| (name, Some(weight)));
        if weight.is_some_and(|weight| !(weight > 0.0 && weight.is_finite())) {
            return Err(format!("{text}: a weight is a number above 0"));
        }
        Ok(Self { name: name.into(), weight })
    }
}

impl Member {
    /// The path, and the key of a system of the run in it, if one is named.
    fn parts(&self) -> (&Path, Option<&str>) {
        let whole = Path::new(&self.name);
        match self.name.rsplit_once(':') {
            Some((run, key)) if !whole.exists() && Path::new(run).is_dir() => (Path::new(run), Some(key)),
            _ => (whole, None),
        }
    }
}

/// What `fuse --json` prints.
#[derive(Serialize)]
struct Document {
    streams: Vec<Entry>,
    fused: Classification,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Sweep>,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    weight: f64,
    /// The views that its clips were scored by, if they are known.
    views: Option<String>,
    test: Classification,
    /// The fused predictions against these, on the same clips.
    fused: Comparison,
}

/// Weights that were chosen on validation clips.
#[derive(Serialize)]
struct Sweep {
    /// Those of the two members, which sum to 1.
    weights: [f64; 2],
    /// The fusion by these weights on the validation clips.
    validation: Classification,
    /// Every pair that was tried, with the top-1 accuracy on the validation clips.
    tried: Vec<([f64; 2], f64)>,
}

/// The scores of all members on the same clips.
struct Streams {
    /// Those of each member, in the order of the first one's clips.
    predictions: Vec<Predictions>,
    /// The views that each was scored by, if they are known.
    member_views: Vec<Option<String>>,
    /// The first member's file: its names of clips and classes are those of all.
    first: SavedScores,
    /// The views of all.
    views: String,
}

impl FuseArgs {
    pub(super) fn run(&self) -> Result<()> {
        ensure!(self.members.len() > 1, "one run cannot be fused with itself; name two or more");
        let sweep = if self.sweep { Some(self.swept()?) } else { None };
        let weights: Vec<f64> = match &sweep {
            Some(sweep) => sweep.weights.to_vec(),
            None => self.members.iter().map(|member| member.weight.unwrap_or(1.0)).collect(),
        };
        let Streams { predictions, member_views, first, views } = self.streams(self.split)?;
        let fused = average(&predictions, &weights)?;
        let entry = |(index, member): (usize, &Member)| -> Result<Entry> {
            Ok(Entry {
                path: member.name.clone(),
                weight: weights[index],
                views: member_views[index].clone(),
                test: predictions[index].summary(),
                fused: Comparison::new(&fused, &predictions[index])?,
            })
        };
        let entries = self.members.iter().enumerate().map(entry).collect::<Result<_>>()?;
        let document = Document { streams: entries, fused: fused.summary(), sweep };
        if self.json {
            print_json(&document)?;
        } else {
            print(&document, &views)?;
        }
        let Some(out) = &self.out else { return Ok(()) };
        let part = format!("{} clips, {} score files averaged", first.clips.len(), self.members.len());
        let labels = ScoreLabels { ids: &first.clips, classes: &first.classes, views: &views, part: &part };
        let scores = Scores { probabilities: fused.probabilities, ..first.scores };
        save_scores(&scores, out, &labels)
    }

    /// The weights that do best on the validation clips.
    fn swept(&self) -> Result<Sweep> {
        ensure!(self.members.len() == 2, "--sweep weighs two members, and these are {}", self.members.len());
        for member in &self.members {
            let (path, _) = member.parts();
            ensure!(
                member.weight.is_none(),
                "{}={}: --sweep chooses the weights; name the members without any",
                member.name,
                member.weight.unwrap_or_default()
            );
            ensure!(
                !path.is_file(),
                "{}: --sweep takes runs, whose scores of the validation clips it reads beside those of the test clips; \
                 this is a file",
                member.name
            );
            let dir = RunDir::at(path.to_owned());
            ensure!(
                !dir.recipe_file().is_file() || dir.read_recipe()?.refit.is_none(),
                "{dir} was trained on its validation clips too, as its recipe's refit says: weights cannot be chosen on \
                 them"
            );
        }
        let Streams { predictions, .. } = self.streams(Split::Validation)?;
        let mut shares: Vec<f64> = (0..=10).map(|tenths| f64::from(tenths) / 10.0).chain([PAPERS_SHARE]).collect();
        shares.sort_by(f64::total_cmp);
        let pairs = shares.into_iter().map(|share| [1.0 - share, share]);
        let tried: Vec<([f64; 2], f64)> =
            pairs.map(|pair| Ok((pair, average(&predictions, &pair)?.top_k(1)))).collect::<Result<_>>()?;
        let far = |[_, share]: [f64; 2]| (share - PAPERS_SHARE).abs();
        let best =
            tried.iter().max_by(|(a, a_top1), (b, b_top1)| a_top1.total_cmp(b_top1).then(far(*b).total_cmp(&far(*a))));
        let (weights, _) = *best.expect("several shares were tried");
        Ok(Sweep { weights, validation: average(&predictions, &weights)?.summary(), tried })
    }

    /// The scores of all members on a part of the data.
    fn streams(&self, split: Split) -> Result<Streams> {
        let files = self.members.iter().map(|member| self.scores_of(member, split));
        let mut files: Vec<(PathBuf, SavedScores)> = files.collect::<Result<_>>()?;
        let (first_path, first) = &files[0];
        let predictions = files.iter().map(|(path, saved)| {
            let fail = || format!("{} cannot be fused with {}", path.display(), first_path.display());
            saved.predictions_like(first).with_context(fail)
        });
        let predictions = predictions.collect::<Result<_>>()?;
        let member_views: Vec<Option<String>> = files.iter().map(|(_, saved)| saved.views.clone()).collect();
        let views = self.common_views(&member_views)?;
        Ok(Streams { predictions, member_views, first: files.swap_remove(0).1, views })
    }

    /// The scores of a file, or of a system of a run by the views that were asked for.
    fn scores_of(&self, member: &Member, split: Split) -> Result<(PathBuf, SavedScores)> {
        let (path, key) = member.parts();
        if !path.is_dir() {
            ensure!(path.exists(), "{}: no such run, system of a run or file of scores", member.name);
            return Ok((path.to_owned(), SavedScores::load(path)?));
        }
        let dir = RunDir::at(path.to_owned());
        // Scores that were copied out of a run have no recipe beside them.
        let recipe = dir.recipe_file().is_file().then(|| dir.read_recipe()).transpose()?;
        let card = if recipe.is_some() { dir.read_card()? } else { None };
        let known: Vec<&str> = card.iter().flat_map(|card| &card.systems).map(|system| &*system.key).collect();
        let key = key.or(known.first().copied()).unwrap_or(GRU_RCN);
        ensure!(known.is_empty() || known.contains(&key), "{dir} has no system {key}; it has {}", known.join(", "));
        let own = recipe.as_ref().map(Recipe::views);
        let views = self.views.map(|views| recipe.as_ref().map_or(views, |recipe| views.allowed(recipe.clip.flip)));
        let name = match views {
            Some(views) if Some(views) != own => format!("{split}-{views}"),
            _ => split.to_string(),
        };
        let file = dir.scores_of(key, &name);
        if !file.is_file() {
            let views = views.map_or(String::new(), |views| format!(" --views {views}"));
            bail!("{}: no such file; make it with `evaluate --run {dir} --split {split}{views}`", file.display());
        }
        let mut saved = SavedScores::load(&file)?;
        // An earlier version wrote the views in the name alone.
        saved.views = saved.views.or(views.or(own).map(|views| views.to_string()));
        let other = known_views(&dir, key, split);
        if let (None, Some(other)) = (self.views, other) {
            note!("note: {} also has scores by {other} views; `--views {other}` takes them", member.name);
        }
        Ok((file, saved))
    }

    /// The views of all members, which must be the same. With `--views` they may lack the mirror images,
    /// as in runs whose classes these would change.
    fn common_views(&self, views: &[Option<String>]) -> Result<String> {
        let members = || self.members.iter().map(|member| &member.name).zip(views);
        let unknown: Vec<&String> = members().filter(|(_, views)| views.is_none()).map(|(name, _)| name).collect();
        if let [first, ..] = unknown[..] {
            note!(
                "warning: {} files do not say by which views their clips were scored, the first {first}",
                unknown.len()
            );
        }
        let known: Vec<(&String, &String)> =
            members().filter_map(|(name, views)| Some((views.as_ref()?, name))).collect();
        let Some((first, name)) = known.first().copied() else { return Ok("unknown".into()) };
        for (views, other) in known {
            let (fits, expected) = match self.views {
                Some(asked) => {
                    ([true, false].iter().any(|&flip| asked.allowed(flip).to_string() == *views), asked.to_string())
                }
                None => (views == first, format!("{first} as {name}")),
            };
            ensure!(
                fits,
                "{other} was scored by {views} views, not by {expected}; fuse scores by the same views: `evaluate --views` \
                 makes them, and `fuse --views` takes them"
            );
        }
        Ok(first.clone())
    }
}

/// Views other than those of the test that a system of a run was scored by, if there are any.
fn known_views(dir: &RunDir, key: &str, split: Split) -> Option<String> {
    let (file, marker) = (dir.scores_of(key, &format!("{split}-?")), "?");
    let (folder, pattern) = (file.parent()?, file.file_name()?.to_str()?.to_owned());
    let (start, end) = pattern.split_once(marker)?;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix(start)?.strip_suffix(end)?.to_owned()))
        .find(|views| views.parse::<TestViews>().is_ok())
}

fn print(document: &Document, views: &str) -> Result<()> {
    let line = |name: &str, result: &Classification| say!("  {name}  {}, NLL {:.3}", result.top1_line(), result.nll);
    let Document { streams, fused, sweep } = document;
    if let Some(Sweep { weights: [first, second], validation, tried }) = sweep {
        say!(
            "weights {first:.2} and {second:.2}, chosen among {} on {} validation clips",
            tried.len(),
            validation.clips
        )?;
        line("fused, validation", validation)?;
    }
    let names: Vec<String> = streams.iter().map(|entry| format!("{} × {}", entry.path, short(entry.weight))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    say!("{} clips, {views} views, top-1 accuracy", fused.clips)?;
    for (name, entry) in names.iter().zip(streams) {
        line(&format!("{name:width$}"), &entry.test)?;
    }
    line(&format!("{:width$}", "fused"), fused)?;
    for (name, entry) in names.iter().zip(streams) {
        say!("  fused against {name}: {}", entry.fused.line())?;
    }
    Ok(())
}

/// A weight with four decimals at most.
fn short(weight: f64) -> f64 {
    (1e4 * weight).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_path() {
        let member = |text: &str| text.parse::<Member>().map(|member| (member.name, member.weight));
        assert_eq!(member("runs/rgb").unwrap(), ("runs/rgb".into(), None));
        assert_eq!(member("runs/flow=2").unwrap(), ("runs/flow".into(), Some(2.0)));
        assert_eq!(member("runs/flow:cnn=2").unwrap(), ("runs/flow:cnn".into(), Some(2.0)));
        assert_eq!(member("lr=a").unwrap(), ("lr=a".into(), None));
        assert!(member("runs/flow=0").is_err() && member("runs/flow=-1").is_err());
    }

    /// A folder may have a colon in its name.
    #[test]
    fn a_key_follows_the_run_unless_the_whole_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run:1");
        std::fs::create_dir(&run).unwrap();
        let member = |text: String| Member { name: text, weight: None };
        let [plain, with_key, nowhere] = ["", ":cnn", ":1:cnn"].map(|end| member(format!("{}{end}", run.display())));
        assert_eq!(plain.parts(), (run.as_path(), None));
        assert_eq!(with_key.parts(), (run.as_path(), Some("cnn")));
        assert_eq!(nowhere.parts(), (Path::new(&nowhere.name), None));
    }
}
