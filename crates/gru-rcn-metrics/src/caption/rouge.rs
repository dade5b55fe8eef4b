//! ROUGE-L (Lin, 2004), as in coco-caption.

use super::{Corpus, Scores};

/// Weight of recall against precision.
const BETA: f64 = 1.2;

/// ROUGE-L in [0, 1]: (1 + β²) P R / (R + β² P) with β = 1.2, from the longest common subsequence of
/// hypothesis and reference. P is its share of the hypothesis and R its share of the reference, each
/// the maximum over the references, perhaps of different ones. The corpus' score is the mean.
///
/// Tokens are separated by single spaces, so an empty caption has one empty token, and two empty
/// captions score 1.
pub fn rouge_l(corpus: &Corpus) -> Scores {
    let clips = corpus.clips().iter().map(|clip| {
        let hypothesis: Vec<&str> = clip.hypothesis.split(' ').collect();
        let (mut precision, mut recall) = (0f64, 0f64);
        for reference in &clip.references {
            let reference: Vec<&str> = reference.split(' ').collect();
            let common = common_subsequence(&hypothesis, &reference) as f64;
            precision = precision.max(common / hypothesis.len() as f64);
            recall = recall.max(common / reference.len() as f64);
        }
        if precision == 0.0 || recall == 0.0 {
            return 0.0;
        }
        (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
    });
    Scores::mean(clips.collect())
}

/// The length of the longest common subsequence.
fn common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
