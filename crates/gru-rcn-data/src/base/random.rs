//! Random numbers that depend only on their key.
//!
//! Order and augmentation must be the same on every machine, with any number of workers and after a
//! resume. So no generator state is kept anywhere: each decision makes a fresh ChaCha8 stream from
//! a key. The key's parts are hashed with 64-bit FNV-1a (each part preceded by its length, so that
//! parts cannot run into each other), and SplitMix64 spreads the hash over ChaCha's 256-bit seed.
//! Draws use only raw 64-bit words, because the distributions of the `rand` crate may change their
//! values between versions.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The 64-bit hash FNV-1a. It is the same in all versions and on all machines. It is not
/// cryptographic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv64(u64);

impl Default for Fnv64 {
    /// The hash of no bytes.
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv64 {
    /// Adds bytes as they are.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
    }

    /// Adds the length of a text and the text, so that neighbouring texts stay apart.
    pub fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    /// Adds a number as eight bytes, little-endian.
    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// The hash of everything added.
    pub fn finish(self) -> u64 {
        self.0
    }
}

/// The generator SplitMix64: word `n` is a function of the seed and `n` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// The stream that begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Word `index`, counted from 0, of the stream that begins with `seed`.
    pub fn at(seed: u64, index: u64) -> u64 {
        Self(seed.wrapping_add(index.wrapping_mul(Self::STEP))).next_word()
    }

    /// The next word.
    pub fn next_word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(key: Fnv64) -> Self {
        let mut words = SplitMix64::new(key.finish());
        let mut seed = [0u8; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&words.next_word().to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(seed))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻⁵³.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high)`; `low` where the two are equal.
    pub(crate) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exactly uniform in `0..n`, by rejection of words that would favour small numbers. 0 for `n` ≤ 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = n.max(1) as u64;
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let word = self.word();
            if word < limit {
                return (word % n) as usize;
            }
        }
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.word() >> 63 == 1
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FNV-1a's published test values: "" -> offset basis, "a" -> af63dc4c8601ec8c.
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(Fnv64::default().finish(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv64::default().bytes(b"a").finish(), 0xaf63_dc4c_8601_ec8c);
    }

    // SplitMix64 from seed 0 begins with e220a8397b1dcdaf (the reference implementation's first
    // output).
    #[test]
    fn the_mixer_is_split_mix() {
        let mut words = SplitMix64::new(0);
        assert_eq!(words.next_word(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(words.next_word(), SplitMix64::at(0, 1));
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        let a = Fnv64::default().text("ab").text("c").finish();
        let b = Fnv64::default().text("a").text("bc").finish();
        assert_ne!(a, b);
    }

    #[test]
    fn draws_stay_in_range_and_reach_both_ends() {
        let mut draws = Draws::new(Fnv64::default().text("range"));
        let mut seen = [0usize; 5];
        for _ in 0..5000 {
            seen[draws.below(5)] += 1;
            let x = draws.range(2.0, 3.0);
            assert!((2.0..3.0).contains(&x));
        }
        // 1000 expected each, standard deviation 28.
        assert!(seen.iter().all(|&n| (860..1140).contains(&n)), "{seen:?}");
        assert_eq!(draws.below(0), 0);
    }
}
