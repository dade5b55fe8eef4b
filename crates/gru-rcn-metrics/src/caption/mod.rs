//! Metrics of captions with the values of coco-caption: BLEU, ROUGE-L, CIDEr, CIDEr-D and METEOR, and
//! their tokenizer. They need no Java, no child process, no files and no network.
//!
//! ```
//! use gru_rcn_metrics::caption::{Caption, Corpus, cider_d, rouge_l};
//!
//! let caption = |id: &str, text: &str| Caption { id: id.into(), text: text.into() };
//! let references = [caption("1", "A man is singing."), caption("2", "A dog runs."), caption("2", "The dog is running")];
//! let hypotheses = [caption("1", "a man sings"), caption("2", "a dog runs")];
//! let corpus = Corpus::new(&references, &hypotheses)?;
//! assert_eq!(rouge_l(&corpus).clips[1], 1.0);
//! assert!(cider_d(&corpus).corpus > 0.0);
//! # Ok::<(), gru_rcn_metrics::caption::CaptionError>(())
//! ```

mod bleu;
mod cider;
mod corpus;
mod error;
mod meteor;
mod ngrams;
mod rouge;
mod tokenizer;

pub use bleu::{Bleu, bleu};
pub use cider::{cider, cider_d};
pub use corpus::{Caption, CaptionedClip, Corpus};
pub use error::{CaptionError, Side};
pub use meteor::{ParaphraseTable, meteor};
pub use rouge::rouge_l;
pub use tokenizer::{tokenize, tokenize_lines};

use serde::Serialize;

/// The values of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Score of all clips together.
    pub corpus: f64,
    /// Score of every clip, in the order of [`Corpus::clips`].
    pub clips: Vec<f64>,
}

impl Scores {
    /// The corpus' score as the mean of the clips'.
    fn mean(clips: Vec<f64>) -> Self {
        Self { corpus: clips.iter().sum::<f64>() / clips.len() as f64, clips }
    }
}

#[cfg(test)]
mod tests;
