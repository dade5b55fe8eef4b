//! Recipes of captioners: which clips and captions, what encodes a clip, the decoder and its training.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use gru_rcn::backbone::Network;
use gru_rcn::captioner::{CaptionerConfig, Penalties};
use gru_rcn_data::CropRule;
use serde::{Deserialize, Serialize};

use super::load::RecipeKind;
use super::training::{none_is_zero, zero_is_none};
use super::{
    DataSection, Nonfinite, OptimizerName, TrainingSection, check_below_one, check_name, check_not_negative,
    check_numbers,
};

/// One experiment on captions. The defaults are those of the decoder's authors.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptionRecipe {
    /// Its name; runs are kept in a folder of that name.
    pub(crate) name: String,
    /// What it is, for the report.
    #[serde(default)]
    pub(crate) about: String,
    /// Seed of everything random: initial weights, order, dropout.
    #[serde(default)]
    pub(crate) seed: u64,
    /// File of the captions in COCO's format, or a folder with a file for each part, `train.json`,
    /// `validation.json` and `test.json`; relative to the folder of the clips.
    #[serde(default = "captions_folder")]
    pub(crate) captions: PathBuf,
    /// METEOR's folder with its table of paraphrases, relative to the current folder. Without it
    /// METEOR knows none, and is named accordingly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) meteor: Option<PathBuf>,
    /// Segments of a clip, K.
    pub(crate) segments: usize,
    /// What describes a segment; the features of all are concatenated.
    pub(crate) encoders: Vec<EncoderSection>,
    /// The clips.
    pub(crate) data: DataSection,
    /// How clips are read and features scaled.
    #[serde(default)]
    pub(crate) features: CaptionFeatures,
    /// Which words and captions are learnt.
    #[serde(default)]
    pub(crate) text: TextSection,
    /// Sizes of the decoder.
    pub(crate) decoder: DecoderSection,
    /// Its training.
    #[serde(default)]
    pub(crate) training: CaptionTraining,
    /// How captions are written for scores and tests.
    #[serde(default)]
    pub(crate) decoding: DecodingSection,
    /// What `search` draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<SearchSection>,
}

/// A network that makes features of a segment. It is frozen.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum EncoderSection {
    /// The folder of a run: the last states of all levels and directions of its GRU-RCN after the first
    /// frames of the segment, as many as its recipe takes, each averaged over its cells as the recipe
    /// says.
    GruRcn(PathBuf),
    /// The topmost map of a CNN for the first frame of the segment, averaged over its cells.
    Cnn(CnnEncoder),
}

/// The CNN of a run, or one of ours with weights in torchvision's layout.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct CnnEncoder {
    /// The folder of a run, whose CNN and frame sizes are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<PathBuf>,
    /// Or the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<Network>,
    /// Its weights; `--weights` sets them where they are not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<PathBuf>,
    /// The map to use; the topmost of the network, or of the run's taps, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tap: Option<String>,
    /// Height and width to which frames are brought, pixels.
    #[serde(default = "paper_frames")]
    pub(crate) frame_size: [usize; 2],
    /// Height and width of what the network sees, pixels.
    #[serde(default = "paper_input")]
    pub(crate) input_size: [usize; 2],
    /// The part of the frame; its middle of the input's size if not given.
    #[serde(default = "CropRule::paper")]
    pub(crate) crop: CropRule,
}

fn captions_folder() -> PathBuf {
    "captions".into()
}

fn paper_frames() -> [usize; 2] {
    [256, 340]
}

fn paper_input() -> [usize; 2] {
    [224, 224]
}

/// How clips are read to be encoded, and features scaled.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CaptionFeatures {
    /// Divide the features of each encoder by one constant, their root mean square over the training
    /// clips. Activations of some networks are so large that the decoder does not learn from them.
    pub(crate) scale: bool,
    /// Threads that read clips.
    pub(crate) workers: usize,
    /// Most memory that clips on their way to the CNN may take, MiB.
    pub(crate) queue_mib: usize,
}

impl Default for CaptionFeatures {
    fn default() -> Self {
        Self { scale: true, workers: 2, queue_mib: 512 }
    }
}

/// Which words and captions are learnt.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TextSection {
    /// Least number of times that a word is in the training captions to be learnt.
    pub(crate) threshold: usize,
    /// Words of the longest captions that are learnt; longer ones are left out of training and of the
    /// validation loss. The metrics use all.
    pub(crate) max_words: usize,
}

impl Default for TextSection {
    fn default() -> Self {
        Self { threshold: 1, max_words: 29 }
    }
}

/// Sizes of the decoder.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DecoderSection {
    /// Size of a word's embedding.
    pub(crate) embedding: usize,
    /// Units of the LSTM.
    pub(crate) hidden: usize,
    /// Drop probability.
    pub(crate) dropout: f64,
}

impl Default for DecoderSection {
    fn default() -> Self {
        let CaptionerConfig { embedding, hidden, dropout, .. } = CaptionerConfig::new(1, 1);
        Self { embedding, hidden, dropout }
    }
}

impl DecoderSection {
    /// The decoder for this number of features of a segment and this number of words.
    pub(crate) fn config(&self, features: usize, words: usize) -> CaptionerConfig {
        CaptionerConfig::new(features, words)
            .with_embedding(self.embedding)
            .with_hidden(self.hidden)
            .with_dropout(self.dropout)
    }
}

/// By what the weights are chosen, on the validation clips.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Select {
    /// The least negative log-likelihood.
    #[default]
    Nll,
    /// The highest BLEU-4.
    Bleu4,
    /// The highest METEOR.
    Meteor,
    /// The highest CIDEr-D, which coco-caption prints as CIDEr.
    Cider,
}

impl Select {
    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nll => "NLL",
            Self::Bleu4 => "BLEU-4",
            Self::Meteor => "METEOR",
            Self::Cider => "CIDEr-D",
        }
    }
}

/// How the decoder is trained.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CaptionTraining {
    /// Most passes over the training captions.
    pub(crate) epochs: usize,
    /// Captions of a step.
    pub(crate) batch: usize,
    pub(crate) optimizer: OptimizerName,
    /// The learning rate, which stays the same; 1 is Adadelta's own.
    pub(crate) learning_rate: f64,
    /// Largest norm of all gradients together; they are not clipped if not given.
    #[serde(deserialize_with = "zero_is_none", serialize_with = "none_is_zero")]
    pub(crate) clip_norm: Option<f32>,
    /// Factors of the penalties on weights and on attention that leaves a segment out.
    pub(crate) penalties: PenaltiesSection,
    /// Steps between two validations; a pass over the training captions if not given.
    #[serde(deserialize_with = "zero_is_none", serialize_with = "none_is_zero")]
    pub(crate) validate_every: Option<u64>,
    /// Stop after this many validations without a lower negative log-likelihood.
    pub(crate) patience: usize,
    /// By what the weights are chosen.
    pub(crate) select: Select,
    /// What happens to a step whose loss or gradients are not finite.
    pub(crate) nonfinite: Nonfinite,
    /// Save every N steps; by the minutes alone if not given. Every validation is saved in any case.
    #[serde(deserialize_with = "zero_is_none", skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint_steps: Option<u64>,
    /// Save when this many minutes have passed since the last time; in a file, 0 is never.
    #[serde(deserialize_with = "zero_is_none", serialize_with = "none_is_zero")]
    pub(crate) checkpoint_minutes: Option<f64>,
}

/// The library's penalties under their names in recipes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PenaltiesSection {
    pub(crate) weights: f64,
    pub(crate) attention: f64,
}

impl Default for PenaltiesSection {
    fn default() -> Self {
        let Penalties { weights, attention } = Penalties::default();
        Self { weights, attention }
    }
}

impl Default for CaptionTraining {
    fn default() -> Self {
        Self {
            epochs: 500,
            batch: 64,
            optimizer: OptimizerName::Adadelta,
            learning_rate: 1.0,
            clip_norm: Some(10.0),
            penalties: PenaltiesSection::default(),
            validate_every: Some(2000),
            patience: 20,
            select: Select::default(),
            nonfinite: Nonfinite::default(),
            checkpoint_steps: None,
            checkpoint_minutes: Some(5.0),
        }
    }
}

impl CaptionTraining {
    /// The penalties of the loss.
    pub(crate) fn penalties(&self) -> Penalties {
        Penalties { weights: self.penalties.weights, attention: self.penalties.attention }
    }

    /// Captions between two validations, of `captions` training captions.
    pub(crate) fn captions_per_round(&self, captions: usize) -> usize {
        self.validate_every.map_or(captions, |steps| usize::try_from(steps).unwrap_or(usize::MAX) * self.batch)
    }

    /// The training as the trainer knows it, whose epochs are the rounds between two validations.
    pub(crate) fn section(&self, captions: usize) -> TrainingSection {
        TrainingSection {
            epochs: (self.epochs * captions).div_ceil(self.captions_per_round(captions)),
            batch: self.batch,
            optimizer: self.optimizer,
            learning_rate: self.learning_rate,
            clip_norm: self.clip_norm,
            patience: self.patience,
            nonfinite: self.nonfinite,
            checkpoint_steps: self.checkpoint_steps,
            checkpoint_minutes: self.checkpoint_minutes,
            ..TrainingSection::default()
        }
    }

    fn validate(&self) -> Result<()> {
        ensure!(self.batch > 0, "training.batch is 0; a step needs at least one caption");
        check_not_negative("training.penalties.weights", self.penalties.weights)?;
        check_not_negative("training.penalties.attention", self.penalties.attention)?;
        // Everything else is checked where it is known.
        TrainingSection { epochs: self.epochs, ..self.section(1) }.validate("training")
    }
}

/// How captions are written.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DecodingSection {
    /// Width of the beam.
    pub(crate) beam: usize,
    /// Words after which a caption is cut.
    pub(crate) max_length: usize,
}

impl Default for DecodingSection {
    fn default() -> Self {
        Self { beam: 5, max_length: 50 }
    }
}

/// Ranges of a random search; sizes are drawn by their logarithms.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SearchSection {
    /// Least and greatest number of units.
    pub(crate) hidden: [usize; 2],
    /// Least and greatest size of the embedding.
    pub(crate) embedding: [usize; 2],
    /// Numbers of segments to choose from.
    pub(crate) segments: Vec<usize>,
}

impl Default for SearchSection {
    fn default() -> Self {
        Self { hidden: [256, 4096], embedding: [128, 1024], segments: vec![10, 20, 28] }
    }
}

impl RecipeKind for CaptionRecipe {
    const CAPTIONS: bool = true;

    fn data(&mut self) -> (&str, &mut DataSection) {
        (&self.name, &mut self.data)
    }

    fn shares_percepts(&self) -> bool {
        true
    }

    fn resolved(self) -> Self {
        self
    }

    fn validate(&self) -> Result<()> {
        check_numbers(self)?;
        check_name(&self.name)?;
        ensure!(!self.captions.as_os_str().is_empty(), "captions is empty; name the file of the captions");
        ensure!(self.segments > 0, "segments is 0; a clip has at least one");
        ensure!(!self.encoders.is_empty(), "encoders is empty; name at least one");
        for encoder in &self.encoders {
            if let EncoderSection::Cnn(cnn) = encoder {
                ensure!(
                    cnn.run.is_some() != cnn.network.is_some(),
                    "an encoder `cnn` has either `run`, the folder of a run, or `network` with its weights"
                );
                ensure!(cnn.run.is_none() || cnn.weights.is_none(), "an encoder `cnn` of a run has its own weights");
            }
        }
        ensure!(self.features.workers <= 1024, "features.workers is {}; at most 1024", self.features.workers);
        ensure!(self.text.threshold > 0, "text.threshold is 0; words are learnt that occur at least once");
        ensure!(self.text.max_words > 0, "text.max_words is 0; no caption is that short");
        let DecoderSection { embedding, hidden, dropout } = self.decoder;
        ensure!(embedding > 0 && hidden > 0, "decoder has a size of 0");
        check_below_one("decoder.dropout", dropout)?;
        ensure!(self.decoding.beam > 0, "decoding.beam is 0; keep at least one sentence");
        ensure!(self.decoding.max_length > 0, "decoding.max_length is 0; write at least one word");
        if let Some(SearchSection { hidden, embedding, segments }) = &self.search {
            for (key, [least, most]) in [("hidden", hidden), ("embedding", embedding)] {
                ensure!(0 < *least && least <= most, "search.{key} is [{least}, {most}]; give the least and the most");
            }
            ensure!(!segments.is_empty() && !segments.contains(&0), "search.segments needs numbers above 0");
        }
        self.training.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Recipe, parse_as, to_toml};

    const LEAST: &str = r#"
        name = "x"
        captions = "captions.json"
        segments = 4
        encoders = [{ gru_rcn = "runs/x-1" }, { cnn = { network = "squeezenet" } }]
        data = { folder = {} }
        decoder = {}
    "#;

    fn parsed(changes: &[&str]) -> Result<CaptionRecipe> {
        parse_as(LEAST, &changes.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_defaults_are_the_authors_and_survive_a_round_trip() {
        let recipe = parsed(&[]).unwrap();
        assert_eq!((recipe.decoder.embedding, recipe.decoder.hidden), (468, 3518));
        assert_eq!(recipe.training.penalties.attention, 0.70602 * 64.0 / 28.0);
        for changes in [&[][..], &["training.validate_every=0", "training.clip_norm=0", "search={}"]] {
            let recipe = parsed(changes).unwrap();
            assert_eq!(parse_as::<CaptionRecipe>(&to_toml(&recipe).unwrap(), &[]).unwrap(), recipe);
        }
    }

    /// 10 captions, batches of 4: a pass is 3 steps of at most 4. Validated every 5 steps of 4
    /// captions, 6 passes of 10 are 3 rounds of 20.
    #[test]
    fn rounds_between_validations() {
        let training = |validate_every| CaptionTraining { epochs: 6, batch: 4, validate_every, ..Default::default() };
        assert_eq!(training(None).section(10).most_epochs(10), 6);
        let every = training(Some(5));
        assert_eq!((every.captions_per_round(10), every.section(10).epochs), (20, 3));
        assert_eq!(every.section(10).steps_per_epoch(every.captions_per_round(10)), 5);
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |change: &str, words: &str| {
            let error = format!("{:#}", parsed(&[change]).unwrap_err());
            assert!(error.contains(words), "{error}");
        };
        refused("segments=0", "segments is 0");
        refused("encoders=[]", "encoders is empty");
        refused("encoders=[{ cnn = {} }]", "either `run`");
        refused("encoders=[{ vgg = 1 }]", "unknown variant `vgg`");
        refused("decoder.units=3", "unknown field `units`");
        refused("training.select=rouge", "unknown variant `rouge`");
        refused("training.batch=0", "training.batch is 0");
        refused("training.penalties.attention=-1", "training.penalties.attention");
        refused("decoding.beam=0", "decoding.beam");
        refused("search.hidden=[9, 3]", "search.hidden is [9, 3]");
        assert!(parse_as::<Recipe>(LEAST, &[]).unwrap_err().to_string().contains("trains a captioner"));
        let motion = parse_as::<CaptionRecipe>("name = 'x'", &[]).unwrap_err().to_string();
        assert!(motion.contains("no section [decoder]"), "{motion}");
    }
}
