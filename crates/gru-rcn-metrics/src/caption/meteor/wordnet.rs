//! Synonyms by WordNet 3.0: the synsets of words, and the bases of irregular forms.
//!
//! The tables in `data/wordnet` are METEOR's extract of WordNet: single words with the numbers of their
//! synsets, and irregular forms with their bases. `data/wordnet/LICENSE` is WordNet's notice.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use flate2::read::GzDecoder;

static SYNSETS: &[u8] = include_bytes!("../../../data/wordnet/synsets.gz");
static EXCEPTIONS: &[u8] = include_bytes!("../../../data/wordnet/exceptions.gz");

/// WordNet's rules for nouns, verbs and adjectives: an ending and its replacement in the base form.
const ENDINGS: [(&str, &str); 18] = [
    ("s", ""),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("est", ""),
    ("er", "e"),
    ("est", "e"),
];

/// The synsets of every word and its base forms, in ascending order. The base forms are those in the
/// list of exceptions, otherwise that of the first rule whose result is a word.
pub(super) fn synsets(words: &[&str]) -> Vec<Vec<u32>> {
    let exceptions = unpack(EXCEPTIONS);
    let wanted: HashSet<&str> = words.iter().copied().collect();
    let bases: HashMap<&str, Vec<&str>> = rows(&exceptions).filter(|(form, _)| wanted.contains(form)).collect();
    let forms: Vec<Vec<String>> = words.iter().map(|word| forms(word, bases.get(word))).collect();
    let looked_up: HashSet<&str> = forms.iter().flatten().map(String::as_str).chain(words.iter().copied()).collect();
    let table = unpack(SYNSETS);
    let number = |text: &str| text.parse().expect("the table holds numbers");
    let table: HashMap<&str, Vec<u32>> = rows(&table)
        .filter(|(word, _)| looked_up.contains(word))
        .map(|(word, numbers)| (word, numbers.into_iter().map(number).collect()))
        .collect();
    let of = |form: &str| table.get(form).map_or(&[][..], Vec::as_slice);
    let word_synsets = |(word, forms): (&&str, &Vec<String>)| {
        let mut all = of(word).to_vec();
        if bases.contains_key(word) {
            all.extend(forms.iter().flat_map(|form| of(form)));
        } else if let Some(first) = forms.iter().find(|form| table.contains_key(form.as_str())) {
            all.extend(of(first));
        }
        all.sort_unstable();
        all.dedup();
        all
    };
    words.iter().zip(&forms).map(word_synsets).collect()
}

/// Possible base forms of a word.
fn forms(word: &str, bases: Option<&Vec<&str>>) -> Vec<String> {
    if let Some(bases) = bases {
        return bases.iter().map(|&base| base.to_owned()).collect();
    }
    if word.ends_with("ss") || word.encode_utf16().count() <= 2 {
        return Vec::new();
    }
    ENDINGS.iter().filter_map(|(ending, base)| Some(word.strip_suffix(ending)?.to_owned() + base)).collect()
}

fn unpack(table: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(table).read_to_string(&mut text).expect("the table is part of the program");
    text
}

/// The first word of every line with the other words.
fn rows(table: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    table.lines().filter_map(|line| {
        let (word, rest) = line.split_once(' ')?;
        Some((word, rest.split(' ').collect()))
    })
}
