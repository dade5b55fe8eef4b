//! Decoding of image files: JPEG by zune-jpeg, PNG by the crate `image`.
//!
//! Where the data of a JPEG are missing, decoders return grey without an error. Such images must not
//! be trained on. So a file is refused if it lacks its end marker, if its data end before its last
//! block, or if data are left over after that block.

use std::cell::{Cell, RefCell};
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZCursor, ZSeekFrom};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::structure::{is_jpeg, jpeg_end};
use crate::base::{DataError, DecodeLimits, Frames, read_file_into};

/// Most bytes of a file, and most that the decoder may take for it.
const IMAGE_BYTES: u64 = 256 << 20;
/// Longest side that the decoders accept, whatever the limits say.
const MOST_SIDE: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    Rgb,
    Grey,
}

#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// `[height, width, channels]`.
    pub(crate) pixels: Vec<u8>,
    /// Height and width.
    pub(crate) size: [usize; 2],
}

/// Buffers that a thread keeps from one image to the next. Images are too large for the allocator's
/// caches, and getting memory from the system for each takes a tenth of the time.
#[derive(Default)]
struct Buffers {
    file: Vec<u8>,
    pixels: Vec<u8>,
}

thread_local! {
    /// One for each image that is in use at the same time.
    static BUFFERS: RefCell<Vec<Buffers>> = RefCell::default();
}

/// Most bytes of a buffer that a thread keeps.
const KEPT_BYTES: usize = 16 << 20;

/// Reads a JPEG or PNG file to a clip of one frame, RGB `[1, height, width, 3]`.
///
/// # Errors
/// [`DataError::BadImage`] for a file that is neither or exceeds the limits, which are checked
/// before memory is allocated; [`DataError::EmptyFile`], [`DataError::NotAFile`],
/// [`DataError::TooLong`], [`DataError::NotFound`] and [`DataError::Io`].
pub fn read_image(path: &Path, limits: &DecodeLimits) -> Result<Frames, DataError> {
    let Picture { pixels, size: [height, width] } = decode(path, Colours::Rgb, limits)?;
    Frames::new(pixels, 1, height, width, 3)
}

/// Decodes an image file. Its header is checked against the limits before memory is allocated.
pub(crate) fn decode(path: &Path, colours: Colours, limits: &DecodeLimits) -> Result<Picture, DataError> {
    with_decoded(path, colours, limits, |pixels, size| Ok(Picture { pixels: pixels.to_vec(), size }))
}

/// As [`decode`], but lends the pixels `[height, width, channels]` and height and width to `take`.
pub(crate) fn with_decoded<T>(
    path: &Path,
    colours: Colours,
    limits: &DecodeLimits,
    take: impl FnOnce(&[u8], [usize; 2]) -> Result<T, DataError>,
) -> Result<T, DataError> {
    // Removed from the pool, not borrowed, because `take` may decode another image.
    let mut buffers = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let decoded = decode_into(path, colours, limits, &mut buffers);
    let taken = decoded.and_then(|size| take(&buffers.pixels, size));
    for buffer in [&mut buffers.file, &mut buffers.pixels] {
        if buffer.capacity() > KEPT_BYTES {
            *buffer = Vec::new();
        }
    }
    BUFFERS.with_borrow_mut(|kept| kept.push(buffers));
    taken
}

/// Decodes into the buffers, whose content is replaced, and returns height and width.
fn decode_into(
    path: &Path,
    colours: Colours,
    limits: &DecodeLimits,
    Buffers { file, pixels }: &mut Buffers,
) -> Result<[usize; 2], DataError> {
    read_file_into(path, IMAGE_BYTES, file)?;
    if file.is_empty() {
        return Err(DataError::EmptyFile(path.to_owned()));
    }
    let decoded = match is_jpeg(file) {
        true => decode_jpeg(file, colours, limits, pixels),
        false => decode_other(file, colours, limits, pixels),
    };
    decoded.map_err(|reason| DataError::BadImage { path: path.to_owned(), reason })
}

/// Decodes the bytes of an image, of at most `side` pixels a side, by the strictest rules.
pub(crate) fn decode_strictly(bytes: &[u8], side: usize) -> Result<(), String> {
    let limits = DecodeLimits { max_side: side, ..DecodeLimits::default() };
    if is_jpeg(bytes) {
        return decode_jpeg(&mut bytes.to_vec(), Colours::Rgb, &limits, &mut Vec::new()).map(drop);
    }
    read_other(bytes, &limits, None).map(drop)
}

fn check_pixels([height, width]: [usize; 2], limits: &DecodeLimits) -> Result<(), String> {
    let most = limits.max_pixels;
    if height.saturating_mul(width) <= most {
        return Ok(());
    }
    Err(format!("it has {width}x{height} pixels, above the limit `max_pixels` of {most}; make it smaller"))
}

/// Ones to append to a JPEG's coded data, with stuffed zero bytes, longer than the decoder reads ahead.
/// The code of all ones is reserved, so a decoder that runs out of data reports an error.
const ONES: [u8; 32] = {
    let (mut ones, mut i) = ([0; 32], 0);
    while i < ones.len() {
        ones[i] = 0xff;
        i += 2;
    }
    ones
};
/// Most bytes between the last block and the end marker: some writers pad the data.
const FILL: u64 = 32;

/// Decodes a JPEG. The bytes of `file` after its coded data are replaced.
fn decode_jpeg(
    file: &mut Vec<u8>,
    colours: Colours,
    limits: &DecodeLimits,
    pixels: &mut Vec<u8>,
) -> Result<[usize; 2], String> {
    let side = limits.max_side.min(MOST_SIDE);
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(side).set_max_height(side);
    let end = jpeg_end(file).map_err(|unsound| unsound.words().to_owned())?;
    file.truncate(end.place);
    if !end.lone_scan {
        // The decoder needs a marker right after the first of several scans.
        file.extend(ONES);
    }
    file.extend([0xff, 0xd9]);
    let coded = Cell::new(0);
    let input = CodedBytes { bytes: ZCursor::new(file.as_slice()), coded: &coded };
    let mut decoder = JpegDecoder::new_with_options(input, options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG without a size")?;
    check_pixels([height, width], limits)?;
    let options = *decoder.options();
    let grey = colours == Colours::Grey && decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (out, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let length = width * height * channels;
    // Cleared, because the decoder may leave part of the buffer unchanged.
    pixels.clear();
    pixels.resize(length, 0);
    let damaged = |why: &str| format!("its data are damaged or end too early: {why}");
    decoder.decode_into(pixels).map_err(|error| damaged(&error.to_string()))?;
    let left = (end.place as u64).saturating_sub(coded.get());
    if left > FILL {
        return Err(damaged(&format!("{left} bytes are left after the last block")));
    }
    if colours == Colours::Grey && !grey {
        let image = RgbImage::from_raw(width as u32, height as u32, std::mem::take(pixels));
        let image = image.ok_or("a JPEG of another size than it says")?;
        *pixels = DynamicImage::ImageRgb8(image).into_luma8().into_raw();
    }
    Ok([height, width])
}

/// The bytes of a JPEG, with the place up to which coded data were read. The decoder reads coded data
/// four bytes at a time, or single bytes with `read_byte_no_error`; it looks for markers with single
/// reads that may fail.
struct CodedBytes<'b> {
    bytes: ZCursor<&'b [u8]>,
    coded: &'b Cell<u64>,
}

impl CodedBytes<'_> {
    #[inline(always)]
    fn note(&mut self) {
        if let Ok(place) = self.bytes.z_position() {
            self.coded.set(place);
        }
    }
}

impl ZByteReaderTrait for CodedBytes<'_> {
    #[inline(always)]
    fn read_byte_no_error(&mut self) -> u8 {
        let byte = self.bytes.read_byte_no_error();
        self.note();
        byte
    }

    #[inline(always)]
    fn read_exact_bytes(&mut self, target: &mut [u8]) -> Result<(), ZByteIoError> {
        self.bytes.read_exact_bytes(target)?;
        if target.len() == 4 {
            self.note();
        }
        Ok(())
    }

    fn read_bytes(&mut self, target: &mut [u8]) -> Result<usize, ZByteIoError> {
        self.bytes.read_bytes(target)
    }

    fn peek_bytes(&mut self, target: &mut [u8]) -> Result<usize, ZByteIoError> {
        self.bytes.peek_bytes(target)
    }

    fn peek_exact_bytes(&mut self, target: &mut [u8]) -> Result<(), ZByteIoError> {
        self.bytes.peek_exact_bytes(target)
    }

    #[inline(always)]
    fn z_seek(&mut self, from: ZSeekFrom) -> Result<u64, ZByteIoError> {
        self.bytes.z_seek(from)
    }

    #[inline(always)]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        self.bytes.is_eof()
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        self.bytes.z_position()
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        self.bytes.read_remaining(sink)
    }
}

fn decode_other(
    bytes: &[u8],
    colours: Colours,
    limits: &DecodeLimits,
    pixels: &mut Vec<u8>,
) -> Result<[usize; 2], String> {
    let image = read_other(bytes, limits, Some(IMAGE_BYTES))?;
    let size = [image.height() as usize, image.width() as usize];
    *pixels = match colours {
        Colours::Rgb => image.into_rgb8().into_raw(),
        Colours::Grey => image.into_luma8().into_raw(),
    };
    Ok(size)
}

/// Decodes an image that is no JPEG. The decoder may allocate `most` bytes, or its default limit.
fn read_other(bytes: &[u8], limits: &DecodeLimits, most: Option<u64>) -> Result<DynamicImage, String> {
    let words = |error: image::ImageError| error.to_string();
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let (mut bounds, side) = (Limits::default(), limits.max_side.min(MOST_SIDE) as u32);
    (bounds.max_image_width, bounds.max_image_height) = (Some(side), Some(side));
    bounds.max_alloc = most.or(bounds.max_alloc);
    reader.limits(bounds.clone());
    let mut decoder = reader.into_decoder().map_err(words)?;
    let (width, height) = decoder.dimensions();
    check_pixels([height as usize, width as usize], limits)?;
    decoder.set_limits(bounds).map_err(words)?;
    DynamicImage::from_decoder(decoder).map_err(words)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma, Rgb};

    use super::*;
    use crate::testing::{huge_images, refused, temporary};

    fn limits() -> DecodeLimits {
        DecodeLimits::default()
    }

    /// The same bytes as by the crate `image`, for both kinds of file and of pixels.
    #[test]
    fn pixels_are_those_of_the_crate_image() {
        let folder = temporary();
        let value = |x: u32, y: u32| ((x * 37 + y * 91) % 251) as u8;
        let colour = RgbImage::from_fn(43, 21, |x, y| Rgb([value(x, y), (x * 5) as u8, value(y, x)]));
        let grey = GrayImage::from_fn(43, 21, |x, y| Luma([value(x, y)]));
        for extension in ["jpg", "png"] {
            let [a, b] = ["colour", "grey"].map(|name| folder.path().join(format!("{name}.{extension}")));
            colour.save(&a).unwrap();
            grey.save(&b).unwrap();
            for path in [a, b] {
                let expected = image::open(&path).unwrap();
                let rgb = decode(&path, Colours::Rgb, &limits()).unwrap();
                assert_eq!((rgb.size, &rgb.pixels), ([21, 43], expected.to_rgb8().as_raw()), "{}", path.display());
                let one = decode(&path, Colours::Grey, &limits()).unwrap();
                assert_eq!((one.size, &one.pixels), ([21, 43], expected.to_luma8().as_raw()), "{}", path.display());
            }
        }
    }

    #[test]
    fn sides_are_checked_before_memory_is_taken() {
        let folder = temporary();
        for bytes in huge_images() {
            let path = folder.path().join("0.jpg");
            fs::write(&path, bytes).unwrap();
            let error = decode(&path, Colours::Rgb, &limits()).unwrap_err();
            assert!(matches!(&error, DataError::BadImage { .. }) && error.to_string().contains("0.jpg"), "{error}");
        }
    }

    // 6 × 4 pixels, of which 24 are allowed and 23 are not. A reader that is not strict, one that is.
    #[test]
    fn pixels_are_counted_before_memory_is_taken() {
        let folder = temporary();
        for name in ["0.jpg", "0.png"] {
            let path = folder.path().join(name);
            RgbImage::new(6, 4).save(&path).unwrap();
            let within = |max_pixels| read_image(&path, &DecodeLimits { max_pixels, ..limits() });
            let image = within(24).unwrap();
            assert_eq!((image.time, image.height, image.width, image.channels), (1, 4, 6, 3));
            refused(within(23), &[name, "6x4 pixels", "`max_pixels` of 23"]);
        }
        RgbImage::new(8192, 4097).save(folder.path().join("large.png")).unwrap();
        let bytes = fs::read(folder.path().join("large.png")).unwrap();
        assert!(decode_strictly(&bytes, 8192).unwrap_err().contains("8192x4097 pixels"));
    }

    // A large image and then small ones in the same buffers, one of them cut off: nothing of the
    // first is left in them.
    #[test]
    fn reused_buffers_keep_nothing() {
        let folder = temporary();
        let paths = [(40, 200), (8, 9), (16, 77)].map(|(side, value)| {
            let path = folder.path().join(format!("{side}.jpg"));
            RgbImage::from_pixel(side, side, Rgb([value; 3])).save(&path).unwrap();
            (path, side as usize, value)
        });
        for (path, side, value) in paths {
            let picture = decode(&path, Colours::Rgb, &limits()).unwrap();
            assert_eq!(picture.size, [side, side]);
            assert!(picture.pixels.len() == side * side * 3 && picture.pixels.iter().all(|v| v.abs_diff(value) < 3));
            // Within the use of one image another can be decoded.
            let inner = |outer: &[u8], _| {
                let again = decode(&path, Colours::Grey, &limits())?;
                assert_eq!(outer.len(), 3 * again.pixels.len());
                Ok(())
            };
            with_decoded(&path, Colours::Rgb, &limits(), inner).unwrap();
        }
    }

    // Data that end too early, with an end marker and without; data of zeros; data that leave some
    // over. A flat picture has rows of few bytes, one of noise has rows of many.
    #[test]
    fn jpegs_with_other_data_than_their_blocks_need_are_refused() {
        let folder = temporary();
        let path = folder.path().join("0.jpg");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            assert_eq!(decode(&path, Colours::Rgb, &limits()).is_ok(), decode_strictly(bytes, 8192).is_ok());
            decode(&path, Colours::Rgb, &limits())
        };
        let noise = |x: u32, y: u32| ((x * 7919 + y * 104_729) ^ (x * y * 31)) as u8;
        let pictures = [
            RgbImage::from_pixel(72, 40, Rgb([9, 200, 31])),
            RgbImage::from_fn(72, 40, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, 90])),
            RgbImage::from_fn(72, 40, |x, y| Rgb([noise(x, y), noise(y, x), noise(x + 1, y)])),
        ];
        for (which, picture) in pictures.iter().enumerate() {
            picture.save(&path).unwrap();
            let whole = fs::read(&path).unwrap();
            assert!(read(&whole).is_ok());
            let scan = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
            let (data, end) = (whole.len() - 2 - scan, &[0xff, 0xd9][..]);
            for cut in [scan + 1, scan + data / 3, scan + data / 2, whole.len() - 2 - 4.min(data / 4)] {
                refused(read(&whole[..cut]), &["0.jpg", "cut off"]);
                // A stuffed byte stays whole.
                let cut = cut - usize::from(whole[cut - 1] == 0xff);
                refused(read(&[&whole[..cut], end].concat()), &["0.jpg", "end too early"]);
            }
            if which == 2 {
                let mut zeros = whole.clone();
                zeros[scan + data / 4..scan + data / 2].fill(0);
                refused(read(&zeros), &["0.jpg", "its data are damaged"]);
                let more = [&whole[..scan + data / 2], &whole[scan + data / 4..]].concat();
                refused(read(&more), &["0.jpg", "its data are damaged"]);
                let mut tail = whole.clone();
                tail[scan + data / 2..].fill(0);
                refused(read(&tail), &["0.jpg", "cut off"]);
            }
        }
    }

    #[test]
    fn files_that_are_not_images_are_errors() {
        let folder = temporary();
        let path = folder.path().join("0.jpg");
        let error = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            decode(&path, Colours::Grey, &limits()).unwrap_err()
        };
        assert!(matches!(error(b""), DataError::EmptyFile(_)));
        for bytes in [&b"words"[..], b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x89PNG\r\n\x1a\n"] {
            assert!(matches!(error(bytes), DataError::BadImage { .. }), "{bytes:?}");
        }
        assert!(decode(&folder.path().join("none"), Colours::Rgb, &limits()).is_err());
    }
}
