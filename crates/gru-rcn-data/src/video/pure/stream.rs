//! The parts of an MPEG-4 video stream (ISO/IEC 14496-2, 6.2) that are needed before decoding.

/// Last byte of the start code of a picture.
pub(super) const PICTURE: u8 = 0xB6;
/// Of text that the encoder left.
pub(super) const USER_DATA: u8 = 0xB2;
/// Of the header that may name the colours.
pub(super) const VISUAL_OBJECT: u8 = 0xB5;
/// Of the header that names the profile.
pub(super) const SEQUENCE: u8 = 0xB0;
/// Of a time code.
pub(super) const GROUP: u8 = 0xB3;

/// What lies between one start code (`00 00 01` and a byte) and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    /// The byte behind `00 00 01`.
    pub(super) code: u8,
    /// From the start code on.
    pub(super) bytes: &'a [u8],
    /// Where the unit ends, counted in the data it was found in.
    pub(super) end: usize,
}

impl Unit<'_> {
    /// Whether it is the header of a layer, which has the size of the pictures.
    pub(super) fn is_layer(&self) -> bool {
        matches!(self.code, 0x20..=0x2F)
    }
}

/// The units of `data`; bytes before the first start code are skipped.
pub(super) fn units(data: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let mut next = start_code(data, 0);
    std::iter::from_fn(move || {
        let start = next?;
        next = start_code(data, start + 4);
        let end = next.unwrap_or(data.len());
        Some(Unit { code: data[start + 3], bytes: &data[start..end], end })
    })
}

/// The first `00 00 01 xx` at or behind `from`.
fn start_code(data: &[u8], from: usize) -> Option<usize> {
    let tail = data.get(from..)?;
    tail.windows(4).position(|four| four[..3] == [0, 0, 1]).map(|place| from + place)
}

/// How a picture is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// From nothing.
    I,
    /// From the picture shown before it.
    P,
    /// From the pictures shown before and after it; no other picture needs it.
    B,
    /// From a warped picture shown before it.
    S,
}

impl Kind {
    /// Whether it comes whole from the stream in the order of display, and others are predicted
    /// from it.
    pub(super) fn is_anchor(self) -> bool {
        self != Self::B
    }
}

/// The start of a picture's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) kind: Kind,
    /// `false` for a placeholder that says "as before" and has no content.
    pub(super) coded: bool,
}

impl Picture {
    /// Reads the header of a picture's unit; `ticks` is the number of time steps of a second (from
    /// the layer's header). `None` where the header is damaged.
    pub(super) fn parse(unit: &Unit<'_>, ticks: u16) -> Option<Self> {
        let mut bits = Bits { bytes: unit.bytes.get(4..)?, at: 0 };
        let kind = match bits.take(2)? {
            0 => Kind::I,
            1 => Kind::P,
            2 => Kind::B,
            _ => Kind::S,
        };
        // Whole seconds, in unary.
        while bits.take(1)? == 1 {}
        marker(&mut bits)?;
        // Enough bits for 0 .. ticks, at least one.
        bits.take((u16::BITS - ticks.saturating_sub(1).leading_zeros()).max(1))?;
        marker(&mut bits)?;
        Some(Self { kind, coded: bits.take(1)? == 1 })
    }
}

fn marker(bits: &mut Bits<'_>) -> Option<()> {
    (bits.take(1)? == 1).then_some(())
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_lie_between_start_codes() {
        let data = [9, 0, 0, 1, 0xB2, b'x', 0, 0, 0, 1, 0xB6, 7, 0, 0, 1];
        let found: Vec<_> = units(&data).map(|unit| (unit.code, unit.bytes.len(), unit.end)).collect();
        // 00 00 00 01 is a zero and a start code; the last three bytes name none.
        assert_eq!(found, [(0xB2, 6, 7), (0xB6, 8, 15)]);
        assert_eq!(units(&[0, 0, 1]).count(), 0);
    }

    // 25 ticks take 5 bits (0 to 24): kind 01, one second 10, marker 1, 5 bits of time, marker 1,
    // coded.
    #[test]
    fn picture_headers_are_read() {
        let parse = |first: u8, second: u8, ticks| {
            let bytes = [0, 0, 1, 0xB6, first, second];
            Picture::parse(&units(&bytes).next().unwrap(), ticks)
        };
        assert_eq!(parse(0b0110_1010, 0b1011_0000, 25), Some(Picture { kind: Kind::P, coded: true }));
        assert_eq!(parse(0b0110_1010, 0b1010_0000, 25), Some(Picture { kind: Kind::P, coded: false }));
        // 1 tick still takes one bit: kind 10, end of seconds 0, marker 1, 0, marker 1, coded 1.
        assert_eq!(parse(0b1001_0110, 0, 1), Some(Picture { kind: Kind::B, coded: true }));
        // No marker; no end.
        assert_eq!(parse(0b0000_0000, 0, 25), None);
        assert_eq!(parse(0b0011_1111, 0xFF, 25), None);
    }
}
