//! Image pyramids.

use super::lanes::LANES;
use crate::image::Image;

/// One scale of an image, with a border around it that repeats its outermost pixels, and its
/// gradient.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Pixels of border on each side.
    pub(super) border: usize,
    /// Length of a row: `width + 2 * border`.
    pub(super) stride: usize,
    /// Intensities, `height + 2 * border` rows of `stride`.
    pub(super) image: Vec<f32>,
    /// Horizontal derivative in intensities per pixel: `height` rows of `width`, and `LANES` more values.
    pub(super) dx: Vec<f32>,
    /// Vertical derivative, likewise.
    pub(super) dy: Vec<f32>,
}

impl Level {
    /// Index of the pixel `(x, y)` in `image`.
    #[inline(always)]
    pub(super) fn at(&self, x: usize, y: usize) -> usize {
        (y + self.border) * self.stride + x + self.border
    }

    /// Row `y` without its border.
    #[inline(always)]
    pub(super) fn row(&self, y: usize) -> &[f32] {
        let start = self.at(0, y);
        &self.image[start..start + self.width]
    }

    /// Changes the size. The contents are undefined until the image is filled.
    fn resize(&mut self, width: usize, height: usize, border: usize) {
        (self.width, self.height, self.border, self.stride) = (width, height, border, width + 2 * border);
        self.image.resize(self.stride * (height + 2 * border), 0.0);
    }

    /// Row `y` without its border, to fill.
    #[inline(always)]
    fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let start = self.at(0, y);
        &mut self.image[start..start + self.width]
    }

    /// Fills the border.
    fn extend(&mut self) {
        let Self { width, height, border, stride, .. } = *self;
        for y in 0..height {
            let row = &mut self.image[(y + border) * stride..][..stride];
            let (left, right) = (row[border], row[border + width - 1]);
            row[..border].fill(left);
            row[border + width..].fill(right);
        }
        let (top, bottom) = (border * stride, (border + height - 1) * stride);
        for y in 0..border {
            self.image.copy_within(top..top + stride, y * stride);
            self.image.copy_within(bottom..bottom + stride, (border + height + y) * stride);
        }
    }

    /// The gradient of every pixel by Sobel's operator, scaled to intensities per pixel: a central
    /// difference, weighted 1 : 2 : 1 over three rows or columns.
    #[inline(always)]
    fn differentiate(&mut self) {
        // Vectors may read past the last pixel.
        self.dx.resize(self.width * self.height + LANES, 0.0);
        self.dy.resize(self.width * self.height + LANES, 0.0);
        let width = self.width;
        for y in 0..self.height {
            // The border, of at least one pixel, is read for neighbours outside.
            let row = |dy: usize| {
                let start = (y + self.border + dy - 1) * self.stride + self.border - 1;
                &self.image[start..start + width + 2]
            };
            let (above, here, below) = (row(0), row(1), row(2));
            let dx = &mut self.dx[y * width..(y + 1) * width];
            let dy = &mut self.dy[y * width..(y + 1) * width];
            for x in 0..width {
                let right = above[x + 2] + 2.0 * here[x + 2] + below[x + 2];
                let left = above[x] + 2.0 * here[x] + below[x];
                let bottom = below[x] + 2.0 * below[x + 1] + below[x + 2];
                let top = above[x] + 2.0 * above[x + 1] + above[x + 2];
                dx[x] = (right - left) * 0.125;
                dy[x] = (bottom - top) * 0.125;
            }
        }
    }
}

/// The scales of an image between the finest and the coarsest that are searched.
#[derive(Clone, Debug, Default)]
pub(super) struct Pyramid {
    /// From the finest scale to the coarsest.
    pub(super) levels: Vec<Level>,
    /// Whether the levels have their gradients.
    differentiated: bool,
    /// Two buffers for the scales finer than the finest level.
    scratch: [Level; 2],
}

impl Pyramid {
    /// Builds the scales `finest..=coarsest` of `image`. Each halves the one before, where a pixel
    /// is the mean of 2x2 pixels; an odd row or column at the end is averaged with itself, so that
    /// scales differ by exactly two.
    #[inline(always)]
    pub(super) fn build(&mut self, image: &Image, finest: u32, coarsest: u32, border: usize) {
        self.levels.resize_with((coarsest - finest + 1) as usize, Level::default);
        self.differentiated = false;
        if finest == 0 {
            self.levels[0].resize(image.width(), image.height(), border);
            for (y, row) in image.data().chunks_exact(image.width()).enumerate() {
                self.levels[0].row_mut(y).copy_from_slice(row);
            }
            self.levels[0].extend();
        } else {
            let [from, to] = &mut self.scratch;
            let target = if finest == 1 { &mut self.levels[0] } else { &mut *from };
            let border_of = |scale: u32| if scale == finest { border } else { 0 };
            halve(image.data(), image.width(), (image.width(), image.height()), target, border_of(1));
            for scale in 2..=finest {
                let target = if scale == finest { &mut self.levels[0] } else { &mut *to };
                halve(&from.image, from.stride, (from.width, from.height), target, border_of(scale));
                std::mem::swap(from, to);
            }
        }
        for i in 1..self.levels.len() {
            let (done, rest) = self.levels.split_at_mut(i);
            let from = &done[i - 1];
            halve(&from.image[from.at(0, 0)..], from.stride, (from.width, from.height), &mut rest[0], border);
        }
    }

    /// Computes the gradients, unless done already. Only the first image of a pair needs them.
    #[inline(always)]
    pub(super) fn differentiate(&mut self) {
        if !std::mem::replace(&mut self.differentiated, true) {
            for level in &mut self.levels {
                level.differentiate();
            }
        }
    }
}

/// Averages 2x2 pixels of `from`, whose rows lie `stride` apart, into `to`.
#[inline(always)]
fn halve(from: &[f32], stride: usize, (width, height): (usize, usize), to: &mut Level, border: usize) {
    to.resize(width.div_ceil(2), height.div_ceil(2), border);
    for y in 0..to.height {
        let above = &from[2 * y * stride..][..width];
        let below = &from[(2 * y + 1).min(height - 1) * stride..][..width];
        let row = to.row_mut(y);
        for (mean, (a, b)) in row.iter_mut().zip(above.chunks_exact(2).zip(below.chunks_exact(2))) {
            *mean = 0.25 * (a[0] + a[1] + b[0] + b[1]);
        }
        if width % 2 == 1 {
            row[width / 2] = 0.5 * (above[width - 1] + below[width - 1]);
        }
    }
    to.extend();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_average_pixels() {
        // 3x3 of 0..8: the mean of {0, 1, 3, 4} is 2, of {2, 5} 3.5, of {6, 7} 6.5, of {8} 8.
        let image = Image::new(3, 3, (0..9).map(|i| i as f32).collect()).unwrap();
        let mut pyramid = Pyramid::default();
        pyramid.build(&image, 0, 2, 1);
        assert_eq!([pyramid.levels[1].row(0), pyramid.levels[1].row(1)], [[2.0, 3.5], [6.5, 8.0]]);
        // (2 + 3.5 + 6.5 + 8) / 4 = 5, all around its border too.
        assert_eq!(pyramid.levels[2].image, [5.0; 9]);

        // The same scales when finer ones are left out.
        for finest in 1..=2 {
            let mut partial = Pyramid::default();
            partial.build(&image, finest, 2, 1);
            assert_eq!(partial.levels.len(), 3 - finest as usize);
            assert_eq!(partial.levels[0].image, pyramid.levels[finest as usize].image);
        }
    }

    #[test]
    fn gradient_of_a_ramp_is_its_slope() {
        // I = 3x - 2y: inside, the gradient is (3, -2); at the border, which repeats pixels, half
        // of it across.
        let image = Image::new(4, 4, (0..16).map(|i| 3.0 * (i % 4) as f32 - 2.0 * (i / 4) as f32).collect()).unwrap();
        let mut pyramid = Pyramid::default();
        pyramid.build(&image, 0, 0, 1);
        pyramid.differentiate();
        let level = &pyramid.levels[0];
        assert_eq!((level.dx[5], level.dy[5]), (3.0, -2.0));
        assert_eq!((level.dx[4], level.dy[1]), (1.5, -1.0));
    }
}
