//! From percepts to class probabilities: the model that is trained on a frozen CNN.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, FloatDType, Int, Tensor};

use crate::class_activation::{ClassActivation, integrated_gradients};
use crate::head::{EnsembleLogits, LevelHeads, LevelHeadsConfig, LossKind, Pooling};
use crate::input::ClipInput;
use crate::percepts::{NormRule, NormState, PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts};
use crate::recurrent::{ConvGruTrace, GruRcn, GruRcnConfig, GruRcnState};

/// Anything that classifies clips: GRU-RCN, the systems it is compared with, a CNN on single frames.
pub trait ClipClassifier: Module {
    /// What it takes in: [`Percepts`] of a frozen CNN, or [`PixelClips`](crate::input::PixelClips).
    type Input: ClipInput;

    /// Whether the model has classes. One that has none returns the losses of each clip,
    /// `[loss, batch, 1]`, in place of logits; the first loss is the one to validate by.
    const CLASSIFIES: bool = true;

    /// The kind of loss that the model is always trained with; `None` if it takes the one asked for.
    const LOSS: Option<LossKind> = None;

    /// The logits of each of the model's classifiers; their mean probability is the model's.
    fn logits(&self, input: Self::Input) -> EnsembleLogits;

    /// The same model with its recurrent layers computing in this precision. Weights, gradients,
    /// normalisation, pooling, classifiers and loss stay float32. A model without recurrent layers
    /// stays as it is.
    fn computing_in(self, _dtype: FloatDType) -> Self {
        self
    }

    /// Where and when the model finds a class in clips, for every level that it classifies by. Empty for a
    /// model whose logits are no sum over the cells of its maps.
    ///
    /// # Panics
    ///
    /// If there is no such class.
    fn class_activation(&self, _input: Self::Input, _class: usize) -> Vec<ClassActivation> {
        Vec::new()
    }

    /// The training loss, of the kind `asked` for unless the model has a [kind of its own](Self::LOSS).
    fn loss(&self, logits: &EnsembleLogits, targets: Tensor<1, Int>, asked: LossKind) -> Tensor<1> {
        logits.loss(targets, Self::LOSS.unwrap_or(asked))
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
    /// Precision that the recurrent layers compute in; no part of the record.
    #[module(skip)]
    pub compute: FloatDType,
}

impl GruRcnClassifierConfig {
    /// A model with freshly drawn weights, whose normalisation has its gain in place of measured
    /// constants; see [`init_fitted`](Self::init_fitted).
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

    /// A model with freshly drawn weights, and with the normalisation's constants from percepts of
    /// training clips.
    ///
    /// # Panics
    ///
    /// If the recurrent configuration is invalid, or if the statistics are of another number of
    /// levels.
    pub fn init_fitted(&self, statistics: &PerceptStatistics, device: &Device) -> GruRcnClassifier {
        let (levels, measured) = (self.recurrent.levels.len(), statistics.rms().len());
        assert!(levels == measured, "GruRcnClassifier: statistics of {measured} levels, expected {levels}");
        GruRcnClassifier { norm: PerceptNorm::fit(self.norm.clone(), statistics, device), ..self.init(device) }
    }
}

/// State of [`GruRcnClassifier::step`] between frames.
#[derive(Clone, Debug, Default)]
pub struct StreamState {
    /// Hidden maps, per level.
    pub hidden: Option<GruRcnState>,
    /// State of the normalisation.
    pub norm: NormState,
}

impl GruRcnClassifier {
    /// The configuration that gives a model of the same parts and sizes.
    pub fn config(&self) -> GruRcnClassifierConfig {
        let classes = self.heads.classifiers.first().map_or(0, |classifier| classifier.weight.dims()[1]);
        GruRcnClassifierConfig::new(self.recurrent.config.clone(), classes)
            .with_norm(self.norm.config.clone())
            .with_dropout(self.heads.dropout.prob)
            .with_pooling(self.heads.pooling)
    }

    /// Classifies clips.
    ///
    /// # Shapes
    ///
    /// - percepts, per level: `[batch, time, channel, height, width]`
    pub fn forward(&self, percepts: Percepts) -> EnsembleLogits {
        self.heads.forward(self.last_maps(percepts))
    }

    /// The vectors that its classifiers see, one level after the other: the last hidden maps, pooled.
    /// They are the paper's features of a segment for captioning (section 5.2); bi-directional with
    /// the paper's sizes over VGG-16 they are 2 · (64 + 128 + 256 + 256 + 512) = 2,432.
    ///
    /// # Shapes
    ///
    /// - percepts, per level: `[batch, time, channel, height, width]`
    /// - output: `[batch, feature]`, float32
    pub fn features(&self, percepts: Percepts) -> Tensor<2> {
        let maps = self.last_maps(percepts).into_iter();
        Tensor::cat(maps.map(|map| self.heads.pooling.forward(map.cast(FloatDType::F32))).collect(), 1)
    }

    /// The last hidden map of every level.
    fn last_maps(&self, percepts: Percepts) -> Vec<Tensor<4>> {
        self.recurrent.forward(self.norm.forward(percepts).cast(self.compute))
    }

    /// Takes in one frame of a stream and classifies all frames so far, at constant cost per frame.
    ///
    /// # Shapes
    ///
    /// - maps, per level: `[batch, channel, height, width]`
    ///
    /// # Panics
    ///
    /// In the bi-directional form and with the rule `centre`, which need the whole clip.
    pub fn step(&self, maps: Vec<Tensor<4>>, state: &mut StreamState) -> EnsembleLogits {
        let maps = self.normalised(maps, &mut state.norm);
        let hidden = self.recurrent.step(maps, state.hidden.take());
        state.hidden = Some(hidden.clone());
        self.heads.forward(hidden)
    }

    /// The maps of a frame as the recurrent layers take them in.
    pub(crate) fn normalised(&self, maps: Vec<Tensor<4>>, state: &mut NormState) -> Vec<Tensor<4>> {
        self.norm.step(maps, state).into_iter().map(|map| map.cast(self.compute)).collect()
    }
}

impl ClipClassifier for GruRcnClassifier {
    type Input = Percepts;

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        self.forward(percepts)
    }

    /// For every level and time step: the share of the class's logit that the candidates of the step have
    /// left in the last hidden maps ([`ConvGruTrace::kept`]), the share that the percepts of the step cause,
    /// and the mean of the update gates over channels. In the bi-directional form each of them combines
    /// both directions.
    fn class_activation(&self, percepts: Percepts, class: usize) -> Vec<ClassActivation> {
        let mut tracked = self.clone().no_grad().train().computing_in(FloatDType::F32);
        tracked.heads.dropout.prob = 0.0;
        let sum_of_levels = |maps| tracked.forward(Percepts { maps }).logits.sum_dim(0).squeeze_dim(0);
        // A rule that keeps only changes makes zeros of a clip that stands still, whatever it shows.
        let baseline = |map: &Tensor<5>| match self.norm.config.rule {
            NormRule::Identity | NormRule::Scale => map.zeros_like(),
            _ => map.clone().median(1),
        };
        let baselines: Vec<_> = percepts.maps.iter().map(baseline).collect();
        let attributions = integrated_gradients(&percepts.maps, &baselines, sum_of_levels, class);
        let traces = self.recurrent.traces(self.norm.forward(percepts).cast(self.compute));
        let levels = traces.iter().zip(&self.heads.classifiers).zip(attributions).enumerate();
        let activations = levels.map(|(level, ((directions, classifier), attribution))| {
            let channels = |of: fn(&ConvGruTrace) -> &Tensor<5>| {
                Tensor::cat(directions.iter().map(|trace| of(trace).clone().cast(FloatDType::F32)).collect(), 2)
            };
            let kept = channels(|trace| &trace.kept);
            let pooled = self.heads.pooling.weights(kept.clone().sum_dim(1).squeeze_dim(1));
            let update = channels(|trace| &trace.update).mean_dim(2).squeeze_dim(2);
            let activation = ClassActivation::linear(level, kept * pooled.unsqueeze_dim(1), classifier, class);
            ClassActivation { attribution: Some(attribution), update: Some(update), ..activation }
        });
        activations.collect()
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
        /// Loss (mixture), log-probabilities as output, and targets, in the form that burn-train's
        /// metrics take.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percepts::Level;
    use crate::recurrent::Form;
    use crate::testing::{assert_same, device, drawn};

    /// Two levels of 3 and 4 hidden channels in both directions are 14 features, and a classifier of
    /// a level gives the same logits from its share of them.
    #[test]
    fn features_are_what_the_classifiers_see() {
        let levels = vec![Level::new("low".into(), 2, 4, 4), Level::new("high".into(), 5, 1, 1)];
        let recurrent = GruRcnConfig::new(levels, vec![3, 4]).with_form(Form::Bidirectional);
        let model = GruRcnClassifierConfig::new(recurrent, 6).init(&device());
        let percepts = Percepts::new(vec![drawn(1, [2, 3, 2, 4, 4], &device()), drawn(2, [2, 3, 5, 1, 1], &device())]);
        let features = model.features(percepts.clone());
        assert_eq!(features.dims(), [2, 14]);
        let shares = [features.clone().narrow(1, 0, 6), features.narrow(1, 6, 8)];
        let logits =
            shares.into_iter().zip(&model.heads.classifiers).map(|(share, layer)| layer.forward(share)).collect();
        assert_same(Tensor::stack::<3>(logits, 0), model.forward(percepts).logits);
    }
}
