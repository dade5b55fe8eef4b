//! Resizing, cropping and mirroring of single frames, of colour or of flow.
//!
//! The filter is the triangle ("bilinear") convolution whose support grows when an image shrinks,
//! so that fine texture is averaged and not aliased: the same rule as Pillow's `BILINEAR`.

use std::cell::RefCell;
use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x2, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::base::{DataError, DecodeLimits};

/// The size to which frames are resized.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum SizeRule {
    /// As they are stored.
    Source,
    /// The shorter side gets this many pixels, the other keeps the aspect ratio, rounded to the
    /// nearest pixel, at least 1.
    ShortSide {
        /// Pixels of the shorter side.
        pixels: usize,
    },
    /// Exactly this many pixels; the aspect ratio may change.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl SizeRule {
    /// Height and width of a resized frame of `height` × `width`.
    pub fn of(self, height: usize, width: usize) -> [usize; 2] {
        let scaled = |long: usize, n: usize, short: usize| {
            ((long as f64 * n as f64 / short.max(1) as f64).round() as usize).max(1)
        };
        match self {
            Self::Source => [height, width],
            Self::Exact { height, width } => [height, width],
            Self::ShortSide { pixels } if width < height => [scaled(height, pixels, width), pixels],
            Self::ShortSide { pixels } => [pixels, scaled(width, pixels, height)],
        }
    }

    /// The height and width that the rule states; a [`SizeRule::ShortSide`] counts as a square.
    pub(crate) fn sides(self) -> Option<[usize; 2]> {
        match self {
            Self::Source => None,
            Self::ShortSide { pixels } => Some([pixels, pixels]),
            Self::Exact { height, width } => Some([height, width]),
        }
    }

    pub(crate) fn validate(self, path: &Path, limits: &DecodeLimits) -> Result<(), DataError> {
        let Some([height, width]) = self.sides() else { return Ok(()) };
        if height == 0 || width == 0 {
            return Err(DataError::setting("frame_size", format!("{height}x{width}"), "sides are at least 1 pixel"));
        }
        limits.check_size(path, height, width)
    }
}

impl From<[usize; 2]> for SizeRule {
    /// Exactly this height and width.
    fn from([height, width]: [usize; 2]) -> Self {
        Self::Exact { height, width }
    }
}

/// A rectangle of a frame, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Left edge, columns from the left border.
    pub x: usize,
    /// Upper edge, rows from the upper border.
    pub y: usize,
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
}

impl Crop {
    /// The whole of a frame of `height` × `width`.
    pub fn whole(height: usize, width: usize) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    fn fits(&self, height: usize, width: usize) -> bool {
        let inside = |from: usize, length: usize, side| length > 0 && from.saturating_add(length) <= side;
        inside(self.x, self.width, width) && inside(self.y, self.height, height)
    }
}

/// A rectangle of a frame in fractions of pixels: a [`Crop`] on a frame that is stored in another size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rectangle {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl From<Crop> for Rectangle {
    fn from(crop: Crop) -> Self {
        let [x, y, width, height] = [crop.x, crop.y, crop.width, crop.height].map(|pixels| pixels as f64);
        Self { x, y, width, height }
    }
}

impl Rectangle {
    /// A crop of a frame of the size `planned` (height, width), transferred to one of the size `stored`.
    pub(crate) fn scaled(crop: Crop, planned: [usize; 2], stored: [usize; 2]) -> Self {
        let [y, x] = [0, 1].map(|side| stored[side] as f64 / planned[side] as f64);
        let whole = Self::from(crop);
        Self { x: whole.x * x, y: whole.y * y, width: whole.width * x, height: whole.height * y }
    }

    /// Moves a lower or right edge that lies beyond the image only by rounding back to its border.
    fn inside(mut self, [height, width]: [usize; 2]) -> Self {
        const ROUNDING: f64 = 1e-6;
        for (from, length, side) in [(self.y, &mut self.height, height), (self.x, &mut self.width, width)] {
            let side = side as f64;
            if from + *length < side + ROUNDING {
                while from + *length > side {
                    *length = length.min(side - from).next_down();
                }
            }
        }
        self
    }

    /// The rectangle as a [`Crop`], if its coordinates are whole numbers.
    fn whole(self) -> Option<Crop> {
        let sides = [self.x, self.y, self.width, self.height];
        if sides.iter().any(|side| side.fract() != 0.0 || *side < 0.0) {
            return None;
        }
        let [x, y, width, height] = sides.map(|side| side as usize);
        Some(Crop { x, y, width, height })
    }
}

/// Cuts `crop` out of an RGB frame `[height, width, 3]` and resizes it; sizes are height and width.
pub(crate) fn resize_rgb(
    pixels: &[u8],
    size: [usize; 2],
    crop: Crop,
    output: [usize; 2],
) -> Result<Vec<u8>, DataError> {
    // No memory is allocated for sides out of range, which `resize_into` reports.
    let sides = output.map(|side| if side > 65_535 { 0 } else { side });
    let mut target = vec![0; sides[0] * sides[1] * 3];
    resize_into(pixels, size, 3, crop.into(), output, &mut target)?;
    Ok(target)
}

/// Cuts `crop` out of a frame of one, two or three channels and resizes it into `target`. The crop may
/// lie between pixels; sizes are height and width.
pub(crate) fn resize_into(
    pixels: &[u8],
    [height, width]: [usize; 2],
    channels: usize,
    crop: Rectangle,
    [out_height, out_width]: [usize; 2],
    target: &mut [u8],
) -> Result<(), DataError> {
    let sides = [width, height, out_width, out_height];
    if sides.iter().any(|&side| side == 0 || side > 65_535) {
        return Err(DataError::Shape(format!(
            "cannot resize a {width}x{height} frame to {out_width}x{out_height}: sides are 1 to 65535"
        )));
    }
    let whole = crop.whole();
    if pixels.len() != width * height * channels || whole.is_some_and(|crop| !crop.fits(height, width)) {
        return Err(DataError::Shape(format!(
            "the crop {crop:?} does not fit a frame of {width}x{height} pixels in {} bytes",
            pixels.len()
        )));
    }
    if target.len() != out_width * out_height * channels {
        return Err(DataError::Shape(format!(
            "a frame of {out_width}x{out_height} pixels does not fit {} bytes",
            target.len()
        )));
    }
    if let Some(crop) = whole.filter(|crop| (crop.width, crop.height) == (out_width, out_height)) {
        cut(pixels, width, channels, crop, target);
        return Ok(());
    }
    let [size, out_size] = [[width, height], [out_width, out_height]];
    let done = match channels {
        1 => convolve::<U8>(pixels, size, crop, out_size, target),
        2 => convolve::<U8x2>(pixels, size, crop, out_size, target),
        3 => convolve::<U8x3>(pixels, size, crop, out_size, target),
        _ => Err(format!("frames of {channels} channels are not resized")),
    };
    done.map_err(|reason| DataError::Shape(format!("resizing {width}x{height} to {out_width}x{out_height}: {reason}")))
}

/// Copies the rows of `crop`: an output of the same size must have the same pixels.
fn cut(pixels: &[u8], width: usize, channels: usize, crop: Crop, target: &mut [u8]) {
    let rows = pixels.chunks_exact(width * channels).skip(crop.y);
    for (row, target) in rows.zip(target.chunks_exact_mut(crop.width * channels)) {
        target.copy_from_slice(&row[crop.x * channels..(crop.x + crop.width) * channels]);
    }
}

thread_local! {
    /// Keeps its buffers for the next frame.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Most bytes that a thread keeps of its resizer's buffers.
const KEPT_BYTES: usize = 16 << 20;

/// Resizes by the triangle filter; sizes are width and height. It is generic over the pixel type
/// because [`Resizer::resize`] would compile the code of all fourteen types into this crate.
fn convolve<P: PixelTrait>(
    pixels: &[u8],
    [width, height]: [usize; 2],
    crop: Rectangle,
    [out_width, out_height]: [usize; 2],
    target: &mut [u8],
) -> Result<(), String> {
    let source = TypedImageRef::<P>::from_buffer(width as u32, height as u32, pixels).map_err(|e| e.to_string())?;
    let mut target =
        TypedImage::<P>::from_buffer(out_width as u32, out_height as u32, target).map_err(|e| e.to_string())?;
    let Rectangle { x, y, width, height } = crop.inside([height, width]);
    let triangle = ResizeAlg::Convolution(FilterType::Bilinear);
    let convolution = ResizeOptions::new().resize_alg(triangle).crop(x, y, width, height);
    // The library would treat the second of two channels as transparency.
    let options = convolution.use_alpha(false);
    RESIZER.with_borrow_mut(|resizer| {
        let done = resizer.resize_typed(&source, &mut target, &options).map_err(|e| e.to_string());
        if resizer.size_of_internal_buffers() > KEPT_BYTES {
            resizer.reset_internal_buffers();
        }
        done
    })
}

/// Mirrors frames of `width` columns left to right, in place.
pub(crate) fn flip_horizontal<const CHANNELS: usize>(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(width.max(1) * CHANNELS) {
        row.as_chunks_mut::<CHANNELS>().0.reverse();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grey(values: &[u8]) -> Vec<u8> {
        values.iter().flat_map(|&v| [v, v, v]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Crops that reach the edge of the planned frame, on frames stored in any size: none is refused
        /// for rounding.
        #[test]
        fn scaled_crops_stay_inside(
            planned in [2usize..200, 2usize..200], stored in [2usize..200, 2usize..200], from in [0.0..1.0f64, 0.0..1.0f64],
        ) {
            let [y, x] = [0, 1].map(|side| (from[side] * planned[side] as f64) as usize);
            let crop = Crop { x, y, width: planned[1] - x, height: planned[0] - y };
            let crop = Rectangle::scaled(crop, planned, stored);
            let pixels = vec![9; stored[0] * stored[1]];
            let mut target = [0; 35];
            resize_into(&pixels, stored, 1, crop, [5, 7], &mut target).unwrap();
            prop_assert_eq!(target, [9; 35]);
        }
    }

    // Rows 0 1 2 / 3 4 5: the crop at x = 1, y = 1 of 2×1 is 4 5.
    #[test]
    fn a_crop_of_the_output_size_is_a_copy() {
        let crop = Crop { x: 1, y: 1, width: 2, height: 1 };
        let cut = resize_rgb(&grey(&[0, 1, 2, 3, 4, 5]), [2, 3], crop, [1, 2]).unwrap();
        assert_eq!(cut, grey(&[4, 5]));
    }

    // Halving 0 0 200 200: the triangle of support 2 around output pixel 0 (source centre 1.0)
    // weighs the source pixels at 0.5, 1.5, 2.5 with 0.75, 0.75, 0.25 (distance / 2), so (0.25·200)
    // / 1.75 = 28.6; by symmetry 200 − 28.6 = 171.4.
    #[test]
    fn shrinking_averages() {
        let small = resize_rgb(&grey(&[0, 0, 200, 200]), [1, 4], Crop::whole(1, 4), [1, 2]).unwrap();
        assert_eq!(small, grey(&[29, 171]));
    }

    #[test]
    fn flipping_twice_is_nothing() {
        let mut row = grey(&[1, 2, 3]);
        flip_horizontal::<3>(&mut row, 3);
        assert_eq!(row, grey(&[3, 2, 1]));
        flip_horizontal::<3>(&mut row, 3);
        assert_eq!(row, grey(&[1, 2, 3]));
    }

    #[test]
    fn bad_sizes_are_errors() {
        let pixels = grey(&[1, 2]);
        let outside = Crop { x: 1, y: 0, width: 2, height: 1 };
        assert!(resize_rgb(&pixels, [1, 2], outside, [1, 1]).is_err());
        let overflowing = Crop { x: usize::MAX, y: 0, width: 2, height: 1 };
        assert!(resize_rgb(&pixels, [1, 2], overflowing, [1, 1]).is_err());
        assert!(resize_rgb(&pixels, [1, 2], Crop::whole(1, 2), [1, 0]).is_err());
        assert!(resize_rgb(&pixels[1..], [1, 2], Crop::whole(1, 2), [1, 1]).is_err());
    }
}
