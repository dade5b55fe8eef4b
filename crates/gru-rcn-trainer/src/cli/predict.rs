//! `predict`: the top classes of any video file.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use burn::tensor::Tensor;
use clap::Args;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::head::EnsembleLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn::replay::Replay;
use gru_rcn_data::{ClipViews, Modality, TestViews, source_of};
use gru_rcn_metrics::at_temperature;
use serde::Serialize;

use super::shared::{ModelArgs, each_file};
use crate::experiment::TrainedRun;
use crate::output::say;
use crate::percepts::FrozenCnn;
use crate::run::scores::top_classes;
use crate::scoring::views::ViewPercepts;
use crate::scoring::{Scorable, score};
use crate::signals::StopFlag;
use crate::stream::BACKGROUND;

#[derive(Args, Debug)]
pub(super) struct PredictArgs {
    /// Video files, or folders of frames.
    #[arg(required = true, value_name = "VIDEO")]
    videos: Vec<PathBuf>,
    /// How many classes to print of each.
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// The views of each file, whose probabilities are averaged: STARTSxCROPS with 1, 5 or 10
    /// crops, 25x10 in the paper.
    #[arg(long, value_name = "NxM", default_value_t)]
    views: TestViews,
    /// Least probability of an answer: of a file in which no class but `background` has it, say that
    /// nothing was recognised.
    #[arg(long, value_name = "P")]
    threshold: Option<f32>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

/// What `predict --json` prints for a file that it classified.
#[derive(Serialize)]
struct Prediction {
    /// The file as it was named.
    file: String,
    /// Frames decoded from it.
    frames: usize,
    /// Where in the file the frames are that the model saw.
    from: Place,
    /// With a threshold, the class that reaches it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<String>>,
    /// The most probable classes.
    top: Vec<ClassProbability>,
}

/// The frames of a file that the model saw: how many, the first and the last of them, counted from
/// 0, and where the frame rate is known their times in seconds since the first frame of the file.
#[derive(Serialize)]
struct Place {
    seen: usize,
    first: usize,
    last: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<[f64; 2]>,
}

impl Place {
    fn of(views: &ClipViews) -> Self {
        let mut seen: Vec<usize> = views.plans().iter().flat_map(|(plan, _)| plan.frames.iter().copied()).collect();
        seen.sort_unstable();
        seen.dedup();
        let (first, last) = (seen.first().copied().unwrap_or(0), seen.last().copied().unwrap_or(0));
        let seconds = views.rate().map(|rate| [first, last].map(|frame| frame as f64 / rate));
        Self { seen: seen.len(), first, last, seconds }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of them from {} to {}", self.seen, self.first, self.last)?;
        match self.seconds {
            Some([from, to]) => write!(f, ", {from:.2} to {to:.2} s"),
            None => Ok(()),
        }
    }
}

/// A class with its probability.
#[derive(Serialize)]
struct ClassProbability {
    class: String,
    probability: f32,
}

/// The model of a run for clip after clip, replayed where the device can.
struct Replayed(RefCell<Replay>);

impl Replayed {
    /// The model takes in percepts of these levels of the CNN.
    fn new(cnn: &Cnn, model: GruRcnClassifier, levels: Vec<usize>) -> Self {
        let channels: Vec<usize> = cnn.levels().iter().map(|level| level.channels).collect();
        let replay = Replay::new(move |maps: Vec<Tensor<4>>| {
            let maps = maps.into_iter().zip(&channels).map(|(map, &channels)| {
                let [views, planes, height, width] = map.dims();
                map.reshape([views, planes / channels, channels, height, width])
            });
            vec![model.forward(Percepts::new(maps.collect()).select(&levels)).logits.unsqueeze_dim(0)]
        });
        Self(replay.into())
    }
}

impl Scorable<Percepts> for Replayed {
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        let maps = percepts.maps.into_iter().map(|map| map.flatten(1, 2));
        EnsembleLogits::new(self.0.borrow_mut().call(maps.collect()).remove(0).squeeze_dim(0))
    }
}

impl PredictArgs {
    /// Files that cannot be classified are exit code 1, or an error if there are no others.
    pub(super) fn run(&self) -> Result<()> {
        let trained = self.model.open()?;
        let (cnn, model) = trained.gru_rcn()?;
        if trained.recipe.clip.modality == Modality::Flow {
            bail!(
                "{} takes in optical flow, which a video has to be prepared for; use `prepare --flow` and `evaluate --data`",
                trained.dir
            );
        }
        if self.videos.iter().any(|video| video.is_file()) {
            trained.loader.reader.require_decoder()?;
        }
        let rule = trained.views(self.views);
        let (cnn, model) = (FrozenCnn::new(&cnn), Replayed::new(&cnn, model, trained.recipe.levels()));
        let classified = |video: &Path| {
            let prediction = self.predict(&trained, &cnn, &model, video, rule)?;
            if !self.json {
                self.say(&prediction)?;
            }
            Ok(prediction)
        };
        each_file(&self.videos, "classified", classified)?.finish(self.json)
    }

    fn say(&self, Prediction { file, frames, from, answer, top }: &Prediction) -> Result<()> {
        say!("{file} ({frames} frames, {from})")?;
        if let (Some(None), Some(threshold)) = (answer, self.threshold) {
            say!("  nothing: no class reaches {:.1} %", 100.0 * threshold)?;
        }
        for ClassProbability { class, probability } in top {
            say!("  {:6.1} %  {class}", 100.0 * probability)?;
        }
        Ok(())
    }

    fn predict(
        &self,
        trained: &TrainedRun,
        cnn: &FrozenCnn,
        model: &Replayed,
        video: &Path,
        rule: TestViews,
    ) -> Result<Prediction> {
        let (loader, device) = (&trained.loader, &trained.device);
        let source = source_of(video)?;
        let views = loader.reader.read_views(&source, &loader.planner, rule)?;
        let (frames, from) = (views.total(), Place::of(&views));
        let batches = ViewPercepts { cnn, loader, device }.of_clip(0, views);
        // The class is not known; the score of class 0 is not looked at.
        let models: [&dyn Scorable<Percepts>; 1] = [model];
        let probabilities = score(&models, batches, &[0], &StopFlag::default(), |_| ())?.swap_remove(0).probabilities;
        ensure!(
            probabilities.iter().all(|probability| probability.is_finite()),
            "{}: the model gives no finite probabilities for it; the weights of {} are damaged",
            video.display(),
            trained.dir
        );
        let probabilities = at_temperature(&probabilities, trained.temperature());
        let classes = &trained.card.classes;
        let answer = self.threshold.map(|threshold| {
            let mut best = top_classes(&probabilities, classes, classes.len());
            best.find(|(class, _)| *class != BACKGROUND).filter(|(_, p)| *p >= threshold).map(|(class, _)| class.into())
        });
        let top = top_classes(&probabilities, classes, self.top);
        Ok(Prediction {
            file: video.display().to_string(),
            frames,
            from,
            answer,
            top: top.map(|(class, probability)| ClassProbability { class: class.into(), probability }).collect(),
        })
    }
}
