//! Grey images.

use crate::error::FlowError;

/// A grey image: rows of intensities, 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    width: usize,
    height: usize,
    data: Vec<f32>,
}

impl Image {
    /// An image from its rows, one after another.
    ///
    /// # Errors
    /// [`FlowError::Length`] if there are not `width * height` values.
    pub fn new(width: usize, height: usize, data: Vec<f32>) -> Result<Self, FlowError> {
        check(width, height, 1, "an image", data.len())?;
        Ok(Self { width, height, data })
    }

    /// From interleaved 8-bit RGB, by the weights of Rec. 601 (0.299, 0.587, 0.114), rounded to whole
    /// intensities like 8-bit grey images.
    ///
    /// # Errors
    /// As [`Image::new`].
    pub fn from_rgb8(width: usize, height: usize, data: &[u8]) -> Result<Self, FlowError> {
        check(width, height, 3, "an RGB image", data.len())?;
        // Fixed point with 15 bits. The weights sum to exactly 1 << 15, so grey is unchanged.
        let grey = |pixel: &[u8]| {
            let sum = 9798 * u32::from(pixel[0]) + 19235 * u32::from(pixel[1]) + 3735 * u32::from(pixel[2]);
            ((sum + (1 << 14)) >> 15) as f32
        };
        Ok(Self { width, height, data: data.chunks_exact(3).map(grey).collect() })
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The intensities, row after row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// Checks that there are as many values as pixels times channels.
pub(crate) fn check(
    width: usize,
    height: usize,
    channels: usize,
    what: &'static str,
    found: usize,
) -> Result<(), FlowError> {
    let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(channels));
    if expected == Some(found) {
        return Ok(());
    }
    Err(FlowError::Length { what, width, height, expected: expected.unwrap_or(usize::MAX), found })
}
