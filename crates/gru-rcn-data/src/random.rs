//! Random numbers that depend on nothing but their key.
//!
//! Order and augmentation must be the same on every machine, with any number of workers and after a resume. So no
//! generator state is kept anywhere: each decision makes a fresh ChaCha8 stream from a key. The key's parts are hashed
//! with 64-bit FNV-1a (each part preceded by its length, so that parts cannot run into each other), and SplitMix64
//! spreads the hash over ChaCha's 256-bit seed. The draws below use only raw 64-bit words, because the distributions of
//! the `rand` crate may change their values between versions.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// 64-bit FNV-1a over length-prefixed parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StableHash(u64);

impl StableHash {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).raw(text.as_bytes())
    }

    pub(crate) fn number(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// SplitMix64: one step of the state, one well-mixed word.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of draws.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(key: StableHash) -> Self {
        let mut state = key.finish();
        let mut seed = [0u8; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&split_mix(&mut state).to_le_bytes());
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

    /// Uniform in `0..n`, exactly (words that would make small numbers likelier are drawn again). 0 for `n` ≤ 1.
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
        assert_eq!(StableHash::new().finish(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(StableHash::new().raw(b"a").finish(), 0xaf63_dc4c_8601_ec8c);
    }

    // SplitMix64 from state 0 begins with e220a8397b1dcdaf (the reference implementation's first output).
    #[test]
    fn the_mixer_is_split_mix() {
        assert_eq!(split_mix(&mut 0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        let a = StableHash::new().text("ab").text("c").finish();
        let b = StableHash::new().text("a").text("bc").finish();
        assert_ne!(a, b);
    }

    #[test]
    fn draws_stay_in_range_and_reach_both_ends() {
        let mut draws = Draws::new(StableHash::new().text("range"));
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
