//! `features`: the percepts of a data set, or its recurrent encodings, as files.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor};
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn_data::{Dataset, DecoderKind, Split};
use serde_json::json;

use super::TrainedRun;
use super::train::{holds_videos, resolve};
use super::trained::reading;
use crate::fit::Interrupted;
use crate::percepts::{CacheIndex, CacheKind, CacheWriter, Live, Source};
use crate::progress::Interval;
use crate::recipe::Recipe;
use crate::signals::StopFlag;
use crate::{backbone, data};

/// Clips that go through the CNN at once.
const BATCH: usize = 8;

/// What `features` is asked.
pub struct Options<'a> {
    /// Built-in name or file of the recipe; without it that of the run.
    pub recipe: Option<&'a str>,
    /// Folder of the clips.
    pub data: Option<&'a Path>,
    /// Weights of the CNN.
    pub weights: Option<&'a Path>,
    /// What decodes video files, in place of what the recipe says.
    pub decoder: Option<DecoderKind>,
    /// Changes to the recipe.
    pub set: &'a [String],
    /// A run whose recipe and CNN, and for encodings whose GRU-RCN, are used.
    pub run: Option<&'a Path>,
    /// Where runs are.
    pub runs: &'a Path,
    /// The run's last hidden maps instead of percepts.
    pub encodings: bool,
    /// The folder to write.
    pub out: &'a Path,
    /// JSON on standard output.
    pub json: bool,
}

/// What computes the features.
struct Network {
    recipe: Recipe,
    cnn: Cnn,
    model: Option<GruRcnClassifier>,
}

/// Runs the command.
pub fn run(options: &Options, device: &Device) -> Result<()> {
    let stop = StopFlag::install()?;
    let network = open(options, device)?;
    let dataset = data::dataset(&network.recipe)?;
    let kind = if options.encodings { CacheKind::Encodings } else { CacheKind::Percepts };
    let mut index = CacheIndex::new(
        kind,
        backbone::name(&network.recipe),
        backbone::fingerprint(&network.cnn),
        network.recipe.clip.clone(),
        dataset.name.clone(),
    );
    index.classes = dataset.classes.clone();
    index.levels = network.levels();
    index.decoder = holds_videos(&dataset).then(|| network.recipe.decoder());
    let mut writer = CacheWriter::create(options.out, index)?;
    for split in [Split::Train, Split::Validation, Split::Test] {
        network.write(&dataset, split, &mut writer, &stop, device)?;
    }
    let index = writer.finish()?;
    if options.json {
        let document = json!({ "out": options.out, "clips": index.clips.len(), "levels": index.levels });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        println!("{} clips in {}", index.clips.len(), options.out.display());
    }
    Ok(())
}

fn open(options: &Options, device: &Device) -> Result<Network> {
    if let Some(recipe) = options.recipe {
        if options.encodings || options.run.is_some() {
            bail!("a recipe and a run exclude each other; encodings are those of a run: give --run DIR alone");
        }
        let mut recipe = resolve(recipe, options.set, options.data, options.weights)?;
        data::set_decoder(&mut recipe, options.decoder)?;
        let Some(weights) = recipe.backbone.weights.clone() else {
            bail!("the CNN needs pretrained weights: give them with --weights FILE, or a trained run with --run DIR");
        };
        if recipe.backbone.finetune.is_some() {
            bail!(
                "the recipe {} fine-tunes its CNN, so its percepts are those of a run: train it, then give --run DIR",
                recipe.name
            );
        }
        let cnn = backbone::pretrained(&recipe, &weights, device)?;
        return Ok(Network { recipe, cnn, model: None });
    }
    if !options.set.is_empty() || options.weights.is_some() {
        bail!("--set and --weights belong to a recipe; a run has its own");
    }
    let trained = TrainedRun::open(options.run, options.runs, device)?;
    let mut recipe = trained.recipe;
    if let Some(root) = options.data {
        data::set_root(&mut recipe, root)?;
    }
    data::set_decoder(&mut recipe, options.decoder)?;
    Ok(Network { recipe, cnn: trained.cnn, model: options.encodings.then_some(trained.model) })
}

impl Network {
    /// The levels of what is written.
    fn levels(&self) -> Vec<Level> {
        let levels = self.cnn.levels();
        match &self.model {
            None => levels,
            Some(model) => self
                .recipe
                .model
                .levels()
                .into_iter()
                .zip(model.recurrent.config.out_channels())
                .map(|(at, channels)| Level { channels, ..levels[at].clone() })
                .collect(),
        }
    }

    /// The features of a batch: per level `[clip, ...]`.
    fn features(&self, percepts: Percepts) -> Vec<Tensor<5>> {
        match &self.model {
            None => percepts.maps,
            Some(model) => {
                let percepts = model.norm.forward(percepts.select(&self.recipe.model.levels()));
                model.recurrent.forward(percepts).into_iter().map(|map| map.unsqueeze_dim(1)).collect()
            }
        }
    }

    fn write(
        &self,
        dataset: &Dataset,
        split: Split,
        writer: &mut CacheWriter,
        stop: &StopFlag,
        device: &Device,
    ) -> Result<()> {
        let samples = dataset.split(split);
        let source =
            Rc::new(Live::new(self.cnn.clone(), samples, reading(&self.recipe, self.recipe.decoder(), device), device));
        let (mut done, mut told) = (0, Interval::default());
        for batch in source.evaluation(BATCH) {
            let batch = batch?;
            let clips = batch.classes.len();
            let maps: Vec<(Vec<usize>, Vec<f32>)> = self
                .features(batch.percepts)
                .into_iter()
                .map(|map| Ok((map.dims().to_vec(), map.try_into_data()?.try_into_vec::<f32>()?)))
                .collect::<Result<_>>()?;
            for clip in 0..clips {
                let rows = maps.iter().map(|(dims, values)| {
                    let length = values.len() / clips;
                    let from = if self.model.is_some() { 2 } else { 1 };
                    (dims[from..].to_vec(), values[clip * length..(clip + 1) * length].to_vec())
                });
                let sample = &samples[done + clip];
                writer.push(&sample.id, &dataset.classes[sample.class], split, rows.collect())?;
            }
            done += clips;
            if told.is_over() {
                eprintln!("{split}: {done} of {} clips", samples.len());
            }
            if stop.is_set() {
                bail!(Interrupted {
                    exit_code: stop.exit_code(),
                    advice: "run the command again, it writes the folder anew"
                });
            }
        }
        Ok(())
    }
}
