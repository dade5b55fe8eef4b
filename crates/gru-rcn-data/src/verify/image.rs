//! Checks that a file is a complete image.
//!
//! First the file's structure is checked, which must have an end marker, then the size in its header,
//! before memory is allocated. Then the image is decoded by the rules for reading clips: a JPEG with
//! too few or too many data is refused.
//!
//! Only a hash finds data that were changed to other valid data of the same number of blocks.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{ImageError, ImageReader};

use super::VerifyOptions;
use super::report::FaultKind;
use crate::base::{DataError, panic_message, read_file};
use crate::image::{Unsound, check_structure, decode_strictly};

/// Kind and description of an image's fault.
pub(super) type Wrong = (FaultKind, String);

pub(super) struct Sound {
    /// Width and height.
    pub(super) size: (usize, usize),
    pub(super) bytes: Vec<u8>,
}

pub(super) fn check(path: &Path, options: &VerifyOptions) -> Result<Sound, Wrong> {
    let bytes = read(path, options.max_file)?;
    check_structure(&bytes).map_err(|unsound| match unsound {
        Unsound::Cut(words) => (FaultKind::Truncated, words.to_owned()),
        Unsound::Other(words) => (FaultKind::BadImage, words.to_owned()),
    })?;
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format();
    let size = reader.map_err(ImageError::from).and_then(ImageReader::into_dimensions);
    let (width, height) = size.map_err(|error| (FaultKind::BadImage, format!("no readable header: {error}")))?;
    if width == 0 || height == 0 {
        return Err((FaultKind::BadImage, format!("the header says {width}x{height} pixels")));
    }
    if width.max(height) > options.max_side {
        let words = format!("the header says {width}x{height} pixels, a side may have {}", options.max_side);
        return Err((FaultKind::TooLarge, words));
    }
    decode(&bytes, options.max_side)?;
    Ok(Sound { size: (width as usize, height as usize), bytes })
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Wrong> {
    match read_file(path, most) {
        Ok(bytes) if bytes.is_empty() => Err((FaultKind::EmptyFile, "0 bytes".to_owned())),
        Err(DataError::NotAFile { .. }) => Err((FaultKind::BadImage, "not a file".to_owned())),
        Err(DataError::TooLong { .. }) => Err((FaultKind::TooLarge, format!("more than {most} bytes"))),
        Err(DataError::Io { source, .. }) => Err((FaultKind::Unreadable, source.to_string())),
        read => read.map_err(|error| (FaultKind::Unreadable, error.to_string())),
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
    use std::fs;

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
        check(&path, &VerifyOptions::default()).map(|sound| sound.size)
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

    // Cut after every byte. The crate `image` alone would decode most of these files.
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
        // A JPEG with a second header in its data, where no such marker is allowed.
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

    // Random damage never causes a panic, and a file that is no image is reported as such.
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
