//! The stream of binary PPM images that FFmpeg writes: `P6`, width, height, `255`, then the pixels.

use std::io::{self, BufRead, Read};

/// One RGB image `[height, width, 3]`.
pub(super) struct Picture {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pixels: Vec<u8>,
}

/// Reads the next image; `None` at a clean end of the stream.
///
/// A stream that ends within an image is `UnexpectedEof`, a side above `max_side` is `FileTooLarge` (checked before
/// memory is taken), everything else that is not such an image is `InvalidData`.
pub(super) fn read_picture(stream: &mut impl BufRead, max_side: usize) -> io::Result<Option<Picture>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    if token(stream)? != "P6" {
        return Err(invalid("FFmpeg's output is not a PPM image"));
    }
    let (width, height) = (number(stream)?, number(stream)?);
    if number(stream)? != 255 {
        return Err(invalid("FFmpeg's output is not 8 bits deep"));
    }
    if width == 0 || height == 0 {
        return Err(invalid("a PPM image without pixels"));
    }
    if width.max(height) > max_side {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut pixels = vec![0; width * height * 3];
    stream.read_exact(&mut pixels)?;
    Ok(Some(Picture { height, width, pixels }))
}

fn number(stream: &mut impl BufRead) -> io::Result<usize> {
    token(stream)?.parse().map_err(|_| invalid("a PPM header without a number"))
}

/// The bytes up to the next white space, which is consumed: PPM has exactly one byte of it after each field.
fn token(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    for byte in stream.by_ref().bytes() {
        match byte? {
            b' ' | b'\n' | b'\t' | b'\r' => return Ok(text),
            byte if text.len() < 10 && byte.is_ascii_graphic() => text.push(byte as char),
            _ => return Err(invalid("FFmpeg's output is not a PPM image")),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_follow_one_another() {
        let mut stream: &[u8] = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyz";
        let first = read_picture(&mut stream, 9).unwrap().unwrap();
        assert_eq!((first.width, first.height, &first.pixels[..]), (2, 1, &b"abcdef"[..]));
        assert_eq!(read_picture(&mut stream, 9).unwrap().unwrap().pixels, b"xyz");
        assert!(read_picture(&mut stream, 9).unwrap().is_none());
    }

    #[test]
    fn what_is_not_an_image_is_an_error() {
        let kind = |mut bytes: &[u8]| read_picture(&mut bytes, 9).err().map(|error| error.kind());
        assert_eq!(kind(b"P6\n2 1\n255\nabc"), Some(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(b"P6\n2"), Some(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(b"P6\n10 1\n255\nab"), Some(io::ErrorKind::FileTooLarge));
        for wrong in
            [&b"P5\n2 1\n255\nab"[..], b"P6\n2 1\n65535\nab", b"P6\n0 1\n255\nab", b"P6\nx 1\n255\n", b"\0\0\0\0"]
        {
            assert_eq!(kind(wrong), Some(io::ErrorKind::InvalidData));
        }
    }
}
