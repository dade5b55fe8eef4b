//! Planes laid out for vector loops.

/// Floats of a vector of the widest instruction set in use. The length of a row is a multiple of this.
const LANES: usize = 8;
/// Floats before the first row and after the last: a row may be read shifted by one float.
const GUARD: usize = 16;
/// Floats from the start of one staggered plane to that of the next: six cache lines.
const STAGGER: usize = 96;

/// A plane of floats. Each row is followed by at least one float of padding, so loops may run over whole
/// vectors, and the left and right neighbour of every pixel can be read.
///
/// [`Grid::reshape`] fills the padding with zeros, [`Grid::close_rows`] with the last pixel of the row.
#[derive(Clone, Debug, Default)]
pub(super) struct Grid {
    width: usize,
    height: usize,
    stride: usize,
    first: usize,
    turn: usize,
    data: Vec<f32>,
}

impl Grid {
    /// An empty plane for a loop that goes through many planes at once.
    ///
    /// Large allocations begin at the start of a page, so the same rows of planes of one size compete for
    /// the same few places in the cache. Each `turn` moves a plane a little further in its memory.
    pub(super) fn staggered(turn: usize) -> Self {
        Self { turn, ..Self::default() }
    }

    /// Resizes the plane and fills it with zeros. Its memory is reused if it is large enough.
    pub(super) fn reshape(&mut self, width: usize, height: usize) {
        let stride = (width + 1).next_multiple_of(LANES);
        let offset = GUARD + self.turn * STAGGER;
        let length = offset + height * stride + GUARD;
        self.data.clear();
        self.data.reserve_exact(length + GUARD);
        // Rows that begin on a cache line take fewer loads. Only the speed depends on it.
        let skip = self.data.as_ptr().wrapping_add(offset).align_offset(64).min(GUARD);
        self.data.resize(length + skip, 0.0);
        (self.width, self.height, self.stride, self.first) = (width, height, stride, offset + skip);
    }

    /// Copies rows of `width` values.
    pub(super) fn load_rows(&mut self, width: usize, height: usize, rows: &[f32]) {
        self.reshape(width, height);
        for (y, row) in rows.chunks_exact(width).enumerate() {
            self.row_mut(y)[..width].copy_from_slice(row);
        }
    }

    /// Copies the pixels into `out`, without padding.
    pub(super) fn store(&self, out: &mut [f32]) {
        for (y, row) in out.chunks_exact_mut(self.width).enumerate() {
            row.copy_from_slice(&self.row(y)[..self.width]);
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Floats from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// A row with its padding.
    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.data[self.first + y * self.stride..][..self.stride]
    }

    /// A row with its padding.
    pub(super) fn row_mut(&mut self, y: usize) -> &mut [f32] {
        &mut self.data[self.first + y * self.stride..][..self.stride]
    }

    /// A row shifted so that value `x` is the left neighbour of pixel `x`.
    pub(super) fn left_of(&self, y: usize) -> &[f32] {
        &self.data[self.first + y * self.stride - 1..][..self.stride]
    }

    /// A row shifted so that value `x` is the right neighbour of pixel `x`.
    pub(super) fn right_of(&self, y: usize) -> &[f32] {
        &self.data[self.first + y * self.stride + 1..][..self.stride]
    }

    /// Fills the padding of a row with its last pixel, whose forward difference then is zero.
    pub(super) fn close_row(&mut self, y: usize) {
        let width = self.width;
        let row = self.row_mut(y);
        let last = row[width - 1];
        row[width..].fill(last);
    }

    /// [`Grid::close_row`] for every row.
    pub(super) fn close_rows(&mut self) {
        (0..self.height).for_each(|y| self.close_row(y));
    }

    /// Multiplies every value.
    pub(super) fn scale(&mut self, factor: f32) {
        self.data.iter_mut().for_each(|value| *value *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With at least one float of padding, up to seven columns fit into one vector of 8; eight columns
    /// need two.
    #[test]
    fn rows_are_whole_vectors_with_padding() {
        let mut grid = Grid::default();
        for (width, stride) in [(1, 8), (3, 8), (7, 8), (8, 16), (320, 328)] {
            grid.reshape(width, 2);
            assert_eq!(grid.stride(), stride);
        }
    }

    #[test]
    fn neighbours_of_the_ends_are_padding() {
        let mut grid = Grid::default();
        grid.load_rows(3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(grid.left_of(0)[..3], [0.0, 1.0, 2.0]);
        assert_eq!(grid.left_of(1)[..3], [0.0, 4.0, 5.0]);
        assert_eq!(grid.right_of(1)[..3], [5.0, 6.0, 0.0]);
        grid.close_rows();
        assert_eq!(grid.right_of(1)[..3], [5.0, 6.0, 6.0]);
        let mut out = [0.0; 6];
        grid.store(&mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
