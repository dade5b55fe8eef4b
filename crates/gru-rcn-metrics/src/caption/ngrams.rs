//! Counted n-grams of one to four words.

use rustc_hash::FxHashMap;

use super::CaptionedClip;

/// Largest order of n-grams.
pub(super) const ORDERS: usize = 4;

/// The n-grams of a caption. Words are separated by white space, which includes no-break spaces.
#[derive(Debug)]
pub(super) struct Counted {
    /// Number of words.
    pub(super) words: usize,
    /// Number, order minus one and count of each n-gram, sorted by number.
    pub(super) grams: Vec<(u32, usize, u32)>,
}

/// The n-grams of all captions of a corpus.
#[derive(Debug)]
pub(super) struct NGrams {
    /// Number of different n-grams.
    pub(super) different: usize,
    /// The hypothesis and the references of each clip.
    pub(super) clips: Vec<(Counted, Vec<Counted>)>,
}

impl NGrams {
    pub(super) fn count(clips: &[CaptionedClip]) -> Self {
        let mut words = FxHashMap::default();
        let mut numbers: FxHashMap<[u32; ORDERS], u32> = FxHashMap::default();
        let mut counted = |caption| {
            let words: Vec<u32> = str::split_whitespace(caption)
                .map(|word| {
                    let next = words.len() as u32;
                    *words.entry(word).or_insert(next)
                })
                .collect();
            let mut grams = Vec::new();
            for order in 1..=ORDERS {
                for gram in words.windows(order) {
                    let mut key = [u32::MAX; ORDERS];
                    key[..order].copy_from_slice(gram);
                    let next = numbers.len() as u32;
                    grams.push((*numbers.entry(key).or_insert(next), order - 1, 1));
                }
            }
            grams.sort_unstable();
            grams.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.2 += u32::from(same);
                same
            });
            Counted { words: words.len(), grams }
        };
        let clips = clips
            .iter()
            .map(|clip| (counted(&clip.hypothesis), clip.references.iter().map(|text| counted(text)).collect()))
            .collect();
        Self { different: numbers.len(), clips }
    }
}
