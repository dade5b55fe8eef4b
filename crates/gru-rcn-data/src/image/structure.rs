//! The structure of image files: whether they are complete.

/// Why a file is not a complete image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsound {
    /// It ends too early.
    Cut(&'static str),
    /// It is damaged or no image.
    Other(&'static str),
}

impl Unsound {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Cut(words) | Self::Other(words) => words,
        }
    }
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = &[0xff, 0xd8, 0xff];

/// Walks through the structure of a file to its end.
pub(crate) fn check_structure(bytes: &[u8]) -> Result<(), Unsound> {
    if is_jpeg(bytes) {
        jpeg_end(bytes).map(drop)
    } else if let Some(chunks) = bytes.strip_prefix(PNG) {
        check_png_end(chunks)
    } else if PNG.starts_with(bytes) || JPEG.starts_with(bytes) {
        Err(Unsound::Cut("it ends in its first bytes"))
    } else {
        Err(Unsound::Other("neither a JPEG nor a PNG image"))
    }
}

pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(JPEG)
}

/// The end of a JPEG.
pub(super) struct JpegEnd {
    /// Where the end-of-image marker stands.
    pub(super) place: usize,
    /// Whether it is a progressive image of a single scan.
    pub(super) lone_scan: bool,
}

/// Walks a JPEG's segments and scans to the end-of-image marker.
pub(super) fn jpeg_end(bytes: &[u8]) -> Result<JpegEnd, Unsound> {
    const CUT: Unsound = Unsound::Cut("the end-of-image marker is missing: the file was cut off");
    let (mut place, mut scans, mut progressive) = (2, 0, false);
    loop {
        let start = place;
        if *bytes.get(place).ok_or(CUT)? != 0xff {
            return Err(Unsound::Other("a JPEG marker was expected"));
        }
        // Any number of 0xff may stand before a marker.
        while *bytes.get(place).ok_or(CUT)? == 0xff {
            place += 1;
        }
        let marker = bytes[place];
        place += 1;
        match marker {
            0xd9 => return Ok(JpegEnd { place: start, lone_scan: progressive && scans == 1 }),
            0xd0..=0xd7 | 0x01 => continue, // without content
            _ => progressive |= marker == 0xc2,
        }
        let length = bytes.get(place..place + 2).ok_or(CUT)?;
        place += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let rest = bytes.get(place..).ok_or(CUT)?;
        if marker == 0xda {
            scans += 1;
            // Coded data end at the next marker that is no restart.
            let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
            place += rest.windows(2).position(ends).ok_or(CUT)?;
        }
    }
}

/// Walks a PNG's chunks to the last.
fn check_png_end(mut bytes: &[u8]) -> Result<(), Unsound> {
    const CUT: Unsound = Unsound::Cut("the last PNG chunk is missing: the file was cut off");
    loop {
        let (&[a, b, c, d, ref name @ ..], rest) = bytes.split_first_chunk::<8>().ok_or(CUT)?;
        // The content and a checksum.
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        bytes = rest.get(length.saturating_add(4)..).ok_or(CUT)?;
        if name == b"IEND" {
            return Ok(());
        }
    }
}
