//! Two-Stream + LSTM + Unsupervised in the paper's tables: Srivastava, Mansimov and Salakhutdinov,
//! *Unsupervised Learning of Video Representations using LSTMs* (ICML 2015).
//!
//! [`CompositeLstm`] learns without labels: an encoder reads a sequence, one decoder writes it back
//! in reverse order, another continues it. [`LstmClassifier`] starts from its encoder.
//! Equations as in the released `lstm.py`, `lstm_combo.py` and `lstm_classifier.py`.
//!
//! The sample file of the released classifier has peepholes that are zero and stay so; here they
//! are copied from the encoder and trained, or left out by [`LstmClassifierConfig::peepholes`]. The
//! released code clamps the momentum buffer under the name of gradient clipping, and scales neither
//! loss by the length of a sequence. Trained models, percepts and the configuration of two layers
//! were not released.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::lstm::{Lstm, LstmConfig, LstmState, bound_of, stack};
use super::{BaselineModel, BaselineOptions, pooled_top, pooled_vectors, step_members};
use crate::backbone::zero_bias;
use crate::classifier::ClipClassifier;
use crate::head::{EnsembleLogits, LossKind, linear};
use crate::percepts::{PerceptNorm, PerceptNormConfig, PerceptStatistics, Percepts};

/// Configuration of [`CompositeLstm`].
#[derive(Config, Debug)]
pub struct CompositeLstmConfig {
    /// Size of an input vector: 4,096 for fc-6, 3,072 for patches of 32×32 pixels.
    #[config(default = 4096)]
    pub inputs: usize,
    /// Units of a layer.
    #[config(default = 2048)]
    pub hidden: usize,
    /// Layers of the encoder and of each decoder.
    #[config(default = 2)]
    pub layers: usize,
    /// Whether a decoder sees the vector before the one that it writes.
    #[config(default = true)]
    pub conditional: bool,
    /// Weights are drawn from U(-bound, bound).
    #[config(default = 0.01)]
    pub bound: f64,
}

/// An encoder and two decoders, each a stack of LSTMs with peepholes.
#[derive(Module, Debug)]
pub struct CompositeLstm {
    /// The encoder, bottom up.
    pub encoder: Vec<Lstm>,
    /// Writes the input in reverse order.
    pub reconstruction: Decoder,
    /// Writes what follows the input.
    pub prediction: Decoder,
}

/// LSTMs that start from the states of the encoder, layer by layer, and a linear layer on the
/// topmost.
#[derive(Module, Debug)]
pub struct Decoder {
    /// The layers, bottom up; the lowest has an input in the conditional form only.
    pub layers: Vec<Lstm>,
    /// From the topmost hidden state to a vector.
    pub output: Linear,
}

/// Sequences that the decoders write.
#[derive(Clone, Debug)]
pub struct CompositeOutput {
    /// `[batch, time, input]`, the last vector first.
    pub reconstruction: Tensor<3>,
    /// `[batch, future, input]`.
    pub prediction: Tensor<3>,
}

impl CompositeLstmConfig {
    /// A model with freshly drawn weights and zero biases.
    pub fn init(&self, device: &Device) -> CompositeLstm {
        let lstm = |inputs| LstmConfig::new(inputs, self.hidden).with_peepholes(true).with_bound(self.bound);
        let decoder = || Decoder {
            layers: lstm(if self.conditional { self.inputs } else { 0 }).stack(self.layers, device),
            output: Linear {
                bias: zero_bias(self.inputs, device),
                ..LinearConfig::new(self.hidden, self.inputs).with_initializer(lstm(0).initializer()).init(device)
            },
        };
        CompositeLstm {
            encoder: lstm(self.inputs).stack(self.layers, device),
            reconstruction: decoder(),
            prediction: decoder(),
        }
    }
}

impl Decoder {
    /// Writes `steps` vectors. The first step has no input; in the conditional form step `t` sees
    /// `target[t - 1]`, or without a target its own output before.
    fn forward(&self, mut states: Vec<LstmState>, target: Option<&Tensor<3>>, steps: usize) -> Tensor<3> {
        let conditional = self.layers[0].input.is_some();
        let mut outputs: Vec<Tensor<2>> = Vec::with_capacity(steps);
        for t in 0..steps {
            let before = outputs.last().filter(|_| conditional);
            let mut input = before.map(|own| match target {
                Some(target) => target.clone().narrow(1, t - 1, 1).squeeze_dim(1),
                None => own.clone(),
            });
            for (layer, state) in self.layers.iter().zip(&mut states) {
                *state = layer.step(input, state.clone());
                input = Some(state.hidden.clone());
            }
            outputs.push(self.output.forward(input.expect("a decoder has a layer")));
        }
        Tensor::stack(outputs, 1)
    }
}

impl CompositeLstm {
    /// The output of both decoders, which see the true vectors before those that they write.
    ///
    /// # Shapes
    ///
    /// - input: `[batch, time, input]`; 16 vectors in the paper
    /// - future: `[batch, future, input]`, what follows; 13 in the paper
    pub fn forward(&self, input: Tensor<3>, future: Tensor<3>) -> CompositeOutput {
        let (time, steps) = (input.dims()[1], future.dims()[1]);
        let (_, states) = stack(&self.encoder, input.clone(), |hidden| hidden);
        CompositeOutput {
            reconstruction: self.reconstruction.forward(states.clone(), Some(&input.flip([1])), time),
            prediction: self.prediction.forward(states, Some(&future), steps),
        }
    }

    /// The predicted continuation of `input`, `[batch, steps, input]`. In the conditional form the decoder
    /// sees its own outputs, as in the paper's tests.
    pub fn predict(&self, input: Tensor<3>, steps: usize) -> Tensor<3> {
        let (_, states) = stack(&self.encoder, input, |hidden| hidden);
        self.prediction.forward(states, None, steps)
    }

    /// The loss of both decoders together, a scalar `[1]`: half the squared distance to the true
    /// vectors, summed over steps, mean over the batch.
    pub fn loss(&self, input: Tensor<3>, future: Tensor<3>) -> Tensor<1> {
        self.losses(input, future).mean()
    }

    /// The loss of each clip, `[batch]`.
    pub fn losses(&self, input: Tensor<3>, future: Tensor<3>) -> Tensor<1> {
        let batch = input.dims()[0];
        let output = self.forward(input.clone(), future.clone());
        let squared = |found: Tensor<3>, expected: Tensor<3>| (found - expected).square().reshape([batch as i32, -1]);
        let of_both = [squared(output.reconstruction, input.flip([1])), squared(output.prediction, future)];
        Tensor::cat(of_both.to_vec(), 1).sum_dim(1).squeeze_dim::<1>(1) / 2.0
    }
}

/// [`CompositeLstm`] on the percepts of clips, for a trainer. It predicts the last steps of the pooled top
/// level from the steps before.
#[derive(Module, Debug)]
pub struct PerceptLstm {
    /// Normalisation of the pooled percepts.
    pub norm: PerceptNorm,
    /// The encoder and its decoders.
    pub composite: CompositeLstm,
    /// Steps to predict.
    #[module(skip)]
    pub future: usize,
}

impl PerceptLstm {
    /// A model with fresh weights, whose encoder has the sizes of `classifier`, and with the classifier's
    /// normalisation.
    pub fn for_classifier(classifier: &LstmClassifier, future: usize, conditional: bool, device: &Device) -> Self {
        let hidden = classifier.classifier.weight.lazy_shape()[0];
        let inputs = classifier.layers[0].input.as_ref().map_or(0, |weight| weight.lazy_shape()[0]);
        let config = CompositeLstmConfig::new()
            .with_inputs(inputs)
            .with_hidden(hidden)
            .with_layers(classifier.layers.len())
            .with_conditional(conditional)
            .with_bound(bound_of(hidden));
        Self { norm: classifier.norm.clone(), composite: config.init(device), future }
    }
}

impl ClipClassifier for PerceptLstm {
    type Input = Percepts;

    const CLASSIFIES: bool = false;

    /// The losses of the clips, `[1, batch, 1]`.
    ///
    /// # Panics
    ///
    /// If a clip has no step before those to predict.
    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        let vectors = pooled_vectors(&self.norm, percepts);
        let [batch, time, _] = vectors.dims();
        assert!(time > self.future, "PerceptLstm: clips of {time} steps, of which {} are to be predicted", self.future);
        let seen = vectors.clone().narrow(1, 0, time - self.future);
        let losses = self.composite.losses(seen, vectors.narrow(1, time - self.future, self.future));
        EnsembleLogits::new(losses.reshape([1, batch, 1]))
    }

    fn loss(&self, losses: &EnsembleLogits, _targets: Tensor<1, Int>, _asked: LossKind) -> Tensor<1> {
        losses.logits.clone().mean()
    }
}

/// Configuration of [`LstmClassifier`].
#[derive(Config, Debug)]
pub struct LstmClassifierConfig {
    /// Number of classes.
    #[config(default = 101)]
    pub num_classes: usize,
    /// Size of an input vector.
    #[config(default = 4096)]
    pub inputs: usize,
    /// Units of a layer.
    #[config(default = 2048)]
    pub hidden: usize,
    /// Layers; the sample file of the released code has one.
    #[config(default = 2)]
    pub layers: usize,
    /// Diagonal weights from the cells to the gates.
    #[config(default = true)]
    pub peepholes: bool,
    /// Weights are drawn from U(-bound, bound).
    #[config(default = 0.01)]
    pub bound: f64,
    /// Drop probability between layers and on the classifier's input, not through time.
    #[config(default = 0.5)]
    pub dropout: f64,
    /// Normalisation of the percepts.
    #[config(default = "PerceptNormConfig::new()")]
    pub norm: PerceptNormConfig,
}

/// LSTMs over the pooled top level and a classifier at every step; a clip's probability is the mean
/// over its steps.
#[derive(Module, Debug)]
pub struct LstmClassifier {
    /// Normalisation of the pooled percepts.
    pub norm: PerceptNorm,
    /// The layers, bottom up.
    pub layers: Vec<Lstm>,
    /// The classifier.
    pub classifier: Linear,
    /// Dropout between layers and on the classifier's input.
    pub dropout: Dropout,
}

impl LstmClassifierConfig {
    /// A model with freshly drawn weights.
    pub fn init(&self, device: &Device) -> LstmClassifier {
        let lstm = LstmConfig::new(self.inputs, self.hidden).with_peepholes(self.peepholes).with_bound(self.bound);
        LstmClassifier {
            norm: self.norm.init(1, device),
            layers: lstm.stack(self.layers, device),
            classifier: linear(self.hidden, self.num_classes, device),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl LstmClassifier {
    /// The same model with the layers of an encoder that was trained without labels.
    ///
    /// # Panics
    ///
    /// If the encoder has other sizes.
    pub fn with_encoder(self, encoder: &CompositeLstm) -> Self {
        let sizes = |layers: &[Lstm]| -> Vec<_> {
            let inputs = |layer: &Lstm| layer.input.as_ref().map(|weight| weight.lazy_shape()[0]);
            layers.iter().map(|layer| (inputs(layer), layer.hidden())).collect()
        };
        let (found, expected) = (sizes(&encoder.encoder), sizes(&self.layers));
        assert!(found == expected, "LstmClassifier: an encoder of sizes {found:?}, expected {expected:?}");
        let mut layers = encoder.encoder.clone();
        for (layer, own) in layers.iter_mut().zip(&self.layers) {
            layer.peepholes = layer.peepholes.take().filter(|_| own.peepholes.is_some());
        }
        Self { layers, ..self }
    }

    /// Classifies every step of clips.
    ///
    /// # Shapes
    ///
    /// - percepts, top level: `[batch, time, channel, height, width]`
    /// - output: logits `[time, batch, class]`
    pub fn forward(&self, percepts: Percepts) -> EnsembleLogits {
        let vectors = pooled_vectors(&self.norm, percepts);
        let (hidden, _) = stack(&self.layers, vectors, |hidden| self.dropout.forward(hidden));
        step_members(self.classifier.forward(self.dropout.forward(hidden)))
    }
}

impl ClipClassifier for LstmClassifier {
    type Input = Percepts;

    /// The mean over all steps, for either kind of loss.
    const LOSS: Option<LossKind> = Some(LossKind::PerHead);

    fn logits(&self, percepts: Percepts) -> EnsembleLogits {
        self.forward(percepts)
    }
}

impl BaselineModel for LstmClassifier {
    const NAME: &'static str = "LSTM classifier";
    const ABOUT: &'static str = "two layers of LSTMs over the topmost map of each frame, averaged over its cells";

    fn measured(percepts: Percepts) -> Percepts {
        pooled_top(percepts)
    }

    fn init_fitted(options: &BaselineOptions, statistics: &PerceptStatistics, device: &Device) -> Self {
        let config = LstmClassifierConfig::new()
            .with_num_classes(options.num_classes)
            .with_inputs(options.top().channels)
            .with_hidden(options.hidden)
            .with_bound(bound_of(options.hidden))
            .with_dropout(options.dropout);
        Self { norm: PerceptNorm::fit(options.norm.clone(), statistics, device), ..config.init(device) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percepts::NormRule;
    use crate::testing::{assert_panics, assert_same, drawn};

    /// Sums of the layers: encoder 50,345,984 and 33,568,768; a decoder's lowest layer 50,345,984
    /// with and 16,791,552 without input, its upper one with output 41,961,472. The classifier has
    /// one factor of the normalisation beside 206,949 for its classes.
    #[test]
    fn parameters_of_all_forms() {
        let device = Device::flex();
        let composite = |config: CompositeLstmConfig| config.init(&device).num_params();
        assert_eq!(composite(CompositeLstmConfig::new()), 268_529_664);
        assert_eq!(composite(CompositeLstmConfig::new().with_conditional(false)), 268_529_664 - 2 * 33_554_432);
        assert_eq!(composite(CompositeLstmConfig::new().with_layers(1).with_inputs(3072)), 138_461_184);
        let classifier = |layers| LstmClassifierConfig::new().with_layers(layers).init(&device).num_params() - 1;
        assert_eq!([classifier(1), classifier(2)], [50_552_933, 84_121_701]);
    }

    /// A decoder that sees its own outputs writes the same as one that is given them.
    #[test]
    fn predictions_follow_their_own_outputs() {
        let device = Device::flex();
        let model = CompositeLstmConfig::new().with_inputs(3).with_hidden(4).with_bound(0.5).init(&device);
        let input = drawn::<3>(3, [2, 5, 3], &device);
        let predicted = model.predict(input.clone(), 4);
        assert_eq!(predicted.dims(), [2, 4, 3]);
        assert_same(model.forward(input, predicted.clone()).prediction, predicted);
    }

    /// Clips of five steps, two of which are predicted: the loss is the mean of the clips' losses,
    /// each that of the clip alone, on percepts as the classifier sees them.
    #[test]
    fn losses_of_percepts() {
        let device = Device::flex();
        let config = LstmClassifierConfig::new().with_inputs(3).with_hidden(4).with_num_classes(2);
        let norm = PerceptNormConfig::new().with_rule(NormRule::Scale).with_gain(0.5);
        let classifier = config.with_norm(norm).init(&device);
        let model = PerceptLstm::for_classifier(&classifier, 2, true, &device);
        let clips = drawn::<5>(3, [2, 5, 3, 2, 2], &device);
        let losses = model.logits(Percepts::new(vec![clips.clone()]));
        assert_eq!(losses.logits.dims(), [1, 2, 1]);
        let vectors = clips.mean_dim(3).mean_dim(4).reshape([2, 5, 3]) * 0.5;
        let (seen, future) = (vectors.clone().narrow(1, 0, 3), vectors.narrow(1, 3, 2));
        let of = |clip: usize| model.composite.loss(seen.clone().narrow(0, clip, 1), future.clone().narrow(0, clip, 1));
        assert_same(Tensor::cat(vec![of(0), of(1)], 0), losses.logits.clone().reshape([2]));
        let targets = Tensor::<1, Int>::from_data([0, 1], &device);
        assert_same(
            model.loss(&losses, targets, LossKind::Mixture),
            model.composite.loss(seen.clone(), future.clone()),
        );
        // Its encoder fits the classifier.
        let _ = classifier.with_encoder(&model.composite);
        let short = Percepts::new(vec![Tensor::zeros([1, 2, 3, 2, 2], &device)]);
        assert_panics("clips of 2 steps", || model.logits(short));
    }

    /// The copied layers give the states of the encoder.
    #[test]
    fn a_classifier_starts_from_an_encoder() {
        let device = Device::flex();
        let composite = CompositeLstmConfig::new().with_inputs(3).with_hidden(4).with_bound(0.5).init(&device);
        let config = LstmClassifierConfig::new().with_inputs(3).with_hidden(4).with_num_classes(2);
        let classifier = config.init(&device).with_encoder(&composite);
        let input = drawn::<3>(3, [2, 5, 3], &device);
        let states = |layers: &[Lstm]| stack(layers, input.clone(), |hidden| hidden).0;
        assert_same(states(&classifier.layers), states(&composite.encoder));
        let plain = config.clone().with_peepholes(false).init(&device).with_encoder(&composite);
        assert!(plain.layers.iter().all(|layer| layer.peepholes.is_none()));
        assert_panics("an encoder of sizes", || config.with_hidden(5).init(&device).with_encoder(&composite));
    }
}
