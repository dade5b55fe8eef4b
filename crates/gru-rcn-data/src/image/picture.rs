//! Image files to pixels: JPEG by zune-jpeg, PNG by the crate `image`.

use std::cell::RefCell;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageReader, Limits, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::base::{DataError, DecodeLimits};

/// Most bytes of a file, and most that the decoder may take for it: 8192 × 8192 pixels of 4 bytes.
const IMAGE_BYTES: u64 = 256 << 20;

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

/// A thread's buffers, kept from one image to the next: an image is larger than what an allocator
/// keeps at hand, and getting memory from the system for each costs a tenth of the time.
#[derive(Default)]
struct Buffers {
    file: Vec<u8>,
    pixels: Vec<u8>,
}

thread_local! {
    /// One for each image in use at a time.
    static BUFFERS: RefCell<Vec<Buffers>> = RefCell::default();
}

/// Most bytes of a buffer that a thread keeps.
const KEPT_BYTES: usize = 16 << 20;

/// Decodes an image file within limits that its header is checked against before memory is taken.
pub(crate) fn decode(path: &Path, colours: Colours, limits: &DecodeLimits) -> Result<Picture, DataError> {
    with_decoded(path, colours, limits, |pixels, size| Ok(Picture { pixels: pixels.to_vec(), size }))
}

/// Decodes an image file and lends its pixels `[height, width, channels]`, its height and its width
/// to `take`.
pub(crate) fn with_decoded<T>(
    path: &Path,
    colours: Colours,
    limits: &DecodeLimits,
    take: impl FnOnce(&[u8], [usize; 2]) -> Result<T, DataError>,
) -> Result<T, DataError> {
    // Taken, not borrowed: whatever `take` does, even decode another image, it cannot meet them in
    // use.
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

/// Decodes to the buffer of pixels, whatever the buffers hold, and returns height and width.
fn decode_into(
    path: &Path,
    colours: Colours,
    limits: &DecodeLimits,
    Buffers { file, pixels }: &mut Buffers,
) -> Result<[usize; 2], DataError> {
    read(path, file)?;
    let side = limits.max_side.min(8192);
    let decode = if is_jpeg(file) { decode_jpeg } else { decode_other };
    decode(file, colours, side, pixels).map_err(|reason| DataError::BadImage { path: path.to_owned(), reason })
}

/// A whole file, unless it is larger than any image may be.
fn read(path: &Path, bytes: &mut Vec<u8>) -> Result<(), DataError> {
    let io = |error| DataError::io(path, error);
    bytes.clear();
    // The limit holds for what is read, whatever the file system says of the length.
    fs::File::open(path).and_then(|file| file.take(IMAGE_BYTES + 1).read_to_end(bytes)).map_err(io)?;
    match bytes.len() as u64 {
        0 => Err(DataError::EmptyFile(path.to_owned())),
        length if length > IMAGE_BYTES => {
            let reason = format!("the file has more than {IMAGE_BYTES} bytes");
            Err(DataError::BadImage { path: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

/// Decodes the bytes of an image, of at most `side` pixels a side, by the strictest rules.
pub(crate) fn decode_strictly(bytes: &[u8], side: usize) -> Result<(), String> {
    if is_jpeg(bytes) {
        let options = DecoderOptions::default().set_strict_mode(true).set_max_width(side).set_max_height(side);
        let decoded = JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode();
        return decoded.map(drop).map_err(|error| error.to_string());
    }
    read_other(bytes, side, None).map(drop)
}

fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

fn decode_jpeg(bytes: &[u8], colours: Colours, side: usize, pixels: &mut Vec<u8>) -> Result<[usize; 2], String> {
    // Not strict, as most readers are; `verify` finds doubtful files.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG without a size")?;
    let grey = colours == Colours::Grey && decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (out, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(out));
    let length = width * height * channels;
    // The decoder leaves part of the buffer unchanged where a file was cut off: it must not hold
    // another image.
    pixels.clear();
    pixels.resize(length, 0);
    decoder.decode_into(pixels).map_err(|error| error.to_string())?;
    if colours == Colours::Grey && !grey {
        let image = RgbImage::from_raw(width as u32, height as u32, std::mem::take(pixels));
        let image = image.ok_or("a JPEG of another size than it says")?;
        *pixels = DynamicImage::ImageRgb8(image).into_luma8().into_raw();
    }
    Ok([height, width])
}

fn decode_other(bytes: &[u8], colours: Colours, side: usize, pixels: &mut Vec<u8>) -> Result<[usize; 2], String> {
    let image = read_other(bytes, side, Some(IMAGE_BYTES))?;
    let size = [image.height() as usize, image.width() as usize];
    *pixels = match colours {
        Colours::Rgb => image.into_rgb8().into_raw(),
        Colours::Grey => image.into_luma8().into_raw(),
    };
    Ok(size)
}

/// An image of another format than JPEG; without `most` bytes of memory the default bound holds.
fn read_other(bytes: &[u8], side: usize, most: Option<u64>) -> Result<DynamicImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let mut bounds = Limits::default();
    (bounds.max_image_width, bounds.max_image_height) = (Some(side as u32), Some(side as u32));
    bounds.max_alloc = most.or(bounds.max_alloc);
    reader.limits(bounds);
    reader.decode().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb};

    use super::*;
    use crate::testing::{huge_images, temporary};

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
        let path = folder.path().join("cut.jpg");
        RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])).save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let expected = image::open(&path).unwrap().into_rgb8().into_raw();
        assert_eq!(decode(&path, Colours::Rgb, &limits()).unwrap().pixels, expected);
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
