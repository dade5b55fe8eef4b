//! Errors of captions that cannot be scored.

use std::fmt;

use thiserror::Error;

/// Which captions an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The captions of people.
    References,
    /// The captions of a system.
    Hypotheses,
}

/// Captions that coco-caption would silently score wrong, or a file that METEOR cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CaptionError {
    /// There is nothing to score.
    #[error("there are no captions to score")]
    NoClips,
    /// A character that coco-caption takes for the end of a caption, which shifts all later ones.
    #[error("the caption of clip {id} holds a line separator (U+{:04X}): {text:?}; replace it with a space", u32::from(*character))]
    LineSeparator {
        /// The caption's side.
        side: Side,
        /// The clip.
        id: String,
        /// The caption.
        text: String,
        /// The line separator.
        character: char,
    },
    /// METEOR's separator of captions, which would turn a reference into two.
    #[error("the caption of clip {id} holds `|||`, which separates captions for METEOR: {text:?}; remove it")]
    Bars {
        /// The caption's side.
        side: Side,
        /// The clip.
        id: String,
        /// The caption.
        text: String,
    },
    /// Clips with references and without a hypothesis.
    #[error("references but no hypothesis for {}: {}", clips(.0.len()), FirstOf(.0))]
    NoHypothesis(Vec<String>),
    /// Clips with a hypothesis and without references.
    #[error("a hypothesis but no references for {}: {}", clips(.0.len()), FirstOf(.0))]
    NoReferences(Vec<String>),
    /// A clip with more than one hypothesis.
    #[error("clip {id} has {count} hypotheses; every clip needs exactly one")]
    Hypotheses {
        /// The clip.
        id: String,
        /// Number of hypotheses.
        count: usize,
    },
    /// A broken table of paraphrases, or a file that is no such table.
    #[error("{0}")]
    Paraphrases(String),
}

impl CaptionError {
    /// The side that the error is about, if it is one.
    pub fn side(&self) -> Option<Side> {
        match self {
            Self::LineSeparator { side, .. } | Self::Bars { side, .. } => Some(*side),
            Self::NoHypothesis(_) | Self::Hypotheses { .. } => Some(Side::Hypotheses),
            Self::NoReferences(_) => Some(Side::References),
            Self::NoClips | Self::Paraphrases(_) => None,
        }
    }
}

fn clips(count: usize) -> String {
    if count == 1 { "1 clip".into() } else { format!("{count} clips") }
}

/// The first names of a list, followed by `…` if there are more.
struct FirstOf<'a>(&'a [String]);

impl fmt::Display for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let more = if self.0.len() > SHOWN { ", …" } else { "" };
        write!(f, "{}{more}", self.0[..self.0.len().min(SHOWN)].join(", "))
    }
}
