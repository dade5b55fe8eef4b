//! A decoder of JPEG files that does no more than a crop needs.
//!
//! The coefficients of a file can only be read one after the other. But the transform and the colours of blocks outside the
//! crop are left out, and everything below its last row. What it takes are eight-bit baseline files of one component or of Y,
//! Cb and Cr in the same size, which is what `prepare` writes; everything else, wrong and cut-off files above all, is left to
//! the general decoder, whose pixels are the same.

mod colour;
mod header;
mod huffman;
mod lanes;
#[cfg(test)]
mod tests;
mod transform;

use std::ops::Range;

use crate::picture::Colours;

use header::Header;
use huffman::{Bits, Kind, Table};
use lanes::{Lanes, Portable};

/// Rows and columns of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl Window {
    /// All of an image, height and width.
    pub(crate) fn whole([height, width]: [usize; 2]) -> Self {
        Self { rows: 0..height, columns: 0..width }
    }
}

/// What stays from one file to the next.
#[derive(Debug)]
pub(crate) struct JpegReader {
    dc: [Table; 2],
    ac: [Table; 2],
    scan: Vec<u8>,
    /// Where the parts between restart markers end.
    ends: Vec<usize>,
    parts: [Part; 3],
}

impl Default for JpegReader {
    fn default() -> Self {
        let tables = |kind| [(); 2].map(|()| Table::new(kind));
        Self {
            dc: tables(Kind::Dc),
            ac: tables(Kind::Ac),
            scan: Vec::new(),
            ends: Vec::new(),
            parts: Default::default(),
        }
    }
}

impl JpegReader {
    /// Decodes a window of a file, which is asked for once the size is known, height and width: `[rows, columns, channels]` of
    /// it to `pixels`. Returns the size and the window.
    ///
    /// `None` where the file is for the general decoder; `pixels` is then of no meaning.
    pub(crate) fn decode(
        &mut self,
        file: &[u8],
        max_side: usize,
        colours: Colours,
        window: impl FnOnce([usize; 2]) -> Window,
        pixels: &mut Vec<u8>,
    ) -> Option<([usize; 2], Window)> {
        let header = Header::parse(file)?;
        let channels = match (colours, &header.components[..]) {
            (Colours::Grey, [_]) => 1,
            (Colours::Rgb, _) => 3,
            (Colours::Grey, _) => return None,
        };
        if header.size.iter().any(|&side| side > max_side) {
            return None;
        }
        self.read_scan(header.scan)?;
        for component in &header.components {
            self.dc[component.dc].set(header.dc[component.dc].as_ref()?);
            self.ac[component.ac].set(header.ac[component.ac].as_ref()?);
        }
        let window = window(header.size);
        pixels.clear();
        pixels.resize(window.rows.len() * window.columns.len() * channels, 0);
        self.units(&header, &window, channels, pixels)?;
        Some((header.size, window))
    }

    /// Bytes of memory that stay taken from one file to the next.
    pub(crate) fn kept_bytes(&self) -> usize {
        let part = |part: &Part| part.blocks.capacity() * size_of::<huffman::Block>() + part.plane.capacity();
        self.scan.capacity() + self.parts.iter().map(part).sum::<usize>()
    }

    /// The bits of the scan, without the zeros that follow bytes of ones and without restart markers. `None` where the file
    /// ends before the scan does.
    fn read_scan(&mut self, mut rest: &[u8]) -> Option<()> {
        self.scan.clear();
        self.ends.clear();
        loop {
            let ones = memchr::memchr(0xff, rest)?;
            let marker = *rest.get(ones + 1)?;
            match marker {
                0 => self.scan.extend_from_slice(&rest[..=ones]),
                _ => self.scan.extend_from_slice(&rest[..ones]),
            }
            rest = &rest[ones + 2..];
            match marker {
                0 => {}
                0xd0..=0xd7 => self.ends.push(self.scan.len()),
                0xd9 => break,
                _ => return None,
            }
        }
        self.ends.push(self.scan.len());
        // Bits are read in words.
        self.scan.extend_from_slice(&[0; 16]);
        Some(())
    }

    /// All units from the first to the last that the window needs, a row of them at a time: first the coefficients, then the
    /// pixels. A unit is one block of each component.
    fn units(&mut self, header: &Header<'_>, window: &Window, channels: usize, pixels: &mut [u8]) -> Option<()> {
        let across = header.size[1].div_ceil(8);
        let columns = window.columns.start / 8..window.columns.end.div_ceil(8);
        let (dc, ac) = (&self.dc, &self.ac);
        let components = header.components.iter().zip(&mut self.parts).map(|(component, part)| {
            part.blocks.resize(columns.len(), [0; 64]);
            part.coded.resize(columns.len(), 0);
            part.plane.resize(64 * columns.len(), 0);
            let factors = header.quantisation[component.quantisation].as_ref()?;
            Some(Decoding { dc: &dc[component.dc], ac: &ac[component.ac], factors, mean: 0, part })
        });
        let mut components: Vec<_> = components.collect::<Option<_>>()?;
        let mut scan = Scan { ends: &self.ends, bits: Bits::new(&self.scan, 0), restart: header.restart, units: 0 };
        for row in 0..window.rows.end.div_ceil(8) {
            let shown = if row < window.rows.start / 8 { 0..0 } else { columns.clone() };
            scan.row(&mut components, across, shown.clone())?;
            if shown.is_empty() {
                continue;
            }
            components.iter_mut().for_each(Decoding::transform);
            let top = 8 * row;
            for line in window.rows.start.max(top)..window.rows.end.min(top + 8) {
                let from = (line - top) * 8 * columns.len() + window.columns.start - 8 * columns.start;
                let from = from..from + window.columns.len();
                let length = window.columns.len() * channels;
                let target = &mut pixels[(line - window.rows.start) * length..][..length];
                match &components[..] {
                    [y, cb, cr] => {
                        let [y, cb, cr] = [y, cb, cr].map(|component| &component.part.plane[from.clone()]);
                        colour::to_rgb(y, cb, cr, target);
                    }
                    [y] if channels == 1 => target.copy_from_slice(&y.part.plane[from]),
                    [y, ..] => {
                        let (target, _) = target.as_chunks_mut::<3>();
                        target.iter_mut().zip(&y.part.plane[from]).for_each(|(rgb, &value)| *rgb = [value; 3]);
                    }
                    [] => return None,
                }
            }
        }
        Some(())
    }
}

/// What a row of units needs of one component.
#[derive(Clone, Debug, Default)]
struct Part {
    blocks: Vec<huffman::Block>,
    /// How many coefficients each block has.
    coded: Vec<u8>,
    plane: Vec<u8>,
}

/// A component while it is decoded.
struct Decoding<'a> {
    dc: &'a Table,
    ac: &'a Table,
    factors: &'a [i32; 64],
    /// The mean of the last block, before its factor.
    mean: i32,
    part: &'a mut Part,
}

/// Where in the scan decoding is.
struct Scan<'a> {
    ends: &'a [usize],
    bits: Bits<'a>,
    restart: usize,
    /// Units since the last restart.
    units: usize,
}

impl Scan<'_> {
    fn row(&mut self, components: &mut [Decoding<'_>], across: usize, shown: Range<usize>) -> Option<()> {
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
                let Decoding { dc, ac, mean, part, .. } = component;
                if shown.contains(&column) {
                    let place = column - shown.start;
                    part.coded[place] = bits.block(dc, ac, mean, Some(&mut part.blocks[place]))?;
                } else {
                    bits.block(dc, ac, mean, None)?;
                }
            }
        }
        (bits.byte() <= *self.ends.first()?).then_some(())?;
        self.bits = bits;
        Some(())
    }
}

impl Decoding<'_> {
    /// The pixels of a row of blocks.
    fn transform(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for, as was just asked.
            return unsafe { self.transform_avx2() };
        }
        self.transform_by::<Portable>();
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn transform_avx2(&mut self) {
        self.transform_by::<lanes::avx2::Avx2>();
    }

    #[inline(always)]
    fn transform_by<L: Lanes>(&mut self) {
        let Part { blocks, coded, plane } = &mut *self.part;
        let stride = 8 * blocks.len();
        for (column, (block, coded)) in blocks.iter().zip(coded.iter()).enumerate() {
            let pixels = transform::pixels::<L>(block, self.factors, *coded);
            for (row, pixels) in pixels.iter().enumerate() {
                plane[row * stride + 8 * column..][..8].copy_from_slice(pixels);
            }
        }
    }
}
