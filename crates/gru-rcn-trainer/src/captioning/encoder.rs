//! What describes a segment of a clip in numbers: frozen networks, whose features are concatenated.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, FloatDType, Tensor};
use gru_rcn::backbone::{Backbone, Cnn, NetworkOptions};
use gru_rcn::classifier::GruRcnClassifier;
use gru_rcn::head::Pooling;
use gru_rcn::percepts::Percepts;
use gru_rcn::weights::export_torchvision;
use gru_rcn_data::base::{DataError, Fnv64, remove};
use gru_rcn_data::{ClipPlanner, Frames, LoaderConfig, Modality, Photometric, Sample, Segments, TemporalSampling};

use crate::experiment::{TrainedRun, fingerprint, pretrained_network};
use crate::percepts::{ClipLoader, FrozenCnn, workers};
use crate::recipe::{CaptionRecipe, CnnEncoder, EncoderSection};
use crate::run::dir::RunDir;

/// A network that makes features of segments.
pub(crate) struct Encoder {
    section: EncoderSection,
    /// Its name for people.
    pub(crate) name: String,
    frozen: FrozenCnn,
    /// With the levels that it recurs over; without it, the CNN's topmost map is the feature.
    gru_rcn: Option<(GruRcnClassifier, Vec<usize>)>,
    /// Reads as many frames of a segment as it sees.
    pub(crate) loader: ClipLoader,
}

impl Encoder {
    /// All encoders of a recipe, from the run's own copies where it has them.
    pub(crate) fn open_all(
        recipe: &CaptionRecipe,
        run: Option<&RunDir>,
        device: &Device,
        dtype: FloatDType,
    ) -> Result<Vec<Self>> {
        let limits = LoaderConfig { workers: recipe.features.workers, max_bytes: recipe.features.queue_mib << 20 };
        let open = |(number, section): (usize, &EncoderSection)| {
            let kept = run.map(|run| run.encoder(&number.to_string())).filter(|folder| folder.is_dir());
            Self::open(section, kept.as_deref(), limits, device, dtype)
                .with_context(|| format!("encoder {} of the recipe", number + 1))
        };
        recipe.encoders.iter().enumerate().map(open).collect()
    }

    fn open(
        section: &EncoderSection,
        kept: Option<&Path>,
        limits: LoaderConfig,
        device: &Device,
        dtype: FloatDType,
    ) -> Result<Self> {
        let open_run = |folder: &Path| -> Result<TrainedRun> {
            let run = TrainedRun::open(RunDir::open_at(kept.unwrap_or(folder))?, device, dtype)?;
            if run.recipe.clip.modality != Modality::Rgb {
                bail!("{} takes in optical flow, and videos to caption have none; name a run on RGB", folder.display());
            }
            if !run.recipe.uses_cnn() {
                bail!("{} has no CNN; name another run", folder.display());
            }
            Ok(run)
        };
        let (name, cnn, gru_rcn, planner, frames) = match section {
            EncoderSection::GruRcn(folder) => {
                let run = open_run(folder)?;
                let (cnn, model) = run.gru_rcn()?;
                let name = format!("GRU-RCN of the recipe {}", run.recipe.name);
                let (levels, frames) = (run.recipe.levels(), run.recipe.clip.temporal.frames());
                (name, cnn, Some((model, levels)), run.recipe.clip, frames)
            }
            EncoderSection::Cnn(CnnEncoder { run: Some(folder), tap, .. }) => {
                let run = open_run(folder)?;
                let mut cnn = run.cnn;
                let levels = cnn.levels();
                let tap = tap.clone().unwrap_or_else(|| levels[levels.len() - 1].name.clone());
                cnn.set_taps(&[&tap]).with_context(|| format!("tap = {tap:?}"))?;
                let name = format!("{tap} of {}, recipe {}", run.recipe.backbone.network.title(), run.recipe.name);
                (name, cnn, None, run.recipe.clip, 1)
            }
            EncoderSection::Cnn(encoder) => {
                let (name, cnn, planner) = from_weights(encoder, kept, device)?;
                (name, cnn, None, planner, 1)
            }
        };
        let planner = ClipPlanner { temporal: TemporalSampling::Consecutive { frames }, ..planner };
        let loader = ClipLoader::of_planner(planner, limits, device, dtype);
        Ok(Self { section: section.clone(), name, frozen: FrozenCnn::new(&cnn), gru_rcn, loader })
    }

    pub(crate) fn cnn(&self) -> &Cnn {
        &self.frozen.cnn
    }

    /// Copies what the encoder consists of into a folder, so that its run needs no other.
    pub(crate) fn keep(&self, folder: &Path) -> Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let partial = folder.with_extension("partial");
        remove(&partial)?;
        fs::create_dir_all(&partial).with_context(|| format!("could not write {}", partial.display()))?;
        let files =
            |dir: &RunDir| [dir.recipe_file(), dir.card_file(), dir.backbone(), dir.joint_backbone(), dir.model()];
        let copy = RunDir::at(partial.clone());
        match &self.section {
            EncoderSection::GruRcn(run) | EncoderSection::Cnn(CnnEncoder { run: Some(run), .. }) => {
                for (source, target) in files(&RunDir::at(run.clone())).iter().zip(files(&copy)) {
                    if source.is_file() {
                        fs::copy(source, target).with_context(|| format!("could not copy {}", source.display()))?;
                    }
                }
            }
            EncoderSection::Cnn(_) => export_torchvision(self.cnn(), &copy.backbone())?,
        }
        Ok(fs::rename(&partial, folder)?)
    }

    /// A hash of all that its features depend on.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        let mut hash = Fnv64::default().text(&fingerprint(self.cnn()));
        hash = hash.number(self.loader.planner.temporal.frames() as u64);
        hash = hash.text(&serde_json::to_string(&self.loader.planner)?).text(&format!("{:?}", self.loader.dtype));
        for level in self.cnn().levels() {
            hash = hash.text(&level.name);
        }
        if let Some((model, levels)) = &self.gru_rcn {
            hash = hash.text(&fingerprint(model)).text(&format!("{levels:?} {}", model.config()));
        }
        Ok(format!("{:016x}", hash.finish()))
    }

    /// Reads the segments of a clip, each the frames that the encoder sees of it.
    pub(crate) fn read(loader: &ClipLoader, sample: &Sample, segments: usize) -> Result<Vec<Frames>, DataError> {
        let segments = Segments { count: segments, frames: loader.planner.temporal.frames() };
        let views = loader.reader.read_segments(&sample.source, &loader.planner, segments)?;
        views.plans().iter().map(|(plan, _)| views.cut(plan)).collect()
    }

    /// The features of segments, `[segment, feature]`.
    pub(crate) fn features(&self, segments: &[Frames], device: &Device) -> Tensor<2> {
        let chunk = self.loader.chunk();
        let groups = segments.chunks(chunk * workers(&self.loader)).flat_map(|group| {
            let parts: Vec<&[Frames]> = group.chunks(chunk).collect();
            self.frozen.side_by_side(&parts, device, self.loader.dtype)
        });
        Tensor::cat(groups.map(|percepts| self.pooled(percepts)).collect(), 0)
    }

    /// Number of features of a segment.
    pub(crate) fn size(&self) -> usize {
        match &self.gru_rcn {
            Some((model, _)) => model.recurrent.config.out_channels().iter().sum(),
            None => self.cnn().levels().last().map_or(0, |level| level.channels),
        }
    }

    fn pooled(&self, percepts: Percepts) -> Tensor<2> {
        match &self.gru_rcn {
            Some((model, levels)) => model.features(percepts.select(levels)),
            None => Pooling::Average.forward(percepts.top().squeeze_dim::<4>(1)),
        }
    }
}

/// Name, network and plan of an encoder that is not of a run. The network has one tap.
fn from_weights(encoder: &CnnEncoder, kept: Option<&Path>, device: &Device) -> Result<(String, Cnn, ClipPlanner)> {
    let network = encoder.network.context("it has neither `run` nor `network`")?;
    let config = |taps| {
        network.config(&NetworkOptions { num_classes: 1000, in_channels: 3, input_size: encoder.input_size, taps })
    };
    let topmost = || config(Vec::new()).known_taps().pop();
    let tap = encoder.tap.clone().or_else(topmost).unwrap_or_default();
    let own = kept.map(|folder| RunDir::at(folder.into()).backbone());
    let Some(weights) = own.as_ref().or(encoder.weights.as_ref()) else {
        bail!("{network} needs pretrained weights, in torchvision's layout: give them with --weights FILE");
    };
    if !weights.is_file() {
        bail!("{}: no such weight file", weights.display());
    }
    let planner = ClipPlanner {
        modality: Modality::Rgb,
        temporal: TemporalSampling::Consecutive { frames: 1 },
        frame_size: encoder.frame_size,
        input_size: encoder.input_size,
        crop: encoder.crop.clone(),
        flip: false,
        photometric: Photometric::default(),
    };
    planner.validate()?;
    let name = format!("{tap} of {}", network.title());
    let cnn = pretrained_network(config(vec![tap]), network, "the encoder's network", weights, device)?;
    Ok((name, cnn, planner))
}
