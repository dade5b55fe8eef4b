//! Describing a video in a sentence.
//!
//! The paper feeds the features that its CNNs and GRU-RCNs compute of the segments of a video (section
//! 5.2) to the decoder of Yao, Torabi, Cho, Ballas, Pal, Larochelle and Courville, *Describing Videos by
//! Exploiting Temporal Structure* (ICCV 2015): an LSTM that writes a sentence word by word, and
//! before each word weighs the segments anew. The equations, biases, dropout and initial weights
//! here are those of its authors' released code (arctic-capgen-vid).
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use gru_rcn::captioner::{Captioner, CaptionerConfig, Captions, Decoding, Penalties, Vocabulary};
//!
//! let device = Device::flex();
//! let tokens = [vec!["a", "dog", "runs"], vec!["a", "cat", "sleeps", "well"]];
//! let vocabulary = Vocabulary::build(&tokens, 1)?;
//! let captioner: Captioner =
//!     CaptionerConfig::new(32, vocabulary.len()).with_embedding(8).with_hidden(16).init(&device);
//!
//! // Two videos of 5 segments with 32 features each.
//! let features = Tensor::<3>::random([2, 5, 32], Distribution::Default, &device);
//! let video = captioner.encode(features, None);
//! let captions = Captions::new(&tokens.map(|sentence| vocabulary.ids(&sentence)), &device);
//! let output = captioner.forward(&video, &captions);
//! assert_eq!(output.logits.dims(), [2, 5, 8]); // up to four words and the end; six words, end and unknown word
//! assert_eq!(captioner.loss(&output, &Penalties::default()).dims(), [1]);
//!
//! for sentences in captioner.generate(&video, &Decoding::new()) {
//!     let best = &sentences[0]; // of a beam of five
//!     println!("{} ({:.1})", vocabulary.text(&best.words), best.log_probability);
//! }
//! # Ok::<(), gru_rcn::captioner::VocabularyError>(())
//! ```

mod generate;
mod vocabulary;

use burn::config::Config;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Dropout, DropoutConfig, Initializer, Linear};
use burn::tensor::activation::{log_softmax, sigmoid, softmax, tanh};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

pub use generate::{Decoding, DecodingMethod, Sentence};
pub use vocabulary::{Vocabulary, VocabularyError};

use crate::recurrent::initial::square_orthogonal;

/// Configuration of [`Captioner`].
///
/// The default sizes are the authors' for GoogLeNet's features of 28 segments, which they found by
/// random search. Other features need a search of their own.
#[derive(Config, Debug)]
pub struct CaptionerConfig {
    /// Features of a segment, D.
    pub features: usize,
    /// Words, with the end of a sentence and the unknown word: [`Vocabulary::len`].
    pub vocabulary: usize,
    /// Size of a word's embedding and of the layer before the words, M.
    #[config(default = 468)]
    pub embedding: usize,
    /// Units of the LSTM, H.
    #[config(default = 3518)]
    pub hidden: usize,
    /// Drop probability.
    #[config(default = 0.5)]
    pub dropout: f64,
}

/// The soft-attention LSTM. For a video of K segments with the features v_k of size D, and the words
/// y_1, y_2, … of a sentence:
///
/// ```text
/// v̄   = Σ_k v_k / K           h_0 = tanh(W_s v̄ + b_s)           c_0 = tanh(W_m v̄ + b_m)
/// e_k = u · tanh(W_a h_{t-1} + U_a v_k + b_a)                   attention, of hidden width D
/// α   = softmax_k(e)          β = σ(w_β · h_{t-1} + b_β)         φ = β Σ_k α_k v_k
/// a   = W E[y_{t-1}] + U h_{t-1} + A φ + b                      split into i, f, o, g
/// c_t = σ(d(f)) ⊙ c_{t-1} + σ(d(i)) ⊙ tanh(g)                   h_t = σ(d(o)) ⊙ tanh(c_t)
/// ℓ   = tanh(W_h d(h_t) + b_h + E[y_{t-1}] + W_φ φ + b_φ)
/// p   = softmax(W_o d(ℓ) + b_o)
/// ```
///
/// `E[y_0]` is zero. d multiplies by a Bernoulli mask in training and by its mean, 1 - `dropout`,
/// otherwise; Burn's [`Dropout`] divides by that mean. In h_t only the output is dropped, not what
/// goes on to the next word.
///
/// Three things differ from the released code. It adds a scalar to every e_k, which cancels in the
/// softmax. It lets α spread over the zero vectors that fill up short videos, which get no weight
/// here. It adds 1e-8 to probabilities before the logarithm.
#[derive(Module, Debug)]
pub struct Captioner {
    /// W_s and b_s, `[D, H]`.
    pub initial_hidden: Linear,
    /// W_m and b_m, `[D, H]`.
    pub initial_memory: Linear,
    /// W_a, `[H, D]`.
    pub attention_hidden: Param<Tensor<2>>,
    /// U_a and b_a, `[D, D]`.
    pub attention_features: Linear,
    /// u, `[D, 1]`.
    pub attention_score: Param<Tensor<2>>,
    /// w_β and b_β, `[H, 1]`.
    pub selector: Linear,
    /// E, `[word, M]`.
    pub embedding: Param<Tensor<2>>,
    /// W, `[M, 4 H]`, in the order i, f, o, g.
    pub lstm_word: Param<Tensor<2>>,
    /// U, `[H, 4 H]`.
    pub lstm_hidden: Param<Tensor<2>>,
    /// A, `[D, 4 H]`.
    pub lstm_context: Param<Tensor<2>>,
    /// b, `[4 H]`.
    pub lstm_bias: Param<Tensor<1>>,
    /// W_h and b_h, `[H, M]`.
    pub output_hidden: Linear,
    /// W_φ and b_φ, `[D, M]`.
    pub output_context: Linear,
    /// W_o and b_o, `[M, word]`.
    pub output_word: Linear,
    /// d of the equations.
    pub dropout: Dropout,
}

/// Videos as the decoder sees them; see [`Captioner::encode`].
#[derive(Clone, Debug)]
pub struct EncodedVideos {
    /// v_k, `[batch, segment, D]`, zero in padding.
    features: Tensor<3>,
    /// U_a v_k + b_a, `[batch, segment, D]`.
    keys: Tensor<3>,
    /// `[batch, segment]`.
    padding: Option<Tensor<2, Bool>>,
    initial: DecoderState,
}

/// State of the decoder between two words.
#[derive(Clone, Debug)]
pub struct DecoderState {
    /// h, `[batch, H]`.
    pub hidden: Tensor<2>,
    /// c, `[batch, H]`.
    pub memory: Tensor<2>,
}

/// Result of [`Captioner::step`].
#[derive(Clone, Debug)]
pub struct DecoderStep {
    /// Logits of the next word, `[batch, word]`.
    pub logits: Tensor<2>,
    /// The state after it.
    pub state: DecoderState,
    /// α, `[batch, segment]`.
    pub attention: Tensor<2>,
}

/// Reference sentences of a batch of videos, filled up to the longest.
#[derive(Clone, Debug)]
pub struct Captions {
    /// Ids of the words, `[batch, word]`. Every sentence ends with [`Vocabulary::END`].
    pub words: Tensor<2, Int>,
    /// True after the end of a sentence, `[batch, word]`.
    pub padding: Tensor<2, Bool>,
}

/// Result of [`Captioner::forward`].
#[derive(Clone, Debug)]
pub struct CaptionerOutput {
    /// Logits of every word given the reference's words before it, `[batch, word, vocabulary]`.
    pub logits: Tensor<3>,
    /// α, `[batch, word, segment]`.
    pub attention: Tensor<3>,
    captions: Captions,
    /// `[batch, segment]`.
    segment_padding: Option<Tensor<2, Bool>>,
}

/// Factors of the regularisers in [`Captioner::loss`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalties {
    /// λ_θ, of the sum of squares of all parameters.
    pub weights: f64,
    /// λ_α, of the deviation of every segment's attention from 1. The released code sums over the
    /// batch and divides by K; its 0.70602 with batches of 64 and K = 28 is 1.61376 here.
    pub attention: f64,
}

impl Default for Penalties {
    /// The authors'.
    fn default() -> Self {
        Self { weights: 1e-4, attention: 0.70602 * 64.0 / 28.0 }
    }
}

impl Captions {
    /// Sentences as ids of words, without their ends.
    ///
    /// # Panics
    ///
    /// If there is no sentence.
    pub fn new(sentences: &[Vec<usize>], device: &Device) -> Self {
        let longest = sentences.iter().map(Vec::len).max().expect("Captions: no sentence");
        let shape = [sentences.len(), longest + 1];
        let places = || sentences.iter().flat_map(|sentence| (0..=longest).map(move |at| (sentence, at)));
        let word = |(sentence, at): (&Vec<usize>, usize)| sentence.get(at).map_or(Vocabulary::END, |&word| word) as i64;
        let words: Vec<i64> = places().map(word).collect();
        let padding: Vec<bool> = places().map(|(sentence, at)| at > sentence.len()).collect();
        Self {
            words: Tensor::from_data(TensorData::new(words, shape), device),
            padding: Tensor::from_data(TensorData::new(padding, shape), device),
        }
    }
}

impl CaptionerConfig {
    /// A decoder with freshly drawn weights: square matrices, each gate's on its own, are
    /// orthogonal, except for U_a; all others are from N(0, 0.01²); biases are zero.
    ///
    /// # Panics
    ///
    /// If a size is zero or the drop probability is not in [0, 1).
    pub fn init(&self, device: &Device) -> Captioner {
        let Self { features, vocabulary, embedding, hidden, dropout } = *self;
        let sizes = [features, vocabulary, embedding, hidden];
        assert!(!sizes.contains(&0), "Captioner: a size is zero: {self}");
        let weight = |shape, blocks| square_orthogonal(shape, blocks, device);
        let layer = |inputs, outputs| linear(weight([inputs, outputs], 1), outputs, device);
        let normal = Initializer::Normal { mean: 0.0, std: 0.01 };
        Captioner {
            initial_hidden: layer(features, hidden),
            initial_memory: layer(features, hidden),
            attention_hidden: weight([hidden, features], 1),
            attention_features: linear(normal.init([features, features], device), features, device),
            attention_score: weight([features, 1], 1),
            selector: layer(hidden, 1),
            embedding: weight([vocabulary, embedding], 1),
            lstm_word: weight([embedding, hidden], 4),
            lstm_hidden: weight([hidden, hidden], 4),
            lstm_context: weight([features, 4 * hidden], 1),
            lstm_bias: Initializer::Zeros.init([4 * hidden], device),
            output_hidden: layer(hidden, embedding),
            output_context: layer(features, embedding),
            output_word: layer(embedding, vocabulary),
            dropout: DropoutConfig::new(dropout).init(),
        }
    }
}

/// A layer of this weight and a zero bias.
fn linear(weight: Param<Tensor<2>>, outputs: usize, device: &Device) -> Linear {
    Linear { weight, bias: Some(Initializer::Zeros.init([outputs], device)) }
}

impl Captioner {
    /// Prepares videos for [`forward`](Self::forward), [`step`](Self::step) and
    /// [`generate`](Self::generate).
    ///
    /// # Shapes
    ///
    /// - features: `[batch, segment, D]`
    /// - padding: `[batch, segment]`, true where a video has no such segment; `None` if all videos
    ///   have all segments. The features of such segments are ignored.
    ///
    /// # Panics
    ///
    /// If segments do not have D features, if the padding has another shape, or if a video has no segment.
    pub fn encode(&self, features: Tensor<3>, padding: Option<Tensor<2, Bool>>) -> EncodedVideos {
        let [batch, segments, size] = features.dims();
        let [expected, _] = self.initial_hidden.weight.dims();
        assert!(size == expected, "Captioner: segments of {size} features, expected {expected}");
        let (features, mean) = match &padding {
            Some(padding) => {
                let (found, expected) = (padding.dims(), [batch, segments]);
                assert!(found == expected, "Captioner: padding of the shape {found:?}, expected {expected:?}");
                let empty = padding.clone().all_dim(1).any().into_scalar::<bool>();
                assert!(!empty, "Captioner: a video has no segment");
                let mask = padding.clone().unsqueeze_dim::<3>(2).expand([batch, segments, size]);
                let features = features.mask_fill(mask, 0.0);
                let counts = padding.clone().bool_not().float().sum_dim(1);
                (features.clone(), features.sum_dim(1).squeeze_dim::<2>(1) / counts)
            }
            None => (features.clone(), features.mean_dim(1).squeeze_dim::<2>(1)),
        };
        EncodedVideos {
            keys: self.attention_features.forward(features.clone()),
            features,
            padding,
            initial: DecoderState {
                hidden: tanh(self.initial_hidden.forward(mean.clone())),
                memory: tanh(self.initial_memory.forward(mean)),
            },
        }
    }

    /// Takes in one word of each sentence and predicts the next.
    ///
    /// # Shapes
    ///
    /// - previous: `[batch]`, ids of words; `None` before the first word
    pub fn step(&self, videos: &EncodedVideos, state: DecoderState, previous: Option<Tensor<1, Int>>) -> DecoderStep {
        let embedded = match previous {
            Some(words) => self.embedding.val().select(0, words),
            None => Tensor::zeros([state.hidden.dims()[0], self.embedding.dims()[1]], &state.hidden.device()),
        };
        let projected = embedded.clone().matmul(self.lstm_word.val());
        let (state, context, attention) = self.advance(videos, state, projected);
        let logits = self.logits(state.hidden.clone(), context, embedded);
        DecoderStep { logits, state, attention }
    }

    /// Predicts every word of the references from the words before it.
    ///
    /// # Panics
    ///
    /// If there is not one caption per video.
    pub fn forward(&self, videos: &EncodedVideos, captions: &Captions) -> CaptionerOutput {
        let [batch, time] = captions.words.dims();
        let found = videos.features.dims()[0];
        assert!(found == batch, "Captioner: {batch} captions of {found} videos");
        let [_, size] = self.embedding.dims();
        let embedded = self.embedding.val().select(0, captions.words.clone().flatten::<1>(0, 1));
        let embedded = embedded.reshape([batch, time, size]);
        let first = Tensor::zeros([batch, 1, size], &embedded.device());
        let previous = match time {
            1 => first,
            _ => Tensor::cat(vec![first, embedded.narrow(1, 0, time - 1)], 1),
        };
        // Of all words at once.
        let projected = previous.clone().reshape([batch * time, size]).matmul(self.lstm_word.val());
        let projected = projected.reshape([batch as i32, time as i32, -1]);
        let mut state = videos.initial.clone();
        let (mut hidden, mut contexts, mut attentions) = (Vec::new(), Vec::new(), Vec::new());
        for t in 0..time {
            let word = projected.clone().narrow(1, t, 1).squeeze_dim::<2>(1);
            let (next, context, attention) = self.advance(videos, state, word);
            hidden.push(next.hidden.clone());
            contexts.push(context);
            attentions.push(attention);
            state = next;
        }
        CaptionerOutput {
            logits: self.logits(Tensor::stack::<3>(hidden, 1), Tensor::stack(contexts, 1), previous),
            attention: Tensor::stack(attentions, 1),
            captions: captions.clone(),
            segment_padding: videos.padding.clone(),
        }
    }

    /// The objective with its regularisers, `[1]`, for N captions:
    ///
    /// ```text
    /// 1/N Σ_n (-Σ_t log p(y_t) + λ_α Σ_k (1 - Σ_t α_tk)²) + λ_θ Σ ‖θ‖²
    /// ```
    ///
    /// Sums over t are over the words of a sentence and its end, sums over k over the segments that
    /// are not padding. The released code also counts the attention after the end of the shorter
    /// sentences of a batch.
    pub fn loss(&self, output: &CaptionerOutput, penalties: &Penalties) -> Tensor<1> {
        let data = output.negative_log_likelihood() + output.attention_penalty() * penalties.attention;
        data.mean() + self.weight_penalty() * penalties.weights
    }

    /// Σ ‖θ‖² over all parameters, biases included, `[1]`.
    pub fn weight_penalty(&self) -> Tensor<1> {
        let mut squares = Squares(Vec::new());
        self.visit(&mut squares);
        Tensor::cat(squares.0, 0).sum()
    }

    /// Writes sentences about each video, the most probable first.
    ///
    /// Call it on a model on a plain device ([`Module::valid`]), where nothing is dropped and no
    /// graph is kept.
    ///
    /// # Panics
    ///
    /// If the width of a beam or the greatest length is zero, or a temperature is not positive.
    pub fn generate(&self, videos: &EncodedVideos, decoding: &Decoding) -> Vec<Vec<Sentence>> {
        generate::generate(self, videos, decoding)
    }

    /// State, φ and α after one step on `W E[y_{t-1}]`.
    fn advance(
        &self,
        videos: &EncodedVideos,
        state: DecoderState,
        word: Tensor<2>,
    ) -> (DecoderState, Tensor<2>, Tensor<2>) {
        let DecoderState { hidden, memory } = state;
        let (context, attention) = self.attend(videos, hidden.clone());
        let units = self.lstm_hidden.dims()[0];
        let gates = word
            + hidden.matmul(self.lstm_hidden.val())
            + context.clone().matmul(self.lstm_context.val())
            + self.lstm_bias.val().unsqueeze();
        let [input, forget, output] = {
            let gates = sigmoid(self.drop(gates.clone().narrow(1, 0, 3 * units)));
            [0, 1, 2].map(|gate| gates.clone().narrow(1, gate * units, units))
        };
        let memory = forget * memory + input * tanh(gates.narrow(1, 3 * units, units));
        let hidden = output * tanh(memory.clone());
        (DecoderState { hidden, memory }, context, attention)
    }

    /// φ, `[batch, D]`, and α, `[batch, segment]`.
    fn attend(&self, videos: &EncodedVideos, hidden: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let [batch, segments, features] = videos.keys.dims();
        let query = hidden.clone().matmul(self.attention_hidden.val()).unsqueeze_dim::<3>(1);
        let combined = tanh(videos.keys.clone() + query).reshape([batch * segments, features]);
        let energies = combined.matmul(self.attention_score.val()).reshape([batch, segments]);
        let energies = match &videos.padding {
            Some(padding) => energies.mask_fill(padding.clone(), f32::NEG_INFINITY),
            None => energies,
        };
        let attention = softmax(energies, 1);
        let context = attention.clone().unsqueeze_dim::<3>(1).matmul(videos.features.clone()).squeeze_dim::<2>(1);
        (sigmoid(self.selector.forward(hidden)) * context, attention)
    }

    /// Logits from h_t, φ and `E[y_{t-1}]`.
    fn logits<const D: usize>(&self, hidden: Tensor<D>, context: Tensor<D>, previous: Tensor<D>) -> Tensor<D> {
        let combined = self.output_hidden.forward(self.drop(hidden)) + previous + self.output_context.forward(context);
        self.output_word.forward(self.drop(tanh(combined)))
    }

    /// d of the equations.
    fn drop<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.dropout.forward(x) * (1.0 - self.dropout.prob)
    }
}

impl EncodedVideos {
    /// h_0 and c_0, the state before the first word.
    pub fn initial(&self) -> DecoderState {
        self.initial.clone()
    }

    /// The videos at these positions, which may repeat.
    fn select(&self, videos: &Tensor<1, Int>) -> Self {
        Self {
            features: self.features.clone().select(0, videos.clone()),
            keys: self.keys.clone().select(0, videos.clone()),
            padding: self.padding.clone().map(|padding| padding.select(0, videos.clone())),
            initial: self.initial.clone().select(videos),
        }
    }
}

impl DecoderState {
    /// The states at these positions, which may repeat.
    fn select(self, positions: &Tensor<1, Int>) -> Self {
        Self { hidden: self.hidden.select(0, positions.clone()), memory: self.memory.select(0, positions.clone()) }
    }
}

impl CaptionerOutput {
    /// -Σ_t log p(y_t) of each caption, its end included, `[batch]`.
    pub fn negative_log_likelihood(&self) -> Tensor<1> {
        let Captions { words, padding } = self.captions.clone();
        let of_words = log_softmax(self.logits.clone(), 2).gather(2, words.unsqueeze_dim::<3>(2)).squeeze_dim::<2>(2);
        of_words.mask_fill(padding, 0.0).sum_dim(1).squeeze_dim::<1>(1).neg()
    }

    /// Σ_k (1 - Σ_t α_tk)² of each caption, `[batch]`: it keeps the decoder from overlooking a
    /// segment.
    pub fn attention_penalty(&self) -> Tensor<1> {
        let words = self.captions.padding.clone().bool_not().float().unsqueeze_dim::<3>(2);
        let deviation = (self.attention.clone() * words).sum_dim(1).squeeze_dim::<2>(1).neg() + 1.0;
        let deviation = match &self.segment_padding {
            Some(padding) => deviation.mask_fill(padding.clone(), 0.0),
            None => deviation,
        };
        deviation.square().sum_dim(1).squeeze_dim(1)
    }
}

/// The sum of squares of each parameter.
struct Squares(Vec<Tensor<1>>);

impl ModuleVisitor for Squares {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().square().sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_numbers, assert_panics, assert_same, difference, drawn, numbers};

    fn config() -> CaptionerConfig {
        CaptionerConfig::new(5, 9).with_embedding(6).with_hidden(5)
    }

    /// At D = 1024, M = 468, H = 3518 and 12,596 words: 2 · (1024 · 3518 + 3518) for the first state,
    /// 3518 · 1024 + 1024² + 1024 + 1024 for the attention, 3518 + 1 for the selector, 12596 · 468 for
    /// the embedding, 4 · 3518 · (468 + 3518 + 1024 + 1) for the LSTM, and 3518 · 468 + 468 +
    /// 1024 · 468 + 468 + 468 · 12596 + 12596 for the output.
    #[test]
    fn parameters_at_the_authors_sizes() {
        let first = 2 * (1024 * 3518 + 3518);
        let attention = 3518 * 1024 + 1024 * 1024 + 1024 + 1024;
        let output = 3518 * 468 + 468 + 1024 * 468 + 468 + 468 * 12_596 + 12_596;
        let expected = first + attention + 3519 + 12_596 * 468 + 4 * 3518 * 5011 + output;
        assert_eq!(CaptionerConfig::new(1024, 12_596).init(&Device::flex()).num_params(), expected);
    }

    /// W_s, W_m, W_a and the gates of U are 5x5 here and orthogonal; U_a is 5x5 too, and small.
    #[test]
    fn square_matrices_are_orthogonal_except_for_the_features() {
        let device = Device::flex();
        let model = config().init(&device);
        let hidden = model.lstm_hidden.val();
        let gates = (0..4).map(|gate| hidden.clone().narrow(1, 5 * gate, 5));
        let others = [&model.initial_hidden.weight, &model.initial_memory.weight, &model.attention_hidden];
        for weight in gates.chain(others.map(|weight| weight.val())) {
            assert!(difference(weight.clone().matmul(weight.transpose()), Tensor::eye(5, &device)) < 1e-5);
        }
        // Five standard deviations.
        assert!(model.attention_features.weight.val().abs().max().into_scalar::<f32>() < 0.05);
        assert!(model.lstm_word.val().abs().max().into_scalar::<f32>() < 0.05);
        assert_eq!(numbers(model.lstm_bias.val()), [0.0; 20]);
        assert_eq!(numbers(model.output_word.bias.unwrap().val()), [0.0; 9]);
    }

    /// A padding that marks no segment changes nothing. Training drops anew in every pass, and a model on
    /// a plain device does not drop.
    #[test]
    fn drops_in_training_alone() {
        let device = Device::flex();
        let model = config().init(&device);
        let features = drawn::<3>(1, [2, 3, 5], &device);
        let nothing = Tensor::from_data(TensorData::from([[false; 3]; 2]), &device);
        let run = |model: &Captioner, features: Tensor<3>, padding| {
            let captions = Captions::new(&[vec![2, 3], vec![4]], &features.device());
            model.forward(&model.encode(features, padding), &captions).logits
        };
        let plain = run(&model, features.clone(), None);
        assert_same(run(&model, features.clone(), Some(nothing)), plain.clone());
        let training = model.train();
        let [first, second] = [0, 1].map(|_| run(&training, features.clone().autodiff(), None).inner());
        assert!(difference(first, second) > 0.0);
        assert_same(run(&training.valid(), features, None), plain);
    }

    /// Two sentences of two words and one; the words after the end are ends as well.
    #[test]
    fn captions_end_and_are_filled_up() {
        let captions = Captions::new(&[vec![5, 3], vec![7]], &Device::flex());
        assert_numbers(captions.words.float(), &[5.0, 3.0, 0.0, 7.0, 0.0, 0.0]);
        assert_numbers(captions.padding.float(), &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn panics_name_what_does_not_fit() {
        let device = Device::flex();
        let model = config().init(&device);
        let features = || drawn::<3>(1, [2, 3, 5], &device);
        let padding = |rows: [[bool; 3]; 2]| Some(Tensor::<2, Bool>::from_data(TensorData::from(rows), &device));
        assert_panics("segments of 4 features, expected 5", || model.encode(drawn(1, [2, 3, 4], &device), None));
        assert_panics("a video has no segment", || model.encode(features(), padding([[false; 3], [true; 3]])));
        let videos = model.encode(features(), None);
        assert_panics("1 captions of 2 videos", || model.forward(&videos, &Captions::new(&[vec![2]], &device)));
        let zero = Decoding::new().with_method(DecodingMethod::Beam { width: 0 });
        assert_panics("a beam of width zero", || model.generate(&videos, &zero));
        assert_panics("at most zero words", || model.generate(&videos, &Decoding::new().with_max_length(0)));
        assert_panics("a size is zero", || CaptionerConfig::new(5, 9).with_hidden(0).init(&device));
    }
}
