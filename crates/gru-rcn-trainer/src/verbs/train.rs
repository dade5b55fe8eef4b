//! `train`: from a recipe to a trained model, its baselines, their test results and a report.

mod cnn;
mod joint;
mod results;
mod stages;

pub(super) use joint::JOINT_BACKBONE;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use gru_rcn::backbone::{Backbone, Cnn};
use gru_rcn_data::{ClipSource, Dataset, Ffmpeg, Stream};

use crate::backend::Backend;
use crate::memory::{self, Estimate};
use crate::percepts::{Cache, Reading};
use crate::progress::Progress;
use crate::recipe::{self, DataSection, Recipe};
use crate::run_card::{DataCard, RunCard, VERSION};
use crate::run_dir::RunDir;
use crate::signals::StopFlag;
use crate::{data, progress};

/// What `train` is asked.
pub struct Options<'a> {
    /// Built-in name or file of the recipe.
    pub recipe: &'a str,
    /// Folder of the clips.
    pub data: Option<&'a Path>,
    /// Weights of the CNN.
    pub weights: Option<&'a Path>,
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
}

/// One run under way.
pub(crate) struct Run {
    pub(crate) dir: RunDir,
    pub(crate) recipe: Recipe,
    pub(crate) dataset: Dataset,
    pub(crate) device: Device,
    pub(crate) reading: Reading,
    /// Percepts on disk, where the recipe starts from them.
    pub(crate) cache: Option<Cache>,
    pub(crate) stop: StopFlag,
    pub(crate) progress: Box<dyn Progress>,
    pub(crate) seconds: Vec<(String, f64)>,
}

/// Runs the command.
pub fn run(options: &Options, device: &Device) -> Result<()> {
    let stop = StopFlag::install()?;
    let (resumed, recipe) = open(options)?;
    let dataset = data::dataset(&recipe)?;
    check_parts(&dataset)?;
    check_decoder(&dataset)?;
    check_flow(&recipe, &dataset)?;
    let file = cnn::weights(resumed.as_ref(), &recipe);
    crate::backbone::config(&recipe, dataset.classes.len())?;
    let card = card(&recipe, &dataset, options.backend, file.as_deref())?;
    let reading = super::trained::reading(&recipe, device);
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
    dir.write("recipe.toml", recipe::to_toml(&recipe)?.as_bytes())?;
    dir.write_json("run.json", &card)?;
    let progress = progress::detect(options.plain || options.json);
    let device = device.clone();
    let mut run = Run { dir, recipe, dataset, device, reading, cache: None, stop, progress, seconds: Vec::new() };
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
    run.progress.finish();
    let finished = outcome?;
    results::print(&finished, &run, options.json)
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
        return Ok((Some(dir), recipe));
    }
    Ok((None, resolve(options.recipe, options.set, options.data, options.weights)?))
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

/// FFmpeg is needed before long where there are video files; better said now than after an hour of training.
fn check_decoder(dataset: &Dataset) -> Result<()> {
    let parts = [&dataset.train, &dataset.validation, &dataset.test];
    if parts.into_iter().flatten().any(|sample| matches!(sample.source, ClipSource::Video(_))) {
        Ffmpeg::locate()?;
    }
    Ok(())
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

fn card(recipe: &Recipe, dataset: &Dataset, backend: Backend, weights: Option<&Path>) -> Result<RunCard> {
    Ok(RunCard {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        burn: "0.22.1".into(),
        recipe: recipe.name.clone(),
        seed: recipe.seed,
        backend: backend.to_string(),
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
        systems: Vec::new(),
    })
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
