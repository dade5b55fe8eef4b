//! An image and its derivatives, interpolated at the targets of a flow.

use super::dispatch::for_each_cpu;
use super::grid::Grid;

/// Columns and rows of zeros around the packed image. A footprint of four taps that lies this far outside
/// covers only zeros, so positions are clamped and need no branch.
const MARGIN: usize = 4;
/// Intensity, its two derivatives, and one unused float for a vector of four.
const CHANNELS: usize = 4;
/// Taps of the interpolation along each axis.
const TAPS: usize = 4;
/// The cubic's free coefficient: its slope at distance 1.
const SLOPE: f32 = -0.75;

/// An image and its derivatives, pixel by pixel, so each tap of an interpolation is one load.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Packed {
    /// Packs an image with its central differences; at the borders the outer neighbour is the pixel
    /// itself.
    pub(super) fn pack(&mut self, image: &Grid) {
        (self.width, self.height) = (image.width(), image.height());
        let (width, stride) = (self.width, self.stride());
        self.values.clear();
        self.values.resize(stride * (self.height + 2 * MARGIN), 0.0);
        for y in 0..self.height {
            let (above, below) = (image.row(y.saturating_sub(1)), image.row((y + 1).min(self.height - 1)));
            let row = &image.row(y)[..width];
            let start = (y + MARGIN) * stride + MARGIN * CHANNELS;
            let pixels = self.values[start..start + width * CHANNELS].chunks_exact_mut(CHANNELS);
            for (x, pixel) in pixels.enumerate() {
                let horizontal = 0.5 * (row[(x + 1).min(width - 1)] - row[x.saturating_sub(1)]);
                let vertical = 0.5 * (below[x] - above[x]);
                pixel[..3].copy_from_slice(&[row[x], horizontal, vertical]);
            }
        }
    }

    fn stride(&self) -> usize {
        (self.width + 2 * MARGIN) * CHANNELS
    }
}

/// Values of a [`Packed`] image at one place: intensity, horizontal and vertical derivative, and an unused
/// value.
pub(super) type Sample = [f32; CHANNELS];

/// The samples of one row; keeps its memory from row to row.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    columns: Vec<u32>,
    rows: Vec<u32>,
    across: [Vec<f32>; TAPS],
    down: [Vec<f32>; TAPS],
    values: Vec<Sample>,
}

impl Samples {
    /// Keys' bicubic interpolation at `(x + u[x], y + v[x])` for every `x`; pixels outside the
    /// image count as zeros.
    pub(super) fn take(&mut self, image: &Packed, y: usize, u: &[f32], v: &[f32]) -> &[Sample] {
        let n = u.len();
        for (cells, weights) in [(&mut self.columns, &mut self.across), (&mut self.rows, &mut self.down)] {
            cells.resize(n, 0);
            weights.iter_mut().for_each(|weights| weights.resize(n, 0.0));
        }
        self.values.resize(n, Sample::default());
        // Footprints are computed for many pixels at a time, samples for all channels of one pixel.
        footprints(u, 0.0, 1.0, image.width, &mut self.columns, &mut self.across);
        footprints(v, y as f32, 0.0, image.height, &mut self.rows, &mut self.down);
        interpolate(image, self);
        &self.values
    }
}

for_each_cpu! {
    /// Along one axis, the first tap of each footprint, counted with the margin, and the weights of
    /// the taps.
    fn footprints(
        flow: &[f32],
        origin: f32,
        advance: f32,
        length: usize,
        cells: &mut [u32],
        weights: &mut [Vec<f32>; TAPS],
    ) {
        let n = flow.len();
        let [first, second, third, fourth] = weights;
        locate(flow, (origin, advance), length as f32 + 1.0, &mut cells[..n], &mut third[..n]);
        spread(third, first, second, fourth);
    }
}

/// The first tap of each footprint, and the position between the second tap and the third.
#[inline(always)]
fn locate(flow: &[f32], (origin, advance): (f32, f32), most: f32, cells: &mut [u32], fractions: &mut [f32]) {
    let n = cells.len();
    let (flow, fractions) = (&flow[..n], &mut fractions[..n]);
    for x in 0..n {
        let position = origin + advance * x as u32 as f32 + flow[x];
        // `max` first, which also turns NaN into a place inside.
        let shifted = position.max(1.0 - MARGIN as f32).min(most) + MARGIN as f32;
        let whole = shifted as i32; // the floor: it is at least 1
        cells[x] = (whole - 1) as u32;
        fractions[x] = shifted - whole as f32;
    }
}

/// Keys' weights. On entry `third` holds the positions.
#[inline(always)]
fn spread(third: &mut [f32], first: &mut [f32], second: &mut [f32], fourth: &mut [f32]) {
    let n = third.len();
    let (first, second, fourth) = (&mut first[..n], &mut second[..n], &mut fourth[..n]);
    for x in 0..n {
        [first[x], second[x], third[x], fourth[x]] = cubic(third[x]);
    }
}

/// Keys' weights of the four taps for a position `t` between the second and the third.
#[inline(always)]
fn cubic(t: f32) -> [f32; TAPS] {
    let inner = |d: f32| ((SLOPE + 2.0) * d - (SLOPE + 3.0)) * d * d + 1.0;
    let outer = |d: f32| SLOPE * (((d - 5.0) * d + 8.0) * d - 4.0);
    let (first, second, third) = (outer(t + 1.0), inner(t), inner(1.0 - t));
    [first, second, third, 1.0 - first - second - third]
}

for_each_cpu! {
    fn interpolate(image: &Packed, samples: &mut Samples) {
        let Samples { columns, rows, across, down, values } = samples;
        let stride = image.stride();
        let n = values.len();
        let (columns, rows) = (&columns[..n], &rows[..n]);
        let (across, down) = (across.each_ref().map(|w| &w[..n]), down.each_ref().map(|w| &w[..n]));
        for x in 0..n {
            let start = rows[x] as usize * stride + columns[x] as usize * CHANNELS;
            let footprint = &image.values[start..start + (TAPS - 1) * stride + TAPS * CHANNELS];
            let mut sum = Sample::default();
            for j in 0..TAPS {
                let taps = &footprint[j * stride..][..TAPS * CHANNELS];
                let mut line = Sample::default();
                for i in 0..TAPS {
                    for c in 0..CHANNELS {
                        line[c] += across[i][x] * taps[i * CHANNELS + c];
                    }
                }
                for c in 0..CHANNELS {
                    sum[c] += down[j][x] * line[c];
                }
            }
            values[x] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At t = ½ with slope −¾: outer(1.5) = −¾·(3.375 − 11.25 + 12 − 4) = −0.09375 and inner(0.5) =
    /// 1.25/8 − 2.25/4 + 1 = 0.59375. Together 2·(0.59375 − 0.09375) = 1.
    #[test]
    fn cubic_weights_equal_values_derived_by_hand() {
        assert_eq!(cubic(0.0), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(cubic(0.5), [-0.09375, 0.59375, 0.59375, -0.09375]);
    }

    /// The image x² + 10 y of 8×6 at one place.
    fn at(x: f32, y: f32) -> Sample {
        let mut image = Grid::default();
        let rows: Vec<f32> = (0..48).map(|i| ((i % 8) * (i % 8) + 10 * (i / 8)) as f32).collect();
        image.load_rows(8, 6, &rows);
        let mut packed = Packed::default();
        packed.pack(&image);
        Samples::default().take(&packed, 1, &[x], &[y - 1.0])[0]
    }

    /// The central difference at x = 3 is (16 − 4)/2 = 6, at the left border (1 − 0)/2 = 0.5. At y
    /// = −¼ the taps lie at the rows −2 to 1, the first two are outside, and column 3 has 9 and 19
    /// in the others.
    #[test]
    fn interpolates_through_pixels_and_falls_to_zero_outside() {
        assert_eq!(at(3.0, 2.0)[..3], [29.0, 6.0, 10.0]);
        assert_eq!(at(0.0, 0.0)[..3], [0.0, 0.5, 5.0]);
        let [_, _, third, fourth] = cubic(0.75);
        assert!((at(3.0, -0.25)[0] - (third * 9.0 + fourth * 19.0)).abs() < 1e-4);
        for (x, y) in [(-4.0, 2.0), (20.0, 2.0), (3.0, -1e30), (3.0, f32::INFINITY)] {
            assert_eq!(at(x, y)[0], 0.0, "({x}, {y})");
        }
        assert!(at(f32::NAN, 2.0)[0].is_finite());
    }
}
