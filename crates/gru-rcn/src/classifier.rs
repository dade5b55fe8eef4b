//! From percepts to class probabilities: what is trained on top of a frozen CNN.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, FloatDType, Int, Tensor};

use crate::input::ClipInput;
use crate::head::{LevelHeads, LevelHeadsConfig, LevelLogits, LossKind, Pooling};
use crate::percepts::{NormState, PerceptNorm, PerceptNormConfig, Percepts};
use crate::recurrent::{GruRcn, GruRcnConfig, GruRcnState};

/// Anything that classifies clips: GRU-RCN, the systems it is compared with, a CNN on single frames.
pub trait ClipClassifier: Module {
    /// What it takes in: [`Percepts`] of a frozen CNN, or [`PixelClips`](crate::input::PixelClips).
    type Input: ClipInput;

    /// The logits of each of the model's classifiers; their mean probability is the model's.
    fn logits(&self, input: Self::Input) -> LevelLogits;

    /// The same model, its recurrent layers to compute in this precision; weights, gradients, normalisation, pooling,
    /// classifiers and loss stay float32. What has nothing to recur is left as it is.
    fn computing_in(self, _dtype: FloatDType) -> Self {
        self
    }

    /// The loss the model is trained with, by default what the recipe asks for.
    fn loss(&self, logits: &LevelLogits, targets: Tensor<1, Int>, asked: LossKind) -> Tensor<1> {
        logits.loss(targets, asked)
    }
}

/// Configuration of [`GruRcnClassifier`].
#[derive(Config, Debug)]
pub struct GruRcnClassifierConfig {
    /// The recurrent layers.
    pub recurrent: GruRcnConfig,
    /// Number of classes.
    pub num_classes: usize,
    /// Normalisation of the percepts.
    #[config(default = "PerceptNormConfig::new()")]
    pub norm: PerceptNormConfig,
    /// Drop probability on the classifiers' inputs.
    #[config(default = 0.7)]
    pub dropout: f64,
    /// Pooling of the last hidden maps before the classifiers.
    #[config(default = "Pooling::Average")]
    pub pooling: Pooling,
}

/// Normalised percepts, recurrent layers, a classifier per level.
#[derive(Module, Debug)]
pub struct GruRcnClassifier {
    /// Normalisation of the percepts.
    pub norm: PerceptNorm,
    /// The recurrent layers.
    pub recurrent: GruRcn,
    /// The classifiers.
    pub heads: LevelHeads,
    /// What the recurrent layers compute in; no part of the record.
    #[module(skip)]
    pub compute: FloatDType,
}

impl GruRcnClassifierConfig {
    /// A model with freshly drawn weights. Set [`GruRcnClassifier::norm`] by [`PerceptNorm::fit`] before training.
    ///
    /// # Panics
    ///
    /// If the recurrent configuration is invalid.
    pub fn init(&self, device: &Device) -> GruRcnClassifier {
        GruRcnClassifier {
            norm: self.norm.init(self.recurrent.levels.len(), device),
            recurrent: self.recurrent.init(device),
            heads: LevelHeadsConfig::new(self.recurrent.out_channels(), self.num_classes)
                .with_dropout(self.dropout)
                .with_pooling(self.pooling)
                .init(device),
            compute: FloatDType::F32,
        }
    }
}

/// What [`GruRcnClassifier::step`] carries from frame to frame.
#[derive(Clone, Debug, Default)]
pub struct StreamState {
    /// Hidden maps, per level.
    pub hidden: Option<GruRcnState>,
    /// What the normalisation remembers of the percepts seen so far.
    pub norm: NormState,
}

impl GruRcnClassifier {
    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - percepts, per level: `[batch, time, channel, height, width]`
    pub fn forward(&self, percepts: Percepts) -> LevelLogits {
        self.heads.forward(self.recurrent.forward(self.norm.forward(percepts).cast(self.compute)))
    }

    /// Takes in one frame of a stream and classifies what has been seen so far, at constant cost per frame.
    ///
    /// # Shapes
    ///
    /// - maps, per level: `[batch, channel, height, width]`
    ///
    /// # Panics
    ///
    /// In the bi-directional form and with the rule `centre`, which need the whole clip.
    pub fn step(&self, maps: Vec<Tensor<4>>, state: &mut StreamState) -> LevelLogits {
        let maps = self.norm.step(maps, &mut state.norm).into_iter().map(|map| map.cast(self.compute)).collect();
        let hidden = self.recurrent.step(maps, state.hidden.take());
        state.hidden = Some(hidden.clone());
        self.heads.forward(hidden)
    }
}

impl ClipClassifier for GruRcnClassifier {
    type Input = Percepts;

    fn logits(&self, percepts: Percepts) -> LevelLogits {
        self.forward(percepts)
    }

    fn computing_in(self, dtype: FloatDType) -> Self {
        Self { compute: dtype, ..self }
    }
}

/// Burn's stock learner can train any of the classifiers of this crate.
#[cfg(feature = "train")]
#[cfg_attr(docsrs, doc(cfg(feature = "train")))]
mod learner {
    use super::*;
    use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};

    /// Percepts of a batch of clips with their classes.
    #[derive(Clone, Debug)]
    pub struct PerceptBatch {
        /// The percepts, on the plain device for inference and entered into autodiff for training.
        pub percepts: Percepts,
        /// Class indices `[batch]`.
        pub targets: Tensor<1, Int>,
    }

    impl GruRcnClassifier {
        /// Loss (mixture), log-probabilities as output, and targets, in the form that burn-train's metrics take.
        pub fn classify(&self, batch: PerceptBatch) -> ClassificationOutput {
            let logits = self.forward(batch.percepts);
            let loss = logits.loss(batch.targets.clone(), LossKind::Mixture);
            ClassificationOutput::new(loss, logits.log_probabilities(), batch.targets)
        }
    }

    impl TrainStep for GruRcnClassifier {
        type Input = PerceptBatch;
        type Output = ClassificationOutput;

        fn step(&self, batch: PerceptBatch) -> TrainOutput<ClassificationOutput> {
            let output = self.classify(batch);
            TrainOutput::new(self, output.loss.backward(), output)
        }
    }

    impl InferenceStep for GruRcnClassifier {
        type Input = PerceptBatch;
        type Output = ClassificationOutput;

        fn step(&self, batch: PerceptBatch) -> ClassificationOutput {
            self.classify(batch)
        }
    }
}

#[cfg(feature = "train")]
pub use learner::PerceptBatch;
