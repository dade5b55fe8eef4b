//! The gradients to weights and bias of a 3×3 convolution of stride 1. That to the input is a
//! convolution too, with [`WinogradWeights::transposed`].
//!
//! The weight gradient goes through the transformed domain of [`crate::winograd`]. Its error against
//! exact arithmetic is at most 2e-5 of its largest value.

#![allow(
    clippy::needless_range_loop,
    reason = "loops by position over small arrays are unrolled, closures may not be inlined into vector code"
)]

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::{lanes, load, store};
use crate::winograd::{
    Block, Map, POSITIONS, TileLayout, Tiling, TransformGradient, TransformInput, WinogradWeights, Workspace,
    Workspaces, transform_weight_gradient,
};

/// The gradient to the weights, `[output, input, 3, 3]`: the sum over `pairs` of an input of
/// [`WinogradWeights::forward`] and the gradient to its output.
pub fn weight_gradient(pairs: &[(Map, Map)], padding: [usize; 4], workspaces: &Workspaces) -> Vec<f32> {
    let Some((input, gradient)) = pairs.first() else { return Vec::new() };
    let (input, output) = (input.channels, gradient.channels);
    let width = 2 * lanes();
    let panels = output.div_ceil(width);
    let mut weight = vec![0.0; output * input * 9];
    if weight.is_empty() {
        return weight;
    }
    for &(map, gradient) in pairs {
        check(map, gradient, [input, output], padding);
    }
    // As many panels of output channels at once as memory for their sums is worth, dealt out evenly.
    let at_once = (SUMS / (POSITIONS * input * width)).max(1);
    let at_once = panels.div_ceil(panels.div_ceil(at_once));
    for (index, weight) in weight.chunks_mut(at_once * width * input * 9).enumerate() {
        let first = index * at_once * width;
        let outputs = first..first + weight.len() / (input * 9);
        let pairs: Vec<_> = pairs.iter().map(|&(map, gradient)| (map, gradient.channels(outputs.clone()))).collect();
        let panels = outputs.len().div_ceil(width);
        workspaces.with(|Workspace { transformed, products, .. }| {
            // `[position, panel, input channel, lane]`
            let sums = Workspace::get(products, POSITIONS * panels * input * width);
            sum_products(&pairs, padding, transformed, sums, workspaces);
            // Panels of output channels are contiguous pieces of the weights.
            weight.par_chunks_mut(width * input * 9).enumerate().for_each(|(panel, weight)| {
                Arch::new().dispatch(Finalize { sums, panel, panels, input, weight });
            });
        });
    }
    weight
}

/// The products of all tiles, summed in the transformed domain, `[position, panel, input channel,
/// lane]`.
fn sum_products(
    pairs: &[(Map, Map)],
    padding: [usize; 4],
    transformed: &mut Vec<f32>,
    sums: &mut [f32],
    workspaces: &Workspaces,
) {
    let [input, output] = [pairs[0].0.channels, pairs[0].1.channels];
    let width = 2 * lanes();
    let panels = output.div_ceil(width);
    let mut first = true;
    for &(map, gradient) in pairs {
        let tiling = Tiling::new([gradient.frames, gradient.height, gradient.width], SUBBLOCK);
        let most = (0..tiling.blocks().min(2)).map(|i| tiling.tiles(&tiling.block(i))).max().unwrap_or(0);
        if most == 0 {
            continue;
        }
        let layouts = Layouts { input: TileLayout::new(most, input), gradient: most * panels * width };
        let at_once = (BLOCK / layouts.len()).max(1);
        let count = tiling.blocks();
        // Dealt out evenly.
        let at_once = count.div_ceil(count.div_ceil(at_once));
        let transformed = Workspace::get(transformed, layouts.len() * at_once.min(count));
        for start in (0..count).step_by(at_once) {
            let blocks: Vec<Block> = (start..count.min(start + at_once)).map(|i| tiling.block(i)).collect();
            let work = transformed.par_chunks_mut(layouts.len()).zip(&blocks);
            work.for_each(|(transformed, block)| {
                Arch::new().dispatch(Transform {
                    map,
                    gradient,
                    padding,
                    tiling: &tiling,
                    block,
                    layouts,
                    transformed,
                });
            });
            let tiles: Vec<usize> = blocks.iter().map(|block| tiling.tiles(block)).collect();
            sums.par_chunks_mut(panels * input * width).enumerate().for_each(|(position, sums)| {
                let (transformed, tiles) = (&*transformed, &*tiles);
                workspaces.with(|Workspace { products: packed, .. }| {
                    let packed = Workspace::get(packed, tiles.iter().sum::<usize>() * input);
                    Arch::new().dispatch(Accumulate {
                        transformed,
                        layouts,
                        tiles,
                        position,
                        input,
                        packed,
                        sums,
                        first,
                    });
                });
            });
            first = false;
        }
    }
    if first {
        sums.fill(0.0);
    }
}

fn check(input: Map, gradient: Map, channels: [usize; 2], padding: [usize; 4]) {
    let [height, width] = WinogradWeights::output_size([input.height, input.width], padding);
    let (found, expected) = (
        [gradient.frames, gradient.height, gradient.width, input.channels, gradient.channels],
        [input.frames, height, width, channels[0], channels[1]],
    );
    assert!(found == expected, "3x3 convolution, weight gradient: {found:?}, expected {expected:?}");
    input.check("3x3 convolution, weight gradient, input");
    gradient.check("3x3 convolution, weight gradient, gradient");
}

/// The sum of `gradient` over its pixels: the gradient to the bias.
pub fn bias_gradient(gradient: Map) -> Vec<f32> {
    gradient.check("bias gradient");
    // Chunks of a fixed size, summed in order, so that the threads do not matter.
    let chunks: Vec<Vec<f32>> = (0..gradient.pixels().div_ceil(BIAS_CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let mut sums = vec![0.0; gradient.channels];
            for pixel in chunk * BIAS_CHUNK..gradient.pixels().min((chunk + 1) * BIAS_CHUNK) {
                let values = &gradient.data[pixel * gradient.stride..][..gradient.channels];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            sums
        })
        .collect();
    let mut sums = vec![0.0; gradient.channels];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// Pixels of a partial sum of the bias gradient.
const BIAS_CHUNK: usize = 1024;
/// Tiles that a thread transforms at once.
const SUBBLOCK: usize = 32;
/// Floats of the sums of the panels that are summed at once.
const SUMS: usize = 4 << 20;
/// Floats of transformed tiles between two additions to the sums.
const BLOCK: usize = 4 << 20;
/// The most rows whose sums are in registers at once.
pub(crate) const MOST: usize = 12;

/// Rows whose sums fit the registers.
pub(crate) fn group_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST } else { MOST / 2 }
}

/// Where the transformed input and gradient of a block of tiles lie.
#[derive(Clone, Copy)]
struct Layouts {
    input: TileLayout,
    /// Floats of a position of the gradient, `[panel, tile, lane]`.
    gradient: usize,
}

impl Layouts {
    fn len(&self) -> usize {
        self.input.len() + POSITIONS * self.gradient
    }
}

/// Input and gradient of one block of tiles to the transformed domain.
struct Transform<'a> {
    map: Map<'a>,
    gradient: Map<'a>,
    padding: [usize; 4],
    tiling: &'a Tiling,
    block: &'a Block,
    layouts: Layouts,
    transformed: &'a mut [f32],
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { map, gradient, padding, tiling, block, layouts, transformed } = self;
        let (input, transformed) = transformed.split_at_mut(layouts.input.len());
        simd.vectorize(TransformInput {
            input: map,
            padding,
            tiling,
            block,
            layout: layouts.input,
            transformed: input,
        });
        simd.vectorize(TransformGradient { gradient, tiling, block, position: layouts.gradient, transformed });
    }
}

/// Adds the products of one position to `[panel, input channel, lane]`.
struct Accumulate<'a> {
    transformed: &'a [f32],
    layouts: Layouts,
    /// Tiles of each block of `transformed`.
    tiles: &'a [usize],
    position: usize,
    input: usize,
    packed: &'a mut [f32],
    sums: &'a mut [f32],
    /// Whether the sums are still empty.
    first: bool,
}

impl WithSimd for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { transformed, layouts, tiles, position, input, packed, sums, first } = self;
        let width = 2 * S::F32_LANES;
        let panels = sums.len() / (input * width);
        let segments: Vec<&[f32]> = (0..panels)
            .flat_map(|panel| {
                transformed.chunks(layouts.len()).zip(tiles).map(move |(block, &tiles)| {
                    let start = layouts.input.len() + position * layouts.gradient + panel * tiles * width;
                    &block[start..start + tiles * width]
                })
            })
            .collect();
        let groups = input.div_ceil(group_rows::<S>());
        let lens = (0..groups).map(|group| input / groups + usize::from(group < input % groups));
        // `[group, tile, channel]`
        let all: usize = tiles.iter().sum();
        let (mut rest, mut start) = (&mut *packed, 0);
        for len in lens.clone() {
            let (rows, next) = std::mem::take(&mut rest).split_at_mut(all * len);
            rest = next;
            let mut at = 0;
            for (block, &tiles) in transformed.chunks(layouts.len()).zip(tiles) {
                let block = &block[position * layouts.input.position + start..];
                for tile in 0..tiles {
                    copy_short(simd, &mut rows[at..], &block[tile * layouts.input.tile..], len);
                    at += len;
                }
            }
            start += len;
        }
        // A panel stays in the first cache for all groups.
        for (segments, sums) in segments.chunks_exact(tiles.len()).zip(sums.chunks_exact_mut(input * width)) {
            let (mut packed, mut sums) = (&*packed, sums);
            for len in lens.clone() {
                let (now, rest) = std::mem::take(&mut sums).split_at_mut(len * width);
                sums = rest;
                simd.vectorize(AccumulateGroup { packed: &packed[..all * len], len, segments, sums: now, first });
                packed = &packed[all * len..];
            }
        }
    }
}

/// Copies `len` floats, and some more where there is room: the next copy overwrites them.
#[inline(always)]
fn copy_short<S: Simd>(simd: S, to: &mut [f32], from: &[f32], len: usize) {
    // A call of `memcpy` would cost more than the copy.
    if len <= S::F32_LANES && to.len().min(from.len()) >= S::F32_LANES {
        store(simd, to, S::F32_LANES, load(simd, from, S::F32_LANES));
    } else {
        to[..len].copy_from_slice(&from[..len]);
    }
}

/// Adds to `sums` `[row, lane]` the products of `packed` `[pixel, row]` and of the vector pairs of
/// the pixels, which `segments` hold in order. A group has at most [`group_rows`] rows.
pub(crate) struct AccumulateGroup<'a> {
    pub(crate) packed: &'a [f32],
    /// Rows of the group.
    pub(crate) len: usize,
    pub(crate) segments: &'a [&'a [f32]],
    pub(crate) sums: &'a mut [f32],
    /// Whether the sums are still empty.
    pub(crate) first: bool,
}

impl WithSimd for AccumulateGroup<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        macro_rules! accumulate {
            ($($len:literal)*) => {
                match self.len {
                    $($len => simd.vectorize(AccumulateRows::<$len>(self)),)*
                    _ => unreachable!("groups have 1 to 12 rows"),
                }
            };
        }
        accumulate!(1 2 3 4 5 6 7 8 9 10 11 12);
    }
}

/// `LEN` rows of [`AccumulateGroup`], whose sums stay in registers.
struct AccumulateRows<'a, const LEN: usize>(AccumulateGroup<'a>);

impl<const LEN: usize> WithSimd for AccumulateRows<'_, LEN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AccumulateGroup { packed, segments, sums, first, .. } = self.0;
        let mut rows = packed.as_chunks::<LEN>().0;
        let mut totals = [[simd.splat_f32s(0.0); 2]; LEN];
        for segment in segments {
            let segment = S::as_simd_f32s(segment).0.as_chunks::<2>().0;
            let (now, rest) = rows.split_at(segment.len());
            rows = rest;
            for (row, [left, right]) in now.iter().zip(segment) {
                for i in 0..LEN {
                    let value = simd.splat_f32s(row[i]);
                    totals[i][0] = simd.mul_add_e_f32s(value, *left, totals[i][0]);
                    totals[i][1] = simd.mul_add_e_f32s(value, *right, totals[i][1]);
                }
            }
        }
        let sums = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<2>().0;
        for (sums, totals) in sums.iter_mut().zip(totals) {
            for half in 0..2 {
                sums[half] = if first { totals[half] } else { simd.add_f32s(sums[half], totals[half]) };
            }
        }
    }
}

/// The sums of one panel from the transformed domain to `[output, input, 3, 3]`.
struct Finalize<'a> {
    sums: &'a [f32],
    panel: usize,
    panels: usize,
    input: usize,
    weight: &'a mut [f32],
}

impl WithSimd for Finalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, panel, panels, input, weight } = self;
        for i in 0..input {
            for half in 0..2 {
                let taps = transform_weight_gradient(simd, |position| {
                    let at = (((position * panels + panel) * input + i) * 2 + half) * S::F32_LANES;
                    S::as_simd_f32s(&sums[at..at + S::F32_LANES]).0[0]
                });
                for (tap, value) in taps.into_iter().flatten().enumerate() {
                    let lanes: &[f32] = pulp::bytemuck::cast_slice(std::slice::from_ref(&value));
                    let outputs = weight.chunks_exact_mut(input * 9).skip(half * S::F32_LANES);
                    for (output, lane) in outputs.zip(lanes) {
                        output[i * 9 + tap] = *lane;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rayon::ThreadPoolBuilder;

    use super::*;
    use crate::winograd::Finish;
    use crate::winograd::tests::{error, noise};

    /// Both gradients of the convolution in f64.
    fn naive_gradients(input: Map, weight: &[f32], gradient: Map, [top, left, ..]: [usize; 4]) -> [Vec<f64>; 2] {
        let mut input_gradient = vec![0.0; input.pixels() * input.channels];
        let mut weight_gradient = vec![0.0; weight.len()];
        for pixel in 0..gradient.pixels() {
            let (x, y) = (pixel % gradient.width, pixel / gradient.width % gradient.height);
            let frame = pixel / gradient.width / gradient.height;
            for tap in 0..9 {
                let (Some(y), Some(x)) = ((y + tap / 3).checked_sub(top), (x + tap % 3).checked_sub(left)) else {
                    continue;
                };
                if y >= input.height || x >= input.width {
                    continue;
                }
                let source = (frame * input.height + y) * input.width + x;
                for o in 0..gradient.channels {
                    let gradient = f64::from(gradient.data[pixel * gradient.stride + o]);
                    for i in 0..input.channels {
                        let at = (o * input.channels + i) * 9 + tap;
                        input_gradient[source * input.channels + i] += gradient * f64::from(weight[at]);
                        weight_gradient[at] += gradient * f64::from(input.data[source * input.stride + i]);
                    }
                }
            }
        }
        [input_gradient, weight_gradient]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn gradients_equal_the_naive_ones(
            [frames, height, width] in [1..4_usize, 1..15_usize, 1..15_usize],
            [input, output] in [1..40_usize, 1..40_usize],
            padding in [0..2_usize, 0..2_usize, 0..2_usize, 0..2_usize],
            gap in 0..3_usize,
            seed in any::<u32>(),
        ) {
            let [height_out, width_out] = WinogradWeights::output_size([height, width], padding);
            prop_assume!(height_out > 0 && width_out > 0);
            let values = noise(frames * height * width * (input + gap), seed);
            let map = Map { data: &values, frames, height, width, channels: input, stride: input + gap };
            let weight = noise(output * input * 9, seed ^ 1);
            let workspaces = Workspaces::default();
            let values = noise(frames * height_out * width_out * (output + gap), seed ^ 2);
            let stride = output + gap;
            let gradient =
                Map { data: &values, frames, height: height_out, width: width_out, channels: output, stride };
            let [expected_input, expected_weight] = naive_gradients(map, &weight, gradient, padding);
            let mut found = vec![0.0; frames * height * width * input];
            // A pixel of the input meets the output pixels that its padded neighbourhood reaches.
            let (reach, turned) = (padding.map(|side| 2 - side), WinogradWeights::transposed(&weight, output, input));
            turned.forward(gradient, reach, &mut found, input, Finish::NONE, &workspaces);
            prop_assert!(error(&found, &expected_input) < 2e-5, "{}", error(&found, &expected_input));
            let found = weight_gradient(&[(map, gradient)], padding, &workspaces);
            prop_assert!(error(&found, &expected_weight) < 2e-5, "{}", error(&found, &expected_weight));
            let twice = weight_gradient(&[(map, gradient), (map, gradient)], padding, &workspaces);
            let expected: Vec<f64> = expected_weight.iter().map(|x| 2.0 * x).collect();
            prop_assert!(error(&twice, &expected) < 2e-5, "{}", error(&twice, &expected));

            let mut expected = vec![0.0; output];
            for pixel in values.chunks(output + gap) {
                expected.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            prop_assert!(error(&bias_gradient(gradient), &expected) < 1e-5);
        }
    }

    #[test]
    fn weight_gradient_does_not_depend_on_the_number_of_threads() {
        let (values, gradients) = (noise(9 * 31 * 21 * 20, 1), noise(9 * 31 * 21 * 17, 2));
        let (map, gradient) = (Map::dense(&values, [9, 31, 21, 20]), Map::dense(&gradients, [9, 31, 21, 17]));
        let run = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (weight_gradient(&[(map, gradient)], [1; 4], &Workspaces::default()), bias_gradient(gradient))
            })
        };
        assert_eq!(run(1), run(3));
    }
}
