//! `predict`: the top classes of any video file.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use burn::tensor::Tensor;
use clap::Args;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::head::EnsembleLogits;
use gru_rcn::percepts::Percepts;
use gru_rcn::replay::Replay;
use gru_rcn_data::{Modality, TestViews, source_of};
use serde::Serialize;

use super::shared::{ModelArgs, print_json};
use crate::experiment::TrainedRun;
use crate::output::{describe, note, say};
use crate::percepts::FrozenCnn;
use crate::run::scores::top_classes;
use crate::scoring::views::ViewPercepts;
use crate::scoring::{Scorable, score};
use crate::signals::{Faults, StopFlag};

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
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

/// What `predict --json` prints for one file.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Prediction(Prediction),
    /// The file as it was named, and why it could not be classified.
    Failure {
        file: String,
        error: String,
    },
}

#[derive(Serialize)]
struct Prediction {
    /// The file as it was named.
    file: String,
    /// Frames decoded from it.
    frames: usize,
    /// The most probable classes.
    top: Vec<ClassProbability>,
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
        let (mut entries, mut failures) = (Vec::new(), 0);
        for video in &self.videos {
            match self.predict(&trained, &cnn, &model, video, rule) {
                Ok(prediction) => {
                    if !self.json {
                        say!("{} ({} frames)", prediction.file, prediction.frames)?;
                        for ClassProbability { class, probability } in &prediction.top {
                            say!("  {:6.1} %  {class}", 100.0 * probability)?;
                        }
                    }
                    entries.push(Entry::Prediction(prediction));
                }
                Err(error) if self.videos.len() == 1 => return Err(error),
                Err(error) => {
                    let (file, error) = (video.display().to_string(), describe(&error));
                    note!("failed: {error}");
                    entries.push(Entry::Failure { file, error });
                    failures += 1;
                }
            }
        }
        let files = self.videos.len();
        ensure!(failures < files, "none of the {files} files could be classified");
        if self.json {
            print_json(&entries)?;
        }
        match failures {
            0 => Ok(()),
            _ => bail!(Faults(format!("{failures} of {files} files could not be classified"))),
        }
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
        let frames = views.total();
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
        let top = top_classes(&probabilities, &trained.card.classes, self.top);
        Ok(Prediction {
            file: video.display().to_string(),
            frames,
            top: top.map(|(class, probability)| ClassProbability { class: class.into(), probability }).collect(),
        })
    }
}
