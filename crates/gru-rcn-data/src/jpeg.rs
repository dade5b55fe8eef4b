//! A decoder of JPEG files that does no more than a crop needs.
//!
//! The coefficients of a file can only be read one after the other. But the transform and the colours of blocks outside the
//! crop are left out, and everything below its last row. What it takes are eight-bit baseline files of one component or of Y,
//! Cb and Cr, those in full as `prepare` writes them or halved as FFmpeg does; everything else, wrong and cut-off files above
//! all, is left to the general decoder, whose pixels are the same.

mod colour;
mod header;
mod huffman;
mod lanes;
#[cfg(test)]
mod tests;
mod transform;
mod units;

use std::ops::Range;

use crate::picture::Colours;
use crate::resize::Crop;

use header::Header;
use huffman::{Bits, Kind, Table};
use units::{Decoding, Part, Scan};

/// What stays from one file to the next.
#[derive(Debug)]
pub(crate) struct JpegReader {
    dc: [Table; 2],
    ac: [Table; 2],
    scan: Vec<u8>,
    /// Where the parts between restart markers end.
    ends: Vec<usize>,
    parts: [Part; 3],
    /// Rows of chroma on their way from half the size to the whole.
    rows: [Vec<u8>; 3],
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
            rows: Default::default(),
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
        window: impl FnOnce([usize; 2]) -> Crop,
        pixels: &mut Vec<u8>,
    ) -> Option<([usize; 2], Crop)> {
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
        if window.height == 0 || window.width == 0 {
            return None;
        }
        // What they were does not matter: all are written.
        pixels.resize(window.height * window.width * channels, 0);
        self.units(&header, window, channels, pixels)?;
        Some((header.size, window))
    }

    /// Bytes of memory that stay taken from one file to the next.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.scan.capacity() + self.parts.iter().map(Part::kept_bytes).sum::<usize>()
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
    /// pixels. A unit is as many blocks of each component as show the same part of the picture.
    fn units(&mut self, header: &Header<'_>, window: Crop, channels: usize, pixels: &mut [u8]) -> Option<()> {
        let [across, down] = header.components.first()?.blocks;
        let halved = [across, down] != [1, 1];
        let count = [header.size[0].div_ceil(8 * down), header.size[1].div_ceil(8 * across)];
        // Halved chroma looks at what is next to the window, too.
        let span = |range: &Range<usize>, side: usize, count: usize| {
            let more = usize::from(halved);
            (range.start / side).saturating_sub(more)..(range.end.div_ceil(side) + more).min(count)
        };
        let lines = window.y..window.y + window.height;
        let rows = span(&lines, 8 * down, count[0]);
        let columns = span(&(window.x..window.x + window.width), 8 * across, count[1]);
        let (dc, ac) = (&self.dc, &self.ac);
        // In full each row of units is done with at once.
        let kept = if halved { rows.len() } else { 1 };
        let components = header.components.iter().zip(&mut self.parts).map(|(component, part)| {
            let factors = header.quantisation[component.quantisation].as_ref()?;
            let (dc, ac) = (&dc[component.dc], &ac[component.ac]);
            Some(Decoding::new(dc, ac, factors, component.blocks, [kept, columns.len()], part))
        });
        let mut components: Vec<_> = components.collect::<Option<_>>()?;
        let mut scan = Scan::new(&self.ends, Bits::new(&self.scan, 0), header.restart);
        let length = window.width * channels;
        let left = window.x - 8 * across * columns.start;
        let shown = left..left + window.width;
        for row in 0..rows.end {
            if row < rows.start {
                scan.row(&mut components, count[1], 0..0)?;
                continue;
            }
            scan.row(&mut components, count[1], columns.clone())?;
            let place = if halved { row - rows.start } else { 0 };
            components.iter_mut().for_each(|component| component.transform(place));
            if !halved {
                let top = 8 * row;
                for line in lines.start.max(top)..lines.end.min(top + 8) {
                    let target = &mut pixels[(line - lines.start) * length..][..length];
                    match &components[..] {
                        [y, cb, cr] => {
                            let [y, cb, cr] = [y, cb, cr].map(|component| &component.line(line - top)[shown.clone()]);
                            colour::to_rgb(y, cb, cr, target);
                        }
                        [y] => grey(&y.line(line - top)[shown.clone()], channels, target),
                        _ => return None,
                    }
                }
            }
        }
        if let ([y, cb, cr], true) = (&components[..], halved) {
            let [between, wide_cb, wide_cr] = &mut self.rows;
            for (line, target) in lines.zip(pixels.chunks_exact_mut(length)) {
                let line = line - 8 * down * rows.start;
                for (component, wide) in [(cb, &mut *wide_cb), (cr, &mut *wide_cr)] {
                    let near = line / down;
                    let far = if line % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(8 * kept - 1) };
                    let row = match down {
                        1 => component.line(near),
                        _ => {
                            colour::between(component.line(near), component.line(far), between);
                            &between[..]
                        }
                    };
                    colour::widened(row, wide);
                }
                let luma = &y.line(line)[shown.clone()];
                colour::to_rgb(luma, &wide_cb[shown.clone()], &wide_cr[shown.clone()], target);
            }
        }
        Some(())
    }
}

/// A row of a grey picture, in one channel or in three.
fn grey(row: &[u8], channels: usize, target: &mut [u8]) {
    match channels {
        1 => target.copy_from_slice(row),
        _ => target.as_chunks_mut::<3>().0.iter_mut().zip(row).for_each(|(rgb, &value)| *rgb = [value; 3]),
    }
}
