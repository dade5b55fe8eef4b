//! Planes of luma and halved chroma (4:2:0) to RGB, as FFmpeg's scaler does it at the source's
//! size.
//!
//! Chroma samples lie in the middle of four luma samples. They are brought to full size by the
//! cubic filter that FFmpeg uses (B = 0, C = 0.6), and the matrix is that of BT.601 with limited
//! ranges: luma 16 to 235, chroma 16 to 240.

use crate::image::cubic;

/// Bits behind the point of the filter's weights.
const WEIGHT_BITS: u32 = 13;

/// Bits behind the point of the chroma between the two passes, and of the matrix.
const CHROMA_BITS: u32 = 6;
const MATRIX_BITS: u32 = 14;
/// Just below 256, less the zero of 128.
const MOST_CHROMA: i32 = (128 << CHROMA_BITS) - 1;

/// 255/219 and, of 255/224: 1.402 for red from Cr; 0.344136 and 0.714136 for green from Cb and Cr;
/// 1.772 for blue from Cb.
const LUMA: i32 = 19_077;
const RED_CR: i32 = 26_149;
const GREEN_CB: i32 = 6_419;
const GREEN_CR: i32 = 13_320;
const BLUE_CB: i32 = 33_050;

/// The upper left `height` × `width` pixels of a picture in 4:2:0, RGB `[height, width, 3]`.
///
/// `planes` are luma, Cb and Cr, `strides` the samples from one row to the next of luma and of
/// chroma. Chroma has half the sides, rounded up. The decoder's planes are as large, or larger by
/// what fills up the last block.
pub(super) fn to_rgb(planes: [&[u8]; 3], strides: [usize; 2], [height, width]: [usize; 2]) -> Vec<u8> {
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    let [cb, cr] = [planes[1], planes[2]].map(|plane| widen(plane, strides[1], rows, columns, width));
    let mut rgb = vec![0; height * width * 3];
    for (y, line) in rgb.chunks_exact_mut(width * 3).enumerate() {
        let luma = &planes[0][y * strides[0]..][..width];
        let taps = taps(y, height, rows);
        let blue = taps.map(|(row, weight)| (&cb[row * width..][..width], weight));
        let red = taps.map(|(row, weight)| (&cr[row * width..][..width], weight));
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            pixel.copy_from_slice(&convert(luma[x], mix(&blue, x), mix(&red, x)));
        }
    }
    rgb
}

/// The four chroma samples, of `count`, around place `at` of `full`, with their weights. The
/// border's samples are repeated. Where `full` is odd, FFmpeg stretches the samples over it, and so
/// does this.
fn taps(at: usize, full: usize, count: usize) -> [(usize, i32); 4] {
    let place = (at as f64 + 0.5) * count as f64 / full as f64 - 0.5;
    let below = place.floor();
    let mut taps = [-1.0, 0.0, 1.0, 2.0].map(|step| {
        let sample = below + step;
        let weight = (cubic(place - sample) * f64::from(1 << WEIGHT_BITS)).round() as i32;
        (sample.clamp(0.0, (count - 1) as f64) as usize, weight)
    });
    // Rounded weights too add up to one, so that a plain area keeps its colour.
    let missing = (1 << WEIGHT_BITS) - taps.iter().map(|tap| tap.1).sum::<i32>();
    taps[if place - below < 0.5 { 1 } else { 2 }].1 += missing;
    taps
}

/// A chroma plane's first `rows` × `columns` samples, less their zero of 128, at full `width`, with
/// [`CHROMA_BITS`].
fn widen(plane: &[u8], stride: usize, rows: usize, columns: usize, width: usize) -> Vec<i16> {
    let mut wide = vec![0; rows * width];
    let places: Vec<_> = (0..width).map(|x| taps(x, width, columns)).collect();
    for (row, out) in wide.chunks_exact_mut(width).enumerate() {
        let samples = &plane[row * stride..][..columns];
        for (out, taps) in out.iter_mut().zip(&places) {
            let sum: i32 = taps.iter().map(|&(at, weight)| (i32::from(samples[at]) - 128) * weight).sum();
            // FFmpeg's scaler has no room above the largest sample between its passes, and the
            // filter overshoots.
            *out = shift(sum, WEIGHT_BITS - CHROMA_BITS).min(MOST_CHROMA) as i16;
        }
    }
    wide
}

fn mix(rows: &[(&[i16], i32); 4], x: usize) -> i32 {
    shift(rows.iter().map(|(row, weight)| i32::from(row[x]) * weight).sum(), WEIGHT_BITS)
}

/// Divides by a power of two and rounds to the nearest.
fn shift(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

/// One pixel; chroma has [`CHROMA_BITS`]. Sums stay below 239 · 19077 · 2⁶ + 160 · 33050 · 2⁶ <
/// 2³⁰.
fn convert(luma: u8, cb: i32, cr: i32) -> [u8; 3] {
    let luma = (i32::from(luma) - 16) * (LUMA << CHROMA_BITS);
    let round = |sum: i32| shift(sum, MATRIX_BITS + CHROMA_BITS).clamp(0, 255) as u8;
    [round(luma + cr * RED_CR), round(luma - cb * GREEN_CB - cr * GREEN_CR), round(luma + cb * BLUE_CB)]
}

#[cfg(test)]
mod tests {
    use super::*;

    // An even place lies a quarter before its sample, an odd one a quarter behind: weights of
    // 0.871875, 0.240625, −0.084375 and −0.028125 for the distances 1/4, 3/4, 5/4, 7/4, in parts of
    // 8192.
    #[test]
    fn chroma_is_filtered_between_its_samples() {
        assert_eq!(taps(0, 6, 3), [(0, -230), (0, 1971), (0, 7142), (1, -691)]);
        assert_eq!(taps(5, 6, 3), [(1, -691), (2, 7142), (2, 1971), (2, -230)]);
        assert!((0..37).all(|at| taps(at, 37, 19).iter().map(|tap| tap.1).sum::<i32>() == 1 << WEIGHT_BITS));
        assert_eq!(widen(&[200; 6], 3, 2, 2, 4), [72 << 6; 8]);
    }

    // BT.601: black, white, and pure red at (81, 90, 240), green at (145, 54, 34), blue at (41,
    // 240, 110).
    #[test]
    fn known_colours_are_converted_exactly() {
        let pixel = |y, cb: i32, cr: i32| convert(y, (cb - 128) << CHROMA_BITS, (cr - 128) << CHROMA_BITS);
        assert_eq!(pixel(16, 128, 128), [0, 0, 0]);
        assert_eq!(pixel(235, 128, 128), [255, 255, 255]);
        assert_eq!(pixel(126, 128, 128), [128, 128, 128]);
        assert_eq!(pixel(255, 128, 128), [255, 255, 255]);
        assert_eq!(pixel(81, 90, 240), [254, 0, 0]);
        assert_eq!(pixel(145, 54, 34), [0, 255, 1]);
        assert_eq!(pixel(41, 240, 110), [0, 0, 255]);
    }
}
