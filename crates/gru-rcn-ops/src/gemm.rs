//! Products of channels-last pixels and packed weights.
//!
//! A pixel is a row of the left matrix, read where it lies: some runs of contiguous numbers, one
//! run for a 1×1 convolution, one for each line of the kernel for a larger one whose input has a
//! border of zeros. Only the weights are packed, once. So there is no column matrix, and bias,
//! activation and residual need no pass of their own.
//!
//! The sum of a result runs over `k` in order with fused multiply-adds from the bias on, whatever
//! tile it falls in, so results do not depend on how the pixels are split. The relative error
//! against `f64` grows as √k · 6e-8; it stays below 1e-5 of Σ|x·w| up to k = 25088.

use pulp::{Arch, Simd, WithSimd};

use crate::simd::{self, Activation, Aligned};

/// Pixels that share one pass over the weights.
pub const BLOCK: usize = 84;

/// A matrix of `k` × `n` weights and the bias of the `n` results, packed for the vectors in use.
///
/// The columns are cut in panels of one to three vectors; a panel holds its rows one after another.
#[derive(Clone, Debug)]
pub struct Packed {
    lanes: usize,
    k: usize,
    n: usize,
    panels: Aligned,
    bias: Vec<f32>,
}

impl Packed {
    /// Packs the matrix whose element in row `k` and column `n` is `weight(k, n)`.
    pub fn new(k: usize, n: usize, weight: impl Fn(usize, usize) -> f32, bias: &[f32]) -> Self {
        assert!(k > 0 && bias.len() == n, "packing {k}×{n} weights with {} biases", bias.len());
        let lanes = simd::lanes();
        let padded = n.next_multiple_of(lanes);
        let mut panels = Aligned::zeros(k * padded);
        let mut elements = panels.iter_mut();
        for (start, vectors) in panels_of(padded / lanes) {
            let columns = start * lanes..((start + vectors) * lanes);
            for (row, column) in (0..k).flat_map(|row| columns.clone().map(move |column| (row, column))) {
                let element = elements.next().expect("panels hold all rows and columns");
                *element = if column < n { weight(row, column) } else { 0.0 };
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded, 0.0);
        Self { lanes, k, n, panels, bias: padded_bias }
    }

    /// Columns of the matrix.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Element in row `k` and column `n`.
    pub fn weight(&self, k: usize, n: usize) -> f32 {
        let (start, vectors) = panel_of(n / self.lanes, self.bias.len() / self.lanes);
        self.panels[(start * self.k + k * vectors) * self.lanes + n - start * self.lanes]
    }
}

/// First vector and number of vectors of the panel that holds a vector of `total`. Threes are
/// the fastest, twos the next.
fn panel_of(vector: usize, total: usize) -> (usize, usize) {
    let twos = if total % 3 == 1 && total > 1 { 4 } else { total % 3 };
    let threes = total - twos;
    match (vector < threes, twos) {
        (true, _) => (vector / 3 * 3, 3),
        (false, 4) => (threes + (vector - threes) / 2 * 2, 2),
        (false, _) => (threes, twos),
    }
}

/// All panels of `total` vectors, in order.
fn panels_of(total: usize) -> impl Iterator<Item = (usize, usize)> {
    let panel = move |start: usize| (start < total).then(|| panel_of(start, total));
    std::iter::successors(panel(0), move |(start, vectors)| panel(start + vectors))
}

/// Rows of the left matrix: the row at `base` is `x[base + runs[0]..][..run]`, then
/// `x[base + runs[1]..][..run]` and so on.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The numbers.
    pub x: &'a [f32],
    /// Offsets of the runs from a row's base.
    pub runs: &'a [usize],
    /// Length of a run.
    pub run: usize,
}

/// Where the numbers of one pixel lie.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// Base of the row of the left matrix.
    pub input: usize,
    /// First result.
    pub output: usize,
    /// First number to be added to the results before the activation.
    pub add: usize,
}

/// Writes the products of the rows at `positions` and `packed`, plus bias, plus `add`, through
/// `activation`, to `out`.
pub fn product(
    packed: &Packed,
    rows: Rows<'_>,
    positions: &[Position],
    add: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    Arch::new().dispatch(Product { packed, rows, positions, add, activation, out });
}

/// Arguments of [`product`].
pub(crate) struct Product<'a> {
    pub(crate) packed: &'a Packed,
    pub(crate) rows: Rows<'a>,
    pub(crate) positions: &'a [Position],
    pub(crate) add: Option<&'a [f32]>,
    pub(crate) activation: Activation,
    pub(crate) out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed, rows, positions, add, activation, out } = self;
        assert_eq!(packed.k, rows.runs.len() * rows.run, "product: rows of another length than the weights");
        assert_eq!(packed.lanes, S::F32_LANES, "product: weights packed for other vectors");
        let lanes = S::F32_LANES;
        for positions in positions.chunks(BLOCK) {
            for (start, vectors) in panels_of(packed.bias.len() / lanes) {
                let (first, end) = (start * lanes, (start + vectors) * lanes);
                let panel = Panel {
                    weights: &packed.panels[first * packed.k..end * packed.k],
                    bias: &packed.bias[first..end],
                    first,
                    width: packed.n.min(end) - first,
                    rows,
                    positions,
                    add,
                    activation,
                    out: &mut *out,
                };
                // Accumulators, a row of weights and a broadcast, and some registers to spare: with
                // 4×3 of 16 or 8×3 of 32 registers the compiler spills accumulators.
                match (vectors, S::REGISTER_COUNT >= 32) {
                    (1, _) => simd.vectorize(Tiles::<8, 1>(panel)),
                    (2, false) => simd.vectorize(Tiles::<6, 2>(panel)),
                    (2, true) => simd.vectorize(Tiles::<10, 2>(panel)),
                    (_, false) => simd.vectorize(Tiles::<3, 3>(panel)),
                    (_, true) => simd.vectorize(Tiles::<7, 3>(panel)),
                }
            }
        }
    }
}

/// One panel against one block of pixels.
struct Panel<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
    /// First column of the panel, and the number of its columns that exist.
    first: usize,
    width: usize,
    rows: Rows<'a>,
    positions: &'a [Position],
    add: Option<&'a [f32]>,
    activation: Activation,
    out: &'a mut [f32],
}

/// A panel of `N` vectors in tiles of `P` pixels.
struct Tiles<'a, const P: usize, const N: usize>(Panel<'a>);

impl<const P: usize, const N: usize> WithSimd for Tiles<'_, P, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut panel = self.0;
        let mut left = panel.positions;
        while left.len() >= P {
            tile::<S, P, N>(simd, &mut panel, left);
            left = &left[P..];
        }
        while P > 4 && left.len() >= 4 {
            tile::<S, 4, N>(simd, &mut panel, left);
            left = &left[4..];
        }
        while left.len() >= 2 {
            tile::<S, 2, N>(simd, &mut panel, left);
            left = &left[2..];
        }
        if !left.is_empty() {
            tile::<S, 1, N>(simd, &mut panel, left);
        }
    }
}

/// The first `P` of `positions`.
#[inline(always)]
fn tile<S: Simd, const P: usize, const N: usize>(simd: S, panel: &mut Panel<'_>, positions: &[Position]) {
    let positions: &[Position; P] = positions.first_chunk().expect("the caller counts the positions");
    let bias: &[S::f32s; N] = S::as_simd_f32s(panel.bias).0.first_chunk().expect("a panel of that width");
    let mut sums = [*bias; P];

    let Rows { x, runs, run } = panel.rows;
    let mut weights = S::as_simd_f32s(panel.weights).0.as_chunks::<N>().0;
    for &offset in runs {
        let mut pixels = [x; P];
        for (pixel, position) in pixels.iter_mut().zip(positions) {
            *pixel = &x[position.input + offset..][..run];
        }
        let (now, rest) = weights.split_at(run);
        weights = rest;
        for (k, row) in now.iter().enumerate() {
            for p in 0..P {
                let pixel = simd.splat_f32s(pixels[p][k]);
                for n in 0..N {
                    sums[p][n] = simd.mul_add_e_f32s(pixel, row[n], sums[p][n]);
                }
            }
        }
    }

    // Indices are constants all the way, or the sums would not stay in registers.
    let lanes = S::F32_LANES;
    let whole = panel.width == N * lanes;
    let part = |n: usize| n * lanes..panel.width.min((n + 1) * lanes);
    for p in 0..P {
        if let Some(add) = panel.add {
            let add = &add[positions[p].add + panel.first..][..panel.width];
            for n in 0..N {
                let add =
                    if whole { S::as_simd_f32s(add).0[n] } else { simd::load(simd, &add[n * lanes..], part(n).len()) };
                sums[p][n] = simd.add_f32s(sums[p][n], add);
            }
        }
        let out = &mut panel.out[positions[p].output + panel.first..][..panel.width];
        if whole {
            let out = S::as_mut_simd_f32s(out).0;
            for n in 0..N {
                out[n] = panel.activation.apply(simd, sums[p][n]);
            }
        } else {
            for n in 0..N {
                simd::store(simd, &mut out[n * lanes..], part(n).len(), panel.activation.apply(simd, sums[p][n]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn product_equals_naive_sums(
            pixels in 1..30usize, runs in 1..4usize, run in 1..20usize, n in 1..70usize, gap in 0..3usize,
            with_add: bool,
        ) {
            let k = runs * run;
            let value = |i: usize| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0;
            let weight = |row: usize, column: usize| value(row * 31 + column * 17);
            let bias: Vec<f32> = (0..n).map(value).collect();
            let packed = Packed::new(k, n, weight, &bias);
            let x: Vec<f32> = (0..pixels * 5 + runs * (run + gap) + run).map(value).collect();
            let offsets: Vec<usize> = (0..runs).map(|r| r * (run + gap)).collect();
            let positions: Vec<_> = (0..pixels)
                .map(|p| Position { input: p * 5, output: p * (n + gap), add: p * n })
                .collect();
            let add: Vec<f32> = (0..pixels * n).map(|i| value(i + 3)).collect();
            let mut out = vec![f32::NAN; pixels * (n + gap)];
            let rows = Rows { x: &x, runs: &offsets, run };
            product(&packed, rows, &positions, with_add.then_some(&add), Activation::Relu, &mut out);
            for (p, out) in out.chunks(n + gap).enumerate() {
                for column in 0..n {
                    let mut sum = f64::from(bias[column]);
                    let mut scale = 1.0 + sum.abs();
                    for row in 0..k {
                        prop_assert_eq!(packed.weight(row, column), weight(row, column));
                        let term = f64::from(x[p * 5 + offsets[row / run] + row % run])
                            * f64::from(weight(row, column));
                        sum += term;
                        scale += term.abs();
                    }
                    if with_add {
                        sum += f64::from(add[p * n + column]);
                    }
                    prop_assert!((f64::from(out[column]) - sum.max(0.0)).abs() <= 1e-6 * scale);
                }
                prop_assert!(out[n..].iter().all(|x| x.is_nan()), "written past the row");
            }
        }
    }
}
