//! METEOR 1.5 for English (Denkowski and Lavie, 2014), as the jar in coco-caption computes it.

mod align;
mod normalize;
mod paraphrase;
mod wordnet;

use rust_stemmers::{Algorithm, Stemmer};
use rustc_hash::FxHashMap;

use super::{Corpus, Scores};
use align::{Aligner, MODULES, Match, Sentence, Word};
pub use paraphrase::ParaphraseTable;
use paraphrase::Paraphrases;

/// Weight of recall against precision.
const ALPHA: f64 = 0.85;
/// Exponent of the fragmentation.
const BETA: f64 = 0.2;
/// Greatest share that fragmentation takes.
const GAMMA: f64 = 0.6;
/// Weight of content words against function words.
const DELTA: f64 = 0.75;
/// Weights of exact, stem, synonym and paraphrase matches.
const WEIGHTS: [f64; MODULES] = [1.0, 0.6, 0.8, 0.6];

/// METEOR of captions, in [0, 1], with METEOR's parameters for English and the task "rank".
///
/// Words match if they are equal, have the same stem (Snowball's English stemmer before version 3),
/// share a synset of WordNet 3.0, or are paraphrases by METEOR's table. Without a table, paraphrases
/// are missing and scores are lower. Results should then say so, because published values include
/// paraphrases.
///
/// For one reference, P and R are the shares of matched words in the hypothesis and in the reference,
/// weighted by the kind of match and as content (0.75) or function words (0.25);
/// F = P R / (0.15 R + 0.85 P); the score is F (1 − 0.6 f^0.2), where f is the number of chunks over
/// the mean number of matched words, or 0 for identical captions. A clip's score is that of its best
/// reference, the first of equal ones. The corpus' score is the formula on the sums of the clips'
/// counts, not the mean.
///
/// The alignment, which decides on the matched words, is that of METEOR. Its search counts a one-word
/// match that is not exact as 0, and so drops it if it opens a chunk: `the dogs run` scores 0 against
/// `a dog runs`.
pub fn meteor(corpus: &Corpus, table: Option<&ParaphraseTable>) -> Scores {
    let mut vocabulary = Vocabulary::default();
    let captions = corpus.clips().iter().flat_map(|clip| std::iter::once(&clip.hypothesis).chain(&clip.references));
    let captions: Vec<Vec<usize>> = captions.map(|caption| vocabulary.numbers(caption)).collect();
    let (words, sentences, paraphrases) = vocabulary.look_up(captions, table);
    let mut aligner = Aligner::new(&words, &paraphrases);
    let mut sentences = sentences.iter();
    let mut total = Statistics::default();
    let clips = corpus.clips().iter().filter_map(|clip| {
        let hypothesis = sentences.next()?;
        let mut best = None::<(f64, Statistics)>;
        for reference in sentences.by_ref().take(clip.references.len()) {
            let matches = aligner.align(hypothesis, reference);
            let statistics = Statistics::new(&words, hypothesis, reference, &matches);
            let score = statistics.score();
            if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                best = Some((score, statistics));
            }
        }
        let (score, statistics) = best?;
        total.add(&statistics);
        Some(score)
    });
    let clips = clips.collect();
    Scores { corpus: total.score(), clips }
}

/// The words of all captions.
#[derive(Default)]
struct Vocabulary {
    numbers: FxHashMap<String, usize>,
    words: Vec<String>,
}

impl Vocabulary {
    /// The words of a caption by their numbers.
    fn numbers(&mut self, caption: &str) -> Vec<usize> {
        let number = |word: String| {
            *self.numbers.entry(word).or_insert_with_key(|word| {
                self.words.push(word.clone());
                self.words.len() - 1
            })
        };
        normalize::normalize(caption).into_iter().map(number).collect()
    }

    /// Looks up the properties of all words and the phrases of all captions.
    fn look_up(
        &self,
        captions: Vec<Vec<usize>>,
        table: Option<&ParaphraseTable>,
    ) -> (Vec<Word>, Vec<Sentence>, Paraphrases) {
        let texts: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let stemmer = Stemmer::create(Algorithm::English);
        let words = texts.iter().zip(wordnet::synsets(&texts)).map(|(text, synsets)| Word {
            hash: java_hash(text),
            stem: java_hash(&stemmer.stem(text)),
            synsets,
            function: FUNCTION_WORDS.contains(text),
        });
        let words = words.collect();
        let (paraphrases, phrases) = match table {
            None => (Paraphrases::default(), vec![Vec::new(); captions.len()]),
            Some(table) => {
                let captions: Vec<Vec<&str>> =
                    captions.iter().map(|caption| caption.iter().map(|&word| texts[word]).collect()).collect();
                Paraphrases::among(table, &captions)
            }
        };
        let sentences = captions.into_iter().zip(phrases).map(|(words, phrases)| Sentence { words, phrases });
        (words, sentences.collect(), paraphrases)
    }
}

/// `String.hashCode` of Java.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Counts of words in the hypothesis and in the reference, in this order.
#[derive(Clone, Debug, Default)]
struct Statistics {
    words: [usize; 2],
    function_words: [usize; 2],
    /// Matched content words by module.
    content: [[usize; MODULES]; 2],
    /// Matched function words by module.
    function: [[usize; MODULES]; 2],
    chunks: usize,
}

impl Statistics {
    fn new(words: &[Word], hypothesis: &Sentence, reference: &Sentence, matches: &[Match]) -> Self {
        let sides = [hypothesis, reference];
        let is_function = |word: &usize| words[*word].function;
        let mut statistics = Self {
            words: sides.map(|side| side.words.len()),
            function_words: sides.map(|side| side.words.iter().filter(|word| is_function(word)).count()),
            ..Self::default()
        };
        let mut end = None;
        for m in matches {
            let ranges =
                [m.hypothesis..m.hypothesis + m.hypothesis_words, m.reference..m.reference + m.reference_words];
            for (side, range) in ranges.into_iter().enumerate() {
                for word in &sides[side].words[range] {
                    let counts = if is_function(word) { &mut statistics.function } else { &mut statistics.content };
                    counts[side][m.module as usize] += 1;
                }
            }
            if end != Some((m.hypothesis, m.reference)) {
                statistics.chunks += 1;
            }
            end = Some((m.hypothesis + m.hypothesis_words, m.reference + m.reference_words));
        }
        statistics
    }

    fn matched(&self, side: usize) -> usize {
        self.content[side].iter().chain(&self.function[side]).sum()
    }

    /// Whether all words of both sides match in one chunk.
    fn perfect(&self) -> bool {
        self.chunks == 1 && (0..2).all(|side| self.matched(side) == self.words[side])
    }

    /// Adds the counts of a clip to those of the corpus. A perfect clip adds no chunk.
    fn add(&mut self, clip: &Self) {
        self.chunks += if clip.perfect() { 0 } else { clip.chunks };
        for side in 0..2 {
            self.words[side] += clip.words[side];
            self.function_words[side] += clip.function_words[side];
            for module in 0..MODULES {
                self.content[side][module] += clip.content[side][module];
                self.function[side][module] += clip.function[side][module];
            }
        }
    }

    fn score(&self) -> f64 {
        let share = |side: usize| {
            let weigh = |counts: &[usize; MODULES]| -> f64 {
                counts.iter().zip(WEIGHTS).map(|(&count, weight)| count as f64 * weight).sum()
            };
            let matched = DELTA * weigh(&self.content[side]) + (1.0 - DELTA) * weigh(&self.function[side]);
            let functions = self.function_words[side] as f64;
            matched / (DELTA * (self.words[side] as f64 - functions) + (1.0 - DELTA) * functions)
        };
        let (precision, recall) = (share(0), share(1));
        let mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
        let matched = (self.matched(0) + self.matched(1)) as f64 / 2.0;
        let fragmentation = if self.perfect() { 0.0 } else { self.chunks as f64 / matched };
        let score = mean * (1.0 - GAMMA * fragmentation.powf(BETA));
        // No word matches, or one side has none.
        if score.is_nan() { 0.0 } else { score.max(0.0) }
    }
}

/// Words that are frequent in any English text.
#[rustfmt::skip]
const FUNCTION_WORDS: [&str; 93] = [
    "\"", "$", "'", "'s", "'t", "(", ")", ",", "-", "--", "-lrb-", "-rrb-", ".", ":", "?", "a",
    "about", "after", "all", "also", "an", "and", "are", "as", "at", "be", "been", "but", "by",
    "can", "could", "first", "for", "from", "had", "has", "have", "he", "her", "his", "i", "if",
    "in", "into", "is", "it", "its", "last", "more", "new", "no", "not", "of", "on", "one", "or",
    "other", "out", "over", "people", "s", "said", "she", "so", "some", "than", "that", "the",
    "their", "there", "they", "this", "time", "to", "two", "up", "was", "we", "were", "what",
    "when", "which", "who", "will", "with", "would", "year", "years", "you", "—", "’", "“", "”",
];

#[cfg(test)]
mod tests;
