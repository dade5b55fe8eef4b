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
}
