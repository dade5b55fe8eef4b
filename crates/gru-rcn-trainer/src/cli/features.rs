//! `features`: the percepts of a data set, or its recurrent encodings, as files.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, FloatDType, Tensor};
use clap::Args;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn_data::{Dataset, Ffmpeg, Split};
use serde_json::json;

use super::shared::{DeviceArgs, RecipeArgs, RunArgs, faults_exit, faults_json, faults_line, print_json};
use crate::experiment::data::{dataset, place, resolve};
use crate::experiment::{TrainedRun, fingerprint, pretrained};
use crate::observe::Pace;
use crate::output::{note, say};
use crate::percepts::{
    CACHE_SCHEMA, CacheIndex, CacheKind, CacheWriter, ClipLoader, FrozenCnn, Live, SkippedClips, Source,
};
use crate::preflight::holds_videos;
use crate::recipe::Recipe;
use crate::signals::StopFlag;

/// Clips that go through the CNN at once.
const BATCH: usize = 8;

#[derive(Args, Debug)]
pub(super) struct FeaturesArgs {
    /// A built-in recipe or a TOML file; without it, the recipe and the CNN of a run.
    recipe: Option<String>,
    #[command(flatten)]
    change: RecipeArgs,
    /// The last hidden maps of the run's GRU-RCN instead of percepts.
    #[arg(long)]
    encodings: bool,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
}

/// What computes the features.
struct Network {
    recipe: Recipe,
    cnn: Cnn,
    model: Option<GruRcnClassifier>,
}

impl FeaturesArgs {
    /// Clips that cannot be read are exit code 1.
    pub(super) fn run(&self) -> Result<()> {
        let device = self.device.backend.device()?;
        let stop = StopFlag::install("run the command again, it writes the folder anew")?;
        let network = self.open(&device)?;
        let dataset = dataset(&network.recipe)?;
        if holds_videos(&dataset) {
            Ffmpeg::locate()?;
        }
        let index = CacheIndex {
            schema: CACHE_SCHEMA,
            tool: format!("gru-rcn {}", env!("CARGO_PKG_VERSION")),
            kind: if self.encodings { CacheKind::Encodings } else { CacheKind::Percepts },
            network: network.recipe.backbone.network.to_string(),
            weights: fingerprint(&network.cnn),
            clip: network.recipe.clip.clone(),
            data: dataset.name.clone(),
            decoder: None,
            levels: network.levels(),
            classes: dataset.classes.clone(),
            clips: Vec::new(),
            shards: Vec::new(),
        };
        let mut writer = CacheWriter::create(&self.out, index)?;
        let skipped = SkippedClips::collecting();
        for split in [Split::Train, Split::Validation, Split::Test] {
            network.write(&dataset, split, &mut writer, &skipped, &stop, &device)?;
        }
        let faults = skipped.faults();
        let total = dataset.train.len() + dataset.validation.len() + dataset.test.len();
        if let Some(error) = faults.values().next().filter(|_| faults.len() == total) {
            bail!("none of the {total} clips could be read; the first: {error}");
        }
        let index = writer.finish()?;
        faults_line(&faults, total);
        if self.json {
            let mut document = json!({ "out": self.out, "clips": index.clips.len(), "levels": index.levels });
            faults_json(&mut document, &faults);
            print_json(&document)?;
        } else {
            say!("{} clips in {}", index.clips.len(), self.out.display())?;
        }
        faults_exit(&faults, total)
    }

    fn open(&self, device: &Device) -> Result<Network> {
        let RecipeArgs { data, weights, set } = &self.change;
        if let Some(recipe) = &self.recipe {
            if self.encodings || self.run.run.is_some() {
                bail!("a recipe and a run exclude each other; encodings are those of a run: give --run DIR alone");
            }
            let recipe = resolve(recipe, set, data.as_deref(), weights.as_deref())?;
            let weights = recipe.backbone.weights.as_ref().context(
                "the CNN needs pretrained weights: give them with --weights FILE, or a trained run with --run DIR",
            )?;
            if recipe.backbone.finetune.is_some() {
                bail!(
                    "the recipe {} fine-tunes its CNN, so its percepts are those of a run: train it, then give --run DIR",
                    recipe.name
                );
            }
            let cnn = pretrained(&recipe, weights, device)?;
            return Ok(Network { recipe, cnn, model: None });
        }
        if !set.is_empty() || weights.is_some() {
            bail!("--set and --weights belong to a recipe; a run has its own");
        }
        let run = TrainedRun::open(self.run.open()?, device, FloatDType::F32)?;
        let (cnn, model) = run.gru_rcn()?;
        let mut recipe = run.recipe;
        if let Some(root) = data {
            place(&mut recipe, Some(root))?;
        }
        Ok(Network { recipe, cnn, model: self.encodings.then_some(model) })
    }
}

impl Network {
    /// The levels of what is written.
    fn levels(&self) -> Vec<Level> {
        let levels = self.cnn.levels();
        match &self.model {
            None => levels,
            Some(model) => {
                let channels = model.recurrent.config.out_channels();
                let level = |(at, channels): (usize, usize)| Level { channels, ..levels[at].clone() };
                self.recipe.levels().into_iter().zip(channels).map(level).collect()
            }
        }
    }

    /// The features of a batch: per level `[clip, ...]`.
    fn features(&self, percepts: Percepts) -> Vec<Tensor<5>> {
        match &self.model {
            None => percepts.maps,
            Some(model) => {
                let percepts = model.norm.forward(percepts.select(&self.recipe.levels()));
                model.recurrent.forward(percepts).into_iter().map(|map| map.unsqueeze_dim(1)).collect()
            }
        }
    }

    fn write(
        &self,
        dataset: &Dataset,
        split: Split,
        writer: &mut CacheWriter,
        skipped: &Arc<SkippedClips>,
        stop: &StopFlag,
        device: &Device,
    ) -> Result<()> {
        let samples = dataset.split(split);
        let loader = ClipLoader::new(&self.recipe, device, FloatDType::F32);
        let source = Live::new(FrozenCnn::new(&self.cnn), samples, loader.skipping(skipped), device);
        let (mut done, mut pace) = (0, Pace::new(samples.len()));
        for batch in source.evaluation(BATCH) {
            let batch = batch?;
            done += batch.clips.len() + batch.bad;
            let Some(percepts) = batch.input else { continue };
            let clips = batch.clips.len();
            let maps: Vec<(Vec<usize>, Vec<f32>)> = self
                .features(percepts)
                .into_iter()
                .map(|map| Ok((map.dims().to_vec(), map.try_into_data()?.try_into_vec::<f32>()?)))
                .collect::<Result<_>>()?;
            for (clip, &place) in batch.clips.iter().enumerate() {
                let rows = maps.iter().map(|(dims, values)| {
                    let length = values.len() / clips;
                    let from = if self.model.is_some() { 2 } else { 1 };
                    (dims[from..].to_vec(), values[clip * length..(clip + 1) * length].to_vec())
                });
                let sample = &samples[place];
                writer.push(sample, &dataset.classes[sample.class], split, rows.collect())?;
            }
            if let Some(line) = pace.line(done, "clips") {
                note!("{split}: {line}");
            }
            if stop.is_set() {
                bail!(stop.interrupted());
            }
        }
        Ok(())
    }
}
