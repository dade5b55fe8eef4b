//! From a decoder's probabilities to sentences: greedy, beam search, sampling.

use burn::config::Config;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Captioner, DecoderState, EncodedVideos, Vocabulary};

/// How sentences are written; see [`Captioner::generate`].
#[derive(Config, Debug)]
pub struct Decoding {
    /// The choice of words.
    #[config(default = "DecodingMethod::Beam { width: 5 }")]
    pub method: DecodingMethod,
    /// Words after which a sentence is cut, its end counted as one.
    #[config(default = 50)]
    pub max_length: usize,
}

/// How the words of a sentence are chosen.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum DecodingMethod {
    /// Always the most probable word.
    Greedy,
    /// The `width` most probable beginnings of sentences are continued. A finished sentence keeps its
    /// place, so that one beginning fewer is continued from then on. Gives `width` sentences, fewer
    /// if there are no more, ordered by the plain sum of the logarithms, which favours short ones.
    /// All of this is as in the authors' code.
    Beam {
        /// Beginnings to keep.
        width: usize,
    },
    /// Words are drawn by the model's probabilities p, each by its share of Σ p^(1/temperature).
    Sample {
        /// The sentence about a video is a function of this and of the video's position in the
        /// batch.
        seed: u64,
        /// Positive. At 1 words are drawn by the probabilities themselves; a lower temperature prefers
        /// probable words more.
        temperature: f64,
    },
}

/// A sentence about a video.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sentence {
    /// Ids of its words, without the end.
    pub words: Vec<usize>,
    /// Σ_t log p(y_t), with that of the end.
    pub log_probability: f64,
    /// α, `[word][segment]`: how much each segment weighed in the choice of each word. Padding has
    /// none.
    pub attention: Vec<Vec<f32>>,
    /// Whether the sentence came to an end before it was cut.
    pub finished: bool,
}

impl Sentence {
    /// This beginning with one more word.
    fn with(&self, word: usize, log_probability: f64, attention: &[f32]) -> Self {
        let mut longer = Self { log_probability, ..self.clone() };
        if word == Vocabulary::END {
            longer.finished = true;
        } else {
            longer.words.push(word);
            longer.attention.push(attention.to_vec());
        }
        longer
    }
}

pub(super) fn generate(model: &Captioner, videos: &EncodedVideos, decoding: &Decoding) -> Vec<Vec<Sentence>> {
    let length = decoding.max_length;
    assert!(length > 0, "Captioner: sentences of at most zero words");
    match decoding.method {
        DecodingMethod::Greedy => one_each(model, videos, length, |_, probabilities| most_probable(probabilities)),
        DecodingMethod::Beam { width } => beam(model, videos, length, width),
        DecodingMethod::Sample { seed, temperature } => {
            assert!(temperature > 0.0, "Captioner: a temperature of {temperature}");
            let mut generators: Vec<_> = (0..videos.features.dims()[0] as u64)
                .map(|video| {
                    let mut generator = ChaCha8Rng::seed_from_u64(seed);
                    generator.set_stream(video);
                    generator
                })
                .collect();
            one_each(model, videos, length, |video, probabilities| {
                draw(probabilities, temperature, generators[video].random())
            })
        }
    }
}

/// One sentence per video, whose words `choose` picks by the video and the logarithms of
/// probabilities.
fn one_each(
    model: &Captioner,
    videos: &EncodedVideos,
    max_length: usize,
    mut choose: impl FnMut(usize, &[f32]) -> usize,
) -> Vec<Vec<Sentence>> {
    let mut sentences = vec![Sentence::default(); videos.features.dims()[0]];
    let (mut state, mut previous) = (videos.initial(), None);
    for _ in 0..max_length {
        let step = Predictions::of(model, videos, state, previous);
        let words: Vec<usize> = sentences
            .iter_mut()
            .enumerate()
            .map(|(row, sentence)| {
                if sentence.finished {
                    return Vocabulary::END;
                }
                let word = choose(row, step.log_probabilities(row));
                let log_probability = sentence.log_probability + f64::from(step.log_probabilities(row)[word]);
                *sentence = sentence.with(word, log_probability, step.attention(row));
                word
            })
            .collect();
        if sentences.iter().all(|sentence| sentence.finished) {
            break;
        }
        previous = Some(indices(&words, &step.device));
        state = step.state;
    }
    sentences.into_iter().map(|sentence| vec![sentence]).collect()
}

/// Beam search. The rows of the batch are the beginnings of all videos, one video after the other.
fn beam(model: &Captioner, videos: &EncodedVideos, max_length: usize, width: usize) -> Vec<Vec<Sentence>> {
    assert!(width > 0, "Captioner: a beam of width zero");
    let count = videos.features.dims()[0];
    let mut beams = vec![Beam { live: vec![Sentence::default()], finished: Vec::new() }; count];
    let (mut rows, mut state, mut previous) = (videos.clone(), videos.initial(), None);
    // Video of each row.
    let mut owners: Vec<usize> = (0..count).collect();
    for _ in 0..max_length {
        let step = Predictions::of(model, &rows, state, previous);
        let (mut next_owners, mut parents, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let mut first_row = 0;
        for (video, beam) in beams.iter_mut().enumerate() {
            let live = std::mem::take(&mut beam.live);
            let candidates = best(&live, &step, first_row, width - beam.finished.len());
            for Candidate { parent, word, log_probability } in candidates {
                let row = first_row + parent;
                let sentence = live[parent].with(word, log_probability, step.attention(row));
                if sentence.finished {
                    beam.finished.push(sentence);
                } else {
                    beam.live.push(sentence);
                    next_owners.push(video);
                    parents.push(row);
                    words.push(word);
                }
            }
            first_row += live.len();
        }
        if parents.is_empty() {
            break;
        }
        if next_owners != owners {
            owners = next_owners;
            rows = videos.select(&indices(&owners, &step.device));
        }
        previous = Some(indices(&words, &step.device));
        state = step.state.select(&indices(&parents, &step.device));
    }
    beams.into_iter().map(Beam::sentences).collect()
}

/// Beginnings and finished sentences about one video.
#[derive(Clone)]
struct Beam {
    live: Vec<Sentence>,
    finished: Vec<Sentence>,
}

impl Beam {
    /// All sentences, the most probable first; those that did not come to an end compete alike.
    fn sentences(self) -> Vec<Sentence> {
        let mut sentences = self.finished;
        sentences.extend(self.live);
        sentences.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
        sentences
    }
}

/// A beginning of a sentence, and a word to continue it.
struct Candidate {
    parent: usize,
    word: usize,
    log_probability: f64,
}

/// The `count` most probable continuations of the beginnings whose rows begin at `first_row`. Of
/// equals the earlier beginning and the lower id come first.
fn best(live: &[Sentence], step: &Predictions, first_row: usize, count: usize) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = live
        .iter()
        .enumerate()
        .flat_map(|(parent, sentence)| {
            let words = step.log_probabilities(first_row + parent).iter().enumerate();
            words.map(move |(word, log_p)| Candidate {
                parent,
                word,
                log_probability: sentence.log_probability + f64::from(*log_p),
            })
        })
        .collect();
    let order = |a: &Candidate, b: &Candidate| {
        b.log_probability.total_cmp(&a.log_probability).then((a.parent, a.word).cmp(&(b.parent, b.word)))
    };
    if count < candidates.len() {
        // Sorting all would take most of the time with a large vocabulary.
        candidates.select_nth_unstable_by(count, order);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(order);
    candidates
}

/// One step of the decoder, on the host except for the state.
struct Predictions {
    log_probabilities: Vec<f32>,
    attention: Vec<f32>,
    rows: usize,
    state: DecoderState,
    device: Device,
}

impl Predictions {
    fn of(model: &Captioner, videos: &EncodedVideos, state: DecoderState, previous: Option<Tensor<1, Int>>) -> Self {
        let step = model.step(videos, state, previous);
        let (rows, device) = (step.logits.dims()[0], step.logits.device());
        let (log_probabilities, attention) = (host(log_softmax(step.logits, 1)), host(step.attention));
        Self { log_probabilities, attention, rows, state: step.state, device }
    }

    /// log p of all words.
    fn log_probabilities(&self, row: usize) -> &[f32] {
        let words = self.log_probabilities.len() / self.rows;
        &self.log_probabilities[row * words..][..words]
    }

    /// α of all segments.
    fn attention(&self, row: usize) -> &[f32] {
        let segments = self.attention.len() / self.rows;
        &self.attention[row * segments..][..segments]
    }
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("values were converted to float32")
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// The first of the greatest.
fn most_probable(log_probabilities: &[f32]) -> usize {
    let better = |best: usize, word: usize| if log_probabilities[word] > log_probabilities[best] { word } else { best };
    (0..log_probabilities.len()).reduce(better).expect("a vocabulary has words")
}

/// The word at which the sum of the shares at a temperature exceeds `share` of all, a number in
/// [0, 1).
fn draw(log_probabilities: &[f32], temperature: f64, share: f64) -> usize {
    // Of the most probable word 1, so that not all are 0 at a low temperature.
    let highest = f64::from(log_probabilities[most_probable(log_probabilities)]);
    let probability = |log_p: &f32| ((f64::from(*log_p) - highest) / temperature).exp();
    let mut left = share * log_probabilities.iter().map(probability).sum::<f64>();
    let exceeds = |log_p: &f32| {
        left -= probability(log_p);
        left < 0.0
    };
    // Rounding may leave a remainder after the last word.
    log_probabilities.iter().position(exceeds).unwrap_or_else(|| most_probable(log_probabilities))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, DType};

    use super::super::{CaptionerConfig, Captions};
    use super::*;
    use crate::testing::{drawn, redrawn};

    const END: usize = Vocabulary::END;
    const WORDS: usize = 4;
    const LENGTH: usize = 3;

    /// A decoder of four words, the end among them, with no word of high probability.
    fn model(seed: u64) -> Captioner {
        let config = CaptionerConfig::new(5, WORDS).with_embedding(6).with_hidden(7);
        redrawn(config.init(&Device::flex()), seed, 1.5, DType::F32)
    }

    /// Three videos of four, two and three segments; the padding holds features that must be ignored.
    fn videos(model: &Captioner) -> EncodedVideos {
        model.encode(drawn(7, [3, 4, 5], &Device::flex()), Some(padding()))
    }

    fn padding() -> Tensor<2, Bool> {
        let padding = [[false; 4], [false, false, true, true], [false, false, false, true]];
        Tensor::from_data(TensorData::from(padding), &Device::flex())
    }

    fn video(model: &Captioner, video: usize) -> EncodedVideos {
        videos(model).select(&indices(&[video], &Device::flex()))
    }

    fn decoding(method: DecodingMethod) -> Decoding {
        Decoding::new().with_method(method).with_max_length(LENGTH)
    }

    /// Every sentence of at most [`LENGTH`] words, its end counted, with its probability by the pass
    /// over whole sentences, which shares no loop with the search.
    fn exhaustive(model: &Captioner, videos: &EncodedVideos) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        for code in 0..WORDS.pow(LENGTH as u32) {
            let word = |at| code / WORDS.pow(at as u32) % WORDS;
            let words: Vec<usize> = (0..LENGTH).map(word).take_while(|&word| word != END).collect();
            // Of the codes that agree up to the end, the one with zeros after it.
            if (words.len()..LENGTH).any(|at| word(at) != 0) {
                continue;
            }
            let output = model.forward(videos, &Captions::new(std::slice::from_ref(&words), &Device::flex()));
            let log_p = host(log_softmax(output.logits, 2).squeeze_dim::<2>(0));
            let attention = host(output.attention.squeeze_dim::<2>(0));
            let finished = words.len() < LENGTH;
            let spelled = words.iter().copied().chain(finished.then_some(END));
            sentences.push(Sentence {
                log_probability: spelled.enumerate().map(|(at, word)| f64::from(log_p[at * WORDS + word])).sum(),
                attention: attention
                    .chunks(attention.len() / (words.len() + 1))
                    .take(words.len())
                    .map(<[f32]>::to_vec)
                    .collect(),
                words,
                finished,
            });
        }
        sentences.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
        sentences
    }

    #[track_caller]
    fn assert_same(found: &[Sentence], expected: &[Sentence]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((&found.words, found.finished), (&expected.words, expected.finished));
            assert!((found.log_probability - expected.log_probability).abs() < 1e-5, "{found:?} {expected:?}");
            assert_eq!(found.attention.len(), expected.attention.len());
            let pairs = found.attention.iter().flatten().zip(expected.attention.iter().flatten());
            assert!(pairs.into_iter().all(|(f, e)| (f - e).abs() < 1e-5), "{found:?} {expected:?}");
        }
    }

    /// With three words and the end there are 1 + 3 + 9 sentences that end within three places, and 27
    /// of three words that do not. A beam of 40 drops none of them.
    #[test]
    fn a_wide_beam_finds_all_sentences() {
        let model = model(1);
        let found = model.generate(&videos(&model), &decoding(DecodingMethod::Beam { width: 40 }));
        for (video, found) in found.iter().enumerate() {
            let all = exhaustive(&model, &self::video(&model, video));
            assert_eq!(all.len(), 40);
            assert_same(found, &all);
            let total: f64 = all.iter().map(|sentence| sentence.log_probability.exp()).sum();
            assert!((total - 1.0).abs() < 1e-5, "{total}");
        }
    }

    /// Over twenty decoders, a beam of five finds the best sentence about a video more often than the
    /// greedy choice does. Its sentences differ, are ordered, and have the probabilities of the exhaustive
    /// search.
    #[test]
    fn a_narrow_beam_is_better_than_greedy() {
        let [mut beam_best, mut greedy_best] = [0, 0];
        for seed in 1..=20 {
            let model = model(seed);
            let videos = videos(&model);
            let beams = model.generate(&videos, &decoding(DecodingMethod::Beam { width: 5 }));
            let greedy = model.generate(&videos, &decoding(DecodingMethod::Greedy));
            for (video, (beam, greedy)) in beams.iter().zip(&greedy).enumerate() {
                let all = exhaustive(&model, &self::video(&model, video));
                assert_eq!(beam.len(), 5);
                let place = |sentence: &Sentence| {
                    all.iter().position(|s| (&s.words, s.finished) == (&sentence.words, sentence.finished)).unwrap()
                };
                let places: Vec<usize> = beam.iter().map(place).collect();
                assert!(places.is_sorted() && places.windows(2).all(|pair| pair[0] != pair[1]), "{places:?}");
                let expected: Vec<Sentence> = places.iter().map(|&place| all[place].clone()).collect();
                assert_same(beam, &expected);
                beam_best += usize::from(places[0] == 0);
                greedy_best += usize::from(place(&greedy[0]) == 0);
            }
        }
        println!("best sentence found: beam {beam_best}, greedy {greedy_best} of 60");
        assert!(beam_best > greedy_best && beam_best >= 55, "{beam_best} {greedy_best}");
    }

    #[test]
    fn greedy_is_a_beam_of_one() {
        for seed in 1..=20 {
            let model = model(seed);
            let videos = videos(&model);
            let greedy = model.generate(&videos, &decoding(DecodingMethod::Greedy));
            let beam = model.generate(&videos, &decoding(DecodingMethod::Beam { width: 1 }));
            greedy.iter().zip(&beam).for_each(|(greedy, beam)| assert_same(greedy, beam));
        }
    }

    /// A video alone, without its padding, has the same sentences as within a batch, and no
    /// attention goes to padding.
    #[test]
    fn a_batch_is_its_videos_one_by_one() {
        let model = model(3);
        let features = drawn::<3>(7, [3, 4, 5], &Device::flex());
        for method in [DecodingMethod::Greedy, DecodingMethod::Beam { width: 5 }, DecodingMethod::Beam { width: 40 }] {
            let batch = model.generate(&videos(&model), &decoding(method));
            for (video, segments) in [4, 2, 3].into_iter().enumerate() {
                let alone = model.encode(features.clone().narrow(0, video, 1).narrow(1, 0, segments), None);
                let alone = model.generate(&alone, &decoding(method)).remove(0);
                let mut found = batch[video].clone();
                for weights in found.iter_mut().flat_map(|sentence| &mut sentence.attention) {
                    assert_eq!(weights.split_off(segments), vec![0.0; 4 - segments]);
                    assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                }
                assert_same(&found, &alone);
            }
        }
    }

    /// Of 4,000 sentences about one video, drawn by as many seeds, each of the 40 has its
    /// probability within five standard errors. A seed draws the same sentence again.
    #[test]
    fn sampling_has_the_models_frequencies() {
        const DRAWS: usize = 4000;
        let model = model(1);
        let video = video(&model, 0);
        let many = video.select(&indices(&[0; DRAWS], &Device::flex()));
        let draws = model.generate(&many, &decoding(DecodingMethod::Sample { seed: 7, temperature: 1.0 }));
        let again = model.generate(&many, &decoding(DecodingMethod::Sample { seed: 7, temperature: 1.0 }));
        assert_eq!(draws, again);
        for sentence in exhaustive(&model, &video) {
            let found = draws.iter().filter(|d| (&d[0].words, d[0].finished) == (&sentence.words, sentence.finished));
            let (share, p) = (found.count() as f64 / DRAWS as f64, sentence.log_probability.exp());
            let error = (p * (1.0 - p) / DRAWS as f64).sqrt();
            assert!((share - p).abs() <= 5.0 * error + 1.0 / DRAWS as f64, "{sentence:?}: {share} instead of {p}");
        }
    }

    /// ln of ½, ¼, ¼: the shares up to ½ are the first word's, those from ¾ the last one's.
    #[test]
    fn draws_by_share() {
        let log_p = [0.5f32.ln(), 0.25f32.ln(), 0.25f32.ln()];
        let drawn = [0.0, 0.49, 0.51, 0.74, 0.76, 1.0].map(|share| draw(&log_p, 1.0, share));
        assert_eq!(drawn[..5], [0, 0, 1, 1, 2]);
        assert!(drawn[5] < 3);
        // At a half the squares count: ¼ to 1/16 to 1/16, in shares ⅔, ⅙, ⅙.
        assert_eq!([0.66, 0.67, 0.83, 0.84].map(|share| draw(&log_p, 0.5, share)), [0, 1, 1, 2]);
        assert_eq!(draw(&log_p, 1e-9, 0.999), 0);
    }
}
