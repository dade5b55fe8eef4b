//! Errors of captions that cannot be scored.

use std::fmt;

use thiserror::Error;

/// Which captions an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What a clip's caption should be like.
    References,
    /// What a system wrote.
    Hypotheses,
}

/// Captions that coco-caption would score silently wrong, or files that METEOR cannot use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CaptionError {
    /// There is nothing to score.
    #[error("there are no captions to score")]
    NoClips,
    /// A character that coco-caption takes for the end of a caption, so that later ones shift.
    #[error("the caption of clip {id} holds a line separator (U+{:04X}): {text:?}; replace it with a space", u32::from(*character))]
    LineSeparator {
        /// Where the caption is.
        side: Side,
        /// The clip.
        id: String,
        /// The caption.
        text: String,
        /// The line separator.
        character: char,
    },
    /// METEOR's own mark between captions: in a reference it makes two of one.
    #[error("the caption of clip {id} holds `|||`, which separates captions for METEOR: {text:?}; remove it")]
    Bars {
        /// Where the caption is.
        side: Side,
        /// The clip.
        id: String,
        /// The caption.
        text: String,
    },
    /// Clips with references that no hypothesis is about.
    #[error("references but no hypothesis for {}: {}", clips(.0.len()), FirstOf(.0))]
    NoHypothesis(Vec<String>),
    /// Clips with a hypothesis that no reference is about.
    #[error("a hypothesis but no references for {}: {}", clips(.0.len()), FirstOf(.0))]
    NoReferences(Vec<String>),
    /// A clip with more than one hypothesis.
    #[error("clip {id} has {count} hypotheses; every clip needs exactly one")]
    Hypotheses {
        /// The clip.
        id: String,
        /// How many.
        count: usize,
    },
    /// A table of paraphrases that is broken or not one.
    #[error("{0}")]
    Paraphrases(String),
}

impl CaptionError {
    /// Which captions to look at, if the error is about one side.
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

/// The first names of a list, and that there are more.
struct FirstOf<'a>(&'a [String]);

impl fmt::Display for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let more = if self.0.len() > SHOWN { ", …" } else { "" };
        write!(f, "{}{more}", self.0[..self.0.len().min(SHOWN)].join(", "))
    }
}
