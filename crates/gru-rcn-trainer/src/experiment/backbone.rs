//! The CNN of a recipe: built, loaded, given a new classifier, trained on single frames.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use gru_rcn::backbone::{Backbone, Cnn, CnnConfig, Network, NetworkOptions};
use gru_rcn::class_activation::{ClassActivation, grad_cam};
use gru_rcn::classifier::ClipClassifier;
use gru_rcn::head::{EnsembleLogits, LossKind};
use gru_rcn::input::PixelClips;
use gru_rcn::percepts::Percepts;
use gru_rcn::weights::{WeightsError, import_torchvision, metadata, torchvision_classes};
use gru_rcn_data::base::Fnv64;
use gru_rcn_data::{Dataset, Modality};

use crate::recipe::Recipe;
use crate::scoring::{MeanOf, Scorable};

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
pub(crate) fn fingerprint<M: Module>(model: &M) -> String {
    struct Sum(Fnv64);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = std::mem::take(&mut self.0).bytes(param.val().into_data().as_bytes());
        }
    }
    let mut sum = Sum(Fnv64::default());
    model.visit(&mut sum);
    format!("{:016x}", sum.0.finish())
}

/// Number of classes of the CNN of a run: of the clips' where it is fine-tuned, of their appearances where it is trained
/// on those, else of the file that it is read from.
pub(crate) fn classes(recipe: &Recipe, dataset: &Dataset, file: Option<&Path>) -> Result<usize> {
    let appearances = appearances(recipe, dataset)?;
    match (&recipe.backbone, file) {
        (section, _) if section.finetune.is_some() => Ok(dataset.classes.len()),
        (section, _) if section.pretrain.is_some() => Ok(appearances),
        (_, Some(file)) => classes_in(&colour_config(recipe, IMAGENET), file),
        (_, None) => Ok(IMAGENET),
    }
}

/// Classes of the classifier in a weight file of this network.
fn classes_in(config: &CnnConfig, path: &Path) -> Result<usize> {
    // Weights are drawn when they are first used, so that this costs nothing.
    match torchvision_classes(&config.init(&Device::flex()), path) {
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
    let colour = colour_config(recipe, IMAGENET);
    if recipe.clip.modality == Modality::Flow
        && let Ok(cnn) = load(&config(recipe, classes_in(&colour, path)?)?, path, device)
    {
        return Ok(cnn);
    }
    let cnn = pretrained_network(colour, recipe.backbone.network, "the recipe's backbone.network", path, device)?;
    Ok(match recipe.clip.modality {
        Modality::Rgb => cnn,
        Modality::Flow => cnn.across_modality(Modality::Flow.channels()),
    })
}

/// Loads pretrained weights of a network for RGB, whatever their number of classes. An error says that the
/// network is named at this `place`.
pub(crate) fn pretrained_network(
    config: CnnConfig,
    network: Network,
    place: &str,
    path: &Path,
    device: &Device,
) -> Result<Cnn> {
    config.validate()?;
    let classes = classes_in(&config, path)?;
    load(&config.with_num_classes(classes), path, device).map_err(|error| match looks_like(network, path, &error) {
        Some(other) => anyhow!("{}: this looks like {other}, and {place} is {network}", path.display()),
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

/// The network that a weight file seems to be of, judged by its keys, and what to do about it.
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

/// The clips' classes that a CNN was fine-tuned on, as its weight file has them. Files of other programs have
/// none, whatever the number of their classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassifierLabels {
    /// Names of the classes, in the order of the logits.
    pub(crate) classes: Vec<String>,
    /// Fingerprint of the data set that it was fine-tuned on.
    pub(crate) data: String,
}

impl ClassifierLabels {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        Self { classes: dataset.classes.clone(), data: dataset.fingerprint() }
    }

    /// Those of a weight file. Faults of the file are reported when its weights are read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let metadata = metadata(path).ok()?;
        let classes = serde_json::from_str(metadata.get("classes")?).ok()?;
        Some(Self { classes, data: metadata.get("data")?.clone() })
    }

    /// Keys and values of the file's metadata.
    pub(crate) fn metadata(&self) -> Result<[(&'static str, String); 2]> {
        Ok([("classes", serde_json::to_string(&self.classes)?), ("data", self.data.clone())])
    }
}

/// Whether the classifier of the run's CNN tells the clips' classes apart: it is fine-tuned on them, or the
/// file says that it was.
pub(crate) fn classifies_clips(recipe: &Recipe, dataset: &Dataset, file: Option<&Path>) -> bool {
    let labelled = || file.and_then(ClassifierLabels::read).is_some_and(|labels| labels.classes == dataset.classes);
    recipe.uses_cnn() && (recipe.backbone.finetune.is_some() || labelled())
}

/// A note for readers of the results, if the weights were fine-tuned on other clips of the same classes.
pub(crate) fn note_on_labels(dataset: &Dataset, file: &Path) -> Option<String> {
    let labels = ClassifierLabels::read(file).filter(|labels| labels.classes == dataset.classes)?;
    let here = dataset.fingerprint();
    (labels.data != here).then(|| {
        format!(
            "the CNN's weights were fine-tuned on other clips of these classes, or on other parts of them ({}, these are \
             {here}): test clips may be among them",
            labels.data
        )
    })
}

/// Loads weights in the layout of the network's PyTorch original.
pub(crate) fn load(config: &CnnConfig, path: &Path, device: &Device) -> Result<Cnn> {
    Ok(import_torchvision(config.init(device), path)?)
}

/// Number of appearance classes. An error if there are none and the recipe needs some.
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
    pub(crate) cnn: Cnn,
}

impl ClipClassifier for FrameCnn {
    type Input = PixelClips;

    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    /// Logits are `[time, batch, class]`.
    fn logits(&self, clips: PixelClips) -> EnsembleLogits {
        frame_by_frame(clips.pixels, |frames| self.cnn.forward(frames))
    }
}

/// Classifies the frames of clips `[batch, time, channel, height, width]` one by one: logits `[time, batch, class]`.
fn frame_by_frame(clips: Tensor<5>, classify: impl Fn(Tensor<4>) -> Tensor<2>) -> EnsembleLogits {
    let frames: Tensor<5> = clips.swap_dims(0, 1);
    let [time, batch, channels, height, width] = frames.dims();
    let logits = classify(frames.reshape([time * batch, channels, height, width]));
    let classes = logits.dims()[1];
    EnsembleLogits::new(logits.reshape([time, batch, classes]))
}

/// A CNN's own classifier on the percepts of clips: every frame by the layers above the topmost tap. The
/// logits of the frames are averaged.
pub(crate) struct OwnClassifier(pub(crate) Cnn);

impl Scorable<Percepts> for OwnClassifier {
    /// Logits are `[time, batch, class]`.
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        frame_by_frame(percepts.top(), |maps| self.0.classify_top(maps))
    }

    /// Grad-CAM of every frame at the topmost tap with more than one cell.
    fn class_activation(&self, percepts: Percepts, class: usize) -> Vec<ClassActivation> {
        let levels = self.0.levels();
        let Some(level) = levels.iter().rposition(|level| !level.is_vector()) else { return Vec::new() };
        let names: Vec<&str> = levels[..=level].iter().map(|level| level.name.as_str()).collect();
        let mut cnn = self.0.clone().no_grad().train();
        cnn.set_dropout(&vec![0.0; cnn.dropout().len()]).expect("as many as the network has");
        cnn.set_taps(&names).expect("a network has its taps");
        let [batch, time, channels, height, width] = percepts.maps[level].dims();
        let maps = percepts.maps[level].clone().reshape([batch * time, channels, height, width]);
        let activation = grad_cam(maps, |maps| cnn.classify_top(maps), class).reshape([batch, time, height, width]);
        vec![ClassActivation { level, activation, bias: None, attribution: None, update: None }]
    }

    fn mean_of(&self) -> MeanOf {
        MeanOf::Logits
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    /// A network of five classes with drawn weights.
    fn drawn(taps: &[&str]) -> Cnn {
        let taps = taps.iter().map(ToString::to_string).collect();
        let options = NetworkOptions { num_classes: 5, in_channels: 3, input_size: [32, 32], taps };
        Device::flex().seed(3);
        Network::Small.config(&options).init(&Device::flex())
    }

    /// Two clips of three frames.
    fn clips() -> Tensor<5> {
        Tensor::random([2, 3, 3, 32, 32], Distribution::Default, &Device::flex())
    }

    /// Frames through the whole network give the logits that their topmost maps give.
    #[test]
    fn the_own_classifier_takes_in_the_topmost_maps() {
        let (cnn, frames) = (drawn(&["pool2", "pool4"]), clips());
        let pixels = PixelClips { pixels: frames.clone() };
        let expected = ClipClassifier::logits(&FrameCnn { cnn: cnn.clone() }, pixels).logits;
        let found = OwnClassifier(cnn.clone()).logits(cnn.percepts(frames)).logits;
        assert_eq!(found.dims(), [3, 2, 5]);
        assert!((found - expected.clone()).abs().max().into_scalar::<f32>() < 1e-5);
        assert!(expected.abs().max().into_scalar::<f32>() > 1e-3);
    }

    /// Above a fully connected level as the topmost tap, the maps are those of the level below, and equal to
    /// those with that level as the topmost tap.
    #[test]
    fn grad_cam_is_at_the_topmost_maps_with_places() {
        let mut cnn = drawn(&["pool2", "pool3", "fc7"]);
        let percepts = cnn.percepts(clips());
        let of_class = |class| OwnClassifier(cnn.clone()).class_activation(percepts.clone(), class).remove(0);
        // Evidence against a class is cut off, and one class may have no other.
        let positive = |found: &ClassActivation| found.activation.clone().max().into_scalar::<f32>() > 0.0;
        let class = (0..5).find(|&class| positive(&of_class(class))).expect("a class with evidence for it");
        let found = of_class(class);
        assert_eq!((found.level, found.activation.dims()), (1, [2, 3, 4, 4]));
        cnn.set_taps(&["pool2", "pool3"]).unwrap();
        let below = OwnClassifier(cnn).class_activation(percepts.select(&[0, 1]), class).remove(0).activation;
        assert!((found.activation - below).abs().max().into_scalar::<f32>() < 1e-6);
    }

    #[test]
    fn labels_of_a_weight_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cnn.safetensors");
        let cnn = drawn(&["pool4"]);
        gru_rcn::weights::export_torchvision(&cnn, &path).unwrap();
        assert_eq!(ClassifierLabels::read(&path), None);
        let mut dataset = Dataset { classes: vec!["run, \"fast\"".into(), "wave".into()], ..Dataset::default() };
        let labels = ClassifierLabels::of(&dataset);
        gru_rcn::weights::export_torchvision_with(&cnn, &path, &labels.metadata().unwrap()).unwrap();
        assert_eq!(ClassifierLabels::read(&path), Some(labels));
        assert_eq!(note_on_labels(&dataset, &path), None);
        // The same classes and other clips make a note, other classes make none.
        dataset.train.push(gru_rcn_data::Sample {
            id: "a".into(),
            class: 0,
            appearance: None,
            source: gru_rcn_data::ClipSource::Video("a.avi".into()),
        });
        assert!(note_on_labels(&dataset, &path).unwrap().contains("fine-tuned on other clips of these classes"));
        dataset.classes.reverse();
        assert_eq!(note_on_labels(&dataset, &path), None);
        std::fs::write(&path, b"words").unwrap();
        assert_eq!(ClassifierLabels::read(&path), None);
    }
}
