//! Words and their ids.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The words that a captioner knows, with ids from 0 on. Two entries are not words: the end of a
/// sentence, and the unknown word, which stands for all others.
///
/// Its file is a JSON array of all entries in the order of their ids,
/// `["<eos>", "<unk>", "a", "is", …]`. Captions come as tokens; `gru_rcn_metrics::caption` has the
/// tokeniser that the metrics use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    entries: Vec<String>,
    ids: HashMap<String, usize>,
}

/// Why a vocabulary could not be built, saved or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// A token of a caption is one of the entries that are not words.
    #[error("a caption has the token `{0}`, which the vocabulary reserves; remove it from the caption")]
    Reserved(String),
    /// No word is frequent enough.
    #[error("no word is in the captions at least {0} times: give more captions, or a lower threshold")]
    Empty(usize),
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// The file does not hold a vocabulary.
    #[error("{}: no vocabulary: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Vocabulary {
    /// Id of the end of a sentence.
    pub const END: usize = 0;
    /// Id of the unknown word.
    pub const UNKNOWN: usize = 1;

    const RESERVED: [&str; 2] = ["<eos>", "<unk>"];

    /// The words that are in the captions at least `threshold` times, the most frequent first, those
    /// of one frequency in the order of their bytes. The paper's authors keep all words, a threshold
    /// of 1.
    ///
    /// # Errors
    ///
    /// If a token is `<eos>` or `<unk>`, or no word is left.
    pub fn build<C>(captions: impl IntoIterator<Item = C>, threshold: usize) -> Result<Self, VocabularyError>
    where
        C: IntoIterator<Item: AsRef<str>>,
    {
        let mut counts = HashMap::<String, usize>::new();
        for token in captions.into_iter().flatten() {
            let token = token.as_ref();
            match counts.get_mut(token) {
                Some(count) => *count += 1,
                None if Self::RESERVED.contains(&token) => return Err(VocabularyError::Reserved(token.into())),
                None => drop(counts.insert(token.into(), 1)),
            }
        }
        let mut words: Vec<(String, usize)> = counts.into_iter().filter(|(_, count)| *count >= threshold).collect();
        if words.is_empty() {
            return Err(VocabularyError::Empty(threshold));
        }
        words.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
        let words = words.into_iter().map(|(word, _)| word);
        Ok(Self::from_entries(Self::RESERVED.map(String::from).into_iter().chain(words).collect()))
    }

    fn from_entries(entries: Vec<String>) -> Self {
        let ids = entries.iter().enumerate().map(|(id, entry)| (entry.clone(), id)).collect();
        Self { entries, ids }
    }

    /// Number of ids: the words and the two entries that are not.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Id of a token, [`UNKNOWN`](Self::UNKNOWN) if it is not among the words.
    pub fn id(&self, token: &str) -> usize {
        match self.ids.get(token) {
            Some(&id) if id != Self::END => id,
            _ => Self::UNKNOWN,
        }
    }

    /// Ids of the tokens of a caption, without an end.
    pub fn ids(&self, tokens: impl IntoIterator<Item: AsRef<str>>) -> Vec<usize> {
        tokens.into_iter().map(|token| self.id(token.as_ref())).collect()
    }

    /// The word of an id, if there is such an id.
    pub fn word(&self, id: usize) -> Option<&str> {
        self.entries.get(id).map(String::as_str)
    }

    /// The words of ids with a space between each two.
    ///
    /// # Panics
    ///
    /// If there is no such id.
    pub fn text(&self, ids: &[usize]) -> String {
        let words: Vec<&str> = ids.iter().map(|&id| self.entries[id].as_str()).collect();
        words.join(" ")
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), VocabularyError> {
        let text = serde_json::to_string_pretty(&self.entries).expect("text is valid JSON");
        std::fs::write(path, text + "\n").map_err(|source| VocabularyError::File { path: path.into(), source })
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not such an array, or has an entry twice.
    pub fn open(path: &Path) -> Result<Self, VocabularyError> {
        let invalid = |reason: String| VocabularyError::Invalid { path: path.into(), reason };
        let text = std::fs::read(path).map_err(|source| VocabularyError::File { path: path.into(), source })?;
        let entries: Vec<String> = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        if entries.len() < 3 || entries[..2] != Self::RESERVED {
            return Err(invalid("it does not begin with `<eos>`, `<unk>` and a word".into()));
        }
        let vocabulary = Self::from_entries(entries);
        match vocabulary.entries.iter().enumerate().find(|(id, entry)| vocabulary.ids[*entry] != *id) {
            Some((_, entry)) => Err(invalid(format!("`{entry}` is in it twice"))),
            None => Ok(vocabulary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captions() -> [Vec<&'static str>; 3] {
        [vec!["a", "dog", "runs"], vec!["a", "cat", "runs"], vec!["the", "cat", "sees", "a", "dog"]]
    }

    /// `a` three times, `cat`, `dog` and `runs` twice, the others once.
    #[test]
    fn words_are_in_the_order_of_frequency() {
        let vocabulary = Vocabulary::build(captions(), 1).unwrap();
        assert_eq!(vocabulary.entries, ["<eos>", "<unk>", "a", "cat", "dog", "runs", "sees", "the"]);
        let frequent = Vocabulary::build(captions(), 2).unwrap();
        assert_eq!(frequent.len(), 6);
        assert_eq!(frequent.ids(["the", "dog", "<eos>", "<unk>", "Dog"]), [1, 4, 1, 1, 1]);
        assert_eq!(frequent.text(&[2, 1, 5]), "a <unk> runs");
        assert_eq!((frequent.word(5), frequent.word(6)), (Some("runs"), None));
    }

    #[test]
    fn refuses_reserved_tokens_and_thresholds_that_leave_nothing() {
        let reserved = Vocabulary::build([["a", "<eos>"]], 1).unwrap_err();
        assert!(reserved.to_string().contains("the token `<eos>`"), "{reserved}");
        let empty = Vocabulary::build(captions(), 4).unwrap_err();
        assert!(empty.to_string().contains("at least 4 times"), "{empty}");
        assert!(Vocabulary::build(Vec::<Vec<String>>::new(), 0).is_err());
    }

    #[test]
    fn opens_what_it_saved_and_names_a_bad_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocabulary.json");
        let vocabulary = Vocabulary::build([["\"", "é", "\\"]], 1).unwrap();
        vocabulary.save(&path).unwrap();
        assert_eq!(Vocabulary::open(&path).unwrap(), vocabulary);
        for (text, reason) in [
            (r#"["<eos>""#, "EOF"),
            ("{}", "expected a sequence"),
            (r#"["a", "b", "c"]"#, "does not begin with"),
            (r#"["<eos>", "<unk>"]"#, "does not begin with"),
            (r#"["<eos>", "<unk>", "a", "a"]"#, "`a` is in it twice"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Vocabulary::open(&path).unwrap_err().to_string();
            assert!(error.contains("vocabulary.json") && error.contains(reason), "{error}");
        }
        let missing = Vocabulary::open(&folder.path().join("none.json")).unwrap_err().to_string();
        assert!(missing.contains("none.json"), "{missing}");
    }
}
