//! Rows of units, from bits to pixels.

use std::ops::Range;

use super::huffman::{Bits, Block, Table};
use super::lanes::{Lanes, Portable};
use super::transform;

/// What is held of one component.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Those of a row of units, by rows.
    blocks: Vec<Block>,
    /// How many coefficients each of them has.
    coded: Vec<u8>,
    /// Pixels of the rows of units that are kept.
    plane: Vec<u8>,
}

impl Part {
    pub(super) fn kept_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>() + self.plane.capacity()
    }
}

/// A component while it is decoded.
pub(super) struct Decoding<'a> {
    dc: &'a Table,
    ac: &'a Table,
    factors: &'a [i32; 64],
    /// Blocks of one unit across and down.
    blocks: [usize; 2],
    /// The mean of the last block, before its factor.
    mean: i32,
    /// Blocks of a row of units side by side.
    width: usize,
    part: &'a mut Part,
}

/// Where in the scan decoding is.
pub(super) struct Scan<'a> {
    ends: &'a [usize],
    bits: Bits<'a>,
    restart: usize,
    /// Units since the last restart.
    units: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(ends: &'a [usize], bits: Bits<'a>, restart: usize) -> Self {
        Self { ends, bits, restart, units: 0 }
    }

    /// The coefficients of the next row, of `across` units, of which those at the columns `shown` are kept.
    pub(super) fn row(&mut self, components: &mut [Decoding<'_>], across: usize, shown: Range<usize>) -> Option<()> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("bmi2") {
            // SAFETY: the processor has what the function is compiled for, as was just asked.
            return unsafe { self.row_bmi2(components, across, shown) };
        }
        self.row_of(components, across, shown)
    }

    /// The same, compiled for processors that shift better.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi2")]
    fn row_bmi2(&mut self, components: &mut [Decoding<'_>], across: usize, shown: Range<usize>) -> Option<()> {
        self.row_of(components, across, shown)
    }

    #[inline(always)]
    fn row_of(&mut self, components: &mut [Decoding<'_>], across: usize, shown: Range<usize>) -> Option<()> {
        for component in components.iter_mut() {
            component.part.blocks.as_flattened_mut().fill(0);
        }
        let mut bits = self.bits.clone();
        for column in 0..across {
            if self.restart > 0 && self.units == self.restart {
                // All of the part is used, but for bits that fill its last byte.
                let (end, rest) = self.ends.split_first()?;
                if bits.byte() != *end {
                    return None;
                }
                bits.start(*end);
                (self.ends, self.units) = (rest, 0);
                components.iter_mut().for_each(|component| component.mean = 0);
            }
            self.units += 1;
            for component in components.iter_mut() {
                let Decoding { dc, ac, mean, part, width, blocks, .. } = component;
                for down in 0..blocks[1] {
                    for right in 0..blocks[0] {
                        if shown.contains(&column) {
                            let place = down * *width + (column - shown.start) * blocks[0] + right;
                            part.coded[place] = bits.block(dc, ac, mean, Some(&mut part.blocks[place]))?;
                        } else {
                            bits.block(dc, ac, mean, None)?;
                        }
                    }
                }
            }
        }
        (bits.byte() <= *self.ends.first()?).then_some(())?;
        self.bits = bits;
        Some(())
    }
}

impl<'a> Decoding<'a> {
    /// For so many rows and columns of units, whose blocks are so many across and down.
    pub(super) fn new(
        dc: &'a Table,
        ac: &'a Table,
        factors: &'a [i32; 64],
        blocks: [usize; 2],
        [rows, columns]: [usize; 2],
        part: &'a mut Part,
    ) -> Self {
        let width = columns * blocks[0];
        part.blocks.resize(width * blocks[1], [0; 64]);
        part.coded.resize(width * blocks[1], 0);
        part.plane.resize(64 * width * blocks[1] * rows, 0);
        Self { dc, ac, factors, blocks, mean: 0, width, part }
    }

    /// A line of the pixels that are kept.
    pub(super) fn line(&self, line: usize) -> &[u8] {
        &self.part.plane[8 * self.width * line..][..8 * self.width]
    }

    /// The pixels of a row of units, to that row of the plane.
    pub(super) fn transform(&mut self, row: usize) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for, as was just asked.
            return unsafe { self.transform_avx2(row) };
        }
        self.transform_by::<Portable>(row);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn transform_avx2(&mut self, row: usize) {
        self.transform_by::<super::lanes::avx2::Avx2>(row);
    }

    #[inline(always)]
    fn transform_by<L: Lanes>(&mut self, row: usize) {
        let Part { blocks, coded, plane } = &mut *self.part;
        let stride = 8 * self.width;
        let plane = &mut plane[row * self.blocks[1] * 8 * stride..];
        let rows = plane.chunks_exact_mut(8 * stride);
        for ((blocks, coded), plane) in blocks.chunks_exact(self.width).zip(coded.chunks_exact(self.width)).zip(rows) {
            for (column, (block, coded)) in blocks.iter().zip(coded).enumerate() {
                let pixels = transform::pixels::<L>(block, self.factors, *coded);
                for (line, pixels) in pixels.iter().enumerate() {
                    plane[line * stride + 8 * column..][..8].copy_from_slice(pixels);
                }
            }
        }
    }
}
