//! Shared by all vector code: the width in use, activations, loads and stores of part of a vector.

use std::ops::{Deref, DerefMut};

use pulp::{Arch, Simd, WithSimd};

/// Non-linearity at the end of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The value itself.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// Least and largest value.
    pub(crate) fn range(self) -> [f32; 2] {
        match self {
            Self::None => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }

    /// The activation of one vector. NaN stays NaN where the second operand wins then (x86).
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let [low, high] = self.range().map(|bound| simd.splat_f32s(bound));
        simd.min_f32s(high, simd.max_f32s(low, x))
    }
}

/// Number of `f32` in a vector of the instruction set in use.
pub fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// Loads the first `len` floats; the other lanes are zero.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, slice: &[f32], len: usize) -> S::f32s {
    if len == S::F32_LANES {
        S::as_simd_f32s(&slice[..S::F32_LANES]).0[0]
    } else {
        simd.partial_load_f32s(&slice[..len])
    }
}

/// Stores the first `len` lanes.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, slice: &mut [f32], len: usize, values: S::f32s) {
    if len == S::F32_LANES {
        S::as_mut_simd_f32s(&mut slice[..S::F32_LANES]).0[0] = values;
    } else {
        simd.partial_store_f32s(&mut slice[..len], values);
    }
}

/// Numbers that start at a cache line, so that none of their vectors lies in two lines. A clone may start
/// elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Floats of a cache line.
    const LINE: usize = 16;

    pub(crate) fn zeros(len: usize) -> Self {
        let numbers = vec![0.0; len + Self::LINE];
        let start = numbers.as_ptr().align_offset(size_of::<f32>() * Self::LINE).min(Self::LINE);
        Self { numbers, start, len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..self.start + self.len]
    }
}
