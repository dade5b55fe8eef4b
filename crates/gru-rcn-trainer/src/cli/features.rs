//! `features`: the percepts of a data set, or its recurrent encodings, as files.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use clap::Args;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::percepts::{Level, Percepts};
use gru_rcn_data::{ClipPlanner, Ffmpeg, Sample, Split};
use serde::Serialize;
use serde_json::json;

use super::shared::{DeviceArgs, RecipeArgs, RunArgs, faults_exit, faults_json, faults_line, print_json};
use crate::experiment::data::{dataset, place, resolve};
use crate::experiment::{TrainedRun, fingerprint, pretrained};
use crate::output::{note, say};
use crate::percepts::{ClipLoader, FrozenCnn, INDEX, Kept, KeptPercepts, SkippedClips, Work};
use crate::preflight::{holds_videos, samples};
use crate::recipe::Recipe;
use crate::run::dir::write_json;
use crate::signals::StopFlag;

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

/// Version of the index's layout.
const SCHEMA: u32 = 2;

/// `index.json`.
#[derive(Serialize)]
struct Index<'a> {
    schema: u32,
    /// The program that wrote it.
    tool: String,
    /// `percepts`, maps of the CNN `[time, channel, height, width]`, or `encodings`, last hidden maps of
    /// a trained GRU-RCN `[channel, height, width]`.
    kind: &'static str,
    network: &'static str,
    /// Checksum of the CNN's weights.
    weights: &'a str,
    /// How clips were cut: as they are for evaluation.
    clip: &'a ClipPlanner,
    data: &'a str,
    /// The levels, bottom up: the names of the tensors.
    levels: &'a [Level],
    classes: &'a [String],
    clips: Vec<IndexedClip<'a>>,
}

#[derive(Serialize)]
struct IndexedClip<'a> {
    id: &'a str,
    class: &'a str,
    split: Split,
    /// The file beside the index that has its tensors.
    file: String,
}

/// The models that compute the features.
struct Network {
    recipe: Recipe,
    cnn: Cnn,
    model: Option<GruRcnClassifier>,
}

impl FeaturesArgs {
    /// Clips that cannot be read are exit code 1.
    pub(super) fn run(&self) -> Result<()> {
        let device = self.device.backend.device()?;
        let stop = StopFlag::install("the same command continues where it stopped")?;
        let network = self.open(&device)?;
        let dataset = dataset(&network.recipe)?;
        if holds_videos(&dataset) {
            Ffmpeg::locate()?;
        }
        let (levels, weights) = (network.levels(), fingerprint(&network.cnn));
        let work = Work { device: &device, stop: &stop, message: &|line| note!("{line}") };
        let skipped = SkippedClips::collecting();
        let loader = ClipLoader::new(&network.recipe, &device, FloatDType::F32).skipping(&skipped);
        let samples: Vec<Sample> = samples(&dataset).cloned().collect();
        let name = network.recipe.backbone.network.name();
        let kept = Kept::new(&self.out, &device, u64::MAX);
        let percepts = KeptPercepts::new(kept, &network.cnn, [name, &weights], &loader, samples.iter(), &work)?;
        let files = network.write(Arc::new(percepts), &samples, &loader, &work)?;
        let (faults, total) = (skipped.faults(), samples.len());
        if let Some(error) = faults.values().next().filter(|_| faults.len() == total) {
            bail!("none of the {total} clips could be read; the first: {error}");
        }
        let parts = Split::ALL.into_iter();
        let parts = parts.flat_map(|split| dataset.split(split).iter().map(move |sample| (split, sample)));
        let clips = parts.zip(files).filter_map(|((split, sample), file)| {
            Some(IndexedClip { id: &sample.id, class: &dataset.classes[sample.class], split, file: file? })
        });
        let index = Index {
            schema: SCHEMA,
            tool: format!("gru-rcn {}", env!("CARGO_PKG_VERSION")),
            kind: if self.encodings { "encodings" } else { "percepts" },
            network: name,
            weights: &weights,
            clip: &network.recipe.clip,
            data: &dataset.name,
            levels: &levels,
            classes: &dataset.classes,
            clips: clips.collect(),
        };
        write_json(&self.out.join(INDEX), &index)?;
        faults_line(&faults, total);
        if self.json {
            let mut document =
                json!({ "out": self.out.display().to_string(), "clips": index.clips.len(), "levels": levels });
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
            ensure!(
                !self.encodings && self.run.run.is_none(),
                "a recipe and a run exclude each other; encodings are those of a run: give --run DIR alone"
            );
            let recipe = resolve(recipe, set, data.as_deref(), weights.as_deref())?;
            let weights = recipe.backbone.weights.as_ref().context(
                "the CNN needs pretrained weights: give them with --weights FILE, or a trained run with --run DIR",
            )?;
            ensure!(
                recipe.backbone.finetune.is_none(),
                "the recipe {} fine-tunes its CNN, so its percepts are those of a run: train it, then give --run DIR",
                recipe.name
            );
            let cnn = pretrained(&recipe, weights, device)?;
            return Ok(Network { recipe, cnn, model: None });
        }
        ensure!(set.is_empty() && weights.is_none(), "--set and --weights belong to a recipe; a run has its own");
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
    /// The levels of the features.
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

    /// The file of each clip that can be read. Files that do not exist are computed and written.
    fn write(
        &self,
        percepts: Arc<KeptPercepts>,
        samples: &[Sample],
        loader: &ClipLoader,
        work: &Work,
    ) -> Result<Vec<Option<String>>> {
        let (kept, levels) = (&percepts.kept, self.levels());
        let of_model = self.model.as_ref().map(|model| json!([fingerprint(model), model.config().to_string()]));
        let mut files: Vec<Option<String>> = vec![None; samples.len()];
        let at_hand = self.model.is_none().then_some(&percepts);
        work.percepts(&FrozenCnn::new(&self.cnn), samples, &[None], loader, at_hand, |found| {
            let key = percepts.key_as_read(found);
            let mut key = key.with_context(|| format!("the clip {} was changed while it was read", found.sample.id))?;
            let tensors = percepts.tensors(found);
            if let (Some(model), Some(of_model)) = (&self.model, &of_model) {
                key = kept.key(&json!([key.file, of_model]));
                let encodings = self.encodings(model, &tensors, work.device)?;
                let named = levels.iter().zip(&encodings);
                let tensors: Vec<_> =
                    named.map(|(level, (shape, values))| (&*level.name, shape.clone(), &**values)).collect();
                kept.write(&key, &tensors)?;
            } else if !found.at_hand {
                kept.write(&key, &tensors)?;
            }
            files[found.clip] = Some(key.file);
            Ok(())
        })?;
        Ok(files)
    }

    /// Per level the last hidden map of a clip with these percepts.
    fn encodings(
        &self,
        model: &GruRcnClassifier,
        percepts: &[(&str, Vec<usize>, &[f32])],
        device: &Device,
    ) -> Result<Vec<(Vec<usize>, Vec<f32>)>> {
        let map = |(_, shape, values): &(&str, Vec<usize>, &[f32])| {
            let data = TensorData::new(values.to_vec(), shape.clone());
            Tensor::<4>::from_data(data, device).unsqueeze()
        };
        let percepts = Percepts::new(percepts.iter().map(map).collect());
        let hidden = model.recurrent.forward(model.norm.forward(percepts.select(&self.recipe.levels())));
        let values = |map: Tensor<4>| Ok((map.dims()[1..].to_vec(), map.try_into_data()?.try_into_vec::<f32>()?));
        hidden.into_iter().map(values).collect()
    }
}
