//! The headers of a JPEG file, as far as the fast decoder goes.

use super::huffman::{Kind, Spec};

/// Where the coefficients of a block stand in the order of a file (T.81, figure A.6): row-major places.
///
/// Longer than a block: a run that leads out of one ends in the place after it.
pub(super) const ZIGZAG: [u8; 128] = {
    let mut order = [63; 128];
    let (mut k, mut diagonal) = (0, 0);
    while diagonal < 15 {
        let mut step = 0;
        while step <= diagonal {
            // Upwards on even diagonals, downwards on odd ones.
            let (row, column) = if diagonal % 2 == 0 { (diagonal - step, step) } else { (step, diagonal - step) };
            if row < 8 && column < 8 {
                order[k] = (row * 8 + column) as u8;
                k += 1;
            }
            step += 1;
        }
        diagonal += 1;
    }
    order
};

/// One colour component.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Component {
    id: u8,
    /// Blocks of one unit across and down.
    pub(super) blocks: [usize; 2],
    pub(super) quantisation: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// What comes before the coefficients.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    pub(super) size: [usize; 2],
    pub(super) components: Vec<Component>,
    /// By rows.
    pub(super) quantisation: [Option<[i32; 64]>; 4],
    /// A baseline file has two of each.
    pub(super) dc: [Option<Spec<'a>>; 2],
    pub(super) ac: [Option<Spec<'a>>; 2],
    /// Units between two restart markers; 0 where there are none.
    pub(super) restart: usize,
    /// The rest of the file, from the first coefficient on.
    pub(super) scan: &'a [u8],
}

/// A reader of big-endian numbers.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)))
    }
}

impl<'a> Header<'a> {
    /// Reads up to the coefficients; `None` for all that the fast decoder leaves to the general one: anything but eight-bit
    /// baseline files of one component or of Y, Cb and Cr in one scan, and headers that are wrong.
    pub(super) fn parse(file: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(file);
        if bytes.take(2)? != [0xff, 0xd8] {
            return None;
        }
        let mut header = Self {
            size: [0; 2],
            components: Vec::new(),
            quantisation: [None; 4],
            dc: [None; 2],
            ac: [None; 2],
            restart: 0,
            scan: &[],
        };
        loop {
            let [0xff, marker] = *bytes.take(2)? else { return None };
            let length = bytes.u16()?.checked_sub(2)?;
            let mut segment = Bytes(bytes.take(length)?);
            match marker {
                0xc0 => header.frame(&mut segment)?,
                0xc4 => header.huffman(&mut segment)?,
                0xdb => header.quantisation(&mut segment)?,
                0xdd => header.restart = segment.u16()?,
                0xda => header.scan(&mut segment)?,
                // Adobe's: whether there are Y, Cb and Cr at all.
                0xee if segment.0.starts_with(b"Adobe") => return None,
                0xe0..=0xef | 0xfe => continue,
                _ => return None,
            }
            if !segment.0.is_empty() {
                return None;
            }
            if marker == 0xda {
                header.scan = bytes.0;
                return Some(header);
            }
        }
    }

    fn frame(&mut self, segment: &mut Bytes<'_>) -> Option<()> {
        if segment.u8()? != 8 || !self.components.is_empty() {
            return None;
        }
        self.size = [segment.u16()?, segment.u16()?];
        let count = segment.u8()?;
        if self.size.contains(&0) || ![1, 3].contains(&count) {
            return None;
        }
        for _ in 0..count {
            let [id, sampling, table] = *segment.take(3)? else { return None };
            if table >= 4 {
                return None;
            }
            let blocks = [sampling >> 4, sampling & 15].map(usize::from);
            self.components.push(Component { id, blocks, quantisation: table.into(), ..Component::default() });
        }
        // Chroma in full, or halved across, or in both directions.
        let blocks: Vec<[usize; 2]> = self.components.iter().map(|component| component.blocks).collect();
        if !matches!(blocks[..], [[1, 1]] | [[1, 1] | [2, 1] | [2, 2], [1, 1], [1, 1]]) {
            return None;
        }
        // Letters: red, green and blue as they are.
        let named = count == 3 && self.components[0].id == b'R';
        (!named).then_some(())
    }

    fn huffman(&mut self, segment: &mut Bytes<'a>) -> Option<()> {
        while !segment.0.is_empty() {
            let place = segment.u8()?;
            let counts = segment.take(16)?.try_into().ok()?;
            let symbols = segment.take(Spec::symbols(counts))?;
            let (kind, tables) = match place >> 4 {
                0 => (Kind::Dc, &mut self.dc),
                1 => (Kind::Ac, &mut self.ac),
                _ => return None,
            };
            *tables.get_mut(usize::from(place & 15))? = Some(Spec::new(counts, symbols, kind)?);
        }
        Some(())
    }

    fn quantisation(&mut self, segment: &mut Bytes<'_>) -> Option<()> {
        while !segment.0.is_empty() {
            // Above 3 the factors have sixteen bits.
            let table = self.quantisation.get_mut(usize::from(segment.u8()?))?;
            let mut factors = [0; 64];
            for (place, byte) in ZIGZAG.iter().zip(segment.take(64)?) {
                factors[usize::from(*place)] = i32::from(*byte);
            }
            *table = Some(factors);
        }
        Some(())
    }

    fn scan(&mut self, segment: &mut Bytes<'_>) -> Option<()> {
        if usize::from(segment.u8()?) != self.components.len() || self.components.is_empty() {
            return None;
        }
        for component in &mut self.components {
            let [id, tables] = *segment.take(2)? else { return None };
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if id != component.id || component.dc >= 2 || component.ac >= 2 {
                return None;
            }
        }
        // All frequencies at once, in full precision.
        (*segment.take(3)? == [0, 63, 0]).then_some(())
    }
}
