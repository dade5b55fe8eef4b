//! Frames as text for the page.

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};

/// Sufficient for thumbnails, at a few kilobytes each.
const QUALITY: u8 = 80;

/// Encodes an RGB frame, `[height, width, 3]` in bytes, as a JPEG in Base64.
pub(crate) fn jpeg_base64(rgb: &[u8], height: usize, width: usize) -> Result<String> {
    ensure!(
        rgb.len() == height * width * 3,
        "a frame of {width}×{height} pixels needs {} bytes, got {}",
        height * width * 3,
        rgb.len()
    );
    ensure!(height > 0 && width > 0, "a frame of {width}×{height} pixels shows nothing");
    let side = |pixels: usize| u32::try_from(pixels).context("the frame is too large for a JPEG");
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(rgb, side(width)?, side(height)?, ExtendedColorType::Rgb8)
        .context("cannot encode a frame")?;
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width and height are not swapped, and a grey frame stays grey.
    #[test]
    fn a_frame_survives_encoding() {
        let text = jpeg_base64(&[128; 6 * 4 * 3], 4, 6).unwrap();
        let bytes = STANDARD.decode(text).unwrap();
        let frame = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(frame.dimensions(), (6, 4));
        assert!(frame.as_raw().iter().all(|&v| v.abs_diff(128) <= 1));
    }

    #[test]
    fn sizes_are_checked() {
        assert!(jpeg_base64(&[0; 5], 1, 2).is_err());
        assert!(jpeg_base64(&[], 0, 0).is_err());
    }
}
