//! Tokenised hypotheses with their references.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::ngrams::NGrams;
use super::tokenizer::{LINE_SEPARATORS, tokenize_lines};
use super::{CaptionError, Side};

/// A caption of a clip, written by a person or a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// Id of the clip, compared byte for byte.
    pub id: String,
    /// The caption's text.
    pub text: String,
}

/// A clip's hypothesis and references: tokens with a space between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionedClip {
    /// Id of the clip.
    pub id: String,
    /// The caption of a system.
    pub hypothesis: String,
    /// The captions of people; at least one.
    pub references: Vec<String>,
}

/// The captions of a set of clips, ready to be scored: exactly one hypothesis and at least one
/// reference for every clip, at least one clip.
///
/// ```
/// use gru_rcn_metrics::caption::{Caption, Corpus, bleu};
///
/// let caption = |id: &str, text: &str| Caption { id: id.into(), text: text.into() };
/// let references = [caption("vid1", "A man is singing."), caption("vid1", "A man sings.")];
/// let corpus = Corpus::new(&references, &[caption("vid1", "a man is singing")])?;
/// assert!((bleu(&corpus).corpus[3] - 1.0).abs() < 1e-6);
/// # Ok::<(), gru_rcn_metrics::caption::CaptionError>(())
/// ```
#[derive(Debug)]
pub struct Corpus {
    clips: Vec<CaptionedClip>,
    ngrams: OnceLock<NGrams>,
}

impl Corpus {
    /// Tokenises captions and brings references and hypotheses together. Clips are in the order of
    /// their first references.
    ///
    /// # Errors
    ///
    /// For input that coco-caption mixes up silently or stops at without a reason: line separators
    /// other than a newline, `|||`, clips with captions on one side only, two hypotheses of one clip,
    /// no clip.
    pub fn new(references: &[Caption], hypotheses: &[Caption]) -> Result<Self, CaptionError> {
        check(Side::References, references)?;
        check(Side::Hypotheses, hypotheses)?;
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut clips: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
        for (side, captions) in [(Side::References, references), (Side::Hypotheses, hypotheses)] {
            for Caption { id, text } in captions {
                let place = *places.entry(id).or_insert_with(|| {
                    clips.push((id, Vec::new(), Vec::new()));
                    clips.len() - 1
                });
                match side {
                    Side::References => clips[place].1.push(text),
                    Side::Hypotheses => clips[place].2.push(text),
                }
            }
        }
        let lonely = clips.iter().filter(|(.., hypotheses)| hypotheses.is_empty()).map(|(id, ..)| (*id).to_owned());
        let lonely: Vec<String> = lonely.collect();
        if !lonely.is_empty() {
            return Err(CaptionError::NoHypothesis(lonely));
        }
        if let Some((id, _, several)) = clips.iter().find(|clip| clip.2.len() > 1) {
            return Err(CaptionError::Hypotheses { id: (*id).to_owned(), count: several.len() });
        }
        let mut references = joined_lines(clips.iter().flat_map(|clip| clip.1.iter().copied()));
        let mut hypotheses = joined_lines(clips.iter().flat_map(|clip| clip.2.iter().copied()));
        let tokenized = clips.iter().map(|(id, own, _)| CaptionedClip {
            id: (*id).to_owned(),
            hypothesis: hypotheses.next().unwrap_or_default(),
            references: references.by_ref().take(own.len()).collect(),
        });
        Self::from_tokens(tokenized.collect())
    }

    /// Takes captions that are tokenised already, with a space between tokens.
    ///
    /// # Errors
    ///
    /// If there is no clip, or one without references.
    pub fn from_tokens(clips: Vec<CaptionedClip>) -> Result<Self, CaptionError> {
        if clips.is_empty() {
            return Err(CaptionError::NoClips);
        }
        let lonely: Vec<String> = clips.iter().filter(|c| c.references.is_empty()).map(|c| c.id.clone()).collect();
        if !lonely.is_empty() {
            return Err(CaptionError::NoReferences(lonely));
        }
        Ok(Self { clips, ngrams: OnceLock::new() })
    }

    /// The clips; at least one.
    pub fn clips(&self) -> &[CaptionedClip] {
        &self.clips
    }

    /// The n-grams of all captions, counted when they are first asked for.
    pub(super) fn ngrams(&self) -> &NGrams {
        self.ngrams.get_or_init(|| NGrams::count(&self.clips))
    }
}

fn joined_lines<'a>(captions: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    tokenize_lines(captions).into_iter().map(|tokens| tokens.join(" "))
}

fn check(side: Side, captions: &[Caption]) -> Result<(), CaptionError> {
    for Caption { id, text } in captions {
        let (id, text) = (id.clone(), text.clone());
        if let Some(character) = text.chars().find(|c| LINE_SEPARATORS.contains(c)) {
            return Err(CaptionError::LineSeparator { side, id, text, character });
        }
        if text.contains("|||") {
            return Err(CaptionError::Bars { side, id, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption(id: &str, text: &str) -> Caption {
        Caption { id: id.into(), text: text.into() }
    }

    fn error(references: &[(&str, &str)], hypotheses: &[(&str, &str)]) -> String {
        let captions = |pairs: &[(&str, &str)]| pairs.iter().map(|(id, text)| caption(id, text)).collect::<Vec<_>>();
        Corpus::new(&captions(references), &captions(hypotheses)).unwrap_err().to_string()
    }

    #[test]
    fn brings_captions_of_a_clip_together() {
        let references = [caption("b", "A man!"), caption("a", "Dogs run."), caption("b", "(A) boy")];
        let corpus = Corpus::new(&references, &[caption("a", "dogs"), caption("b", "...")]).unwrap();
        let [first, second] = corpus.clips() else { panic!("two clips") };
        assert_eq!((first.id.as_str(), first.hypothesis.as_str()), ("b", ""));
        assert_eq!(first.references, ["a man", "-lrb- a -rrb- boy"]);
        assert_eq!((second.id.as_str(), second.hypothesis.as_str()), ("a", "dogs"));
    }

    #[test]
    fn refuses_what_coco_caption_mixes_up() {
        assert_eq!(error(&[], &[]), "there are no captions to score");
        for (separator, code) in [('\r', "000D"), ('\u{b}', "000B"), ('\u{c}', "000C"), ('\u{2028}', "2028")] {
            let text = format!("a{separator}b");
            let message = error(&[("v", &text)], &[("v", "a")]);
            assert!(
                message.starts_with(&format!("the caption of clip v holds a line separator (U+{code}): ")),
                "{message}"
            );
        }
        assert!(error(&[("v", "a")], &[("v", "a ||| b")]).contains("clip v holds `|||`"));
        assert_eq!(error(&[("v", "a"), ("w", "b")], &[("v", "a")]), "references but no hypothesis for 1 clip: w");
        assert_eq!(error(&[("v", "a")], &[("v", "a"), ("x", "a")]), "a hypothesis but no references for 1 clip: x");
        assert_eq!(
            error(&[("v", "a")], &[("v", "a"), ("v", "a")]),
            "clip v has 2 hypotheses; every clip needs exactly one"
        );
    }

    /// A newline is a space; U+0085 does no harm.
    #[test]
    fn accepts_newlines() {
        let corpus = Corpus::new(&[caption("v", "a\nman\u{85}sings")], &[caption("v", "a\nman")]).unwrap();
        assert_eq!(corpus.clips()[0].references, ["a man sings"]);
        assert_eq!(corpus.clips()[0].hypothesis, "a man");
    }
}
