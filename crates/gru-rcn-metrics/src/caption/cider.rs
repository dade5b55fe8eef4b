//! CIDEr and CIDEr-D (Vedantam et al., 2015), as in their authors' programs.

use super::ngrams::{Counted, ORDERS};
use super::{Corpus, Scores};

/// Width of CIDEr-D's penalty for a different length.
const SIGMA: f64 = 6.0;

/// CIDEr-D, which coco-caption prints as "CIDEr", in [0, 10]; papers print it times 100.
///
/// The mean over orders 1 to 4 and over the references of 10 exp(−Δ² / 2σ²) Σ min(h, r) r / (‖h‖ ‖r‖),
/// σ = 6. h and r are the n-grams' weights in hypothesis and reference: count times
/// ln(N / max(1, clips whose references have it)), N the number of clips. Δ is the difference of the
/// numbers of *bigrams*. Words are not stemmed. The corpus' score is the mean.
///
/// An n-gram that occurs in all clips has weight 0, so every score of a single clip is 0.
pub fn cider_d(corpus: &Corpus) -> Scores {
    score(corpus, true)
}

/// CIDEr: as [`cider_d`] without clipping and without the penalty for length, that is the cosine of the
/// weights times 10.
pub fn cider(corpus: &Corpus) -> Scores {
    score(corpus, false)
}

fn score(corpus: &Corpus, robust: bool) -> Scores {
    let ngrams = corpus.ngrams();
    let clips = ngrams.clips.len();
    let mut frequencies = vec![0u32; ngrams.different];
    // The last clip for which an n-gram was counted, plus one.
    let mut counted_for = vec![0usize; ngrams.different];
    for (clip, (_, references)) in ngrams.clips.iter().enumerate() {
        for &(gram, ..) in references.iter().flat_map(|reference| &reference.grams) {
            let gram = gram as usize;
            if counted_for[gram] != clip + 1 {
                counted_for[gram] = clip + 1;
                frequencies[gram] += 1;
            }
        }
    }
    let clips = (clips as f64).ln();
    let weights: Vec<f64> = frequencies.iter().map(|&df| clips - f64::from(df.max(1)).ln()).collect();
    let scores = ngrams.clips.iter().map(|(hypothesis, references)| {
        let hypothesis = Vector::new(hypothesis, &weights);
        let sum: f64 = references.iter().map(|r| hypothesis.similarity(&Vector::new(r, &weights), robust)).sum();
        10.0 * sum / references.len() as f64
    });
    Scores::mean(scores.collect())
}

/// A caption as weighted n-grams.
struct Vector {
    /// Number, order minus one and weight of each n-gram, sorted by number.
    grams: Vec<(u32, usize, f64)>,
    norms: [f64; ORDERS],
    bigrams: f64,
}

impl Vector {
    fn new(caption: &Counted, weights: &[f64]) -> Self {
        let weighted = |&(gram, order, count): &_| (gram, order, f64::from(count) * weights[gram as usize]);
        let grams: Vec<(u32, usize, f64)> = caption.grams.iter().map(weighted).collect();
        let mut norms = [0.0; ORDERS];
        for (_, order, weight) in &grams {
            norms[*order] += weight * weight;
        }
        Self { grams, norms: norms.map(f64::sqrt), bigrams: caption.words.saturating_sub(1) as f64 }
    }

    fn similarity(&self, reference: &Self, robust: bool) -> f64 {
        let mut products = [0.0; ORDERS];
        let mut others = reference.grams.iter().peekable();
        for &(gram, order, weight) in &self.grams {
            while others.next_if(|(other, ..)| *other < gram).is_some() {}
            if let Some((_, _, other)) = others.next_if(|(other, ..)| *other == gram) {
                products[order] += if robust { weight.min(*other) * other } else { weight * other };
            }
        }
        for (order, product) in products.iter_mut().enumerate() {
            let norms = self.norms[order] * reference.norms[order];
            if norms != 0.0 {
                *product /= norms;
            }
        }
        let mean = products.iter().sum::<f64>() / ORDERS as f64;
        let difference = self.bigrams - reference.bigrams;
        if robust { mean * (-difference * difference / (2.0 * SIGMA * SIGMA)).exp() } else { mean }
    }
}
