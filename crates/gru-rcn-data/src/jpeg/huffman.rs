//! From the bits of a scan to coefficients.

use super::header::ZIGZAG;

/// Bits that one look into a table decides. Longer codes are rare by their nature.
const LOOK: u32 = 10;

/// Most bits of a value in a baseline file of eight-bit samples: ten for a coefficient, eleven for a difference of means.
const VALUE_BITS: [u32; 2] = [11, 10];

/// A Huffman code as the file has it (T.81, annex C): how many codes there are of each length, and what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec<'a> {
    counts: &'a [u8; 16],
    symbols: &'a [u8],
}

impl<'a> Spec<'a> {
    /// How many symbols these counts need.
    pub(super) fn symbols(counts: &[u8; 16]) -> usize {
        counts.iter().map(|&count| usize::from(count)).sum()
    }

    /// `None` where there are more codes of a length than its bits can tell apart, or symbols that no baseline file has.
    pub(super) fn new(counts: &'a [u8; 16], symbols: &'a [u8], kind: Kind) -> Option<Self> {
        let mut free = 1i32;
        for &count in counts {
            free = 2 * free - i32::from(count);
            if free < 0 {
                return None;
            }
        }
        symbols.iter().all(|&symbol| kind.knows(symbol)).then_some(Self { counts, symbols })
    }
}

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The differences of the blocks' means.
    Dc,
    /// The other coefficients.
    Ac,
}

impl Kind {
    fn knows(self, symbol: u8) -> bool {
        let (zeros, size) = (symbol >> 4, u32::from(symbol & 15));
        match self {
            Self::Dc => zeros == 0 && size <= VALUE_BITS[0],
            // No value: the end of a block, or sixteen zeros.
            Self::Ac => {
                if size == 0 {
                    [0, 15].contains(&zeros)
                } else {
                    size <= VALUE_BITS[1]
                }
            }
        }
    }
}

/// What a code stands for, in 32 bits; all 0 where a look does not suffice.
#[derive(Clone, Copy, Debug, Default)]
struct Entry(u32);

/// Zeros before a value that stand for the end of a block.
const END: usize = 128;

impl Entry {
    fn new(symbol: u8, length: u32, kind: Kind) -> Self {
        let size = u32::from(symbol & 15);
        let zeros = if symbol == 0 && kind == Kind::Ac { END as u32 } else { u32::from(symbol >> 4) };
        Self(zeros << 24 | size << 16 | length << 8 | (length + size))
    }

    /// Bits of the code and the value.
    #[inline(always)]
    fn total(self) -> u32 {
        self.0 & 63
    }

    /// Bits of the code.
    #[inline(always)]
    fn length(self) -> u32 {
        self.0 >> 8 & 63
    }

    /// Bits of the value.
    #[inline(always)]
    fn size(self) -> u32 {
        self.0 >> 16 & 63
    }

    /// Coefficients of zero before the value.
    #[inline(always)]
    fn zeros(self) -> usize {
        (self.0 >> 24) as usize
    }

    /// The value of bits that begin with the code (T.81, figure F.12): with a leading 0 it is negative.
    #[inline(always)]
    fn value(self, bits: u64) -> i32 {
        let bits = bits << self.length();
        // Of no bits at all, one shift would be by 64.
        let value = (bits >> 1 >> (63 - self.size())) as i32;
        let negative = !(bits as i64 >> 63) as i32;
        value + (negative & ((-1 << self.size()) + 1))
    }
}

/// A Huffman code made ready.
#[derive(Clone, Debug)]
pub(super) struct Table {
    kind: Kind,
    counts: [u8; 16],
    symbols: Vec<u8>,
    fast: Box<[Entry; 1 << LOOK]>,
}

impl Table {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, counts: [0; 16], symbols: Vec::new(), fast: Box::new([Entry::default(); 1 << LOOK]) }
    }

    /// Makes the table of this code, unless it is that already: the files of a clip have the same.
    pub(super) fn set(&mut self, spec: &Spec<'_>) {
        if (&self.counts, &self.symbols[..]) == (spec.counts, spec.symbols) {
            return;
        }
        (self.counts, self.symbols) = (*spec.counts, spec.symbols.to_vec());
        self.fast.fill(Entry::default());
        let (mut next, mut symbols) = (0, self.symbols.iter());
        for (length, &count) in (1..=LOOK).zip(&self.counts) {
            for &symbol in symbols.by_ref().take(usize::from(count)) {
                let places = 1 << (LOOK - length);
                self.fast[next..next + places].fill(Entry::new(symbol, length, self.kind));
                next += places;
            }
        }
    }

    /// The entry of a code of up to sixteen bits; `None` where it is no code.
    #[cold]
    #[inline(never)]
    fn long(&self, bits: u64) -> Option<Entry> {
        let (bits, mut first, mut place) = ((bits >> 48) as usize, 0, 0);
        for (length, &count) in (1..).zip(&self.counts) {
            let (code, count) = (bits >> (16 - length), usize::from(count));
            if code < first + count {
                return Some(Entry::new(*self.symbols.get(place + code - first)?, length, self.kind));
            }
            first = (first + count) << 1;
            place += count;
        }
        None
    }

    /// The entry of the code that the bits begin with.
    #[inline(always)]
    fn entry(&self, bits: u64) -> Option<Entry> {
        let entry = self.fast[(bits >> (64 - LOOK)) as usize];
        if entry.0 == 0 { self.long(bits) } else { Some(entry) }
    }
}

/// The bits of a scan, without the zeros after each byte of ones.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte.
    next: usize,
    /// The next bits, the first one highest.
    bits: u64,
    /// How many of them are known; those below may be so, or zero.
    left: u32,
}

impl<'a> Bits<'a> {
    /// Those from a byte on. Behind the last byte there are eight more, of any value, so that bits are read in whole words.
    pub(super) fn new(data: &'a [u8], start: usize) -> Self {
        Self { data, next: start, bits: 0, left: 0 }
    }

    /// Goes on at a byte.
    pub(super) fn start(&mut self, byte: usize) {
        (self.next, self.bits, self.left) = (byte, 0, 0);
    }

    /// At least 56 bits; `None` behind the end.
    #[inline(always)]
    fn refill(&mut self) -> Option<()> {
        let (word, _) = self.data.get(self.next..)?.split_first_chunk()?;
        self.bits |= u64::from_be_bytes(*word) >> self.left;
        self.next += ((63 - self.left) >> 3) as usize;
        self.left |= 56;
        Some(())
    }

    /// At most as many as there are.
    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.bits <<= count;
        self.left -= count;
    }

    /// Where the next byte begins.
    pub(super) fn byte(&self) -> usize {
        self.next - (self.left / 8) as usize
    }

    /// The difference of a block's mean (DC) to that of the last one.
    #[inline(always)]
    fn difference(&mut self, table: &Table) -> Option<i32> {
        self.refill()?;
        let entry = table.entry(self.bits)?;
        let value = entry.value(self.bits);
        self.skip(entry.total());
        Some(value)
    }

    /// The other 63 coefficients of a block, in `block`, which is zero there; returns how many were coded, with the mean, in
    /// the order of the file.
    ///
    /// `None` where the bits are no code or lead out of the block.
    #[inline(always)]
    fn coefficients(&mut self, table: &Table, mut block: Option<&mut Block>) -> Option<usize> {
        let mut k = 1;
        'block: loop {
            // 16 bits of a code and 10 of a value, twice.
            self.refill()?;
            for _ in 0..2 {
                let entry = table.entry(self.bits)?;
                k += entry.zeros();
                if let Some(block) = &mut block {
                    // The end of a block writes 0 where there is 0.
                    block[usize::from(ZIGZAG[k & 127])] = entry.value(self.bits) as i16;
                }
                self.skip(entry.total());
                k += 1;
                if k > 63 {
                    break 'block;
                }
            }
        }
        match k {
            64 => Some(64),
            _ => (k - 1).checked_sub(END),
        }
    }

    /// The next block: its mean, as a difference to that of the last one, and the other coefficients, into `block`, which is
    /// zero, if it is wanted.
    #[inline(always)]
    pub(super) fn block(&mut self, dc: &Table, ac: &Table, mean: &mut i32, block: Option<&mut Block>) -> Option<u8> {
        *mean += self.difference(dc)?;
        // Never so in a file that is right.
        let value = i16::try_from(*mean).ok()?;
        let mut coded = 0;
        match block {
            Some(block) => {
                coded = self.coefficients(ac, Some(block))?;
                block[0] = value;
            }
            None => {
                self.coefficients(ac, None)?;
            }
        }
        Some(coded as u8)
    }
}

/// The coefficients of a block, before their factors, by rows.
pub(super) type Block = [i16; 64];
