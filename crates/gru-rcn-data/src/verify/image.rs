//! Checks that a file is a complete image.
//!
//! Decoders give as much of a picture as they can: a JPEG that was cut off becomes grey where data
//! are missing, without an error. So the file's structure is checked first, which yields the size
//! before memory is taken and requires the end marker. Then the image is decoded by the strictest
//! rules.
//!
//! Without a hash two faults stay undetected: a JPEG whose data were changed to other valid data,
//! and one with too few data before its end marker.

use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::VerifyOptions;
use super::report::FaultKind;
use crate::base::panic_message;
use crate::image::decode_strictly;

/// Kind and description of an image's fault.
pub(super) type Wrong = (FaultKind, String);

pub(super) struct Sound {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn check(path: &Path, options: &VerifyOptions) -> Result<Sound, Wrong> {
    let bytes = read(path, options.max_file)?;
    let (width, height) = size(&bytes)?;
    if width == 0 || height == 0 {
        return Err((FaultKind::BadImage, format!("the header says {width}x{height} pixels")));
    }
    if width.max(height) > options.max_side {
        let words = format!("the header says {width}x{height} pixels, a side may have {}", options.max_side);
        return Err((FaultKind::TooLarge, words));
    }
    decode(&bytes, options.max_side)?;
    Ok(Sound { width: width as usize, height: height as usize, bytes })
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Wrong> {
    let unreadable = |error: std::io::Error| (FaultKind::Unreadable, error.to_string());
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err((FaultKind::BadImage, "not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    // The limit holds for what is read, whatever the file system says of the length.
    fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    match bytes.len() as u64 {
        0 => Err((FaultKind::EmptyFile, "0 bytes".to_owned())),
        length if length > most => Err((FaultKind::TooLarge, format!("more than {most} bytes"))),
        _ => Ok(bytes),
    }
}

/// Width and height by the file's structure, which must be whole.
fn size(bytes: &[u8]) -> Result<(u32, u32), Wrong> {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        jpeg_size(bytes)
    } else if bytes.starts_with(PNG) {
        png_size(&bytes[PNG.len()..])
    } else if PNG.starts_with(bytes) || [0xff, 0xd8, 0xff].starts_with(bytes) {
        Err(truncated("it ends in its first bytes"))
    } else {
        Err((FaultKind::BadImage, "neither a JPEG nor a PNG image".to_owned()))
    }
}

fn truncated(words: &str) -> Wrong {
    (FaultKind::Truncated, words.to_owned())
}

/// Walks a JPEG's segments and scans to the end-of-image marker.
fn jpeg_size(bytes: &[u8]) -> Result<(u32, u32), Wrong> {
    let bad = |words: &str| (FaultKind::BadImage, words.to_owned());
    let cut = || truncated("the end-of-image marker is missing: the file was cut off");
    let (mut place, mut size, mut scans) = (2, None, 0);
    loop {
        if *bytes.get(place).ok_or_else(cut)? != 0xff {
            return Err(bad("a JPEG marker was expected"));
        }
        // Any number of 0xff may stand before a marker.
        while *bytes.get(place).ok_or_else(cut)? == 0xff {
            place += 1;
        }
        let marker = bytes[place];
        place += 1;
        if marker == 0xd9 {
            break;
        }
        if matches!(marker, 0xd0..=0xd7 | 0x01) {
            continue; // without content
        }
        let length = bytes.get(place..place + 2).map(|two| usize::from(two[0]) << 8 | usize::from(two[1]));
        let segment = length.and_then(|length| bytes.get(place..place + length)).ok_or_else(cut)?;
        let frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if frame && size.is_none() {
            let [_, _, _, h1, h0, w1, w0, ..] = *segment else { return Err(bad("a torn JPEG frame header")) };
            size = Some((u32::from(w1) << 8 | u32::from(w0), u32::from(h1) << 8 | u32::from(h0)));
        }
        place += segment.len().max(2);
        if marker == 0xda {
            scans += 1;
            place = scan_end(bytes, place).ok_or_else(cut)?;
        }
    }
    match size {
        Some(size) if scans > 0 => Ok(size),
        _ => Err(bad("a JPEG without a picture in it")),
    }
}

/// Where the coded data that begin at `place` end: at the next marker that is no restart.
fn scan_end(bytes: &[u8], place: usize) -> Option<usize> {
    let rest = bytes.get(place..)?;
    let end = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff))?;
    Some(place + end)
}

/// Walks a PNG's chunks to the last.
fn png_size(bytes: &[u8]) -> Result<(u32, u32), Wrong> {
    let cut = || truncated("the last PNG chunk is missing: the file was cut off");
    let number = |at: &[u8]| at.get(..4).and_then(|four| <[u8; 4]>::try_from(four).ok()).map(u32::from_be_bytes);
    let (mut rest, mut size) = (bytes, None);
    loop {
        let length = number(rest).ok_or_else(cut)? as usize;
        let name = rest.get(4..8).ok_or_else(cut)?;
        let content = length.checked_add(8).and_then(|end| rest.get(8..end)).ok_or_else(cut)?;
        if size.is_none() {
            let header = (name == b"IHDR" && length == 13).then(|| Some((number(content)?, number(&content[4..])?)));
            size = Some(header.flatten().ok_or_else(|| (FaultKind::BadImage, "a PNG without a header".to_owned()))?);
        }
        let last = name == b"IEND";
        rest = length.checked_add(12).and_then(|end| rest.get(end..)).ok_or_else(cut)?;
        if let (true, Some(size)) = (last, size) {
            return Ok(size);
        }
    }
}

fn decode(bytes: &[u8], max_side: u32) -> Result<(), Wrong> {
    match catch_unwind(AssertUnwindSafe(|| decode_strictly(bytes, max_side as usize))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err((FaultKind::BadImage, format!("cannot be decoded: {reason}"))),
        Err(panic) => Err((FaultKind::BadImage, format!("the decoder gave up: {}", panic_message(&*panic)))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

    use super::*;
    use crate::testing::{huge_images, temporary};

    fn coded(format: ImageFormat, grey: bool) -> Vec<u8> {
        let image = RgbImage::from_fn(40, 24, |x, y| Rgb([((x * 37 + y * 91) % 251) as u8, 9, 200]));
        let image = DynamicImage::from(image);
        let image = if grey { image.into_luma8().into() } else { image };
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn check_bytes(bytes: &[u8]) -> Result<(usize, usize), Wrong> {
        let folder = temporary();
        let path = folder.path().join("0.jpg");
        fs::write(&path, bytes).unwrap();
        check(&path, &VerifyOptions::default()).map(|sound| (sound.width, sound.height))
    }

    #[test]
    fn sound_images_are_sound() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            for grey in [false, true] {
                let bytes = coded(format, grey);
                assert_eq!(check_bytes(&bytes), Ok((40, 24)));
                // Bytes after the end do not matter.
                assert_eq!(check_bytes(&[&bytes[..], b"\0\0\0"].concat()), Ok((40, 24)));
            }
        }
    }

    // Cut off anywhere: after the header, within the data, in front of the last byte. `image` reads
    // most of them.
    #[test]
    fn every_cut_is_found() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let bytes = coded(format, false);
            assert_eq!(check_bytes(&[]).unwrap_err().0, FaultKind::EmptyFile);
            for length in 1..bytes.len() {
                let kind = check_bytes(&bytes[..length]).unwrap_err().0;
                assert_eq!(kind, FaultKind::Truncated, "{format:?} {length} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn data_lost_in_the_middle_are_found() {
        let png = coded(ImageFormat::Png, false);
        let n = png.len();
        assert!(check_bytes(&[&png[..n - n / 4], &png[n - 12..]].concat()).is_err());
        // In a JPEG by the marker that follows where none may be: here a second header.
        let jpeg = coded(ImageFormat::Jpeg, false);
        let n = jpeg.len();
        assert!(check_bytes(&[&jpeg[..n - n / 4], &jpeg[2..]].concat()).is_err());
    }

    #[test]
    fn large_headers_are_refused_before_decoding() {
        for bytes in huge_images() {
            let (kind, words) = check_bytes(&bytes).unwrap_err();
            assert!(kind == FaultKind::TooLarge && words.contains("60000x60000"), "{kind} {words}");
        }
        let folder = temporary();
        let path = folder.path().join("0.png");
        fs::write(&path, coded(ImageFormat::Png, true)).unwrap();
        let options = VerifyOptions { max_file: 20, ..VerifyOptions::default() };
        assert_eq!(check(&path, &options).err().unwrap().0, FaultKind::TooLarge);
    }

    // Bytes changed at random never panic, and what is not an image is said to be none.
    #[test]
    fn random_damage_never_panics() {
        assert_eq!(check_bytes(b"GIF89a").unwrap_err().0, FaultKind::BadImage);
        assert_eq!(check_bytes(&[0xff, 0xd8, 0xff, 0xd9]).unwrap_err().0, FaultKind::BadImage);
        assert_eq!(check_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\0\0\0\0").unwrap_err().0, FaultKind::BadImage);
        let mut words = crate::base::SplitMix64::new(7);
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let sound = coded(format, false);
            for _ in 0..200 {
                let mut bytes = sound.clone();
                for _ in 0..4 {
                    let draw = words.next_word();
                    let place = (draw >> 8) as usize % bytes.len();
                    bytes[place] = draw as u8;
                }
                let _ = check_bytes(&bytes);
            }
        }
    }
}
