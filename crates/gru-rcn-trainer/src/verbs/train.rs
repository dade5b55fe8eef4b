//! `train`: from a recipe to a trained model, its baselines, their test results and a report.

mod by_views;
mod cnn;
mod joint;
mod results;
mod stages;

pub(super) use joint::JOINT_BACKBONE;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn_data::{ClipSource, Dataset, DecoderKind, Stream};

use crate::backend::Backend;
use crate::identity::Identity;
use crate::memory::{self, Estimate};
use crate::parallel::Replicas;
use crate::percepts::{BadClips, Cache, Reading};
use crate::precision::Precision;
use crate::progress::Progress;
use crate::recipe::{self, DataSection, Recipe, TrainingSection};
use crate::run_card::{DataCard, RunCard, VERSION};
use crate::run_dir::RunDir;
use crate::signals::StopFlag;
use crate::verbs::Faults;
use crate::{data, progress};

/// Training clips that could not be read, in a run folder.
const QUARANTINE: &str = "quarantine.jsonl";

/// What `train` is asked.
pub struct Options<'a> {
    /// Built-in name or file of the recipe.
    pub recipe: &'a str,
    /// Folder of the clips.
    pub data: Option<&'a Path>,
    /// Weights of the CNN.
    pub weights: Option<&'a Path>,
    /// What decodes video files, in place of what the recipe says.
    pub decoder: Option<DecoderKind>,
    /// Changes to the recipe.
    pub set: &'a [String],
    /// The run folder, or a numbered one in `runs`.
    pub run: Option<&'a Path>,
    /// Where numbered runs go.
    pub runs: &'a Path,
    /// Most memory that the run may take, GiB.
    pub max_memory: Option<f64>,
    /// Go on with a run instead of starting one.
    pub resume: bool,
    /// Plain lines instead of the terminal UI.
    pub plain: bool,
    /// JSON on standard output.
    pub json: bool,
    /// The backend's name, for the run card.
    pub backend: Backend,
    /// Other devices, to share each batch with.
    pub others: &'a [Backend],
    /// What to compute in.
    pub precision: Precision,
}

/// One run under way.
pub(crate) struct Run {
    pub(crate) dir: RunDir,
    pub(crate) recipe: Recipe,
    pub(crate) dataset: Dataset,
    pub(crate) device: Device,
    pub(crate) replicas: Replicas,
    pub(crate) reading: Reading,
    /// Percepts on disk, where the recipe starts from them.
    pub(crate) cache: Option<Cache>,
    pub(crate) stop: StopFlag,
    pub(crate) progress: Box<dyn Progress>,
    pub(crate) seconds: Vec<(String, f64)>,
    /// Training clips that could not be read, by who read them.
    pub(crate) bad: Vec<Arc<BadClips>>,
}

/// Runs the command.
pub fn run(options: &Options, device: &Device) -> Result<()> {
    let others = others(options)?;
    let stop = StopFlag::install()?;
    let (resumed, recipe) = open(options)?;
    let dataset = data::dataset(&recipe)?;
    check_parts(&dataset)?;
    check_decoder(&recipe, &dataset)?;
    check_flow(&recipe, &dataset)?;
    let file = cnn::weights(resumed.as_ref(), &recipe);
    crate::backbone::config(&recipe, dataset.classes.len())?;
    let card = card(&recipe, &dataset, options, file.as_deref())?;
    let reading =
        Reading { dtype: options.precision.dtype(), ..super::trained::reading(&recipe, recipe.decoder(), device) };
    // The rules of the estimate are those of the CPU backend.
    let estimate = match reading.on_cpu {
        true => Some(Estimate::new(&recipe, &dataset, &reading, card.cnn_classes)?),
        false => None,
    };
    if let Some(estimate) = &estimate {
        estimate.check(options.max_memory)?;
    }
    let pretrained = cnn::pretrained(resumed.as_ref(), &recipe, device)?;
    // What can be wrong with the input has been looked at: only now a folder is made.
    let dir = match resumed {
        Some(dir) => dir,
        None => create(options, &recipe)?,
    };
    let _lock = dir.lock()?;
    check_same_data(&dir, &card, options.resume)?;
    let identity = Identity::new(&recipe, &card)?;
    identity.claim(&dir)?;
    let dir = dir.with_identity(identity);
    dir.write("recipe.toml", recipe::to_toml(&recipe)?.as_bytes())?;
    dir.write_json("run.json", &card)?;
    let progress = progress::detect(options.plain || options.json);
    let replicas = Replicas::new(device.clone(), others);
    let device = device.clone();
    let (cache, seconds, bad) = (None, Vec::new(), Vec::new());
    let mut run = Run { dir, recipe, dataset, device, replicas, reading, cache, stop, progress, seconds, bad };
    run.tell(&format!(
        "{}: {} training, {} validation and {} test clips of {} classes; run folder {}",
        run.dataset.name,
        card.data.train,
        card.data.validation,
        card.data.test,
        card.classes.len(),
        run.dir.root().display()
    ));
    if !run.dataset.left_out.is_empty() {
        let (clips, first) = (run.dataset.left_out.len(), run.dataset.left_out[0].clone());
        run.tell(&format!("{clips} clips are in quarantine and left out, {first} the first of them"));
    }
    if let Some(estimate) = &estimate {
        run.tell(&estimate.line());
    }
    let outcome = run.everything(card, pretrained);
    if let Some(peak) = memory::peak() {
        run.tell(&format!("memory: {:.2} GiB at most were taken", peak as f64 / (1u64 << 30) as f64));
    }
    match &outcome {
        Ok(_) => run.progress.finish(),
        Err(_) => run.progress.leave(),
    }
    let finished = outcome?;
    results::print(&finished, &run, options.json)?;
    match run.dir.losses() {
        losses if losses.is_empty() => Ok(()),
        losses => bail!(Faults(format!(
            "the run is done, but not all could be kept on the way: {}; see the warnings above",
            losses.join(", ")
        ))),
    }
}

impl Run {
    fn tell(&mut self, text: &str) {
        self.progress.message(text);
    }

    /// Does a part of the work and keeps its time.
    fn timed<T>(&mut self, what: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = work(self)?;
        self.seconds.push((what.to_string(), started.elapsed().as_secs_f64()));
        Ok(result)
    }

    /// How clips are read that are trained on: those that cannot be are left out, as many as the recipe allows.
    fn reading_for(&mut self, training: &TrainingSection) -> Reading {
        let clips = self.dataset.train.len();
        let bad = Arc::new(BadClips::new(self.dir.path(QUARANTINE), clips, training.max_bad_fraction));
        self.bad.push(bad.clone());
        self.reading.leaving_out(&bad)
    }

    /// Names of the training clips that could not be read.
    fn bad_clips(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.bad.iter().flat_map(|bad| bad.names()).collect();
        names.into_iter().collect()
    }

    fn everything(&mut self, mut card: RunCard, pretrained: Option<Cnn>) -> Result<RunCard> {
        let cnn = self.cnn(pretrained, card.cnn_classes)?;
        let levels: Vec<String> =
            cnn.levels().iter().map(|l| format!("{} {}×{}×{}", l.name, l.channels, l.height, l.width)).collect();
        self.tell(&format!("levels: {}", levels.join(", ")));
        self.cache = self.open_cache(&cnn)?;
        let parts = self.parts(&cnn)?;
        let trained = self.systems(&cnn, &parts)?;
        drop(parts);
        let tested = self.test(&cnn, &trained)?;
        card.seconds = self.seconds.clone();
        card.bad_clips = self.bad_clips();
        if let Some(first) = card.bad_clips.first() {
            let bad = card.bad_clips.len();
            self.tell(&format!(
                "{bad} of {} training clips could not be read and were left out, {first} the first of them; see {}",
                card.data.train,
                self.dir.path(QUARANTINE).display()
            ));
        }
        card.systems = tested.iter().map(|tested| tested.result.clone()).collect();
        self.dir.write_json("run.json", &card)?;
        results::save(self, &card, &tested)?;
        Ok(card)
    }
}

/// The recipe in force: the one asked for, or with its folder the one of the run to go on with.
fn open(options: &Options) -> Result<(Option<RunDir>, Recipe)> {
    if options.resume {
        let dir = match options.run {
            Some(path) => RunDir::open(path)?,
            None => RunDir::newest(options.runs)?,
        };
        if !options.set.is_empty() || options.data.is_some() || options.weights.is_some() {
            bail!("--resume goes on with the run's own recipe; leave out --set, --data, --weights and --seed");
        }
        let recipe = recipe::parse(&dir.read("recipe.toml")?, &[])
            .with_context(|| format!("{}", dir.path("recipe.toml").display()))?;
        if let Some(decoder) = options.decoder.filter(|&decoder| decoder != recipe.decoder()) {
            bail!(
                "{} reads its videos with `--decoder {}`; a run cannot change to {decoder} half-way",
                dir.root().display(),
                recipe.decoder()
            );
        }
        return Ok((Some(dir), recipe));
    }
    let mut recipe = resolve(options.recipe, options.set, options.data, options.weights)?;
    data::set_decoder(&mut recipe, options.decoder)?;
    Ok((None, recipe))
}

/// A recipe with what the command line says of it, its paths absolute, so that it means the same from everywhere.
pub(super) fn resolve(name: &str, set: &[String], root: Option<&Path>, weights: Option<&Path>) -> Result<Recipe> {
    let mut recipe = recipe::load(name, set)?;
    if let Some(root) = root {
        data::set_root(&mut recipe, root)?;
    }
    if let Some(weights) = weights {
        recipe.backbone.weights = Some(data::absolute(weights));
        recipe.backbone.pretrain = None;
    }
    if let (DataSection::Folder(section), None) = (&mut recipe.data, root) {
        section.root = data::absolute(&section.root);
    }
    recipe.backbone.weights = recipe.backbone.weights.map(|weights| data::absolute(&weights));
    recipe.features.from = recipe.features.from.map(|folder| data::absolute(&folder));
    if recipe.backbone.weights.is_none() && recipe.backbone.pretrain.is_none() {
        bail!(
            "the recipe {} needs pretrained weights of its CNN, in torchvision's layout: give them with --weights FILE",
            recipe.name
        );
    }
    if let Some(weights) = recipe.backbone.weights.as_ref().filter(|weights| !weights.is_file()) {
        bail!("{}: no such weight file", weights.display());
    }
    Ok(recipe)
}

/// The folder of a new run.
fn create(options: &Options, recipe: &Recipe) -> Result<RunDir> {
    match options.run {
        Some(path) => RunDir::create(path),
        None => RunDir::create_numbered(options.runs, &recipe.name),
    }
}

fn check_parts(dataset: &Dataset) -> Result<()> {
    for (part, clips) in [("training", &dataset.train), ("validation", &dataset.validation), ("test", &dataset.test)] {
        if clips.is_empty() {
            bail!("{}: there are no {part} clips; give a list of them or more clips", dataset.name);
        }
    }
    Ok(())
}

/// The decoder is needed before long where there are video files; better said now than after an hour of training.
fn check_decoder(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    if holds_videos(dataset) { Ok(recipe.decoder().require()?) } else { Ok(()) }
}

/// Whether any clip is a video file, so that its pixels depend on the decoder.
pub(super) fn holds_videos(dataset: &Dataset) -> bool {
    let parts = [&dataset.train, &dataset.validation, &dataset.test];
    parts.into_iter().flatten().any(|sample| matches!(sample.source, ClipSource::Video(_)))
}

/// The flow stream needs flow, of all clips alike.
fn check_flow(recipe: &Recipe, dataset: &Dataset) -> Result<()> {
    if recipe.clip.stream == Stream::Rgb {
        return Ok(());
    }
    let has_flow = |source: &ClipSource| matches!(source, ClipSource::Prepared(clip) if clip.flow_dir.is_some());
    let mut clips = [&dataset.train, &dataset.validation, &dataset.test].into_iter().flatten();
    match clips.find(|sample| !has_flow(&sample.source)) {
        None => Ok(()),
        Some(sample) => bail!(
            "the clip {} has no optical flow; make a folder of frames and flow with `prepare --flow dis` and give that",
            sample.id
        ),
    }
}

fn card(recipe: &Recipe, dataset: &Dataset, options: &Options, weights: Option<&Path>) -> Result<RunCard> {
    Ok(RunCard {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        burn: "0.22.1".into(),
        recipe: recipe.name.clone(),
        seed: recipe.seed,
        backend: devices(options),
        dtype: options.precision.name().into(),
        data: DataCard {
            name: dataset.name.clone(),
            fingerprint: dataset.fingerprint(),
            train: dataset.train.len(),
            validation: dataset.validation.len(),
            test: dataset.test.len(),
        },
        classes: dataset.classes.clone(),
        cnn_classes: crate::backbone::classes(recipe, dataset, weights)?,
        seconds: Vec::new(),
        bad_clips: Vec::new(),
        systems: Vec::new(),
    })
}

/// The devices beside the first, each of which must compute in the precision asked for.
fn others(options: &Options) -> Result<Vec<Device>> {
    let open = |&backend: &Backend| {
        let device = backend.device()?;
        options.precision.check(backend, &device)?;
        Ok(device)
    };
    options.others.iter().map(open).collect()
}

/// All devices, as they are named on the command line.
fn devices(options: &Options) -> String {
    let all = std::iter::once(&options.backend).chain(options.others);
    all.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A run that is gone on with must be given the clips that it was started with.
fn check_same_data(dir: &RunDir, card: &RunCard, resume: bool) -> Result<()> {
    if !resume || !dir.path("run.json").is_file() {
        return Ok(());
    }
    let before: RunCard = serde_json::from_str(&dir.read("run.json")?)
        .with_context(|| format!("{} cannot be read", dir.path("run.json").display()))?;
    if before.classes != card.classes {
        bail!("{} was made for other classes: {}", dir.root().display(), before.classes.join(", "));
    }
    if before.data.fingerprint != card.data.fingerprint {
        bail!(
            "{} was started on other clips ({} then, {} now); a run cannot change its data half-way",
            dir.root().display(),
            before.data.fingerprint,
            card.data.fingerprint
        );
    }
    Ok(())
}
