//! 3×3 convolutions of stride 1 by Winograd's minimal filtering, F(4×4, 3×3).
//!
//! An output tile of 4×4 pixels needs 36 multiplications per pair of channels instead of 144
//! (Lavin and Gray, arXiv 1509.09308). A block of tiles goes through input transform, 36 products
//! and output transform while it is in the cache, and the last step (bias, activation, gates of a
//! recurrent cell) runs on the sums while they are in registers. Smaller tiles, F(2×2), need as
//! many multiplications or more on every map of more than 2×2 pixels, so there are none.
//!
//! The interpolation points are 0, ±5/8, ±3/2 and infinity, which halve the error of the usual 0,
//! ±1, ±2: the relative error against exact arithmetic is 7e-7 in the mean square and at most 2e-5
//! of the largest output.

#![allow(
    clippy::needless_range_loop,
    reason = "loops by position over small arrays are unrolled, closures may not be inlined into vector code"
)]

use std::ops::Range;
use std::sync::Mutex;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::{lanes, load, store};

/// Side of an output tile.
const TILE: usize = 4;
/// Side of an input tile.
const PATCH: usize = TILE + 2;
/// Positions of a transformed tile.
pub(crate) const POSITIONS: usize = PATCH * PATCH;
/// The finite interpolation points are 0, ±A and ±B.
const A: f32 = 0.625;
const B: f32 = 1.5;

/// A channels-last map that is read: `[frame, height, width, channel]` with pixels `stride` floats
/// apart, so that it may be a slice of the channels of a wider map.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// Starts at the first channel of the first pixel.
    pub data: &'a [f32],
    /// Number of frames.
    pub frames: usize,
    /// Rows of a frame.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// Distance of two pixels in floats.
    pub stride: usize,
}

impl<'a> Map<'a> {
    /// A map whose pixels follow each other without a gap.
    pub fn dense(data: &'a [f32], [frames, height, width, channels]: [usize; 4]) -> Self {
        Self { data, frames, height, width, channels, stride: channels }
    }

    /// The channels `range` of this map.
    pub fn channels(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.channels, "Map: channels {range:?} of {}", self.channels);
        let data = self.data.get(range.start..).unwrap_or_default();
        Self { data, channels: range.len(), ..self }
    }

    /// The frames `range` of this map.
    pub fn frames(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.frames, "Map: frames {range:?} of {}", self.frames);
        let data = self.data.get(range.start * self.height * self.width * self.stride..).unwrap_or_default();
        Self { data, frames: range.len(), ..self }
    }

    /// Number of pixels of all frames.
    pub fn pixels(&self) -> usize {
        self.frames * self.height * self.width
    }

    pub(crate) fn check(&self, operator: &str) {
        let least = self.pixels().checked_sub(1).map_or(0, |last| last * self.stride + self.channels);
        assert!(
            self.channels <= self.stride && self.data.len() >= least,
            "{operator}: {} floats for a map [{}, {}, {}, {}] of stride {}",
            self.data.len(),
            self.frames,
            self.height,
            self.width,
            self.channels,
            self.stride
        );
    }
}

/// Takes the sums of a convolution for one piece of the output. Pixels count from the start of the
/// piece.
pub(crate) trait Epilogue {
    /// Takes the sums of the channels `channel..channel + F32_LANES` of a pixel; those past the
    /// last channel are zero.
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, sums: S::f32s);
}

/// Bias, residual and activation of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// One value per output channel, or none.
    pub bias: &'a [f32],
    /// A map of the output's shape that is added before the activation.
    pub add: Option<Map<'a>>,
    /// Bounds of the output: `[0, ∞]` is ReLU. NaN passes.
    pub range: [f32; 2],
}

impl Finish<'_> {
    /// The bare convolution.
    pub const NONE: Self = Self { bias: &[], add: None, range: [f32::NEG_INFINITY, f32::INFINITY] };
}

/// An [`Epilogue`] that writes to a map.
pub(crate) struct Write<'a> {
    finish: Finish<'a>,
    /// Pixel of the whole output that is the first of this piece.
    first: usize,
    output: &'a mut [f32],
    channels: usize,
    stride: usize,
}

impl<'a> Write<'a> {
    /// Writes to the pieces of `lens` pixels of `output`.
    pub(crate) fn pieces(
        finish: Finish<'a>,
        output: &'a mut [f32],
        lens: &[usize],
        channels: usize,
        stride: usize,
    ) -> Vec<Self> {
        let mut next = 0;
        let write = |(output, len)| {
            let first = next;
            next += len;
            Self { finish, first, output, channels, stride }
        };
        pieces(output, lens, stride).into_iter().zip(lens).map(write).collect()
    }
}

impl Epilogue for Write<'_> {
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, pixel: usize, channel: usize, mut sums: S::f32s) {
        let len = S::F32_LANES.min(self.channels - channel);
        if !self.finish.bias.is_empty() {
            sums = simd.add_f32s(sums, load(simd, &self.finish.bias[channel..], len));
        }
        if let Some(add) = &self.finish.add {
            sums = simd.add_f32s(sums, load(simd, &add.data[(self.first + pixel) * add.stride + channel..], len));
        }
        let [low, high] = self.finish.range.map(|bound| simd.splat_f32s(bound));
        // The second operand wins where one is NaN.
        sums = simd.min_f32s(high, simd.max_f32s(low, sums));
        store(simd, &mut self.output[pixel * self.stride + channel..], len, sums);
    }
}

/// Memory of one thread that is reused from call to call.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) weights: Vec<f32>,
    pub(crate) transformed: Vec<f32>,
    pub(crate) products: Vec<f32>,
}

impl Workspace {
    /// `len` floats of any value.
    pub(crate) fn get(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
        if buffer.len() < len {
            // Not `resize`, which would copy what is overwritten anyway.
            *buffer = vec![0.0; len];
        }
        &mut buffer[..len]
    }
}

/// Workspaces for any number of threads.
#[derive(Debug, Default)]
pub struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Runs `work` on a workspace that no other thread uses.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Workspace) -> R) -> R {
        let lock = || self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut workspace = lock().pop().unwrap_or_default();
        let result = work(&mut workspace);
        lock().push(workspace);
        result
    }
}

/// How the tiles of an output are cut into blocks. A block is whole frames or whole rows of tiles
/// of one frame, so its pixels are one contiguous piece of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    frames: usize,
    height: usize,
    width: usize,
    tiles: [usize; 2],
    block_frames: usize,
    block_rows: usize,
}

/// A block of tiles: rows of tiles of each of some frames.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    frames: Range<usize>,
    rows: Range<usize>,
}

impl Tiling {
    /// Blocks of about `target` tiles.
    pub(crate) fn new([frames, height, width]: [usize; 3], target: usize) -> Self {
        let tiles = [height.div_ceil(TILE), width.div_ceil(TILE)];
        let (frame, row) = (tiles[0] * tiles[1], tiles[1].max(1));
        let (block_frames, block_rows) = if frame <= target {
            ((target / frame.max(1)).max(1), tiles[0])
        } else {
            // Rows of tiles are dealt out evenly.
            let blocks = tiles[0].div_ceil((target / row).max(1));
            (1, tiles[0].div_ceil(blocks))
        };
        Self { frames, height, width, tiles, block_frames, block_rows }
    }

    fn row_blocks(&self) -> usize {
        self.tiles[0].div_ceil(self.block_rows.max(1))
    }

    pub(crate) fn blocks(&self) -> usize {
        self.frames.div_ceil(self.block_frames) * self.row_blocks()
    }

    pub(crate) fn block(&self, index: usize) -> Block {
        let (frame, row) = (index / self.row_blocks() * self.block_frames, index % self.row_blocks() * self.block_rows);
        Block {
            frames: frame..self.frames.min(frame + self.block_frames),
            rows: row..self.tiles[0].min(row + self.block_rows),
        }
    }

    /// The pixels of a block.
    pub(crate) fn pixels(&self, block: &Block) -> Range<usize> {
        let pixel = |frame: usize, row: usize| (frame * self.height + self.height.min(row * TILE)) * self.width;
        pixel(block.frames.start, block.rows.start)..pixel(block.frames.end - 1, block.rows.end)
    }

    /// Pixels of the blocks.
    pub(crate) fn lens(&self) -> Vec<usize> {
        (0..self.blocks()).map(|index| self.pixels(&self.block(index)).len()).collect()
    }

    /// Tiles of a block.
    pub(crate) fn tiles(&self, block: &Block) -> usize {
        block.frames.len() * block.rows.len() * self.tiles[1]
    }

    /// Frame, row and column of the tiles of a block.
    fn places(&self, block: &Block) -> impl Iterator<Item = [usize; 3]> {
        let (rows, columns) = (block.rows.clone(), self.tiles[1]);
        block.frames.clone().flat_map(move |frame| {
            rows.clone().flat_map(move |row| (0..columns).map(move |column| [frame, row, column]))
        })
    }
}

/// `values` cut into pieces of `lens` pixels of `stride` floats.
pub(crate) fn pieces<'a>(mut values: &'a mut [f32], lens: &[usize], stride: usize) -> Vec<&'a mut [f32]> {
    let cut = |len: &usize| {
        // The last pixel of a slice of the channels may end before the stride does.
        let len = values.len().min(len * stride);
        let (piece, rest) = std::mem::take(&mut values).split_at_mut(len);
        values = rest;
        piece
    };
    lens.iter().map(cut).collect()
}

/// Where the positions of a block of transformed tiles lie: `[position, tile, channel]`.
#[derive(Clone, Copy)]
pub(crate) struct TileLayout {
    pub(crate) tile: usize,
    pub(crate) position: usize,
}

impl TileLayout {
    /// Distances that are no multiple of large powers of two, since the lines of all positions
    /// would share a few sets of the cache.
    pub(crate) fn new(tiles: usize, channels: usize) -> Self {
        let tile = channels.next_multiple_of(LINE) + if channels.is_multiple_of(4 * LINE) { LINE } else { 0 };
        let position = tiles * tile;
        Self { tile, position: position + if position.is_multiple_of(4 * LINE) { LINE } else { 0 } }
    }

    pub(crate) fn len(&self) -> usize {
        POSITIONS * self.position
    }
}

/// Panics unless there are as many weights as `[output, input, kernel, kernel]` has.
pub(crate) fn check_weight(weight: &[f32], [output, input, kernel]: [usize; 3]) {
    assert!(
        weight.len() == output * input * kernel * kernel,
        "convolution: {} weights for [{output}, {input}, {kernel}, {kernel}]",
        weight.len()
    );
}

/// Depth of a product whose weights fill half of the first cache.
const DEPTH: usize = 256;
/// Floats of a cache line, and the most lanes of a vector.
const LINE: usize = 16;

/// Weights of a 3×3 convolution for the transformed domain, where they are four times as many.
/// Many weights are transformed when they are used, some panels at a time: for few tiles that is faster
/// than fetching them from memory, and for many it takes little of the time.
#[derive(Clone, Debug)]
pub struct WinogradWeights {
    /// `[panel, position, input channel, lane]`, a panel being two vectors of output channels; or
    /// untransformed, `[panel, input channel, place in the kernel, lane]`.
    panels: Vec<f32>,
    transformed: bool,
    panel: usize,
    input: usize,
    output: usize,
}

/// Numbers of transformed weights from which they are transformed when they are used.
const MANY: usize = 1 << 21;
/// Panels that are transformed and used at a time.
const GROUP: usize = 4;

impl WinogradWeights {
    /// Transforms `weight` `[output, input, 3, 3]`.
    pub fn new(weight: &[f32], output: usize, input: usize) -> Self {
        check_weight(weight, [output, input, 3]);
        Self::pack(output, input, |o, i, tap| weight[(o * input + i) * 9 + tap])
    }

    /// The weights of the gradient to the input: `weight` `[output, input, 3, 3]` turned by half a
    /// turn, with input and output exchanged.
    pub fn transposed(weight: &[f32], output: usize, input: usize) -> Self {
        check_weight(weight, [output, input, 3]);
        Self::pack(input, output, |o, i, tap| weight[(i * input + o) * 9 + 8 - tap])
    }

    /// Transforms the weights `tap(output, input, place in the kernel)`.
    pub(crate) fn pack(output: usize, input: usize, tap: impl Fn(usize, usize, usize) -> f32 + Sync) -> Self {
        let mut weights = Self { panels: Vec::new(), transformed: false, panel: 2 * lanes(), input, output };
        weights.transformed = !Self::are_many(output, input);
        let Self { transformed, panel, .. } = weights;
        let len = if transformed { weights.panel_len() } else { 9 * input * panel };
        let mut panels = vec![0.0; weights.count() * len];
        if input > 0 {
            panels.par_chunks_mut(len).enumerate().for_each(|(index, chunk)| {
                let raw = |target: &mut [f32]| {
                    for (i, places) in target.chunks_exact_mut(9 * panel).enumerate() {
                        for (place, lanes) in places.chunks_exact_mut(panel).enumerate() {
                            for (lane, o) in (index * panel..output.min((index + 1) * panel)).enumerate() {
                                lanes[lane] = tap(o, i, place);
                            }
                        }
                    }
                };
                if transformed {
                    let mut taps = vec![0.0; 9 * input * panel];
                    raw(&mut taps);
                    Arch::new().dispatch(TransformWeights { taps: &taps, chunk });
                } else {
                    raw(chunk);
                }
            });
        }
        Self { panels, ..weights }
    }

    /// Whether weights are so many that they are kept untransformed.
    pub(crate) fn are_many(output: usize, input: usize) -> bool {
        POSITIONS * output * input > MANY
    }

    /// One of the weights, if they are kept untransformed.
    pub(crate) fn tap(&self, output: usize, input: usize, place: usize) -> f32 {
        assert!(!self.transformed, "the weights are transformed");
        let (panel, lane) = (output / self.panel, output % self.panel);
        self.panels[((panel * self.input + input) * 9 + place) * self.panel + lane]
    }

    /// Distance of two positions of a transformed panel. Lines of all positions are written at a
    /// time, and without the line between two positions they would share a few sets of the cache.
    fn position_len(&self) -> usize {
        self.input * self.panel + LINE
    }

    /// Floats of a transformed panel.
    fn panel_len(&self) -> usize {
        POSITIONS * self.position_len()
    }

    /// Number of panels.
    fn count(&self) -> usize {
        self.output.div_ceil(self.panel)
    }

    /// Some transformed panels; in `buffer` if they are transformed here.
    #[inline(always)]
    fn panels<'a, S: Simd>(&'a self, simd: S, range: Range<usize>, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        let len = self.panel_len();
        if self.transformed {
            return &self.panels[range.start * len..range.end * len];
        }
        let buffer = Workspace::get(buffer, range.len() * len);
        let raw = 9 * self.input * self.panel;
        for (chunk, index) in buffer.chunks_exact_mut(len).zip(range) {
            let taps = &self.panels[index * raw..(index + 1) * raw];
            simd.vectorize(TransformWeights { taps, chunk });
        }
        buffer
    }

    /// Tiles of a block: enough to use the weights often, few enough for the cache.
    fn target(&self) -> usize {
        (98_304 / (self.input + self.output).max(1)).clamp(48, 128)
    }

    /// Whether there are so few tiles for so many weights that the threads share the weights.
    fn shares_weights(&self, tiles: usize) -> bool {
        self.count() * self.panel_len() > 1 << 18 && tiles * (self.input + self.output) <= 98_304
    }

    /// How an output is cut for several threads.
    pub(crate) fn tiling(&self, shape: [usize; 3]) -> Tiling {
        let tiles = shape[0] * shape[1].div_ceil(TILE) * shape[2].div_ceil(TILE);
        let target = if self.shares_weights(tiles) { 16 } else { tiles.div_ceil(8).clamp(12, self.target()) };
        Tiling::new(shape, target)
    }

    /// Height and width of the output. Padding is top, left, bottom, right.
    pub fn output_size([height, width]: [usize; 2], [top, left, bottom, right]: [usize; 4]) -> [usize; 2] {
        [(height + top + bottom).saturating_sub(2), (width + left + right).saturating_sub(2)]
    }

    fn output_shape(input: Map, padding: [usize; 4]) -> [usize; 3] {
        let [height, width] = Self::output_size([input.height, input.width], padding);
        [input.frames, height, width]
    }

    /// Convolves `input`, padded by zeros at top, left, bottom and right, into `output`, whose
    /// pixels are `stride` floats apart. The frames' tiles are spread over the threads.
    pub fn forward(
        &self,
        input: Map,
        padding: [usize; 4],
        output: &mut [f32],
        stride: usize,
        finish: Finish,
        workspaces: &Workspaces,
    ) {
        let tiling = self.tiling(Self::output_shape(input, padding));
        let writes = self.writes(input, padding, &tiling, output, stride, finish);
        self.run(input, padding, &tiling, writes, workspaces);
    }

    /// Convolves the blocks of a tiling, each with its epilogue.
    pub(crate) fn run<E: Epilogue + Send>(
        &self,
        input: Map,
        padding: [usize; 4],
        tiling: &Tiling,
        epilogues: Vec<E>,
        workspaces: &Workspaces,
    ) {
        let tiles = (0..tiling.blocks()).map(|index| tiling.tiles(&tiling.block(index)));
        if self.shares_weights(tiles.sum()) {
            return self.run_shared(input, padding, tiling, epilogues, workspaces);
        }
        epilogues.into_par_iter().enumerate().for_each(|(index, mut epilogue)| {
            workspaces.with(|workspace| {
                self.block(input, padding, tiling, &tiling.block(index), workspace, &mut epilogue);
            });
        });
    }

    /// As [`forward`](Self::forward), on the calling thread alone.
    pub fn forward_here(
        &self,
        input: Map,
        padding: [usize; 4],
        output: &mut [f32],
        stride: usize,
        finish: Finish,
        workspace: &mut Workspace,
    ) {
        let tiling = Tiling::new(Self::output_shape(input, padding), self.target());
        let writes = self.writes(input, padding, &tiling, output, stride, finish);
        for (index, mut write) in writes.into_iter().enumerate() {
            self.block(input, padding, &tiling, &tiling.block(index), workspace, &mut write);
        }
    }

    fn writes<'a>(
        &self,
        input: Map,
        padding: [usize; 4],
        tiling: &Tiling,
        output: &'a mut [f32],
        stride: usize,
        finish: Finish<'a>,
    ) -> Vec<Write<'a>> {
        let [_, height, width] = Self::output_shape(input, padding);
        let map = Map { data: output, frames: input.frames, height, width, channels: self.output, stride };
        map.check("Winograd convolution, output");
        assert!(
            finish.bias.is_empty() || finish.bias.len() == self.output,
            "Winograd convolution: {} biases for {} channels",
            finish.bias.len(),
            self.output
        );
        if let Some(add) = &finish.add {
            let found = [add.frames, add.height, add.width, add.channels];
            let expected = [input.frames, height, width, self.output];
            assert!(found == expected, "Winograd convolution: a residual of shape {found:?}, expected {expected:?}");
            add.check("Winograd convolution, residual");
        }
        Write::pieces(finish, output, &tiling.lens(), self.output, stride)
    }

    /// As [`run`](Self::run), stage by stage, so that the products are spread by output channels.
    fn run_shared<E: Epilogue + Send>(
        &self,
        input: Map,
        padding: [usize; 4],
        tiling: &Tiling,
        epilogues: Vec<E>,
        workspaces: &Workspaces,
    ) {
        self.check(input);
        let blocks: Vec<Block> = (0..tiling.blocks()).map(|index| tiling.block(index)).collect();
        let tiles: Vec<usize> = blocks.iter().map(|block| tiling.tiles(block)).collect();
        let layout = TileLayout::new(tiles.iter().copied().max().unwrap_or(0), input.channels);
        if layout.len() == 0 || self.panels.is_empty() {
            return;
        }
        workspaces.with(|workspace| {
            let transformed = Workspace::get(&mut workspace.transformed, blocks.len() * layout.len());
            transformed.par_chunks_mut(layout.len()).zip(&blocks).for_each(|(transformed, block)| {
                Arch::new().dispatch(TransformInput { input, padding, tiling, block, layout, transformed });
            });
            let transformed = &*transformed;
            let position = self.products_position(tiles.iter().sum());
            let products = Workspace::get(&mut workspace.products, self.products_len(position));
            // Eight pieces, each of several panels where there are more.
            let each = self.count().div_ceil(8);
            products.par_chunks_mut(each * POSITIONS * position).enumerate().for_each(|(piece, products)| {
                let (weights, tiles) = (self, &*tiles);
                let panels = piece * each..self.count().min((piece + 1) * each);
                workspaces.with(|Workspace { weights: buffer, .. }| {
                    Arch::new().dispatch(MultiplyPanels {
                        weights,
                        panels,
                        buffer,
                        transformed,
                        layout,
                        tiles,
                        products,
                        position,
                    });
                });
            });
            let products = &*products;
            epilogues.into_par_iter().enumerate().for_each(|(index, mut epilogue)| {
                let first = tiles[..index].iter().sum::<usize>() * self.panel;
                for (panel, products) in products.chunks_exact(POSITIONS * position).enumerate() {
                    Arch::new().dispatch(TransformOutput {
                        products: &products[first..],
                        position,
                        tiling,
                        block: &blocks[index],
                        channels: panel * self.panel..self.output,
                        epilogue: &mut epilogue,
                    });
                }
            });
        });
    }

    /// Distance of two positions of the products, whose lines are kept apart as in [`TileLayout`].
    fn products_position(&self, tiles: usize) -> usize {
        tiles * self.panel + LINE
    }

    /// Floats of all products, `[panel, position, tile, lane]`.
    fn products_len(&self, position: usize) -> usize {
        self.count() * POSITIONS * position
    }

    fn check(&self, input: Map) {
        input.check("Winograd convolution, input");
        assert!(
            input.channels == self.input,
            "Winograd convolution: {} input channels, expected {}",
            input.channels,
            self.input
        );
    }

    /// Convolves one block of tiles on the calling thread.
    pub(crate) fn block<E: Epilogue>(
        &self,
        input: Map,
        padding: [usize; 4],
        tiling: &Tiling,
        block: &Block,
        workspace: &mut Workspace,
        epilogue: &mut E,
    ) {
        self.check(input);
        Arch::new().dispatch(Convolve { weights: self, input, padding, tiling, block, workspace, epilogue });
    }
}

/// Weights of one panel to the transformed domain, `[position, input channel, lane]`.
struct TransformWeights<'a> {
    /// `[input channel, place in the kernel, lane]`.
    taps: &'a [f32],
    chunk: &'a mut [f32],
}

impl WithSimd for TransformWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { taps, chunk } = self;
        let distance = chunk.len() / POSITIONS;
        for (i, taps) in taps.chunks_exact(9 * 2 * S::F32_LANES).enumerate() {
            let taps = S::as_simd_f32s(taps).0;
            for half in 0..2 {
                let mut rows = [[simd.splat_f32s(0.0); PATCH]; 3];
                for y in 0..3 {
                    rows[y] = transform_weight(simd, std::array::from_fn(|x| taps[(y * 3 + x) * 2 + half]));
                }
                for x in 0..PATCH {
                    let column = transform_weight(simd, [rows[0][x], rows[1][x], rows[2][x]]);
                    for y in 0..PATCH {
                        let at = (y * PATCH + x) * distance + (i * 2 + half) * S::F32_LANES;
                        store(simd, &mut chunk[at..], S::F32_LANES, column[y]);
                    }
                }
            }
        }
    }
}

/// A block of tiles through all three stages.
struct Convolve<'a, E> {
    weights: &'a WinogradWeights,
    input: Map<'a>,
    padding: [usize; 4],
    tiling: &'a Tiling,
    block: &'a Block,
    workspace: &'a mut Workspace,
    epilogue: &'a mut E,
}

impl<E: Epilogue> WithSimd for Convolve<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, input, padding, tiling, block, workspace, epilogue } = self;
        let tiles = tiling.tiles(block);
        let layout = TileLayout::new(tiles, input.channels);
        let transformed = Workspace::get(&mut workspace.transformed, layout.len());
        simd.vectorize(TransformInput { input, padding, tiling, block, layout, transformed: &mut *transformed });
        let position = weights.products_position(tiles);
        let products = Workspace::get(&mut workspace.products, weights.products_len(position));
        simd.vectorize(MultiplyPanels {
            weights,
            panels: 0..weights.count(),
            buffer: &mut workspace.weights,
            transformed: &*transformed,
            layout,
            tiles: &[tiles],
            products: &mut *products,
            position,
        });
        for (panel, products) in products.chunks_exact(POSITIONS * position).enumerate() {
            simd.vectorize(TransformOutput {
                products,
                position,
                tiling,
                block,
                channels: panel * weights.panel..weights.output,
                epilogue: &mut *epilogue,
            });
        }
    }
}

/// All products of some panels of output channels, `[panel, position, tile, lane]`.
struct MultiplyPanels<'a> {
    weights: &'a WinogradWeights,
    panels: Range<usize>,
    /// For weights that are transformed here.
    buffer: &'a mut Vec<f32>,
    /// Blocks of transformed tiles.
    transformed: &'a [f32],
    layout: TileLayout,
    /// Tiles of the blocks.
    tiles: &'a [usize],
    products: &'a mut [f32],
    /// Distance of two positions of the products.
    position: usize,
}

impl WithSimd for MultiplyPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, panels, buffer, transformed, layout, tiles, products, position: distance } = self;
        let (depth, row) = (weights.input, layout.tile);
        let group = if weights.transformed { panels.len().max(1) } else { GROUP };
        for (products, start) in products.chunks_mut(group * POSITIONS * distance).zip(panels.clone().step_by(group)) {
            let group = weights.panels(simd, start..panels.end.min(start + group), buffer);
            // The tiles of a position stay in the second cache for all panels, a panel in the first
            // for all tiles.
            for position in 0..POSITIONS {
                let panels = group.chunks_exact(weights.panel_len());
                for (panel, products) in panels.zip(products.chunks_exact_mut(POSITIONS * distance)) {
                    let panel = &panel[position * weights.position_len()..][..depth * weights.panel];
                    let mut products = &mut products[position * distance..];
                    for (block, tiles) in transformed.chunks_exact(layout.len()).zip(tiles) {
                        let (output, rest) = std::mem::take(&mut products).split_at_mut(tiles * weights.panel);
                        products = rest;
                        let rows = &block[position * layout.position..];
                        simd.vectorize(Multiply { rows, row, depth, panel, output });
                    }
                }
            }
        }
    }
}

/// Input tiles to the transformed domain.
pub(crate) struct TransformInput<'a> {
    pub(crate) input: Map<'a>,
    pub(crate) padding: [usize; 4],
    pub(crate) tiling: &'a Tiling,
    pub(crate) block: &'a Block,
    pub(crate) layout: TileLayout,
    pub(crate) transformed: &'a mut [f32],
}

impl WithSimd for TransformInput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { input, padding: [top, left, ..], tiling, block, layout, transformed } = self;
        // The part of a patch that lies inside the frame.
        let inside = |start: usize, pad: usize, size: usize| {
            pad.saturating_sub(start).min(PATCH)..(size + pad).saturating_sub(start).min(PATCH)
        };
        for (tile, [frame, row, column]) in tiling.places(block).enumerate() {
            let (start_y, start_x) = (row * TILE, column * TILE);
            let (ys, xs) = (inside(start_y, top, input.height), inside(start_x, left, input.width));
            for channel in (0..input.channels).step_by(S::F32_LANES) {
                let len = S::F32_LANES.min(input.channels - channel);
                let mut rows = [[simd.splat_f32s(0.0); PATCH]; PATCH];
                for y in ys.clone() {
                    let line = (frame * input.height + start_y + y - top) * input.width;
                    let mut values = [simd.splat_f32s(0.0); PATCH];
                    if xs.len() == PATCH && len == S::F32_LANES {
                        let line = &input.data[(line + start_x - left) * input.stride + channel..];
                        let line = &line[..(PATCH - 1) * input.stride + S::F32_LANES];
                        for x in 0..PATCH {
                            values[x] = load(simd, &line[x * input.stride..], S::F32_LANES);
                        }
                    } else {
                        for x in xs.clone() {
                            let pixel = line + start_x + x - left;
                            values[x] = load(simd, &input.data[pixel * input.stride + channel..], len);
                        }
                    }
                    rows[y] = transform_input(simd, values);
                }
                let out = &mut transformed[tile * layout.tile + channel..];
                let out = &mut out[..(POSITIONS - 1) * layout.position + S::F32_LANES];
                for x in 0..PATCH {
                    let mut column = [simd.splat_f32s(0.0); PATCH];
                    for y in 0..PATCH {
                        column[y] = rows[y][x];
                    }
                    let column = transform_input(simd, column);
                    for y in 0..PATCH {
                        store(simd, &mut out[(y * PATCH + x) * layout.position..], S::F32_LANES, column[y]);
                    }
                }
            }
        }
    }
}

/// Tiles of the gradient to an output to the transformed domain, `[position, panel, tile, lane]`.
pub(crate) struct TransformGradient<'a> {
    pub(crate) gradient: Map<'a>,
    pub(crate) tiling: &'a Tiling,
    pub(crate) block: &'a Block,
    /// Distance of two positions.
    pub(crate) position: usize,
    pub(crate) transformed: &'a mut [f32],
}

impl WithSimd for TransformGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { gradient, tiling, block, position, transformed } = self;
        let tiles = tiling.tiles(block);
        for (tile, [frame, row, column]) in tiling.places(block).enumerate() {
            let (start_y, start_x) = (row * TILE, column * TILE);
            let (height, width) = (TILE.min(tiling.height - start_y), TILE.min(tiling.width - start_x));
            let corner = (frame * tiling.height + start_y) * tiling.width + start_x;
            // Whole panels, so that no product reads what was never written.
            for half in 0..gradient.channels.div_ceil(2 * S::F32_LANES) * 2 {
                let channel = half * S::F32_LANES;
                let len = S::F32_LANES.min(gradient.channels.saturating_sub(channel));
                let mut rows = [[simd.splat_f32s(0.0); PATCH]; TILE];
                for y in 0..height {
                    let mut values = [simd.splat_f32s(0.0); TILE];
                    for x in 0..width {
                        let pixel = corner + y * tiling.width + x;
                        if len > 0 {
                            values[x] = load(simd, &gradient.data[pixel * gradient.stride + channel..], len);
                        }
                    }
                    rows[y] = transform_gradient(simd, values);
                }
                for x in 0..PATCH {
                    let column = transform_gradient(simd, std::array::from_fn(|y| rows[y][x]));
                    for y in 0..PATCH {
                        let at = (half / 2 * tiles + tile) * 2 + half % 2;
                        let at = (y * PATCH + x) * position + at * S::F32_LANES;
                        store(simd, &mut transformed[at..], S::F32_LANES, column[y]);
                    }
                }
            }
        }
    }
}

/// Products to the output, tile by tile.
struct TransformOutput<'a, E> {
    /// `[position, tile, lane]` of one panel of output channels.
    products: &'a [f32],
    position: usize,
    tiling: &'a Tiling,
    block: &'a Block,
    /// First channel of the panel to the last of the output.
    channels: Range<usize>,
    epilogue: &'a mut E,
}

impl<E: Epilogue> WithSimd for TransformOutput<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, position, tiling, block, channels, epilogue } = self;
        let first = tiling.pixels(block).start;
        for (tile, [frame, row, column]) in tiling.places(block).enumerate() {
            let (start_y, start_x) = (row * TILE, column * TILE);
            let (height, width) = (TILE.min(tiling.height - start_y), TILE.min(tiling.width - start_x));
            let corner = (frame * tiling.height + start_y) * tiling.width + start_x - first;
            for half in 0..2 {
                let channel = channels.start + half * S::F32_LANES;
                if channel >= channels.end {
                    break;
                }
                let mut rows = [[simd.splat_f32s(0.0); TILE]; PATCH];
                for y in 0..PATCH {
                    let values = std::array::from_fn(|x| {
                        let at = (y * PATCH + x) * position + (tile * 2 + half) * S::F32_LANES;
                        S::as_simd_f32s(&products[at..at + S::F32_LANES]).0[0]
                    });
                    rows[y] = transform_output(simd, values);
                }
                for x in 0..width {
                    let column = transform_output(simd, std::array::from_fn(|y| rows[y][x]));
                    for y in 0..height {
                        epilogue.store(simd, corner + y * tiling.width + x, channel, column[y]);
                    }
                }
            }
        }
    }
}

/// `output[row] = rows[row] · panel`: rows of `depth` floats, `row` floats apart, by a panel
/// `[depth, lane]` of two vectors.
pub(crate) struct Multiply<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) row: usize,
    pub(crate) depth: usize,
    pub(crate) panel: &'a [f32],
    pub(crate) output: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, row, depth, panel, output } = self;
        let width = 2 * S::F32_LANES;
        let most = if S::REGISTER_COUNT >= 32 { 12 } else { 6 };
        let count = output.len() / width;
        // Rows are dealt out evenly, since few rows leave the multipliers waiting.
        let groups = count.div_ceil(most);
        // A piece of the panel stays in the first cache for all rows.
        let pieces = depth.div_ceil(DEPTH);
        let mut done = 0;
        for piece in 0..pieces {
            let depth = depth / pieces + usize::from(piece < depth % pieces);
            let panel = &panel[done * width..(done + depth) * width];
            let mut at = 0;
            for group in 0..groups {
                let len = count / groups + usize::from(group < count % groups);
                let (rows, output) = (&rows[at * row + done..], &mut output[at * width..(at + len) * width]);
                at += len;
                let first = piece == 0;
                macro_rules! multiply {
                    ($($len:literal)*) => {
                        match len {
                            $($len => simd.vectorize(MultiplyRows::<$len> { rows, row, depth, panel, output, first }),)*
                            _ => unreachable!("groups have 1 to 12 rows"),
                        }
                    };
                }
                multiply!(1 2 3 4 5 6 7 8 9 10 11 12);
            }
            done += depth;
        }
    }
}

/// `LEN` rows of [`Multiply`], whose sums stay in registers.
struct MultiplyRows<'a, const LEN: usize> {
    rows: &'a [f32],
    row: usize,
    depth: usize,
    panel: &'a [f32],
    output: &'a mut [f32],
    /// Whether the output is still empty.
    first: bool,
}

impl<const LEN: usize> WithSimd for MultiplyRows<'_, LEN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, row, depth, panel, output, first } = self;
        let rows: [&[f32]; LEN] = std::array::from_fn(|i| &rows[i * row..][..depth]);
        let panel = &S::as_simd_f32s(panel).0.as_chunks::<2>().0[..depth];
        let (output, _) = S::as_mut_simd_f32s(output).0.as_chunks_mut::<2>();
        let mut sums = [[simd.splat_f32s(0.0); 2]; LEN];
        if !first {
            sums.copy_from_slice(output);
        }
        for k in 0..depth {
            let [left, right] = panel[k];
            for i in 0..LEN {
                let value = simd.splat_f32s(rows[i][k]);
                sums[i][0] = simd.mul_add_e_f32s(value, left, sums[i][0]);
                sums[i][1] = simd.mul_add_e_f32s(value, right, sums[i][1]);
            }
        }
        output.copy_from_slice(&sums);
    }
}

/// One dimension of the transform of weights.
#[inline(always)]
fn transform_weight<S: Simd>(simd: S, [x, y, z]: [S::f32s; 3]) -> [S::f32s; PATCH] {
    const A2: f32 = A * A;
    const B2: f32 = B * B;
    let scale = |factor: f32, x| simd.mul_f32s(simd.splat_f32s(factor), x);
    let fma = |factor: f32, x, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y);
    let pair = |point: f32, factor: f32| {
        let (even, odd) = (scale(factor, fma(point * point, z, x)), scale(factor * point, y));
        (simd.add_f32s(even, odd), simd.sub_f32s(even, odd))
    };
    let (a, minus_a) = pair(A, 1.0 / (2.0 * A2 * (A2 - B2)));
    let (b, minus_b) = pair(B, 1.0 / (2.0 * B2 * (B2 - A2)));
    [scale(1.0 / (A2 * B2), x), a, minus_a, b, minus_b, z]
}

/// One dimension of the transform of input tiles.
#[inline(always)]
fn transform_input<S: Simd>(simd: S, x: [S::f32s; PATCH]) -> [S::f32s; PATCH] {
    let fma = |factor: f32, x, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y);
    let pair = |even, odd, point: f32| (fma(point, odd, even), fma(-point, odd, even));
    let (a, minus_a) = pair(fma(-B * B, x[2], x[4]), fma(-B * B, x[1], x[3]), A);
    let (b, minus_b) = pair(fma(-A * A, x[2], x[4]), fma(-A * A, x[1], x[3]), B);
    let ends = |x, y, z| fma(A * A * B * B, x, fma(-(A * A + B * B), y, z));
    [ends(x[0], x[2], x[4]), a, minus_a, b, minus_b, ends(x[1], x[3], x[5])]
}

/// One dimension of the transform of products.
#[inline(always)]
fn transform_output<S: Simd>(simd: S, x: [S::f32s; PATCH]) -> [S::f32s; TILE] {
    let fma = |factor: f32, x, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y);
    let (even_a, odd_a) = (simd.add_f32s(x[1], x[2]), simd.sub_f32s(x[1], x[2]));
    let (even_b, odd_b) = (simd.add_f32s(x[3], x[4]), simd.sub_f32s(x[3], x[4]));
    let scale = |factor: f32, x| simd.mul_f32s(simd.splat_f32s(factor), x);
    [
        simd.add_f32s(x[0], simd.add_f32s(even_a, even_b)),
        fma(A, odd_a, scale(B, odd_b)),
        fma(A * A, even_a, scale(B * B, even_b)),
        fma(A * A * A, odd_a, fma(B * B * B, odd_b, x[5])),
    ]
}

/// One dimension of the transform of the gradient to an output: the transpose of
/// [`transform_output`].
#[inline(always)]
fn transform_gradient<S: Simd>(simd: S, x: [S::f32s; TILE]) -> [S::f32s; PATCH] {
    let fma = |factor: f32, x, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y);
    let pair = |even, odd, point: f32| (fma(point, odd, even), fma(-point, odd, even));
    let (a, minus_a) = pair(fma(A * A, x[2], x[0]), fma(A * A, x[3], x[1]), A);
    let (b, minus_b) = pair(fma(B * B, x[2], x[0]), fma(B * B, x[3], x[1]), B);
    [x[0], a, minus_a, b, minus_b, x[3]]
}

/// The transpose of the transform of weights, `[row, column]` of the kernel.
#[inline(always)]
pub(crate) fn transform_weight_gradient<S: Simd>(simd: S, at: impl Fn(usize) -> S::f32s) -> [[S::f32s; 3]; 3] {
    let mut columns = [[simd.splat_f32s(0.0); PATCH]; 3];
    for x in 0..PATCH {
        let mut values = [simd.splat_f32s(0.0); PATCH];
        for y in 0..PATCH {
            values[y] = at(y * PATCH + x);
        }
        let values = transposed_transform_weight(simd, values);
        for y in 0..3 {
            columns[y][x] = values[y];
        }
    }
    let mut kernel = [[simd.splat_f32s(0.0); 3]; 3];
    for y in 0..3 {
        kernel[y] = transposed_transform_weight(simd, columns[y]);
    }
    kernel
}

/// The transpose of [`transform_weight`].
#[inline(always)]
fn transposed_transform_weight<S: Simd>(simd: S, x: [S::f32s; PATCH]) -> [S::f32s; 3] {
    const A2: f32 = A * A;
    const B2: f32 = B * B;
    let scale = |factor: f32, x| simd.mul_f32s(simd.splat_f32s(factor), x);
    let fma = |factor: f32, x, y| simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y);
    let (in_a, in_b) = (1.0 / (2.0 * A2 * (A2 - B2)), 1.0 / (2.0 * B2 * (B2 - A2)));
    let (even_a, odd_a) = (scale(in_a, simd.add_f32s(x[1], x[2])), scale(in_a, simd.sub_f32s(x[1], x[2])));
    let (even_b, odd_b) = (scale(in_b, simd.add_f32s(x[3], x[4])), scale(in_b, simd.sub_f32s(x[3], x[4])));
    [
        fma(1.0 / (A2 * B2), x[0], simd.add_f32s(even_a, even_b)),
        fma(A, odd_a, scale(B, odd_b)),
        fma(A2, even_a, fma(B2, even_b, x[5])),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rayon::ThreadPoolBuilder;

    use super::*;

    /// Floats in ±1 that differ from call to call by `seed`.
    pub(crate) fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_769) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len + 8).map(|_| next()).skip(8).collect()
    }

    /// The convolution in f64, `[frame, height, width, output]`.
    pub(crate) fn naive(input: Map, weight: &[f32], output: usize, kernel: usize, padding: [usize; 4]) -> Vec<f64> {
        let [top, left, bottom, right] = padding;
        let height = (input.height + top + bottom + 1).saturating_sub(kernel);
        let width = (input.width + left + right + 1).saturating_sub(kernel);
        let mut sums = vec![0.0; input.frames * height * width * output];
        for (index, sum) in sums.iter_mut().enumerate() {
            let (pixel, o) = (index / output, index % output);
            let (frame, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
            for (dy, dx) in (0..kernel).flat_map(|dy| (0..kernel).map(move |dx| (dy, dx))) {
                let (Some(y), Some(x)) = ((y + dy).checked_sub(top), (x + dx).checked_sub(left)) else { continue };
                if y >= input.height || x >= input.width {
                    continue;
                }
                let pixel = ((frame * input.height + y) * input.width + x) * input.stride;
                for i in 0..input.channels {
                    let weight = weight[((o * input.channels + i) * kernel + dy) * kernel + dx];
                    *sum += f64::from(input.data[pixel + i]) * f64::from(weight);
                }
            }
        }
        sums
    }

    /// The largest difference relative to the largest expected value, or to 0.1 where that is less.
    pub(crate) fn error(found: &[f32], expected: &[f64]) -> f64 {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.1_f64, |most, x| most.max(x.abs()));
        let difference = found.iter().zip(expected).map(|(&x, y)| (f64::from(x) - y).abs());
        // A NaN must not pass for zero.
        difference.fold(0.0_f64, |most, x| if x <= most { most } else { x }) / largest
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_the_naive_convolution(
            [frames, height, width] in [1..4_usize, 1..15_usize, 1..15_usize],
            [input, output] in [1..40_usize, 1..40_usize],
            padding in [0..2_usize, 0..2_usize, 0..2_usize, 0..2_usize],
            [gap, before] in [0..3_usize, 0..3_usize],
            seed in any::<u32>(),
        ) {
            let [height_out, width_out] = WinogradWeights::output_size([height, width], padding);
            prop_assume!(height_out > 0 && width_out > 0);
            let values = noise(frames * height * width * (input + gap), seed);
            let map = Map { data: &values, frames, height, width, channels: input, stride: input + gap };
            let weight = noise(output * input * 9, seed ^ 1);
            let bias = noise(output, seed ^ 2);
            let pixels = frames * height_out * width_out;
            let add = noise(pixels * output, seed ^ 3);
            let expected: Vec<f64> = naive(map, &weight, output, 3, padding)
                .iter()
                .enumerate()
                .map(|(i, sum)| (sum + f64::from(bias[i % output]) + f64::from(add[i])).max(0.0))
                .collect();
            let finish = Finish {
                bias: &bias,
                add: Some(Map::dense(&add, [frames, height_out, width_out, output])),
                range: [0.0, f32::INFINITY],
            };
            let stride = output + before + gap;
            let mut wide = vec![7.0; pixels * stride];
            let weights = WinogradWeights::new(&weight, output, input);
            weights.forward(map, padding, &mut wide[before..], stride, finish, &Workspaces::default());
            let found: Vec<f32> = wide.chunks(stride).flat_map(|pixel| pixel[before..before + output].to_vec()).collect();
            prop_assert!(error(&found, &expected) < 2e-5, "{}", error(&found, &expected));
            let untouched = |pixel: &[f32]| pixel[..before].iter().chain(&pixel[before + output..]).all(|&x| x == 7.0);
            prop_assert!(wide.chunks(stride).all(untouched));
        }
    }

    #[test]
    fn shared_weights_give_the_same_sums() {
        let shape = [5, 7, 9, 90];
        let values = noise(shape.iter().product(), 1);
        let weights = WinogradWeights::new(&noise(93 * 90 * 9, 2), 93, 90);
        assert!(weights.shares_weights(5 * 2 * 3));
        let [mut found, mut expected] = [(); 2].map(|()| vec![0.0; 5 * 7 * 9 * 93]);
        let map = Map::dense(&values, shape);
        weights.forward(map, [1; 4], &mut found, 93, Finish::NONE, &Workspaces::default());
        weights.forward_here(map, [1; 4], &mut expected, 93, Finish::NONE, &mut Workspace::default());
        assert_eq!(found, expected);
    }

    #[test]
    fn does_not_depend_on_the_number_of_threads() {
        let shape = [3, 30, 21, 20];
        let values = noise(shape.iter().product(), 1);
        let weights = WinogradWeights::new(&noise(17 * 20 * 9, 2), 17, 20);
        let run = |threads| {
            let mut output = vec![0.0; 3 * 30 * 21 * 17];
            let map = Map::dense(&values, shape);
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| weights.forward(map, [1; 4], &mut output, 17, Finish::NONE, &Workspaces::default()));
            output
        };
        let one = run(1);
        assert_eq!(one, run(3));
        let mut here = vec![0.0; one.len()];
        let (map, mut workspace) = (Map::dense(&values, shape), Workspace::default());
        weights.forward_here(map, [1; 4], &mut here, 17, Finish::NONE, &mut workspace);
        assert_eq!(one, here);
    }
}
