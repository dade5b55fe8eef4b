//! The CNN of a recipe: built, loaded, given a new classifier, trained on single frames.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use gru_rcn::backbone::{Backbone, Cnn, CnnConfig, Network, NetworkOptions};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::{EnsembleLogits, LossKind};
use gru_rcn::input::PixelClips;
use gru_rcn::weights::{WeightsError, import_torchvision, torchvision_classes};
use gru_rcn_data::base::Fnv64;
use gru_rcn_data::{Dataset, Modality};

use crate::recipe::{FinetuneSection, Recipe};

/// Classes of ImageNet, which pretrained networks tell apart.
const IMAGENET: usize = 1000;

/// The CNN's configuration, with this number of classes of its own.
pub(crate) fn config(recipe: &Recipe, classes: usize) -> Result<CnnConfig> {
    let (section, size) = (&recipe.backbone, recipe.clip.input_size);
    let config = match recipe.clip.modality {
        Modality::Rgb => colour_config(recipe, classes),
        Modality::Flow => colour_config(recipe, classes).across_modality(Modality::Flow.channels()),
    };
    config.validate().context("recipe: backbone.taps or clip.input_size")?;
    let levels = config.levels();
    if let Some(level) = levels.iter().find(|level| level.height == 0 || level.width == 0) {
        bail!("recipe: clip.input_size {size:?} is too small: nothing is left of it at the level {}", level.name);
    }
    let (dropout, known) = (recipe.backbone.finetune.as_ref().map_or(0, |f| f.dropout.len()), config.dropout().len());
    if dropout > 0 && dropout != known {
        bail!("recipe: backbone.finetune.dropout has {dropout} numbers, this network takes {known}");
    }
    let names: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
    if names != section.taps {
        bail!(
            "recipe: backbone.taps is {}; name each level once, bottom up: {}",
            section.taps.join(", "),
            names.join(", ")
        );
    }
    Ok(config)
}

/// The same network for RGB, not checked.
fn colour_config(recipe: &Recipe, classes: usize) -> CnnConfig {
    recipe.backbone.network.config(&NetworkOptions {
        num_classes: classes,
        in_channels: Modality::Rgb.channels(),
        input_size: recipe.clip.input_size,
        taps: recipe.backbone.taps.clone(),
    })
}

/// A checksum of the weights, to tell whose percepts are whose.
pub(crate) fn fingerprint(cnn: &Cnn) -> String {
    struct Sum(Fnv64);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = std::mem::take(&mut self.0).bytes(param.val().into_data().as_bytes());
        }
    }
    let mut sum = Sum(Fnv64::default());
    cnn.visit(&mut sum);
    format!("{:016x}", sum.0.finish())
}

/// Classes of the CNN that a run ends up with: the clips' where it is fine-tuned, their appearances where it is trained on
/// those, else those of the file that it is read from.
pub(crate) fn classes(recipe: &Recipe, dataset: &Dataset, file: Option<&Path>) -> Result<usize> {
    let appearances = appearances(recipe, dataset)?;
    match (&recipe.backbone, file) {
        (section, _) if section.finetune.is_some() => Ok(dataset.classes.len()),
        (section, _) if section.pretrain.is_some() => Ok(appearances),
        (_, Some(file)) => classes_in(recipe, file),
        (_, None) => Ok(IMAGENET),
    }
}

/// Classes of the classifier in a weight file.
fn classes_in(recipe: &Recipe, path: &Path) -> Result<usize> {
    // Weights are drawn when they are first used, so that this costs nothing.
    match torchvision_classes(&colour_config(recipe, IMAGENET).init(&Device::flex()), path) {
        // Not this network's file: reading it will say all that is wrong with it.
        Err(WeightsError::Mismatch { .. }) => Ok(IMAGENET),
        classes => Ok(classes?),
    }
}

/// Loads pretrained weights for a recipe, whatever their number of classes. Those of a network for RGB serve the flow
/// stream too: their first layer is averaged over the colours.
pub(crate) fn pretrained(recipe: &Recipe, path: &Path, device: &Device) -> Result<Cnn> {
    // What is wrong with the recipe comes before what is wrong with the file.
    config(recipe, IMAGENET)?;
    let classes = classes_in(recipe, path)?;
    let loaded = match load(&config(recipe, classes)?, path, device) {
        // Not a network for flow: what is said of a file that is neither is said of it as one for RGB.
        Err(_) if recipe.clip.modality == Modality::Flow => load(&colour_config(recipe, classes), path, device)
            .map(|cnn| cnn.across_modality(Modality::Flow.channels())),
        loaded => loaded,
    };
    loaded.map_err(|error| match looks_like(recipe.backbone.network, path, &error) {
        Some(other) => anyhow!(
            "{}: this looks like {other}, and the recipe's backbone.network is {}",
            path.display(),
            recipe.backbone.network
        ),
        None => error,
    })
}

/// Keys of weight files of networks that are not among ours.
const FOREIGN: [(&str, &str); 4] = [
    ("features.11.squeeze.weight", "SqueezeNet 1.1"),
    ("features.1.running_mean", "VGG with batch normalisation"),
    ("features.34.weight", "VGG-19"),
    ("layer1.0.conv1.weight", "a ResNet"),
];

/// What another network the weights of a file are of, with what to do, as far as its keys tell.
fn looks_like(expected: Network, path: &Path, error: &anyhow::Error) -> Option<String> {
    let Some(WeightsError::Mismatch { unused, .. }) = error.downcast_ref() else { return None };
    let fits = |network: Network| {
        let config = |num_classes, taps: &[String]| {
            network.config(&NetworkOptions { num_classes, in_channels: 3, input_size: [224, 224], taps: taps.to_vec() })
        };
        let known = config(IMAGENET, &[]).known_taps();
        let model = |classes| config(classes, &known).init(&Device::flex());
        match torchvision_classes(&model(IMAGENET), path).map(|classes| import_torchvision(model(classes), path)) {
            Ok(Ok(_)) => true,
            // The size of the frames may be another one.
            Ok(Err(WeightsError::Mismatch { missing, unused, .. })) => missing.is_empty() && unused.is_empty(),
            _ => false,
        }
    };
    let own = Network::ALL.iter().copied().filter(|network| *network != expected).find(|network| fits(*network));
    if let Some(network) = own {
        let name = if network == Network::Squeezenet { "SqueezeNet 1.0".to_owned() } else { network.to_string() };
        return Some(format!("{name} (--set backbone.network={network})"));
    }
    let (_, name) = FOREIGN.iter().find(|(key, _)| unused.iter().any(|unused| unused == key))?;
    Some(format!("{name}, which this program does not have"))
}

/// The network to fine-tune: with a new classifier of `classes` classes and the dropout of the section.
pub(crate) fn to_finetune(mut cnn: Cnn, section: &FinetuneSection, classes: usize, device: &Device) -> Result<Cnn> {
    cnn.replace_classifier(classes, section.classifier_std, device);
    if !section.dropout.is_empty() {
        cnn.set_dropout(&section.dropout).context("recipe: backbone.finetune.dropout")?;
    }
    Ok(cnn)
}

/// Loads weights in the layout of the network's PyTorch original.
pub(crate) fn load(config: &CnnConfig, path: &Path, device: &Device) -> Result<Cnn> {
    Ok(import_torchvision(config.init(device), path)?)
}

/// Number of appearance classes, as far as the recipe needs it.
pub(crate) fn appearances(recipe: &Recipe, dataset: &Dataset) -> Result<usize> {
    match (&recipe.backbone.pretrain, dataset.appearances.len()) {
        (Some(_), 0) => bail!(
            "recipe: backbone.pretrain needs clips with appearance labels, which {} has not; give weights instead",
            dataset.name
        ),
        (_, appearances) => Ok(appearances),
    }
}

/// A CNN under training as a classifier of clips: every frame is an example of its own.
#[derive(Module, Debug)]
pub(crate) struct FrameCnn {
    /// The network.
    pub(crate) cnn: Cnn,
}

impl ClipClassifier for FrameCnn {
    type Input = PixelClips;

    /// Logits are `[time, batch, class]`.
    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        let frames: Tensor<5> = clips.pixels.swap_dims(0, 1);
        let [time, batch, channels, height, width] = frames.dims();
        let logits = self.cnn.forward(frames.reshape([time * batch, channels, height, width]));
        let classes = logits.dims()[1];
        EnsembleLogits::new(logits.reshape([time, batch, classes]))
    }

    fn loss(&self, logits: &EnsembleLogits, targets: Tensor<1, burn::tensor::Int>, _requested: LossKind) -> Tensor<1> {
        logits.loss(targets, LossKind::PerHead)
    }
}
