//! METEOR's table of English paraphrases, in a form that is searched without parsing all of it.

use std::io::{BufRead, BufReader, Read};

use flate2::read::GzDecoder;
use rustc_hash::FxHashMap;

use crate::caption::CaptionError;

/// First bytes of a converted table; the last of them is the version of the format.
const MAGIC: &[u8; 8] = b"GRUPARA\x01";
/// Bytes before the arrays: the magic bytes and the numbers of phrases, of pairs and of words in the
/// longest phrase.
const HEADER: usize = 8 + 3 * 4;
/// Number of high bits of a phrase's hash by which the index is divided.
const BUCKET_BITS: u32 = 18;
/// Offset of the hashes, which follow the index.
const HASHES: usize = HEADER + 4 * ((1 << BUCKET_BITS) + 1);

/// METEOR's table of paraphrases, `data/paraphrase-en.gz`: 5.3 million pairs of phrases with the same
/// meaning, made by pivoting over other languages. The file is part of METEOR, not of this crate; users
/// convert it once.
///
/// Phrases are stored as 64-bit hashes. In METEOR's table, no two phrases have the same hash.
#[derive(Debug)]
pub struct ParaphraseTable {
    bytes: Vec<u8>,
    /// Number of different phrases.
    phrases: usize,
    /// Number of words in the longest phrase.
    longest: usize,
}

impl ParaphraseTable {
    /// Converts a file in METEOR's format: gzip, three lines per pair, of which the first is a
    /// probability that METEOR does not use. It takes seconds and 0.3 GB of memory.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has another format.
    pub fn convert(file: impl Read) -> Result<Self, CaptionError> {
        let fault = |what: &str| CaptionError::Paraphrases(format!("not a table of paraphrases: {what}"));
        let mut lines = BufReader::with_capacity(1 << 16, GzDecoder::new(file));
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| {
            line.clear();
            let read = lines.read_until(b'\n', line);
            read.map_err(|error| fault(&format!("it cannot be unpacked ({error})")))
        };
        let (mut pairs, mut longest) = (Vec::new(), 0);
        while next(&mut line)? > 0 {
            let number = std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse::<f64>().ok());
            if number.is_none() {
                return Err(fault(&format!("pair {} does not begin with a number", pairs.len() + 1)));
            }
            let mut pair = [0; 2];
            for hash in &mut pair {
                if next(&mut line)? == 0 {
                    return Err(fault("it ends within a pair"));
                }
                let mut phrase = PhraseHash::new();
                let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                longest = longest.max(words.inspect(|word| phrase.push(word)).count());
                *hash = phrase.0;
            }
            pairs.push(pair);
        }
        if pairs.is_empty() {
            return Err(fault("it has no pairs"));
        }
        Ok(Self::index(&pairs, longest))
    }

    /// Builds a table from pairs. Those with the same first phrase keep their order.
    fn index(pairs: &[[u64; 2]], longest: usize) -> Self {
        let mut hashes: Vec<u64> = pairs.iter().flatten().copied().collect();
        hashes.sort_unstable();
        hashes.dedup();
        let place = |hash: u64| hashes.partition_point(|&other| other < hash);
        let mut places: Vec<[u32; 2]> = pairs.iter().map(|pair| pair.map(|hash| place(hash) as u32)).collect();
        places.sort_by_key(|pair| pair[0]);
        let numbers = [hashes.len(), pairs.len(), longest];
        let mut bytes = MAGIC.to_vec();
        bytes.extend(numbers.iter().flat_map(|&number| (number as u32).to_le_bytes()));
        for bucket in 0..=1u64 << BUCKET_BITS {
            let first = bucket.checked_shl(64 - BUCKET_BITS).filter(|_| bucket < 1 << BUCKET_BITS);
            let start = first.map_or(hashes.len(), place);
            bytes.extend((start as u32).to_le_bytes());
        }
        bytes.extend(hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        for phrase in 0..=hashes.len() {
            let start = places.partition_point(|pair| (pair[0] as usize) < phrase);
            bytes.extend((start as u32).to_le_bytes());
        }
        bytes.extend(places.iter().flat_map(|pair| pair[1].to_le_bytes()));
        Self { bytes, phrases: hashes.len(), longest }
    }

    /// The converted table, for [`from_bytes`](Self::from_bytes).
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a table that was converted before.
    ///
    /// # Errors
    ///
    /// If it is of another version or incomplete.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, CaptionError> {
        let fault = |what: &str| CaptionError::Paraphrases(format!("not a converted table of paraphrases: {what}"));
        if bytes.len() < HEADER || bytes[..8] != *MAGIC {
            return Err(fault("it is of another version or of another program"));
        }
        let mut table = Self { bytes, phrases: 0, longest: 0 };
        let [phrases, pairs, longest] = [8, 12, 16].map(|at| table.number(at));
        (table.phrases, table.longest) = (phrases, longest);
        let length = table.pairs() + 4 * pairs;
        if table.bytes.len() != length {
            return Err(fault(&format!("it has {} bytes, not {length}", table.bytes.len())));
        }
        // These places are not checked later, and a broken range could be as long as four billion.
        let ends = table.bucket(1 << BUCKET_BITS) == phrases && table.start(phrases) == pairs;
        let ascending = (0..=1 << BUCKET_BITS).map(|bucket| table.bucket(bucket)).is_sorted()
            && (0..=phrases).map(|phrase| table.start(phrase)).is_sorted();
        if ends && ascending { Ok(table) } else { Err(fault("its index is broken")) }
    }

    /// The place of a phrase, if it is in the table.
    pub(super) fn find(&self, phrase: PhraseHash) -> Option<u32> {
        let bucket = (phrase.0 >> (64 - BUCKET_BITS)) as usize;
        let (start, end) = (self.bucket(bucket), self.bucket(bucket + 1));
        let hash = |place: usize| {
            let at = HASHES + 8 * place;
            self.bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
        };
        (start..end).find(|&place| hash(place) == Some(phrase.0)).map(|place| place as u32)
    }

    /// The paraphrases of the phrase at a place, in the file's order.
    pub(super) fn paraphrases(&self, place: u32) -> impl Iterator<Item = u32> {
        let (start, end) = (self.start(place as usize), self.start(place as usize + 1));
        (start..end).map(move |pair| self.number(self.pairs() + 4 * pair) as u32)
    }

    fn bucket(&self, bucket: usize) -> usize {
        self.number(HEADER + 4 * bucket)
    }

    fn start(&self, phrase: usize) -> usize {
        self.number(HASHES + 8 * self.phrases + 4 * phrase)
    }

    /// Offset of the pairs, which are sorted by their first phrase.
    fn pairs(&self) -> usize {
        HASHES + 8 * self.phrases + 4 * (self.phrases + 1)
    }

    fn number(&self, at: usize) -> usize {
        let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    }
}

/// A hash of the words of a phrase, added one by one: FNV-1a, with a step after each word that mixes the
/// high bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PhraseHash(u64);

impl PhraseHash {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn push(&mut self, word: &[u8]) {
        for &byte in word.iter().chain(b" ") {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.0 ^= self.0 >> 32;
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }
}

/// The phrases of a set of captions, with their paraphrases in the same set.
#[derive(Debug, Default)]
pub(super) struct Paraphrases {
    /// For every phrase of the captions that is in the table, its paraphrases among them.
    of: Vec<Vec<u32>>,
}

/// A phrase in a caption: its first word, its number of words and its number in [`Paraphrases`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    pub(super) start: usize,
    pub(super) words: usize,
    pub(super) number: u32,
}

impl Paraphrases {
    /// Looks up every phrase of the captions. Also returns each caption's phrases, by place, then by
    /// length.
    pub(super) fn among(table: &ParaphraseTable, captions: &[Vec<&str>]) -> (Self, Vec<Vec<Phrase>>) {
        const NONE: u32 = u32::MAX;
        // The number of each phrase of the captions, by its place in the table.
        let mut numbers = vec![NONE; table.phrases];
        let mut places = Vec::new();
        let mut found: FxHashMap<u64, Option<u32>> = FxHashMap::default();
        let mut phrases_of = |caption: &Vec<&str>| {
            let mut phrases = Vec::new();
            for start in 0..caption.len() {
                let mut hash = PhraseHash::new();
                for (more, word) in caption[start..].iter().take(table.longest).enumerate() {
                    hash.push(word.as_bytes());
                    let number = *found.entry(hash.0).or_insert_with(|| {
                        let place = table.find(hash)?;
                        places.push(place);
                        numbers[place as usize] = places.len() as u32 - 1;
                        Some(numbers[place as usize])
                    });
                    phrases.extend(number.map(|number| Phrase { start, words: more + 1, number }));
                }
            }
            phrases
        };
        let phrases = captions.iter().map(&mut phrases_of).collect();
        let number = |place: u32| numbers.get(place as usize).copied().filter(|&number| number != NONE);
        let of = places.iter().map(|&place| table.paraphrases(place).filter_map(number).collect()).collect();
        (Self { of }, phrases)
    }

    /// Number of phrases.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// The paraphrases of a phrase, in the table's order.
    pub(super) fn of(&self, phrase: u32) -> &[u32] {
        &self.of[phrase as usize]
    }
}
