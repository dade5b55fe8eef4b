//! Planes of values for red-black relaxation.

use super::lanes::LANES;

/// The layout of planes whose rows keep their even columns apart from their odd ones.
///
/// Red-black relaxation changes every other pixel. With the even columns of a row side by side, followed
/// by the odd ones, the pixels to change are contiguous, and so are each of their four neighbours: those
/// above and below have the same index, those to the sides the same index and the one before (for an
/// even column) or after (for an odd one). Half rows and planes have unused values around them, so
/// border pixels have neighbours to read as well.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lattice {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Values of half a row, rounded up to whole vectors.
    pub(super) half: usize,
    /// Distance of half rows, which have `LANES` unused values on both sides.
    part: usize,
}

impl Lattice {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let half = width.div_ceil(2).next_multiple_of(LANES);
        Self { width, height, half, part: half + 2 * LANES }
    }

    /// The length of a plane.
    pub(super) fn len(&self) -> usize {
        (self.height + 2) * 2 * self.part
    }

    /// Index of the first even (`odd` = 0) or odd (1) column of row `y_plus_1 - 1`; 0 is the row above
    /// the first.
    #[inline(always)]
    pub(super) fn at(&self, y_plus_1: usize, odd: usize) -> usize {
        (y_plus_1 * 2 + odd) * self.part + LANES
    }

    /// The two half rows of row `y`.
    #[inline(always)]
    pub(super) fn halves_mut<'a>(&self, plane: &'a mut [f32], y: usize) -> [&'a mut [f32]; 2] {
        let row = &mut plane[self.at(y + 1, 0)..];
        let (even, odd) = row.split_at_mut(self.part);
        [&mut even[..self.half], &mut odd[..self.half]]
    }

    /// Index of the pixel `(x, y)`; `x` may be one past the last column.
    #[inline(always)]
    pub(super) fn pixel(&self, x: usize, y: usize) -> usize {
        self.at(y + 1, x % 2) + x / 2
    }

    /// Copies a row of pixels into row `y` of a plane.
    #[inline(always)]
    pub(super) fn scatter(&self, row: &[f32], plane: &mut [f32], y: usize) {
        let [even, odd] = self.halves_mut(plane, y);
        for ((even, odd), pair) in even.iter_mut().zip(odd.iter_mut()).zip(row.chunks_exact(2)) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        if self.width % 2 == 1 {
            even[self.width / 2] = row[self.width - 1];
        }
    }

    /// Copies row `y` of a plane into a row of pixels.
    #[inline(always)]
    pub(super) fn gather(&self, plane: &[f32], y: usize, row: &mut [f32]) {
        let even = &plane[self.at(y + 1, 0)..][..self.half];
        let odd = &plane[self.at(y + 1, 1)..][..self.half];
        for ((even, odd), pair) in even.iter().zip(odd).zip(row.chunks_exact_mut(2)) {
            (pair[0], pair[1]) = (*even, *odd);
        }
        if self.width % 2 == 1 {
            row[self.width - 1] = even[self.width / 2];
        }
    }

    /// Repeats the last row and column behind them, which makes differences across the border zero.
    #[inline(always)]
    pub(super) fn extend(&self, plane: &mut [f32]) {
        for y in 0..self.height {
            plane[self.pixel(self.width, y)] = plane[self.pixel(self.width - 1, y)];
        }
        let last = self.at(self.height, 0);
        plane.copy_within(last..last + 2 * self.part - LANES, self.at(self.height + 1, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_returns_the_scattered_row() {
        for width in [4, 7, 16, 17] {
            let lattice = Lattice::new(width, 3);
            let mut plane = vec![0.0; lattice.len()];
            let row: Vec<f32> = (0..width).map(|x| x as f32).collect();
            lattice.scatter(&row, &mut plane, 2);
            assert!((0..width).all(|x| plane[lattice.pixel(x, 2)] == x as f32));
            let mut back = vec![0.0; width];
            lattice.gather(&plane, 2, &mut back);
            assert_eq!(back, row);
            lattice.extend(&mut plane);
            assert_eq!(plane[lattice.pixel(width, 2)], (width - 1) as f32);
            assert_eq!(plane[lattice.pixel(1, 3)], 1.0);
        }
    }
}
