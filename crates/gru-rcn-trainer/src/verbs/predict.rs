//! `predict`: the top classes of any video file.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use gru_rcn_data::{DecoderKind, Stream, ViewRule, source_of};
use serde::Serialize;

use super::TrainedRun;
use crate::percepts::percepts_of;
use crate::precision::Precision;

/// What `predict --json` prints for one file.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The file as it was named.
    pub file: String,
    /// Frames decoded from it.
    pub frames: usize,
    /// The most probable classes.
    pub top: Vec<ClassProbability>,
}

/// A class with its probability.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct ClassProbability {
    /// The class.
    pub class: String,
    /// Its probability.
    pub probability: f32,
}

/// What `predict` is asked.
pub struct Options<'a> {
    /// The run to use.
    pub run: Option<&'a Path>,
    /// Where runs are.
    pub runs: &'a Path,
    /// The files.
    pub videos: &'a [PathBuf],
    /// Classes to show of each.
    pub top: usize,
    /// The views of each file.
    pub views: ViewRule,
    /// What decodes video files, in place of what the run's recipe says.
    pub decoder: Option<DecoderKind>,
    /// JSON instead of text.
    pub json: bool,
    /// What to compute in.
    pub precision: Precision,
}

/// Runs the command.
///
/// # Errors
///
/// If a file cannot be read; those before it have been printed, unless as JSON, which is one document or none.
pub fn run(options: &Options, device: &Device) -> Result<()> {
    if options.videos.is_empty() {
        bail!("name at least one video file or folder of frames");
    }
    let trained = TrainedRun::open(options.run, options.runs, device)?
        .with_decoder(options.decoder)
        .computing_in(options.precision.dtype());
    if trained.recipe.clip.stream == Stream::Flow {
        bail!(
            "{} reads optical flow, which a video has to be prepared for; use `prepare --flow` and `evaluate --data`",
            trained.dir.root().display()
        );
    }
    let rule = trained.views(options.views);
    let mut predictions = Vec::new();
    for video in options.videos {
        let prediction = predict(&trained, video, rule, options.top)?;
        if !options.json {
            print_text(&prediction);
        }
        predictions.push(prediction);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&predictions)?);
    }
    Ok(())
}

/// Classifies one file.
pub fn predict(trained: &TrainedRun, video: &Path, rule: ViewRule, top: usize) -> Result<Prediction> {
    let reading = trained.reading();
    let source = source_of(video)?;
    let of = |frames: usize, probabilities: &[f32]| Prediction {
        file: video.display().to_string(),
        frames,
        top: best(probabilities, &trained.card.classes, top),
    };
    if !rule.is_single() {
        let views = reading.reader.read_views(&source, &reading.planner, rule)?;
        let probabilities = trained.scorer(&reading, rule).probabilities(&views, trained.model())?;
        return Ok(of(views.total(), &probabilities));
    }
    let (selected, frames) = reading.reader.read_planned(&source, &reading.planner)?;
    let clip = reading.planner.evaluation(frames)?.on_selected().apply(&selected)?;
    let percepts =
        percepts_of(&trained.cnn, &[clip], &trained.device, trained.dtype).select(&trained.recipe.model.levels());
    let probabilities = trained.model.forward(percepts).probabilities().try_into_data()?.try_into_vec::<f32>()?;
    Ok(of(frames, &probabilities))
}

/// The most probable classes, the most probable first.
pub fn best(probabilities: &[f32], classes: &[String], top: usize) -> Vec<ClassProbability> {
    let mut ranked: Vec<(f32, &String)> = probabilities.iter().copied().zip(classes).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
        .into_iter()
        .take(top)
        .map(|(probability, class)| ClassProbability { class: class.clone(), probability })
        .collect()
}

fn print_text(prediction: &Prediction) {
    println!("{} ({} frames)", prediction.file, prediction.frames);
    for ClassProbability { class, probability } in &prediction.top {
        println!("  {:6.1} %  {class}", 100.0 * probability);
    }
}
