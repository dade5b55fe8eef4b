//! Maximum and average over windows. The maximum over a window with NaN is unspecified.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::{
    conv::{Output, Value, Window},
    simd,
};

/// A pool.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pool {
    /// Largest value of each window; padding never wins.
    Max { window: Window, ceil: bool },
    /// Averages of nearly equal parts of the map, as PyTorch's adaptive pool cuts them.
    AverageTo([usize; 2]),
}

impl Pool {
    /// Every pixel as it is.
    pub(crate) const COPY: Self =
        Self::Max { window: Window { kernel: [1; 2], stride: [1; 2], padding: [0; 4] }, ceil: false };

    /// Size of the output, none where the padded input is smaller than the window.
    pub(crate) fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let (window, ceil) = match self {
            Self::Max { window, ceil } => (window, *ceil),
            Self::AverageTo(size) => return Some(*size),
        };
        let Window { kernel, stride, padding } = *window;
        let mut size = window.output(input)?;
        for i in 0..2 {
            let padded = input[i] + padding[i] + padding[i + 2];
            // A last window that overhangs counts where it starts in the map or the padding before.
            if ceil && !(padded - kernel[i]).is_multiple_of(stride[i]) && size[i] * stride[i] < input[i] + padding[i] {
                size[i] += 1;
            }
        }
        Some(size)
    }

    /// The input pixels of output `i` along an axis.
    fn range(&self, axis: usize, i: usize, input: usize) -> Range<usize> {
        match self {
            Self::Max { window: Window { kernel, stride, padding }, .. } => {
                let start = i * stride[axis];
                let inside = |at: usize| at.saturating_sub(padding[axis]).min(input);
                inside(start)..inside(start + kernel[axis])
            }
            Self::AverageTo(size) => i * input / size[axis]..((i + 1) * input).div_ceil(size[axis]),
        }
    }

    /// Writes the rows of `output`; its border stays as it is.
    pub(crate) fn run(&self, input: Value<'_>, output: Output<'_>) {
        Arch::new().dispatch(Run { pool: self, input, output });
    }
}

struct Run<'a> {
    pool: &'a Pool,
    input: Value<'a>,
    output: Output<'a>,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, input, output } = self;
        let from = input.layout;
        let mut pixels = Vec::new();
        let rows = output.rows.clone();
        for (frame, y) in (0..output.frames).flat_map(|frame| rows.clone().map(move |y| (frame, y))) {
            for x in 0..output.layout.width {
                pixels.clear();
                for y in pool.range(0, y, from.height) {
                    pixels.extend(pool.range(1, x, from.width).map(|x| input.pixel(frame, y, x)));
                }
                let at = output.pixel(frame, y, x);
                let out = &mut output.map[at..at + from.channels];
                let scale = simd.splat_f32s(1.0 / pixels.len() as f32);
                for (i, out) in out.chunks_mut(S::F32_LANES).enumerate() {
                    let get = |at: usize| simd::load(simd, &input.map[at + i * S::F32_LANES..], out.len());
                    let first = pixels.first().map_or(simd.splat_f32s(f32::NEG_INFINITY), |&at| get(at));
                    let rest = pixels.get(1..).unwrap_or_default();
                    let value = match pool {
                        Pool::Max { .. } => rest.iter().fold(first, |max, &at| simd.max_f32s(max, get(at))),
                        Pool::AverageTo(_) => {
                            simd.mul_f32s(rest.iter().fold(first, |sum, &at| simd.add_f32s(sum, get(at))), scale)
                        }
                    };
                    simd::store(simd, out, out.len(), value);
                }
            }
        }
    }
}
