//! How much memory a run will take, before it takes any.
//!
//! The activations of VGG-16 outgrow a machine long before its weights do, and a run that is killed for
//! memory in its second stage has wasted the first. So every stage is added up: weights and what the
//! optimizer keeps of them, activations by the number of frames, percepts, and clips on their way. A run
//! that cannot fit is refused with the largest part. The rules are those of the CPU backend; for other
//! backends there is no estimate.

use anyhow::{Result, bail};
use burn::tensor::FloatDType;
use gru_rcn::backbone::{CnnConfig, LayerKind, LayerShape};
use gru_rcn::baselines::{Baseline, BaselineModel, BaselineVisitor, PixelBaseline};
use gru_rcn::recurrent::Form;
use gru_rcn_data::{ClipSource, Dataset};

use super::machine::{resident, total};
use super::samples;
use crate::percepts::{ClipLoader, MEASURED_CLIPS, bytes_of_clips, workers};
use crate::recipe::{CaptionRecipe, DecoderSection, Recipe, TrainingSection};

const F32: usize = 4;

/// What the program comes to when it works, besides what it takes at the start: code, the threads'
/// buffers, and freed memory that the allocator keeps. As measured.
const AT_WORK: usize = 64 << 20;

const GIB: f64 = (1u64 << 30) as f64;

/// What every stage of a run takes; nothing where that is not known.
pub(crate) struct Memory {
    stages: Vec<Stage>,
}

/// What one stage takes at its highest point: name, and bytes by purpose.
struct Stage {
    name: &'static str,
    parts: Vec<(&'static str, usize)>,
}

/// Bytes that the training of a model takes.
struct Training {
    weights: usize,
    /// The largest parameter, which the optimizer holds once more.
    largest: usize,
    /// Highest point of the forward and backward pass of one micro-batch, without weights and their
    /// gradients.
    activations: usize,
}

impl Stage {
    /// A stage with these parts and the program itself.
    fn new(name: &'static str, mut parts: Vec<(&'static str, usize)>) -> Self {
        parts.push(("program", AT_WORK + resident().unwrap_or(0)));
        Self { name, parts }
    }

    fn bytes(&self) -> usize {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

impl Training {
    /// A network of these layers, over `frames` frames together.
    fn of_layers(layers: &[LayerShape], frames: usize, operators: bool) -> Self {
        let parameters = || layers.iter().map(|layer| layer.parameters * F32);
        Self {
            weights: parameters().sum(),
            largest: parameters().max().unwrap_or(0),
            activations: activations_of(layers, frames, operators),
        }
    }

    /// Weights, those of the best epoch, the optimizer's moments, and the most of three: the passes with all
    /// gradients, with accumulation twice; the gradients and a copy of the largest parameter in the
    /// optimizer's step; a checkpoint's largest file as numbers and as bytes.
    fn parts(&self, training: &TrainingSection) -> Vec<(&'static str, usize)> {
        let (weights, moments) = (self.weights, training.moments() * self.weights);
        let summed = if training.accumulate > 1 { weights } else { 0 };
        let activations = (self.activations + summed).max(self.largest);
        let checkpoint = 2 * moments.max(weights);
        let mut parts = vec![("weights", weights), ("best weights", weights), ("optimizer", moments)];
        match weights + activations > checkpoint {
            true => parts.extend([("gradients", weights), ("activations", activations)]),
            false => parts.push(("checkpoint", checkpoint)),
        }
        parts
    }
}

impl Memory {
    pub(crate) fn of_run(recipe: &Recipe, dataset: &Dataset, loader: &ClipLoader, cnn: CnnConfig) -> Self {
        let estimate = Estimate { recipe, dataset, loader, cnn, operators: by_operators(loader) };
        Self { stages: if loader.on_cpu { estimate.stages() } else { Vec::new() } }
    }

    pub(crate) fn of_captioner(parts: &CaptionerParts) -> Self {
        let on_cpu = parts.encoders.iter().all(|(_, loader)| loader.on_cpu);
        Self { stages: if on_cpu { parts.stages() } else { Vec::new() } }
    }

    fn highest(&self) -> Option<&Stage> {
        self.stages.iter().max_by_key(|stage| stage.bytes())
    }

    /// One line: the sum, the stage that takes it and its parts, the largest first.
    pub(crate) fn line(&self) -> Option<String> {
        let stage = self.highest()?;
        let mut parts = stage.parts.clone();
        parts.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|&(_, bytes)| bytes > stage.bytes() / 100)
            .map(|(what, bytes)| format!("{what} {:.2}", bytes as f64 / GIB))
            .collect();
        let sum = stage.bytes() as f64 / GIB;
        Some(format!("memory: about {sum:.2} GiB at most, in the stage {} ({})", stage.name, parts.join(", ")))
    }

    /// Refuses a run that takes more than a limit, which the user gives (GiB) or the machine has.
    pub(crate) fn check(&self, given: Option<f64>) -> Result<()> {
        let limit = given.map(|gib| (gib * GIB) as usize).or_else(total);
        match (limit, self.highest()) {
            (Some(limit), Some(stage)) if stage.bytes() > limit => bail!(
                "{}, more than {} {:.2} GiB. A smaller training.batch takes less, in the CNN's fine-tuning \
                 backbone.finetune.training.batch; so do fewer levels and copies, features.cache=false, or a smaller \
                 decoder. --max-memory GIB sets another limit",
                self.line().unwrap_or_default(),
                if given.is_some() { "the --max-memory of" } else { "this machine's" },
                limit as f64 / GIB
            ),
            _ => Ok(()),
        }
    }
}

/// A captioner with its encoders, which are open.
pub(crate) struct CaptionerParts<'a> {
    pub(crate) recipe: &'a CaptionRecipe,
    pub(crate) dataset: &'a Dataset,
    pub(crate) encoders: Vec<(CnnConfig, &'a ClipLoader)>,
    /// Features of a segment, D.
    pub(crate) features: usize,
    /// Words that it knows, V.
    pub(crate) vocabulary: usize,
    /// Words of the longest caption that is learnt.
    pub(crate) longest: usize,
}

impl CaptionerParts<'_> {
    fn stages(&self) -> Vec<Stage> {
        let Self { recipe, dataset, features, .. } = *self;
        let kept = samples(dataset).count() * recipe.segments * features * F32;
        let encoding = |(cnn, loader): &(CnnConfig, &ClipLoader)| {
            let activations = frozen(cnn, loader, recipe.segments, workers(loader));
            let clips = queue(dataset, loader, recipe.segments);
            // The features as they are on disk, and by parts.
            Stage::new("Features", vec![("features", 2 * kept), ("activations", activations), ("clips", clips)])
        };
        let mut parts = self.decoder().parts(&recipe.training.section(1));
        parts.push(("features", kept));
        self.encoders.iter().map(encoding).chain([Stage::new("Captioner", parts)]).collect()
    }

    /// The decoder over a batch of captions. Autodiff keeps the features of the segments and their keys;
    /// for every word the combination of keys and state, of the LSTM its gates before and after dropout,
    /// with their parts and the states, and its outputs before and after theirs; the words'
    /// probabilities, and their gradients in turn.
    fn decoder(&self) -> Training {
        let Self { recipe, features, vocabulary, longest, .. } = *self;
        let segments = recipe.segments;
        let DecoderSection { embedding, hidden, .. } = recipe.decoder;
        let sizes = [
            2 * features * hidden,
            features * (hidden + features),
            vocabulary * embedding,
            4 * hidden * (embedding + hidden + features),
            (hidden + features + vocabulary) * embedding,
        ];
        let of_word = segments * features + 20 * hidden + 4 * features + 6 * embedding + 5 * vocabulary;
        let of_caption = 2 * segments * features + (longest + 1) * of_word;
        Training {
            weights: F32 * sizes.iter().sum::<usize>(),
            largest: F32 * sizes.into_iter().max().unwrap_or(0),
            activations: F32 * recipe.training.batch * of_caption,
        }
    }
}

struct Estimate<'a> {
    recipe: &'a Recipe,
    dataset: &'a Dataset,
    loader: &'a ClipLoader,
    cnn: CnnConfig,
    /// Whether the operators of `gru-rcn-ops` run the frozen CNN and the recurrence.
    operators: bool,
}

impl Estimate<'_> {
    fn stages(&self) -> Vec<Stage> {
        let (recipe, clips) = (self.recipe, self.dataset.train.len());
        let mut stages = Vec::new();
        let baselines = recipe.baselines.systems().into_iter();
        stages.extend(baselines.filter_map(|baseline| baseline.visit(OnPixels { estimate: self, baseline })));
        if !recipe.uses_cnn() {
            return stages;
        }
        if let Some(pretrain) = &recipe.backbone.pretrain {
            let frames = pretrain.batch.min(clips) * recipe.backbone.pretrain_frames.unwrap_or(self.time());
            stages.push(self.cnn_training("CNN", pretrain, frames, self.pixel_store()));
        }
        if let Some(finetune) = &recipe.backbone.finetune {
            let frames = finetune.training.batch.min(clips) * finetune.frames;
            let single = self.loader.single_frames(finetune.frames);
            let kept = if finetune.cache { self.pixel_store() } else { queue(self.dataset, &single, 1) };
            stages.push(self.cnn_training("CNN fine-tuning", &finetune.training, frames, kept));
        }
        stages.push(self.percepts());
        if recipe.model.train {
            stages.push(self.systems());
        }
        stages
    }

    fn time(&self) -> usize {
        self.recipe.clip.temporal.frames()
    }

    fn cnn_weights(&self) -> usize {
        self.cnn.layers().iter().map(|layer| layer.parameters * F32).sum()
    }

    /// Training and validation clips as bytes in memory.
    fn pixel_store(&self) -> usize {
        (self.dataset.train.len() + self.dataset.validation.len()) * self.time() * self.loader.bytes_of_frame()
    }

    fn caches(&self) -> bool {
        self.recipe.features.cache && self.recipe.uses_percepts()
    }

    /// Percepts that are kept in memory: of all clips, or of those that the normalisation is measured on.
    fn store(&self) -> usize {
        let (train, validation) = (self.dataset.train.len(), self.dataset.validation.len());
        let again = if self.recipe.refit.is_some() { validation } else { 0 };
        let of = |clips, copies| bytes_of_clips(&self.cnn.levels(), self.time(), clips, copies);
        match self.caches() {
            true => of(train + again, self.recipe.features.copies).saturating_add(of(validation, 0)),
            false => of(train.min(MEASURED_CLIPS), 0),
        }
    }

    fn cnn_training(&self, name: &'static str, training: &TrainingSection, frames: usize, clips: usize) -> Stage {
        let mut parts = Training::of_layers(&self.cnn.layers(), frames, self.operators).parts(training);
        // A batch as bytes and as numbers.
        parts.push(("clips", clips + frames * self.loader.bytes_of_frame() * (1 + F32)));
        Stage::new(name, parts)
    }

    fn percepts(&self) -> Stage {
        let versions = if self.caches() { 1 + self.recipe.features.copies } else { 1 };
        let clips = self.dataset.train.len() * versions;
        let parts = vec![
            ("weights", self.cnn_weights()),
            ("percepts", self.store()),
            ("activations", frozen(&self.cnn, self.loader, clips, workers(self.loader))),
            ("clips", queue(self.dataset, self.loader, versions)),
        ];
        Stage::new("Percepts", parts)
    }

    /// GRU-RCN, on the frozen CNN or together with it.
    fn systems(&self) -> Stage {
        let (recipe, joint) = (self.recipe, self.recipe.model.finetune_backbone);
        let clips = recipe.training.batch.min(self.dataset.train.len());
        let mut model = self.recurrent(clips);
        if joint {
            model.weights += self.cnn_weights();
            model.activations += activations_of(&self.cnn.layers(), clips * self.time(), self.operators);
        }
        let mut parts = model.parts(&recipe.training);
        parts.extend([("frozen CNN", self.cnn_weights()), ("percepts", self.store())]);
        if joint || !self.caches() {
            let pixels = clips * self.time() * self.loader.bytes_of_frame() * if joint { 1 + F32 } else { 1 };
            parts.push(("clips", queue(self.dataset, self.loader, 1) + pixels));
        }
        if !joint && !self.caches() {
            // The frozen CNN runs before the step has any activations.
            let live =
                frozen(&self.cnn, self.loader, clips, 1) + bytes_of_clips(&self.cnn.levels(), self.time(), clips, 0);
            parts.push(("frozen activations", live.saturating_sub(model.activations)));
        }
        Stage::new(if joint { "GRU-RCN and CNN" } else { "GRU-RCN" }, parts)
    }

    /// GRU-RCN over `clips` clips, in the largest of its forms. The percepts are in memory twice.
    ///
    /// The CPU operators keep four maps of a level's state for each step: two gates, the candidate and
    /// the state. One level at a time has the reset states of all steps besides, and a copy of its input.
    ///
    /// Burn's tensor operations keep eleven maps of a level's state: three of the input's
    /// convolution; two gates before and after their sigmoid, the candidate before its tanh, the reset state,
    /// the candidate's distance from the state, and the state. When the
    /// backward pass has come to the input's convolutions, the gradients of their outputs exist at once.
    fn recurrent(&self, clips: usize) -> Training {
        let (model, taps) = (&self.recipe.model, self.cnn.levels());
        let time = self.time() * (1 + model.context.unwrap_or(0));
        let has = |form: Form| model.form == form || self.recipe.baselines.forms.contains(&form);
        let directions = if has(Form::Bidirectional) { 2 } else { 1 };
        let (mut weights, mut kept, mut percepts, mut outputs, mut largest) = (0, 0, 0, 0, 0);
        let mut below = 0;
        for (level, &hidden) in self.recipe.levels().into_iter().map(|level| &taps[level]).zip(&model.hidden) {
            let kernel = if level.is_vector() { 1 } else { model.kernel_size };
            let inputs = level.channels + hidden + if has(Form::Stacked) { below * 2 / 3 } else { 0 };
            weights += directions * F32 * (3 * hidden * inputs * kernel * kernel + hidden * self.dataset.classes.len());
            let map = clips * hidden * level.height * level.width * F32;
            let input = bytes_of_clips(std::slice::from_ref(level), time, clips, 0);
            percepts += directions * input;
            if self.operators {
                kept += directions * (4 * time * map + input);
                largest = largest.max(time * map + input);
            } else {
                kept += directions * (11 * time * map + input);
                outputs += directions * 3 * time * map;
                largest = largest.max(3 * (input + 3 * time * map));
            }
            below = hidden;
        }
        let activations = if self.operators { kept + largest } else { kept.max(percepts + outputs + largest) };
        // The largest parameter is small beside the activations of a clip.
        Training { weights, largest: 0, activations: percepts + activations }
    }
}

/// A network of its own on pixels.
struct OnPixels<'a> {
    estimate: &'a Estimate<'a>,
    baseline: Baseline,
}

impl BaselineVisitor for OnPixels<'_> {
    type Output = Option<Stage>;

    /// Baselines on percepts are smaller than GRU-RCN.
    fn visit<M: BaselineModel>(self) -> Option<Stage> {
        None
    }

    fn visit_pixels<M: PixelBaseline>(self) -> Option<Stage> {
        let Self { estimate, baseline } = self;
        let (recipe, dataset) = (estimate.recipe, estimate.dataset);
        // Clips that do not suit it have an error of their own.
        let layers = M::layers(&recipe.pixel_options(dataset.classes.len())).ok()?;
        let clips = recipe.training.batch.min(dataset.train.len());
        let mut parts = Training::of_layers(&layers, clips, estimate.operators).parts(&recipe.training);
        let pixels = clips * estimate.time() * estimate.loader.bytes_of_frame() * (1 + F32);
        if recipe.uses_cnn() {
            parts.extend([("frozen CNN", estimate.cnn_weights()), ("percepts", estimate.store())]);
        }
        parts.push(("clips", queue(dataset, estimate.loader, 1) + pixels));
        Some(Stage::new(baseline.name(), parts))
    }
}

/// Whether the operators of `gru-rcn-ops` run a frozen CNN and the recurrence.
fn by_operators(loader: &ClipLoader) -> bool {
    gru_rcn_ops::enabled() && loader.dtype == FloatDType::F32
}

/// Clips on their way: those that are being read, whole where they are videos, and those that wait.
fn queue(dataset: &Dataset, loader: &ClipLoader, versions: usize) -> usize {
    let clips = dataset.train.len();
    let video = dataset.train.iter().any(|sample| matches!(sample.source, ClipSource::Video(_)));
    let ready = versions * loader.planner.temporal.frames() * loader.bytes_of_frame();
    let declared = loader.bytes_of(versions);
    let jobs = (loader.limits.max_bytes / declared).max(1).min(clips);
    let readers = loader.limits.workers.max(1).min(jobs);
    readers * if video { declared } else { ready } + (jobs - readers) * ready
}

/// A frozen CNN over as many clips as go through it at once.
fn frozen(cnn: &CnnConfig, loader: &ClipLoader, clips: usize, workers: usize) -> usize {
    let layers = cnn.layers();
    let (time, chunk) = (loader.planner.temporal.frames(), loader.chunk());
    let frames = chunk.min(clips) * time;
    let tapped = bytes_of_clips(&cnn.levels(), frames, 1, 0);
    let largest = |inputs: usize| layers.iter().map(|l| inputs * size(l.input) + size(l.output)).max().unwrap_or(0);
    let workers = workers.min(clips.div_ceil(chunk));
    if by_operators(loader) {
        // The frames as bytes, as numbers, and twice while these are normalised; a layer of one
        // frame a thread; the weights as they lie and transformed.
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let is_conv = |layer: &&LayerShape| matches!(layer.kind, LayerKind::Conv { .. });
        let weights: usize = layers.iter().filter(is_conv).map(|layer| layer.parameters * F32).sum();
        return workers * (frames * loader.bytes_of_frame() * (1 + 3 * F32) + 2 * tapped)
            + threads * largest(1)
            + 5 * weights;
    }
    // A layer, the one before it and a copy of its input; and the maps at the taps.
    workers * (frames * largest(2) + tapped)
}

fn size([channels, height, width]: [usize; 3]) -> usize {
    channels * height * width * F32
}

/// The highest point of a training step of a CNN over `frames` frames, without weights and gradients of
/// weights. Autodiff keeps the output of every layer, and the indices of a maximum, until the backward
/// pass has come to it; the gradient of a convolution takes input and output three times. The CPU
/// operators take a convolution of stride 1 together with its ReLU, and for its gradients the output
/// three times, or once beside two copies of the input.
fn activations_of(layers: &[LayerShape], frames: usize, operators: bool) -> usize {
    let grouped = |l: &LayerShape| matches!(l.kind, LayerKind::Conv { groups, .. } if groups > 1);
    let operators = operators && !layers.iter().any(grouped);
    let served = |l: &LayerShape| operators && matches!(l.kind, LayerKind::Conv { stride: 1, .. } | LayerKind::Concat);
    let fused = |index: usize| layers[index].kind == LayerKind::Activation && index > 0 && served(&layers[index - 1]);
    let kept = |index: usize| match layers[index].kind {
        LayerKind::Pool => 2 * size(layers[index].output),
        _ if fused(index) => 0,
        _ => size(layers[index].output),
    };
    let mut all: usize = (0..layers.len()).map(kept).sum();
    let mut highest = all;
    for (index, layer) in layers.iter().enumerate().rev() {
        let (input, output) = (size(layer.input), size(layer.output));
        all -= kept(index).min(output);
        let gradients = match layer.kind {
            LayerKind::Conv { .. } if served(layer) => (3 * output).max(output + 2 * input),
            LayerKind::Conv { .. } | LayerKind::Conv3d { .. } => 3 * (input + output),
            _ if fused(index) => output,
            _ => input + output,
        };
        highest = highest.max(all + gradients);
        all -= kept(index) - kept(index).min(output);
    }
    frames * highest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory {
            stages: vec![
                Stage {
                    name: "CNN fine-tuning",
                    parts: vec![("program", 1 << 20), ("weights", 1 << 29), ("activations", 5 << 28)],
                },
                Stage { name: "GRU-RCN", parts: vec![("weights", 1 << 30)] },
            ],
        }
    }

    /// 0.5 and 1.25 GiB; a MiB is less than a hundredth and not listed.
    #[test]
    fn the_line_names_stage_and_parts() {
        assert_eq!(
            memory().line().unwrap(),
            "memory: about 1.75 GiB at most, in the stage CNN fine-tuning (activations 1.25, weights 0.50)"
        );
    }

    #[test]
    fn the_limit_is_compared_with_the_highest_stage() {
        let error = memory().check(Some(1.5)).unwrap_err().to_string();
        assert!(error.contains("more than the --max-memory of 1.50 GiB"), "{error}");
        assert!(error.contains("CNN fine-tuning"), "{error}");
        memory().check(Some(1.8)).unwrap();
    }

    /// A convolution of 2 to 3 channels on 4×4, an activation, a maximum to 2×2: outputs of 48, 48 and 12
    /// numbers and 12 indices are 120 kept. Backward of the maximum: 108 kept, gradients of 48 + 12. Of the
    /// activation: 48 kept, gradients of 96. Of the convolution: nothing kept, 3 · (32 + 48) = 240.
    #[test]
    fn the_highest_point_of_a_step_by_hand() {
        let layer = |kind, input, output| LayerShape { name: String::new(), kind, input, output, parameters: 0 };
        let layers = [
            layer(LayerKind::Conv { kernel: 3, stride: 1, groups: 1 }, [2, 4, 4], [3, 4, 4]),
            layer(LayerKind::Activation, [3, 4, 4], [3, 4, 4]),
            layer(LayerKind::Pool, [3, 4, 4], [3, 2, 2]),
        ];
        assert_eq!(activations_of(&layers, 5, false), 5 * 4 * 240);
        // By the operators the activation is part of the convolution: 72 kept; backward of the
        // maximum, 60 and 60; of the convolution, 3 · 48 or 48 + 64.
        assert_eq!(activations_of(&layers, 5, true), 5 * 4 * 144);
        assert_eq!(activations_of(&layers[1..], 1, false), 4 * (60 + 12 + 48));
    }
}
