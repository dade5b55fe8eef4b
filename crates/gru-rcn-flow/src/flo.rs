//! Middlebury's `.flo` files.
//!
//! Little-endian: the number 202021.25 as f32, width and height as i32, then `u` and `v` of every
//! pixel as f32, row after row (S. Baker et al.: *A Database and Evaluation Methodology for Optical
//! Flow*, IJCV 92, 2011). Unknown flow is a value above 1e9 in magnitude; such values are read and
//! written as they are.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::error::FlowError;
use crate::field::Flow;

/// The first number of the file; its bytes spell `PIEH`.
const MAGIC: f32 = 202_021.25;
const HEADER: usize = 12;
/// Longest side. Middlebury's own reader has the same limit.
const MOST_SIDE: i32 = 99_999;
/// Most pixels: 2 GiB of flow.
const MOST_PIXELS: u64 = 1 << 28;
/// Bytes of one pixel.
const PIXEL: u64 = 8;

/// Reads a flow from a stream, to its end.
///
/// The header is not trusted: memory is allocated as data arrive.
///
/// # Errors
/// [`FlowError::BadFlo`] if the magic number is wrong, if a side is not 1 to 99,999, if there are more
/// than 2^28 pixels, or if data are missing or left over; [`FlowError::Stream`] if reading fails.
pub fn read(mut reader: impl Read) -> Result<Flow, FlowError> {
    let mut header = Vec::with_capacity(HEADER);
    fill(&mut reader, &mut header, HEADER as u64)?;
    if header.len() < HEADER {
        return bad(format!("it ends within the header, after {} bytes", header.len()));
    }
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let magic = f32::from_le_bytes(word(0));
    if magic.to_bits() != MAGIC.to_bits() {
        return bad(format!("it begins with {magic:?}, not {MAGIC}"));
    }
    let (width, height) = (i32::from_le_bytes(word(4)), i32::from_le_bytes(word(8)));
    let sides = 1..=MOST_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return bad(format!("a size of {width}x{height}; sides are 1 to {MOST_SIDE}"));
    }
    let pixels = u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs());
    if pixels > MOST_PIXELS {
        return bad(format!("a size of {width}x{height}, more than {MOST_PIXELS} pixels"));
    }
    let mut body = Vec::new();
    fill(&mut reader, &mut body, pixels * PIXEL + 1)?;
    let found = body.len() as u64;
    if found < pixels * PIXEL {
        return bad(format!("{width}x{height} pixels take {} bytes, and it ends after {found}", pixels * PIXEL));
    }
    if found > pixels * PIXEL {
        return bad(format!("bytes are left over after {width}x{height} pixels"));
    }
    let component = |offset: usize| -> Vec<f32> {
        let value = |pixel: &[u8]| f32::from_le_bytes([0, 1, 2, 3].map(|i| pixel[offset + i]));
        body.chunks_exact(PIXEL as usize).map(value).collect()
    };
    Flow::new(width as usize, height as usize, component(0), component(4))
}

/// Writes a flow to a stream.
///
/// # Errors
/// [`FlowError::BadFlo`] if the flow has a size that [`read`] refuses, [`FlowError::Length`] if the
/// length of a component was changed, [`FlowError::Stream`] if writing fails.
pub fn write(flow: &Flow, mut writer: impl Write) -> Result<(), FlowError> {
    let (width, height) = (flow.width(), flow.height());
    let sides = 1..=MOST_SIDE as usize;
    if !sides.contains(&width) || !sides.contains(&height) || (width * height) as u64 > MOST_PIXELS {
        return bad(format!("a size of {width}x{height} cannot be stored"));
    }
    flow.check()?;
    let mut bytes = Vec::with_capacity(HEADER + width * PIXEL as usize);
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&(width as i32).to_le_bytes());
    bytes.extend_from_slice(&(height as i32).to_le_bytes());
    for (u, v) in flow.u.chunks_exact(width).zip(flow.v.chunks_exact(width)) {
        for (u, v) in u.iter().zip(v) {
            bytes.extend_from_slice(&u.to_le_bytes());
            bytes.extend_from_slice(&v.to_le_bytes());
        }
        writer.write_all(&bytes).map_err(|source| FlowError::Stream { source })?;
        bytes.clear();
    }
    writer.flush().map_err(|source| FlowError::Stream { source })
}

/// Reads a file.
///
/// # Errors
/// [`FlowError::Io`] if the file cannot be read, [`FlowError::BadFlo`] as [`read`]. Both name the
/// file.
pub fn load(path: impl AsRef<Path>) -> Result<Flow, FlowError> {
    let file = File::open(&path).map_err(|source| FlowError::Stream { source });
    file.and_then(|file| read(BufReader::new(file))).map_err(|error| named(error, path.as_ref()))
}

/// Writes a file, or replaces it.
///
/// # Errors
/// [`FlowError::Io`] if the file cannot be written, otherwise as [`write()`].
pub fn save(flow: &Flow, path: impl AsRef<Path>) -> Result<(), FlowError> {
    let file = File::create(&path).map_err(|source| FlowError::Stream { source });
    file.and_then(|file| write(flow, BufWriter::new(file))).map_err(|error| named(error, path.as_ref()))
}

/// Appends `most` bytes, or fewer at the end of the stream.
fn fill(reader: &mut impl Read, bytes: &mut Vec<u8>, most: u64) -> Result<(), FlowError> {
    reader.take(most).read_to_end(bytes).map_err(|source| FlowError::Stream { source })?;
    Ok(())
}

fn bad<T>(reason: String) -> Result<T, FlowError> {
    Err(FlowError::BadFlo { reason })
}

fn named(error: FlowError, path: &Path) -> FlowError {
    match error {
        FlowError::Stream { source } => FlowError::Io { path: path.to_path_buf(), source },
        FlowError::BadFlo { reason } => FlowError::BadFlo { reason: format!("{}: {reason}", path.display()) },
        other => other,
    }
}
