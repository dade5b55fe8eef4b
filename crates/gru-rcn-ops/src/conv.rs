//! Convolutions of any kernel, stride and grouping, without a column matrix.
//!
//! A pixel of the output is a product of weights and the window of the input above it. The input
//! has a border of zeros as wide as the padding, so a line of the window is one contiguous run of
//! `kernel width × channels` numbers, and [`gemm`](crate::gemm) reads the runs where they lie. This
//! also serves first layers: the seven lines of 7×7 windows of three channels are runs of 21.
//! Depthwise convolutions have a kernel of their own. Errors are those of [`gemm`](crate::gemm).

use std::ops::Range;
use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};

use crate::{
    gemm::{BLOCK, Packed, Position, Product, Rows},
    layout::Layout,
    simd::{self, Activation},
    winograd::WinogradWeights,
};

/// Sizes of a window: `[height, width]`, and padding at top, left, bottom, right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 4],
}

impl Window {
    /// Size of the output, none where the padded input is smaller than the window.
    pub(crate) fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |i: usize| {
            let padded = input[i] + self.padding[i] + self.padding[i + 2];
            Some(padded.checked_sub(self.kernel[i])? / self.stride[i] + 1)
        };
        Some([along(0)?, along(1)?])
    }
}

/// A convolution with packed weights.
#[derive(Debug)]
pub(crate) struct Conv {
    pub(crate) window: Window,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) activation: Activation,
    /// One number per channel of the output.
    pub(crate) bias: Vec<f32>,
    groups: usize,
    /// The weights are packed in one of two forms, or in both after [`prepare`](Self::prepare).
    direct: OnceLock<Weights>,
    winograd: OnceLock<WinogradWeights>,
}

#[derive(Debug)]
enum Weights {
    /// One matrix per group, rows in the order of kernel row, kernel column, channel.
    Dense(Vec<Packed>),
    /// `[kernel row, kernel column, channel]`.
    Depthwise(Vec<f32>),
}

/// A value of some frames, one after another, and the layout of each.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) map: &'a [f32],
    pub(crate) layout: Layout,
}

impl Value<'_> {
    /// The frames from `frame` on.
    pub(crate) fn skip(self, frame: usize) -> Self {
        Self { map: &self.map[frame * self.layout.len()..], ..self }
    }

    /// Index of the first channel of a pixel.
    pub(crate) fn pixel(&self, frame: usize, y: usize, x: usize) -> usize {
        frame * self.layout.len() + self.layout.pixel(y, x)
    }
}

/// All rows of some frames of an output, or some rows of one frame.
pub(crate) struct Output<'a> {
    pub(crate) map: &'a mut [f32],
    pub(crate) layout: Layout,
    /// Where `map` starts in the first frame.
    pub(crate) start: usize,
    pub(crate) frames: usize,
    pub(crate) rows: Range<usize>,
}

impl Output<'_> {
    /// Index of the first channel of a pixel.
    pub(crate) fn pixel(&self, frame: usize, y: usize, x: usize) -> usize {
        frame * self.layout.len() + self.layout.pixel(y, x) - self.start
    }
}

impl Conv {
    /// Packs `weight` `[output, input / groups, kernel height, kernel width]`.
    pub(crate) fn new(
        weight: &[f32],
        bias: &[f32],
        [input, output]: [usize; 2],
        groups: usize,
        window: Window,
        activation: Activation,
    ) -> Self {
        let (direct, winograd) = (OnceLock::new(), OnceLock::new());
        let conv = Self { window, input, output, activation, bias: bias.to_vec(), groups, direct, winograd };
        if conv.suits_winograd() && WinogradWeights::are_many(output, input) {
            // The direct form would be a second copy that few plans use.
            let _ = conv.winograd.set(WinogradWeights::new(weight, output, input));
        } else {
            let _ = conv.direct.set(conv.pack(|i| weight[i]));
        }
        conv
    }

    /// Packs `weight`, a function of the position in `[output, input / groups, kernel height,
    /// kernel width]`.
    fn pack(&self, weight: impl Fn(usize) -> f32) -> Weights {
        let Self { input, output, groups, ref bias, .. } = *self;
        let taps = self.window.kernel.iter().product::<usize>();
        let (depth, columns) = (input / groups, output / groups);
        if groups == input && output == input {
            let weights = (0..taps * input).map(|i| weight((i % input) * taps + i / input)).collect();
            return Weights::Depthwise(weights);
        }
        let pack = |group: usize| {
            let element = |row: usize, column: usize| {
                let (tap, channel) = (row / depth, row % depth);
                weight(((group * columns + column) * depth + channel) * taps + tap)
            };
            Packed::new(taps * depth, columns, element, &bias[group * columns..][..columns])
        };
        Weights::Dense((0..groups).map(pack).collect())
    }

    /// Whether all channels see each other.
    pub(crate) fn is_ungrouped(&self) -> bool {
        self.groups == 1
    }

    /// Whether Winograd's method computes this convolution, and faster.
    pub(crate) fn suits_winograd(&self) -> bool {
        let Window { kernel, stride, padding } = self.window;
        let wide = self.input >= 16 && self.output >= 16;
        kernel == [3, 3] && stride == [1, 1] && self.groups == 1 && wide && padding.iter().all(|side| *side <= 1)
    }

    /// Packs the weights for Winograd's method or for the direct one, unless they are packed for it already.
    pub(crate) fn prepare(&self, winograd: bool) {
        // Not `get_or_init`: two jobs of one thread may wait for its lock.
        match (self.direct.get(), self.winograd.get()) {
            (Some(Weights::Dense(groups)), None) if winograd => {
                let element = |o, i, place| groups[0].weight(place * self.input + i, o);
                let _ = self.winograd.set(WinogradWeights::pack(self.output, self.input, element));
            }
            (None, Some(weights)) if !winograd => {
                let _ = self.direct.set(self.pack(|i| weights.tap(i / 9 / self.input, i / 9 % self.input, i % 9)));
            }
            _ => {}
        }
    }

    /// The weights for Winograd's method.
    pub(crate) fn winograd(&self) -> &WinogradWeights {
        self.winograd.get().expect("the plan prepares the weights")
    }

    /// Writes the rows of `output`; its border stays as it is.
    pub(crate) fn run(&self, input: Value<'_>, add: Option<Value<'_>>, output: Output<'_>) {
        Arch::new().dispatch(Run { conv: self, input, add, output });
    }
}

struct Run<'a> {
    conv: &'a Conv,
    input: Value<'a>,
    add: Option<Value<'a>>,
    output: Output<'a>,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let conv = self.conv;
        match conv.direct.get().expect("the plan prepares the weights") {
            Weights::Dense(groups) => self.dense(simd, groups),
            Weights::Depthwise(weights) => {
                let depthwise = Depthwise { run: self, weights, bias: &conv.bias };
                let Window { kernel, stride, .. } = depthwise.run.conv.window;
                match (kernel, stride) {
                    ([3, 3], [1, 1]) => simd.vectorize(DepthwiseOf::<3, 1>(depthwise)),
                    ([3, 3], [2, 2]) => simd.vectorize(DepthwiseOf::<3, 2>(depthwise)),
                    ([5, 5], [1, 1]) => simd.vectorize(DepthwiseOf::<5, 1>(depthwise)),
                    ([5, 5], [2, 2]) => simd.vectorize(DepthwiseOf::<5, 2>(depthwise)),
                    _ => simd.vectorize(DepthwiseOf::<0, 1>(depthwise)),
                }
            }
        }
    }
}

impl Run<'_> {
    #[inline(always)]
    fn dense<S: Simd>(self, simd: S, groups: &[Packed]) {
        let Self { conv, input, add, output } = self;
        let Window { kernel, stride, padding } = conv.window;
        let depth = conv.input / groups.len();
        let from = input.layout;
        let (runs, run): (Vec<usize>, usize) = if depth == from.stride {
            ((0..kernel[0]).map(|y| y * from.row()).collect(), kernel[1] * depth)
        } else {
            let tap = |i: usize| i / kernel[1] * from.row() + i % kernel[1] * from.stride;
            ((0..kernel[0] * kernel[1]).map(tap).collect(), depth)
        };
        let width = output.layout.width;
        let pixels = output.frames * output.rows.len() * width;
        let mut positions = [Position::default(); BLOCK];
        let (mut frame, mut y, mut x) = (0, output.rows.start, 0);
        for first in (0..pixels).step_by(BLOCK) {
            let positions = &mut positions[..BLOCK.min(pixels - first)];
            for position in &mut *positions {
                let corner = from.index([y * stride[0], x * stride[1]], [padding[0], padding[1]]);
                *position = Position {
                    input: frame * from.len() + corner,
                    output: output.pixel(frame, y, x),
                    add: add.map_or(0, |add| add.pixel(frame, y, x)),
                };
                x += 1;
                if x == width {
                    (y, x) = (y + 1, 0);
                    if y == output.rows.end {
                        (frame, y) = (frame + 1, output.rows.start);
                    }
                }
            }
            for packed in groups {
                Product {
                    packed,
                    rows: Rows { x: input.map, runs: &runs, run },
                    positions,
                    add: add.map(|add| add.map),
                    activation: conv.activation,
                    out: &mut *output.map,
                }
                .with_simd(simd);
                for position in &mut *positions {
                    position.input += depth;
                    position.output += packed.n();
                    position.add += packed.n();
                }
            }
        }
    }
}

struct Depthwise<'a> {
    run: Run<'a>,
    weights: &'a [f32],
    bias: &'a [f32],
}

/// Depthwise convolution of a square kernel of `K` pixels and a stride of `STRIDE`; of any where
/// `K` is 0.
struct DepthwiseOf<'a, const K: usize, const STRIDE: usize>(Depthwise<'a>);

/// Pixels of a tile. Maps of 224 pixels are halved to 112, 56, 28, 14 and 7.
const TILE: usize = 7;

impl<const K: usize, const STRIDE: usize> WithSimd for DepthwiseOf<'_, K, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut task = self.0;
        let width = task.run.output.layout.width;
        let channels = task.run.conv.input;
        let rows = task.run.output.rows.clone();
        for (frame, y) in (0..task.run.output.frames).flat_map(|frame| rows.clone().map(move |y| (frame, y))) {
            let mut x = 0;
            while x < width {
                let tile = if K > 0 && width - x >= TILE { TILE } else { 1 };
                let mut c = 0;
                while c + S::F32_LANES <= channels {
                    if tile == 1 {
                        pixels::<S, 1, K, STRIDE, true>(simd, &mut task, [frame, y, x], c);
                    } else {
                        pixels::<S, TILE, K, STRIDE, true>(simd, &mut task, [frame, y, x], c);
                    }
                    c += S::F32_LANES;
                }
                if c < channels {
                    for x in x..x + tile {
                        pixels::<S, 1, K, STRIDE, false>(simd, &mut task, [frame, y, x], c);
                    }
                }
                x += tile;
            }
        }
    }
}

/// One vector of channels, `WHOLE` or in part, of `P` pixels of a row.
#[inline(always)]
fn pixels<S: Simd, const P: usize, const K: usize, const STRIDE: usize, const WHOLE: bool>(
    simd: S,
    task: &mut Depthwise<'_>,
    [frame, y, x]: [usize; 3],
    channel: usize,
) {
    let Run { conv, input, add, output } = &mut task.run;
    let Window { kernel, stride, padding } = conv.window;
    let (kernel, stride) = if K > 0 { ([K; 2], [STRIDE; 2]) } else { (kernel, stride) };
    let from = input.layout;
    let channels = conv.input;
    let len = if WHOLE { S::F32_LANES } else { channels - channel };
    let get = |x: &[f32], at: usize| -> S::f32s {
        let x = &x[at..at + len];
        if WHOLE { S::as_simd_f32s(x).0[0] } else { simd.partial_load_f32s(x) }
    };

    let mut sums = [get(task.bias, channel); P];
    let corner = frame * from.len() + from.index([y * stride[0], x * stride[1]], [padding[0], padding[1]]) + channel;
    for ky in 0..kernel[0] {
        let row = &input.map[corner + ky * from.row()..];
        let weights = &task.weights[ky * kernel[1] * channels..][..kernel[1] * channels];
        if K == 0 {
            for kx in 0..kernel[1] {
                let weight = get(weights, kx * channels + channel);
                sums[0] = simd.mul_add_e_f32s(get(row, kx * from.stride), weight, sums[0]);
            }
            continue;
        }
        let mut line = [simd.splat_f32s(0.0); K];
        for (kx, weight) in line.iter_mut().enumerate() {
            *weight = get(weights, kx * channels + channel);
        }
        // Every pixel is loaded once for all windows that it lies in.
        for at in 0..P + (K - 1) / STRIDE {
            for phase in 0..STRIDE {
                if at * STRIDE + phase < (P - 1) * STRIDE + K {
                    let pixel = get(row, (at * STRIDE + phase) * from.stride);
                    for before in 0..K.div_ceil(STRIDE) {
                        let kx = before * STRIDE + phase;
                        if kx < K && before <= at && at - before < P {
                            sums[at - before] = simd.mul_add_e_f32s(pixel, line[kx], sums[at - before]);
                        }
                    }
                }
            }
        }
    }
    for (p, sum) in sums.into_iter().enumerate() {
        let sum = match add {
            Some(add) => simd.add_f32s(sum, get(add.map, add.pixel(frame, y, x + p) + channel)),
            None => sum,
        };
        let at = output.pixel(frame, y, x + p) + channel;
        simd::store(simd, &mut output.map[at..], len, conv.activation.apply(simd, sum));
    }
}
