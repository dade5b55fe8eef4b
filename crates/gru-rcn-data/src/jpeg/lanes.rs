//! Eight whole numbers that are computed on side by side.
//!
//! Left to itself the compiler finds no vectors in a transform. All operations wrap around, so every implementation gives the
//! same.

/// The pixels of a block, row by row.
pub(super) type Pixels = [[u8; 8]; 8];

/// A row of a block, or a column.
pub(super) trait Lanes: Copy {
    fn splat(value: i32) -> Self;
    /// The rows of a block, each number times its factor.
    fn load(block: &[i16; 64], factors: &[i32; 64]) -> [Self; 8];
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, factor: i32) -> Self;
    fn shl<const BITS: i32>(self) -> Self;
    /// Rounds down.
    fn shr<const BITS: i32>(self) -> Self;
    fn transposed(rows: [Self; 8]) -> [Self; 8];
    /// Transposed, each number brought into the range of a byte.
    fn pixels(columns: [Self; 8]) -> Pixels;
}

/// For every processor.
#[derive(Clone, Copy)]
pub(super) struct Portable([i32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(mut self, other: Self, op: impl Fn(i32, i32) -> i32) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = op(*a, b);
        }
        self
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn splat(value: i32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    fn load(block: &[i16; 64], factors: &[i32; 64]) -> [Self; 8] {
        std::array::from_fn(|k| Self(std::array::from_fn(|i| i32::from(block[8 * k + i]) * factors[8 * k + i])))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn mul(self, factor: i32) -> Self {
        self.zip(self, |a, _| a.wrapping_mul(factor))
    }

    #[inline(always)]
    fn shl<const BITS: i32>(self) -> Self {
        self.zip(self, |a, _| a << BITS)
    }

    #[inline(always)]
    fn shr<const BITS: i32>(self) -> Self {
        self.zip(self, |a, _| a >> BITS)
    }

    #[inline(always)]
    fn transposed(rows: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|i| Self(std::array::from_fn(|j| rows[j].0[i])))
    }

    #[inline(always)]
    fn pixels(columns: [Self; 8]) -> Pixels {
        Self::transposed(columns).map(|row| row.0.map(|value| value.clamp(0, 255) as u8))
    }
}

/// For x86-64 processors with AVX2. No value may exist, and no function be called, on others.
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    use std::arch::x86_64::*;

    use super::{Lanes, Pixels};

    #[derive(Clone, Copy)]
    pub(in crate::jpeg) struct Avx2(__m256i);

    // SAFETY of every block: the processor has AVX2, which is the condition of the type. Loads and stores go to arrays of the
    // length of a vector.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "one argument for all, above")]
    impl Avx2 {
        /// Four columns of four rows in each half of a vector.
        #[inline(always)]
        fn fours(a: Self, b: Self, c: Self, d: Self) -> [Self; 4] {
            unsafe {
                let (ab, cd) = (_mm256_unpacklo_epi32(a.0, b.0), _mm256_unpacklo_epi32(c.0, d.0));
                let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a.0, b.0), _mm256_unpackhi_epi32(c.0, d.0));
                [
                    Self(_mm256_unpacklo_epi64(ab, cd)),
                    Self(_mm256_unpackhi_epi64(ab, cd)),
                    Self(_mm256_unpacklo_epi64(ab_high, cd_high)),
                    Self(_mm256_unpackhi_epi64(ab_high, cd_high)),
                ]
            }
        }

        /// The lower halves of both.
        #[inline(always)]
        fn low(a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_permute2x128_si256::<0x20>(a.0, b.0) })
        }

        /// The upper halves of both.
        #[inline(always)]
        fn high(a: Self, b: Self) -> Self {
            Self(unsafe { _mm256_permute2x128_si256::<0x31>(a.0, b.0) })
        }

        /// As bytes: in each half of the vector four of the first, four of the second, ….
        #[inline(always)]
        fn bytes(a: Self, b: Self, c: Self, d: Self) -> __m256i {
            unsafe { _mm256_packus_epi16(_mm256_packs_epi32(a.0, b.0), _mm256_packs_epi32(c.0, d.0)) }
        }
    }

    #[expect(clippy::undocumented_unsafe_blocks, reason = "one argument for all, above")]
    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(value: i32) -> Self {
            Self(unsafe { _mm256_set1_epi32(value) })
        }

        #[inline(always)]
        fn load(block: &[i16; 64], factors: &[i32; 64]) -> [Self; 8] {
            let ((rows, _), (factors, _)) = (block.as_chunks::<8>(), factors.as_chunks::<8>());
            let mut lanes = [Self::splat(0); 8];
            for ((lanes, row), factors) in lanes.iter_mut().zip(rows).zip(factors) {
                unsafe {
                    let row = _mm256_cvtepi16_epi32(_mm_loadu_si128(row.as_ptr().cast()));
                    lanes.0 = _mm256_mullo_epi32(row, _mm256_loadu_si256(factors.as_ptr().cast()));
                }
            }
            lanes
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_epi32(self.0, other.0) })
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_epi32(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, factor: i32) -> Self {
            Self(unsafe { _mm256_mullo_epi32(self.0, _mm256_set1_epi32(factor)) })
        }

        #[inline(always)]
        fn shl<const BITS: i32>(self) -> Self {
            Self(unsafe { _mm256_slli_epi32::<BITS>(self.0) })
        }

        #[inline(always)]
        fn shr<const BITS: i32>(self) -> Self {
            Self(unsafe { _mm256_srai_epi32::<BITS>(self.0) })
        }

        #[inline(always)]
        fn transposed([a, b, c, d, e, f, g, h]: [Self; 8]) -> [Self; 8] {
            let ([p, q, r, s], [t, u, v, w]) = (Self::fours(a, b, c, d), Self::fours(e, f, g, h));
            [
                Self::low(p, t),
                Self::low(q, u),
                Self::low(r, v),
                Self::low(s, w),
                Self::high(p, t),
                Self::high(q, u),
                Self::high(r, v),
                Self::high(s, w),
            ]
        }

        #[inline(always)]
        fn pixels([a, b, c, d, e, f, g, h]: [Self; 8]) -> Pixels {
            let mut pixels = [[0; 8]; 8];
            let (halves, _) = pixels.as_chunks_mut::<2>();
            unsafe {
                let by_rows =
                    _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
                let left = _mm256_shuffle_epi8(Self::bytes(a, b, c, d), by_rows);
                let right = _mm256_shuffle_epi8(Self::bytes(e, f, g, h), by_rows);
                let (first, second) = (_mm256_unpacklo_epi32(left, right), _mm256_unpackhi_epi32(left, right));
                _mm_storeu_si128(halves[0].as_mut_ptr().cast(), _mm256_castsi256_si128(first));
                _mm_storeu_si128(halves[1].as_mut_ptr().cast(), _mm256_castsi256_si128(second));
                _mm_storeu_si128(halves[2].as_mut_ptr().cast(), _mm256_extracti128_si256::<1>(first));
                _mm_storeu_si128(halves[3].as_mut_ptr().cast(), _mm256_extracti128_si256::<1>(second));
            }
            pixels
        }
    }
}
