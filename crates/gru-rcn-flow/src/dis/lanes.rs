//! Vectors of eight floats.
//!
//! The compiler does not vectorise loops over the short rows of patches, so vectors are explicit here.
//! All implementations round alike, and none fuses a product with a sum.

/// Floats of a vector.
pub(super) const LANES: usize = 8;

/// The operations that patches need, lane by lane.
pub(super) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    /// The first eight values of a slice.
    fn load(from: &[f32]) -> Self;
    /// Overwrites the first eight values of a slice.
    fn store(self, to: &mut [f32]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `1 / max(1, |self|)`; 1 for NaN.
    fn trust(self) -> Self;
    /// The sum of the lanes of each vector, in the order of [`tree`].
    fn totals(of: [Self; 4]) -> [f32; 4];
}

/// The sum of eight values, neighbours first.
#[inline(always)]
fn tree(v: [f32; LANES]) -> f32 {
    ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]))
}

/// For every processor.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(mut self, other: Self, op: impl Fn(f32, f32) -> f32) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = op(*a, b);
        }
        self
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let mut lanes = [0.0; LANES];
        lanes.copy_from_slice(&from[..LANES]);
        Self(lanes)
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..LANES].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn trust(self) -> Self {
        self.zip(self, |a, _| 1.0 / if a.abs() > 1.0 { a.abs() } else { 1.0 })
    }

    #[inline(always)]
    fn totals([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        [tree(a.0), tree(b.0), tree(c.0), tree(d.0)]
    }
}

/// For x86-64 processors with AVX2. No value may exist, and no function be called, on others.
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    #[derive(Clone, Copy)]
    pub(in crate::dis) struct Avx2(__m256);

    // SAFETY of every block: the processor has AVX2, which is the condition of the type. Loads and stores go through
    // slices whose length has been checked.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "one argument for all, above")]
    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn load(from: &[f32]) -> Self {
            Self(unsafe { _mm256_loadu_ps(from[..LANES].as_ptr()) })
        }

        #[inline(always)]
        fn store(self, to: &mut [f32]) {
            unsafe { _mm256_storeu_ps(to[..LANES].as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn trust(self) -> Self {
            // The maximum is its second argument where the first is NaN.
            Self(unsafe {
                let one = _mm256_set1_ps(1.0);
                let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0);
                _mm256_div_ps(one, _mm256_max_ps(magnitude, one))
            })
        }

        #[inline(always)]
        fn totals([a, b, c, d]: [Self; 4]) -> [f32; 4] {
            let mut totals = [0.0; 4];
            unsafe {
                let sums = _mm256_hadd_ps(_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
                let sums = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
                _mm_storeu_ps(totals.as_mut_ptr(), sums);
            }
            totals
        }
    }
}
