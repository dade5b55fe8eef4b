//! The sections of a recipe, except those on training.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use gru_rcn::backbone::{Network, NetworkOptions};
use gru_rcn::baselines::Baseline;
use gru_rcn::head::{LossKind, Pooling};
use gru_rcn::percepts::{NormRule, PerceptNormConfig};
use gru_rcn::recurrent::Form;
use gru_rcn_data::{FolderOptions, MotionConfig, TestCrops, TestViews};
use serde::{Deserialize, Serialize};

use super::training::zero_is_none;
use super::{TrainingSection, check_below_one, check_not_negative, check_positive};

/// Where the clips come from: the built-in motion data, or a folder.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DataSection {
    /// Generated clips, nothing to download.
    Motion(MotionConfig),
    /// A folder of clips per class, with or without lists. `--data` sets its root. A
    /// `quarantine.jsonl` in the root is used by itself.
    Folder(FolderOptions),
}

/// The CNN under the recurrent layers.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackboneSection {
    /// Which network.
    pub(crate) network: Network,
    /// The levels of percepts, bottom up; the two topmost of the network if not given. An unknown one is
    /// refused with the names of all.
    #[serde(default)]
    pub(crate) taps: Vec<String>,
    /// Pretrained weights in torchvision's layout (.safetensors, .pth); `--weights` sets it. Without them
    /// the network must be pretrained by the section below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<PathBuf>,
    /// Training of the CNN on single frames, by the clips' appearances; `batch` counts clips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pretrain: Option<TrainingSection>,
    /// In that training, frames drawn from each clip in each epoch; all of them if not given.
    #[serde(default, deserialize_with = "zero_is_none", skip_serializing_if = "Option::is_none")]
    pub(crate) pretrain_frames: Option<usize>,
    /// Fine-tuning of the CNN on the clips' classes, before it is frozen; the paper's first stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finetune: Option<FinetuneSection>,
}

impl BackboneSection {
    /// Names the taps that a recipe leaves to the network.
    pub(super) fn name_taps(&mut self, input_size: [usize; 2]) {
        if self.taps.is_empty() {
            let (num_classes, in_channels) = (1, 3);
            let options = NetworkOptions { num_classes, in_channels, input_size, taps: Vec::new() };
            let known = self.network.config(&options).known_taps();
            self.taps = known[known.len().saturating_sub(2)..].to_vec();
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        ensure!(!self.taps.is_empty(), "backbone.taps is empty; name at least one level");
        ensure!(
            self.weights.is_none() || self.pretrain.is_none(),
            "backbone.weights and backbone.pretrain exclude each other"
        );
        if let Some(pretrain) = &self.pretrain {
            pretrain.validate("backbone.pretrain")?;
            pretrain.refuse_classes("backbone.pretrain", "the CNN, which learns appearances,")?;
        }
        if let Some(finetune) = &self.finetune {
            finetune.validate()?;
        }
        Ok(())
    }
}

/// Fine-tuning of the CNN, the paper's first stage: training of the pretrained CNN on single frames, or
/// single stacks of flow, by the clips' classes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FinetuneSection {
    /// Drop probabilities of the network's training: after fc-6 and fc-7 of VGG-16, before conv10
    /// of SqueezeNet. Empty keeps those of ImageNet, 0.5 each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropout: Vec<f64>,
    /// Standard deviation of the new classifier's first weights.
    pub(crate) classifier_std: f64,
    /// Frames, or stacks of flow, of each clip in each epoch: a random one of each of as many equal
    /// parts. They share the clip's crop and mirroring.
    pub(crate) frames: usize,
    /// Read every clip once, as it is evaluated, and keep its frames in memory, instead of reading
    /// and cutting frames anew in every epoch. For small sets: nothing is augmented then.
    pub(crate) cache: bool,
    /// How it is trained; `batch` counts clips.
    pub(crate) training: TrainingSection,
}

impl Default for FinetuneSection {
    fn default() -> Self {
        Self {
            dropout: Vec::new(),
            classifier_std: 1e-3,
            frames: 1,
            cache: false,
            training: TrainingSection::default(),
        }
    }
}

impl FinetuneSection {
    pub(super) fn validate(&self) -> Result<()> {
        for &drop in &self.dropout {
            check_below_one("backbone.finetune.dropout", drop)?;
        }
        check_not_negative("backbone.finetune.classifier_std", self.classifier_std)?;
        ensure!(self.frames > 0, "backbone.finetune.frames is 0; take at least one frame of each clip");
        self.training.validate("backbone.finetune.training")
    }
}

/// A second training of every system on the training and validation clips together. Where clips are few
/// a fifth held out for validation is a loss: once it has shown how good the recipe is, each system is
/// trained again from the same initial weights for a fixed number of epochs, and the result is tested.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefitSection {
    /// Number of epochs; the schedule of the learning rate spans them. There is no early stopping, since no
    /// validation clip is left.
    pub(crate) epochs: usize,
}

/// How the percepts of the frozen CNN are computed and kept.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FeaturesSection {
    /// Compute the percepts of every clip once and keep them in memory, instead of running the CNN in
    /// every epoch.
    pub(crate) cache: bool,
    /// With the cache: augmented versions of each training clip kept beside the original; each epoch draws
    /// one of all. Without the cache every epoch draws a new one.
    pub(crate) copies: usize,
    /// A key of earlier versions, which new runs may not have: `--percepts` took its place.
    #[serde(skip_serializing)]
    pub(crate) from: Option<PathBuf>,
    /// Most memory the cache may take, MiB.
    pub(crate) max_mib: usize,
    /// Threads that read clips.
    pub(crate) workers: usize,
    /// Most memory that clips on their way to the CNN may take, MiB.
    pub(crate) queue_mib: usize,
}

impl Default for FeaturesSection {
    fn default() -> Self {
        Self { cache: true, copies: 0, from: None, max_mib: 8192, workers: 2, queue_mib: 512 }
    }
}

/// Normalisation of the percepts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct NormSection {
    /// The rule.
    pub(crate) rule: NormRule,
    /// Factor on top of it.
    #[serde(default = "one")]
    pub(crate) gain: f32,
}

fn one() -> f32 {
    1.0
}

impl NormSection {
    /// A short name, such as `scale-0.1`, for files and tables.
    pub(crate) fn key(&self) -> String {
        let Self { rule, gain } = self;
        if *gain == 1.0 { rule.to_string() } else { format!("{rule}-{gain}") }
    }

    fn validate(&self, section: &str) -> Result<()> {
        let gain = self.gain;
        ensure!(gain > 0.0 && gain.is_finite(), "{section} has gain = {gain}, it must be positive");
        Ok(())
    }

    /// Its configuration in the model crate.
    pub(crate) fn config(&self) -> PerceptNormConfig {
        PerceptNormConfig::new().with_rule(self.rule).with_gain(self.gain)
    }
}

/// The recurrent model.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelSection {
    /// Whether GRU-RCN is trained. If not, the run is about the first of its baselines, or without baselines about its
    /// fine-tuned CNN. No CNN is needed if nothing takes in percepts and the CNN is not fine-tuned.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub(crate) train: bool,
    /// Arrangement of the recurrent layers.
    pub(crate) form: Form,
    /// The levels to recur over, by name, bottom up; all of `backbone.taps` if not given. Baselines use the
    /// topmost tap, recurred over or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) levels: Option<Vec<String>>,
    /// Hidden channels of each of these levels; none are needed where GRU-RCN is not trained.
    #[serde(default)]
    pub(crate) hidden: Vec<usize>,
    /// Kernel of levels with spatial extent.
    #[serde(default = "three")]
    pub(crate) kernel_size: usize,
    /// Biases in the recurrent layers; the paper has none.
    #[serde(default)]
    pub(crate) bias: bool,
    /// Drop probability on the classifiers' inputs; 0.7 in the paper.
    #[serde(default = "paper_dropout")]
    pub(crate) dropout: f64,
    /// Pooling of the last hidden maps before they are classified.
    #[serde(default)]
    pub(crate) pooling: Pooling,
    /// The loss.
    #[serde(default)]
    pub(crate) loss: LossKind,
    /// Normalisation of the percepts.
    pub(crate) norm: NormSection,
    /// Clips before each clip in half of the batches of training, so that the model can carry its state
    /// through a stream; for forms and normalisations that do not need the whole clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<usize>,
    /// Train the CNN together with the recurrent model, from pixels, instead of keeping it frozen.
    #[serde(default)]
    pub(crate) finetune_backbone: bool,
    /// With it, the factor of the learning rate for the CNN's weights.
    #[serde(default = "tenth", alias = "backbone_rate")]
    pub(crate) backbone_lr_factor: f64,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn three() -> usize {
    3
}

fn paper_dropout() -> f64 {
    0.7
}

fn tenth() -> f64 {
    0.1
}

impl ModelSection {
    /// Earlier versions had a hidden size for every tap, 0 for those that are not recurred over.
    pub(super) fn name_levels(&mut self, taps: &[String]) {
        if self.levels.is_none() && self.hidden.len() == taps.len() && self.hidden.contains(&0) {
            let recurred = |(tap, &hidden): (&String, &usize)| (hidden > 0).then(|| tap.clone());
            self.levels = Some(taps.iter().zip(&self.hidden).filter_map(recurred).collect());
            self.hidden.retain(|&hidden| hidden > 0);
        }
    }

    /// The levels to recur over, of these taps.
    pub(super) fn level_names<'a>(&'a self, taps: &'a [String]) -> &'a [String] {
        self.levels.as_deref().unwrap_or(taps)
    }

    pub(super) fn validate(&self, taps: &[String]) -> Result<()> {
        let levels = self.level_names(taps);
        ensure!(!levels.is_empty(), "model.levels is empty; name a level to recur over");
        let mut at = 0;
        for level in levels {
            match taps[at..].iter().position(|tap| tap == level) {
                Some(place) => at += place + 1,
                None if taps.contains(level) => {
                    bail!("model.levels has {level:?} out of order; name each level once, bottom up")
                }
                None => {
                    bail!("model.levels has {level:?}, which is not one of backbone.taps: {}", taps.join(", "))
                }
            }
        }
        ensure!(
            levels.len() == self.hidden.len() || (!self.train && self.hidden.is_empty()),
            "{} names {} levels but model.hidden has {} sizes; give one per level",
            if self.levels.is_some() { "model.levels" } else { "backbone.taps" },
            levels.len(),
            self.hidden.len()
        );
        ensure!(!self.hidden.contains(&0), "model.hidden has a size of 0; it must be positive");
        ensure!(self.kernel_size % 2 == 1, "model.kernel_size is {}, it must be odd", self.kernel_size);
        check_below_one("model.dropout", self.dropout)?;
        ensure!(
            self.backbone_lr_factor > 0.0 && self.backbone_lr_factor.is_finite(),
            "model.backbone_lr_factor is {}, it must be positive; model.finetune_backbone=false keeps the CNN \
             frozen",
            self.backbone_lr_factor
        );
        if let Some(context) = self.context {
            ensure!(
                (1..=64).contains(&context),
                "model.context is {context}; 1 to 64 clips precede each, or remove it"
            );
            ensure!(
                self.takes_streams() && !self.finetune_backbone,
                "model.context is for models that carry their state through a stream, on a frozen CNN: model.form is \
                 independent or stacked, model.norm.rule is not centre, and model.finetune_backbone is off"
            );
        }
        self.norm.validate("model.norm")
    }

    /// Whether GRU-RCN can go frame by frame: neither its form nor its normalisation needs the whole
    /// clip.
    pub(crate) fn takes_streams(&self) -> bool {
        self.form != Form::Bidirectional && self.norm.rule != NormRule::Centre
    }
}

/// How test clips are scored.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EvaluationSection {
    /// The views of each clip, whose probabilities are averaged: one, or the paper's 25 starts of ten
    /// crops. There are no mirror images where `clip.flip` is off.
    pub(crate) views: TestViews,
}

/// What the model is compared with, by the same training: on the same frozen CNN, or networks of their own on the
/// same clips.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BaselinesSection {
    /// A linear classifier of single frames on the top level.
    pub(crate) frame: bool,
    /// A fully connected GRU on the pooled top level, with this number of hidden units; 512 in the paper.
    #[serde(deserialize_with = "zero_is_none", skip_serializing_if = "Option::is_none")]
    pub(crate) top_rnn: Option<usize>,
    /// Other baselines by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) others: Vec<Baseline>,
    /// Hidden units of those of them that see percepts; as many as `top_rnn` has, else 512, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hidden: Option<usize>,
    /// Factor of all channels and units of baselines that see pixels; the authors' sizes if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) width: Option<f64>,
    /// Drop probability of baselines that see pixels, wherever they drop; the authors' if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropout: Option<f64>,
    /// Training without labels that `lstm_classifier` starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) composite_lstm: Option<CompositeSection>,
    /// A linear SVM on the descriptors of `c3d`, once that is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) c3d_svm: Option<SvmSection>,
    /// The same GRU-RCN in other forms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) forms: Vec<Form>,
    /// The same GRU-RCN under other normalisations of its percepts.
    pub(crate) norms: Vec<NormSection>,
}

/// An LSTM that writes back what it has read and predicts what follows; `lstm_classifier` starts from its
/// encoder. The CNN runs in every epoch of this stage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CompositeSection {
    /// Steps to predict. They follow those of a clip, so that clips have as many steps more in this stage.
    pub(crate) future: usize,
    /// Whether a decoder sees the step before the one that it writes.
    pub(crate) conditional: bool,
    /// How it is trained.
    pub(crate) training: TrainingSection,
}

impl Default for CompositeSection {
    fn default() -> Self {
        Self { future: 13, conditional: true, training: TrainingSection::default() }
    }
}

/// A linear SVM on descriptors.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SvmSection {
    /// Cost C of the examples within the margin.
    pub(crate) cost: f64,
    /// Clips of each training video whose descriptors are averaged, equally spaced, each the middle of
    /// its frames.
    pub(crate) starts: usize,
}

impl Default for SvmSection {
    fn default() -> Self {
        Self { cost: 1.0, starts: 22 }
    }
}

impl SvmSection {
    /// The clips of a training video.
    pub(crate) fn views(&self) -> TestViews {
        TestViews { starts: self.starts, crops: TestCrops::Centre }
    }
}

impl BaselinesSection {
    /// The baselines, in the order in which they are trained.
    pub(crate) fn systems(&self) -> Vec<Baseline> {
        let mut systems = Vec::new();
        systems.extend(self.frame.then_some(Baseline::Frame));
        systems.extend(self.top_rnn.map(|_| Baseline::TopRnn));
        for &other in &self.others {
            // Each once, however often it is named.
            if !systems.contains(&other) {
                systems.push(other);
            }
        }
        systems
    }

    /// Of the key that compares GRU-RCN with variants of itself, if there is one: its name, and what it does.
    pub(super) fn variants(&self) -> Option<(&'static str, &'static str)> {
        match (self.norms.is_empty(), self.forms.is_empty()) {
            (false, _) => Some(("baselines.norms", "compares maps")),
            (true, false) => Some(("baselines.forms", "compares forms")),
            (true, true) => None,
        }
    }

    /// Hidden units of the RNN on the top layer.
    pub(crate) fn top_rnn_hidden(&self) -> usize {
        self.top_rnn.unwrap_or(512)
    }

    /// Hidden units of the other baselines that see percepts.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden.unwrap_or_else(|| self.top_rnn_hidden())
    }

    /// Factor of all channels and units of baselines that see pixels.
    pub(crate) fn width(&self) -> f64 {
        self.width.unwrap_or(1.0)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let width = self.width();
        ensure!(width > 0.0 && width <= 4.0, "baselines.width is {width}, it must be positive and at most 4");
        ensure!(self.hidden != Some(0), "baselines.hidden is 0, it must be positive");
        check_below_one("baselines.dropout", self.dropout.unwrap_or(0.0))?;
        if let Some(composite) = &self.composite_lstm {
            ensure!(
                self.others.contains(&Baseline::LstmClassifier),
                "baselines.composite_lstm is what lstm_classifier starts from; name \"lstm_classifier\" in \
                 baselines.others too"
            );
            ensure!(composite.future > 0, "baselines.composite_lstm.future is 0; predict at least one step");
            composite.training.validate("baselines.composite_lstm.training")?;
            composite.training.refuse_classes(
                "baselines.composite_lstm.training",
                "the composite LSTM, which learns without labels,",
            )?;
        }
        if let Some(svm) = &self.c3d_svm {
            ensure!(
                self.others.contains(&Baseline::C3d),
                "baselines.c3d_svm is a classifier on the descriptors of c3d; name \"c3d\" in baselines.others too"
            );
            check_positive("baselines.c3d_svm.cost", svm.cost)?;
            svm.views().validate()?;
        }
        for (index, norm) in self.norms.iter().enumerate() {
            norm.validate("baselines.norms")?;
            let key = norm.key();
            ensure!(self.norms[..index].iter().all(|other| other.key() != key), "baselines.norms has {key} twice");
        }
        for (index, form) in self.forms.iter().enumerate() {
            ensure!(!self.forms[..index].contains(form), "baselines.forms has {form} twice");
        }
        Ok(())
    }
}
