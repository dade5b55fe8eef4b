//! BLEU (Papineni et al., 2002), as in coco-caption.

use serde::Serialize;

use super::Corpus;
use super::ngrams::{Counted, ORDERS};

/// BLEU-1 to BLEU-4 in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bleu {
    /// Scores of all captions together, from summed counts; not the mean of the clips' scores.
    pub corpus: [f64; ORDERS],
    /// Scores of every clip, by the same formula.
    pub clips: Vec<[f64; ORDERS]>,
}

/// BLEU with n-gram counts clipped to their maximum over the references.
///
/// BLEU-n = B · (p₁ ⋯ pₙ)^(1/n), where p_k = (correct + 10⁻¹⁵) / (n-grams of order k + 10⁻⁹) and
/// B = exp(1 − r / c) if the hypotheses' length c is less than r. r is the sum of the lengths of the
/// closest references, the shorter of two that are equally close. The small constants are
/// coco-caption's. Because of them, captions of fewer than n words score above 0: a perfect one of
/// three words has a BLEU-4 of 10^(−6/4) = 0.0316.
pub fn bleu(corpus: &Corpus) -> Bleu {
    let mut total = Counts::default();
    let clips = corpus.ngrams().clips.iter().map(|(hypothesis, references)| {
        let counts = Counts::of(hypothesis, references);
        total.add(&counts);
        counts.score()
    });
    let clips = clips.collect();
    Bleu { corpus: total.score(), clips }
}

#[derive(Default)]
struct Counts {
    length: usize,
    reference_length: usize,
    guessed: [usize; ORDERS],
    correct: [usize; ORDERS],
}

impl Counts {
    fn of(hypothesis: &Counted, references: &[Counted]) -> Self {
        let length = hypothesis.words;
        let closest = references.iter().map(|reference| (reference.words.abs_diff(length), reference.words)).min();
        let mut counts = Self { length, reference_length: closest.map_or(0, |(_, words)| words), ..Self::default() };
        for (order, guessed) in counts.guessed.iter_mut().enumerate() {
            *guessed = length.saturating_sub(order);
        }
        for &(gram, order, count) in &hypothesis.grams {
            let in_reference = |reference: &Counted| {
                let place = reference.grams.binary_search_by_key(&gram, |&(other, ..)| other);
                place.map_or(0, |place| reference.grams[place].2)
            };
            let most = references.iter().map(in_reference).max().unwrap_or(0);
            counts.correct[order] += count.min(most) as usize;
        }
        counts
    }

    fn add(&mut self, other: &Self) {
        self.length += other.length;
        self.reference_length += other.reference_length;
        for order in 0..ORDERS {
            self.guessed[order] += other.guessed[order];
            self.correct[order] += other.correct[order];
        }
    }

    fn score(&self) -> [f64; ORDERS] {
        let ratio = (self.length as f64 + 1e-15) / (self.reference_length as f64 + 1e-9);
        let brevity = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
        let mut product = 1.0;
        std::array::from_fn(|order| {
            product *= (self.correct[order] as f64 + 1e-15) / (self.guessed[order] as f64 + 1e-9);
            product.powf(1.0 / (order + 1) as f64) * brevity
        })
    }
}
