//! Convolutions with square kernels of odd side that keep the size of the map (stride 1, zero
//! padding of half the kernel), forward and backward.
//!
//! A kernel of 3×3 goes through [`crate::winograd`] and [`crate::conv3x3`]; all others are products
//! of gathered pixels, for 1×1 of the pixels where they lie. Every sum runs in a fixed order, so
//! results do not depend on the number of threads.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::conv3x3::{self, AccumulateGroup, MOST, group_rows};
use crate::simd::lanes;
use crate::winograd::{
    Epilogue, Finish, Map, Multiply, Tiling, WinogradWeights, Workspace, Workspaces, Write, check_weight,
};

pub use crate::conv3x3::bias_gradient;

/// Packed weights of a convolution.
#[derive(Clone, Debug)]
pub struct SquareWeights(Weights);

#[derive(Clone, Debug)]
enum Weights {
    Winograd(WinogradWeights),
    Gathered(Gathered),
}

/// How the pixels of an output are cut into pieces.
pub(crate) enum Cut {
    Tiles(Tiling),
    /// Pieces of [`BLOCK`] pixels, of this number of pixels in all.
    Pixels(usize),
}

impl Cut {
    /// Pixels of the pieces.
    pub(crate) fn lens(&self) -> Vec<usize> {
        match self {
            Self::Tiles(tiling) => tiling.lens(),
            &Self::Pixels(pixels) => (0..pixels).step_by(BLOCK).map(|start| BLOCK.min(pixels - start)).collect(),
        }
    }
}

/// Pixels that share one pass over the weights.
const BLOCK: usize = 48;
/// Pixels of the weight gradient between two additions to the sums.
const CHUNK: usize = 512;
/// Panels that share the gathered pixels in the weight gradient.
const PANELS: usize = 8;

impl SquareWeights {
    /// Packs `weight` `[output, input, kernel, kernel]`.
    pub fn new(weight: &[f32], [output, input, kernel]: [usize; 3]) -> Self {
        check_weight(weight, [output, input, kernel]);
        Self::pack([output, input, kernel], |o, i, tap| weight[(o * input + i) * kernel * kernel + tap])
    }

    /// The weights of the gradient to the input: `weight` `[output, input, kernel, kernel]` turned
    /// by half a turn, with input and output exchanged.
    pub fn transposed(weight: &[f32], [output, input, kernel]: [usize; 3]) -> Self {
        check_weight(weight, [output, input, kernel]);
        let taps = kernel * kernel;
        Self::pack([input, output, kernel], |o, i, tap| weight[(i * input + o) * taps + taps - 1 - tap])
    }

    /// Packs the weights `tap(output, input, place in the kernel)`.
    pub(crate) fn pack([output, input, kernel]: [usize; 3], tap: impl Fn(usize, usize, usize) -> f32 + Sync) -> Self {
        assert!(kernel % 2 == 1, "square convolution: a kernel of even side {kernel}");
        if kernel == 3 {
            return Self(Weights::Winograd(WinogradWeights::pack(output, input, tap)));
        }
        let (panel, taps) = (2 * lanes(), kernel * kernel);
        let mut panels = vec![0.0; output.div_ceil(panel) * taps * input * panel];
        panels.par_chunks_mut((taps * input * panel).max(1)).enumerate().for_each(|(index, chunk)| {
            // Some inputs of one output after another, since they lie beside each other.
            for (place, start) in (0..taps).flat_map(|place| (0..input).step_by(16).map(move |start| (place, start))) {
                for (lane, o) in (index * panel..output.min((index + 1) * panel)).enumerate() {
                    for i in start..input.min(start + 16) {
                        chunk[(place * input + i) * panel + lane] = tap(o, i, place);
                    }
                }
            }
        });
        Self(Weights::Gathered(Gathered { panels, panel, kernel, input, output }))
    }

    /// How the pixels of `[frames, height, width]` are cut.
    pub(crate) fn cut(&self, shape: [usize; 3]) -> Cut {
        match &self.0 {
            Weights::Winograd(weights) => Cut::Tiles(weights.tiling(shape)),
            Weights::Gathered(_) => Cut::Pixels(shape.iter().product()),
        }
    }

    /// Convolves `input`, giving each piece's sums to its epilogue.
    pub(crate) fn run<E: Epilogue + Send>(&self, input: Map, cut: &Cut, epilogues: Vec<E>, workspaces: &Workspaces) {
        match (&self.0, cut) {
            (Weights::Winograd(weights), Cut::Tiles(tiling)) => {
                weights.run(input, [1; 4], tiling, epilogues, workspaces);
            }
            (Weights::Gathered(weights), _) => weights.run(input, epilogues, workspaces),
            _ => unreachable!("the cut is made by the same weights"),
        }
    }

    /// Convolves `input` into `output`, whose pixels are `stride` floats apart.
    pub fn forward(&self, input: Map, output: &mut [f32], stride: usize, finish: Finish, workspaces: &Workspaces) {
        match &self.0 {
            Weights::Winograd(weights) => weights.forward(input, [1; 4], output, stride, finish, workspaces),
            Weights::Gathered(weights) => {
                Map { data: output, channels: weights.output, stride, ..input }.check("square convolution, output");
                assert!(
                    finish.bias.is_empty() || finish.bias.len() == weights.output,
                    "square convolution: {} biases for {} channels",
                    finish.bias.len(),
                    weights.output
                );
                let lens = Cut::Pixels(input.pixels()).lens();
                let writes = Write::pieces(finish, output, &lens, weights.output, stride);
                weights.run(input, writes, workspaces);
            }
        }
    }
}

/// The gradient to the weights, `[output, input, kernel, kernel]`: the sum over `pairs` of an input
/// and the gradient to its output.
pub fn weight_gradient(pairs: &[(Map, Map)], kernel: usize, workspaces: &Workspaces) -> Vec<f32> {
    if kernel == 3 {
        return conv3x3::weight_gradient(pairs, [1; 4], workspaces);
    }
    for (map, gradient) in pairs {
        let (found, expected) = (
            [gradient.frames, gradient.height, gradient.width, map.channels, gradient.channels],
            [map.frames, map.height, map.width, pairs[0].0.channels, pairs[0].1.channels],
        );
        assert!(found == expected, "square convolution, weight gradient: {found:?}, expected {expected:?}");
        map.check("square convolution, weight gradient, input");
        gradient.check("square convolution, weight gradient, gradient");
    }
    if kernel == 1 {
        return pixel_weight_gradient(pairs, workspaces);
    }
    let Some((input, gradient)) = pairs.first() else { return Vec::new() };
    let (input, output, taps) = (input.channels, gradient.channels, kernel * kernel);
    let width = 2 * lanes();
    let panels = output.div_ceil(width);
    let mut weight = vec![0.0; output * input * taps];
    if weight.is_empty() {
        return weight;
    }
    // `[tap, panel, input, lane]`
    let mut sums = vec![0.0; taps * panels * input * width];
    let mut packed = Vec::new();
    let mut first = true;
    for &(map, gradient) in pairs {
        for start in (0..map.pixels()).step_by(CHUNK) {
            let pixels = start..map.pixels().min(start + CHUNK);
            // `[panel, pixel, lane]`
            let packed = Workspace::get(&mut packed, panels * pixels.len() * width);
            pack_panels(gradient, &pixels, packed);
            let (packed, pixels) = (&*packed, &pixels);
            let mut work: Vec<(usize, usize, &mut [f32])> = Vec::new();
            for (tap, sums) in sums.chunks_mut(panels * input * width).enumerate() {
                let chunks = sums.chunks_mut(PANELS * input * width).enumerate();
                work.extend(chunks.map(|(group, sums)| (tap, group, sums)));
            }
            work.into_par_iter().for_each(|(tap, group, sums)| {
                let segments: Vec<&[f32]> =
                    packed.chunks_exact(pixels.len() * width).skip(group * PANELS).take(PANELS).collect();
                workspaces.with(|Workspace { products: rows, .. }| {
                    let rows = Workspace::get(rows, pixels.len() * MOST);
                    let (tap, pixels) = ([tap / kernel, tap % kernel], pixels.clone());
                    Arch::new().dispatch(Accumulate {
                        map,
                        kernel,
                        tap,
                        pixels,
                        segments: &segments,
                        rows,
                        sums,
                        first,
                    });
                });
            });
            first = false;
        }
    }
    weight.par_chunks_mut(width * input * taps).enumerate().for_each(|(panel, weight)| {
        for (lane, weight) in weight.chunks_exact_mut(input * taps).enumerate() {
            for (at, weight) in weight.iter_mut().enumerate() {
                let (i, tap) = (at / taps, at % taps);
                *weight = sums[((tap * panels + panel) * input + i) * width + lane];
            }
        }
    });
    weight
}

/// The channels of `pixels` by panels, `[panel, pixel, lane]`, filled up with zeros.
fn pack_panels(map: Map, pixels: &Range<usize>, packed: &mut [f32]) {
    let width = 2 * lanes();
    packed.par_chunks_mut(pixels.len() * width).enumerate().for_each(|(panel, packed)| {
        let channels = panel * width..map.channels.min((panel + 1) * width);
        for (pixel, packed) in pixels.clone().zip(packed.chunks_exact_mut(width)) {
            let values = &map.data[pixel * map.stride..][channels.clone()];
            packed[..values.len()].copy_from_slice(values);
            packed[values.len()..].fill(0.0);
        }
    });
}

/// The weight gradient of a kernel of 1×1, `[output, input]`, whose lines are summed where they
/// stay.
fn pixel_weight_gradient(pairs: &[(Map, Map)], workspaces: &Workspaces) -> Vec<f32> {
    let Some((input, gradient)) = pairs.first() else { return Vec::new() };
    let (input, output, width) = (input.channels, gradient.channels, 2 * lanes());
    let mut weight = vec![0.0; output * input];
    if weight.is_empty() {
        return weight;
    }
    workspaces.with(|Workspace { transformed: packed, .. }| {
        for &(map, gradient) in pairs {
            for start in (0..map.pixels()).step_by(CHUNK) {
                let pixels = start..map.pixels().min(start + CHUNK);
                let packed = Workspace::get(packed, input.div_ceil(width) * pixels.len() * width);
                pack_panels(map, &pixels, packed);
                let (packed, pixels) = (&*packed, &pixels);
                weight.par_chunks_mut(4 * MOST * input).enumerate().for_each(|(index, weight)| {
                    workspaces.with(|Workspace { products: rows, .. }| {
                        let rows = Workspace::get(rows, pixels.len() * MOST);
                        let first = index * 4 * MOST;
                        Arch::new().dispatch(AddLines { packed, gradient, first, pixels, rows, weight, input });
                    });
                });
            }
        }
    });
    weight
}

/// Adds the products of pixels to some lines of the gradient of 1×1 weights.
struct AddLines<'a> {
    /// The input, `[panel, pixel, lane]`.
    packed: &'a [f32],
    gradient: Map<'a>,
    /// Output channel of the first line.
    first: usize,
    pixels: &'a Range<usize>,
    rows: &'a mut [f32],
    weight: &'a mut [f32],
    input: usize,
}

impl WithSimd for AddLines<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed, gradient, mut first, pixels, rows, weight, input } = self;
        let width = 2 * S::F32_LANES;
        let mut sums = [0.0; MOST * 32];
        for lines in weight.chunks_mut(group_rows::<S>() * input) {
            let len = lines.len() / input;
            for (pixel, row) in pixels.clone().zip(rows.chunks_exact_mut(len)) {
                row.copy_from_slice(&gradient.data[pixel * gradient.stride + first..][..len]);
            }
            for (panel, segment) in packed.chunks_exact(pixels.len() * width).enumerate() {
                let (packed, sums, segments) = (&*rows, &mut sums[..len * width], &[segment]);
                simd.vectorize(AccumulateGroup { packed, len, segments, sums: &mut *sums, first: true });
                for (line, sums) in lines.chunks_exact_mut(input).zip(sums.chunks_exact(width)) {
                    let line = &mut line[panel * width..input.min((panel + 1) * width)];
                    line.iter_mut().zip(sums).for_each(|(weight, sum)| *weight += sum);
                }
            }
            first += len;
        }
    }
}

/// Adds the products of one place in the kernel to `[panel, input, lane]`.
struct Accumulate<'a> {
    map: Map<'a>,
    kernel: usize,
    tap: [usize; 2],
    pixels: Range<usize>,
    /// Gradients of the panels.
    segments: &'a [&'a [f32]],
    rows: &'a mut [f32],
    sums: &'a mut [f32],
    first: bool,
}

impl WithSimd for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { map, kernel, tap, pixels, segments, rows, sums, first } = self;
        let (input, width) = (map.channels, 2 * S::F32_LANES);
        let groups = input.div_ceil(group_rows::<S>());
        let mut start = 0;
        for group in 0..groups {
            let len = input / groups + usize::from(group < input % groups);
            for (pixel, row) in pixels.clone().zip(rows.chunks_exact_mut(len)) {
                match neighbour(&map, kernel, pixel, tap) {
                    Some(values) => row.copy_from_slice(&values[start..start + len]),
                    None => row.fill(0.0),
                }
            }
            for (segment, sums) in segments.iter().zip(sums.chunks_exact_mut(input * width)) {
                let sums = &mut sums[start * width..(start + len) * width];
                let segments = std::slice::from_ref(segment);
                simd.vectorize(AccumulateGroup { packed: &*rows, len, segments, sums, first });
            }
            start += len;
        }
    }
}

/// The channels of the pixel that the place `tap` of a kernel centred at `pixel` meets, if it lies
/// on the map.
#[inline(always)]
fn neighbour<'a>(map: &Map<'a>, kernel: usize, pixel: usize, tap: [usize; 2]) -> Option<&'a [f32]> {
    let (line, x) = (pixel / map.width, pixel % map.width);
    let (frame, y) = (line / map.height, line % map.height);
    let y = (y + tap[0]).checked_sub(kernel / 2).filter(|&y| y < map.height)?;
    let x = (x + tap[1]).checked_sub(kernel / 2).filter(|&x| x < map.width)?;
    Some(&map.data[((frame * map.height + y) * map.width + x) * map.stride..][..map.channels])
}

/// Weights `[panel, tap, input, lane]`, a panel being two vectors of output channels.
#[derive(Clone, Debug)]
struct Gathered {
    panels: Vec<f32>,
    panel: usize,
    kernel: usize,
    input: usize,
    output: usize,
}

impl Gathered {
    fn depth(&self) -> usize {
        self.kernel * self.kernel * self.input
    }

    fn panels(&self) -> impl IndexedParallelIterator<Item = &[f32]> {
        self.panels.par_chunks_exact((self.depth() * self.panel).max(1))
    }

    /// The pixels from `start` on as rows of the left matrix, and the distance of the rows.
    fn gather<'a>(&self, input: Map<'a>, start: usize, len: usize, buffer: &'a mut Vec<f32>) -> (&'a [f32], usize) {
        if self.kernel == 1 {
            return (&input.data[start * input.stride..], input.stride);
        }
        let rows = Workspace::get(buffer, len * self.depth());
        for (index, values) in rows.chunks_exact_mut(input.channels).enumerate() {
            let (pixel, tap) = (start + index / (self.kernel * self.kernel), index % (self.kernel * self.kernel));
            match neighbour(&input, self.kernel, pixel, [tap / self.kernel, tap % self.kernel]) {
                Some(source) => values.copy_from_slice(source),
                None => values.fill(0.0),
            }
        }
        (rows, self.depth())
    }

    fn run<E: Epilogue + Send>(&self, input: Map, mut epilogues: Vec<E>, workspaces: &Workspaces) {
        input.check("square convolution, input");
        assert!(
            input.channels == self.input,
            "square convolution: {} input channels, expected {}",
            input.channels,
            self.input
        );
        let pixels = input.pixels();
        if let [epilogue] = &mut *epilogues {
            // So few pixels that the threads share the weights instead.
            return workspaces.with(|Workspace { transformed, products, .. }| {
                let (rows, row) = self.gather(input, 0, pixels, transformed);
                let products = Workspace::get(products, self.output.div_ceil(self.panel) * pixels * self.panel);
                let work = products.par_chunks_mut(pixels * self.panel).zip(self.panels());
                work.for_each(|(output, panel)| {
                    Arch::new().dispatch(Multiply { rows, row, depth: self.depth(), panel, output });
                });
                for (index, products) in products.chunks_exact(pixels * self.panel).enumerate() {
                    let channels = index * self.panel..self.output;
                    Arch::new().dispatch(Give { products, channels, epilogue });
                }
            });
        }
        epilogues.into_par_iter().enumerate().for_each(|(block, mut epilogue)| {
            workspaces.with(|Workspace { transformed, products, .. }| {
                let (start, len) = (block * BLOCK, BLOCK.min(pixels - block * BLOCK));
                let (rows, row) = self.gather(input, start, len, transformed);
                let products = Workspace::get(products, len * self.panel);
                for (index, panel) in self.panels.chunks_exact(self.depth() * self.panel).enumerate() {
                    let output = &mut *products;
                    Arch::new().dispatch(Multiply { rows, row, depth: self.depth(), panel, output });
                    let channels = index * self.panel..self.output;
                    Arch::new().dispatch(Give { products: &*products, channels, epilogue: &mut epilogue });
                }
            });
        });
    }
}

/// Gives the sums of one panel, `[pixel, lane]`, to the epilogue.
struct Give<'a, E> {
    products: &'a [f32],
    /// First channel of the panel to the last of the output.
    channels: Range<usize>,
    epilogue: &'a mut E,
}

impl<E: Epilogue> WithSimd for Give<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, channels, epilogue } = self;
        for (pixel, [left, right]) in S::as_simd_f32s(products).0.as_chunks::<2>().0.iter().enumerate() {
            epilogue.store(simd, pixel, channels.start, *left);
            if channels.start + S::F32_LANES < channels.end {
                epilogue.store(simd, pixel, channels.start + S::F32_LANES, *right);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::winograd::tests::{error, naive, noise};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_the_naive_convolution(
            [frames, height, width] in [1..4_usize, 1..9_usize, 1..9_usize],
            [input, output] in [1..40_usize, 1..40_usize],
            half in 0..3_usize,
            gap in 0..3_usize,
            seed in any::<u32>(),
        ) {
            let kernel = 2 * half + 1;
            let values = noise(frames * height * width * (input + gap), seed);
            let map = Map { data: &values, frames, height, width, channels: input, stride: input + gap };
            let weight = noise(output * input * kernel * kernel, seed ^ 1);
            let shape = [output, input, kernel];
            let workspaces = Workspaces::default();
            let mut sums = vec![0.0; map.pixels() * output];
            SquareWeights::new(&weight, shape).forward(map, &mut sums, output, Finish::NONE, &workspaces);
            let expected = naive(map, &weight, output, kernel, [half; 4]);
            prop_assert!(error(&sums, &expected) < 2e-5, "{}", error(&sums, &expected));

            let gradients = noise(map.pixels() * output, seed ^ 3);
            let gradient = Map { data: &gradients, channels: output, stride: output, ..map };
            let mut found = vec![0.0; map.pixels() * input];
            SquareWeights::transposed(&weight, shape).forward(gradient, &mut found, input, Finish::NONE, &workspaces);
            let weights = weight_gradient(&[(map, gradient)], kernel, &workspaces);
            // By the definition of a gradient: the products with any change of input and weights.
            let (input_change, weight_change) = (noise(map.pixels() * input, seed ^ 4), noise(weight.len(), seed ^ 5));
            let dot = |x: &[f64], y: &[f32]| -> f64 { x.iter().zip(y).map(|(x, &y)| x * f64::from(y)).sum() };
            let dot32 = |x: &[f32], y: &[f32]| dot(&x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), y);
            let changed = Map { data: &input_change, stride: input, ..map };
            let expected = dot(&naive(changed, &weight, output, kernel, [half; 4]), &gradients);
            let scale = (found.len() as f64).sqrt() * found.iter().fold(1e-3_f32, |x, y| x.max(y.abs())) as f64;
            prop_assert!((dot32(&found, &input_change) - expected).abs() < 2e-5 * scale);
            let expected = dot(&naive(map, &weight_change, output, kernel, [half; 4]), &gradients);
            let scale = (weights.len() as f64).sqrt() * weights.iter().fold(1e-3_f32, |x, y| x.max(y.abs())) as f64;
            prop_assert!((dot32(&weights, &weight_change) - expected).abs() < 2e-5 * scale);
        }
    }
}
