//! The 5×5 median filter.
//!
//! The median of 25 values is found by a network of comparisons without branches, which runs on whole
//! vectors:
//!
//! 1. The five values of every column are sorted, once per row, because five neighbouring windows share
//!    a column.
//! 2. The rows of a window of five columns are sorted. Then rows and columns are sorted: the value in
//!    row `i`, column `j` (from 0) has at least `(i+1)(j+1) − 1` values that are no larger and
//!    `(5−i)(5−j) − 1` that are no smaller. The median has 12 of each, so places with
//!    `(i+1)(j+1) ≥ 14` or `(5−i)(5−j) ≥ 14` can be left out. 13 places remain, and equally many were
//!    left out above and below, so their median is that of the window.
//! 3. By the 0-1 principle it is enough that a network is right for zeros and ones, of which there are
//!    only 252 sorted tables. The 16 comparisons of the last step come from a search over these; a test
//!    checks every window of zeros and ones with sorted columns.

use super::dispatch::for_each_cpu;
use super::grid::Grid;

/// Side of the window.
const SIDE: usize = 5;
/// Pixels of the window on each side of its centre.
const REACH: usize = SIDE / 2;

/// Filters planes; keeps its memory from call to call.
#[derive(Clone, Debug)]
pub(super) struct Median {
    sorted: [Vec<f32>; SIDE],
    filtered: Grid,
}

impl Default for Median {
    fn default() -> Self {
        // It is swapped with the planes of the flow, so it has a turn that they do not have.
        Self { sorted: Default::default(), filtered: Grid::staggered(10) }
    }
}

impl Median {
    /// Replaces every value by the median of the 5×5 window around it, with edges repeated beyond the
    /// borders, and closes the rows.
    pub(super) fn run(&mut self, plane: &mut Grid) {
        let (width, height) = (plane.width(), plane.height());
        self.filtered.reshape(width, height);
        for row in &mut self.sorted {
            row.clear();
            row.resize(plane.stride() + 2 * REACH, 0.0);
        }
        for y in 0..height {
            let rows = std::array::from_fn(|i| plane.row((y + i).saturating_sub(REACH).min(height - 1)));
            sort_columns(rows, &mut self.sorted);
            for row in &mut self.sorted {
                let (first, last) = (row[REACH], row[REACH + width - 1]);
                row[..REACH].fill(first);
                row[REACH + width..].fill(last);
            }
            select_medians(&self.sorted, self.filtered.row_mut(y));
            self.filtered.close_row(y);
        }
        std::mem::swap(plane, &mut self.filtered);
    }
}

for_each_cpu! {
    /// Sorts the five values of every column; `sorted` begins two columns further left.
    fn sort_columns(rows: [&[f32]; SIDE], sorted: &mut [Vec<f32>; SIDE]) {
        let [a, b, c, d, e] = rows;
        let [p, q, r, s, t] = sorted;
        sort_rows(a, b, c, d, e, [&mut p[REACH..], &mut q[REACH..], &mut r[REACH..], &mut s[REACH..], &mut t[REACH..]]);
    }
}

#[inline(always)]
fn sort_rows(a: &[f32], b: &[f32], c: &[f32], d: &[f32], e: &[f32], sorted: [&mut [f32]; SIDE]) {
    let n = a.len();
    let (b, c, d, e) = (&b[..n], &c[..n], &d[..n], &e[..n]);
    let [p, q, r, s, t] = sorted.map(|row| &mut row[..n]);
    for x in 0..n {
        [p[x], q[x], r[x], s[x], t[x]] = sort5([a[x], b[x], c[x], d[x], e[x]]);
    }
}

for_each_cpu! {
    /// The medians of a row from its sorted columns.
    fn select_medians(sorted: &[Vec<f32>; SIDE], out: &mut [f32]) {
        let n = out.len();
        let rows: [&[f32]; SIDE] = std::array::from_fn(|i| &sorted[i][..n + 2 * REACH]);
        for (x, out) in out.iter_mut().enumerate() {
            let mut window = [[0.0; SIDE]; SIDE];
            for (i, row) in window.iter_mut().enumerate() {
                for (j, value) in row.iter_mut().enumerate() {
                    *value = rows[i][x + j];
                }
            }
            *out = median_of_sorted_columns(window);
        }
    }
}

/// The smaller and the larger. Not [`f32::min`], whose care for NaN costs two more instructions.
#[inline(always)]
fn order(a: f32, b: f32) -> (f32, f32) {
    (if a < b { a } else { b }, if a < b { b } else { a })
}

/// Puts two elements of an array in order.
macro_rules! exchange {
    ($values:ident: $($low:tt $high:tt),*) => {
        $( ($values[$low], $values[$high]) = order($values[$low], $values[$high]); )*
    };
}

/// Nine comparisons, the fewest that sort five values.
#[inline(always)]
fn sort5(mut v: [f32; SIDE]) -> [f32; SIDE] {
    exchange!(v: 0 3, 1 4, 0 2, 1 3, 0 1, 2 4, 1 2, 3 4, 2 3);
    v
}

#[inline(always)]
fn median_of_sorted_columns(window: [[f32; SIDE]; SIDE]) -> f32 {
    let [a, b, c, d, e] = [
        sort5(window[0]), // the compiler drops comparisons of unused values
        sort5(window[1]),
        sort5(window[2]),
        sort5(window[3]),
        sort5(window[4]),
    ];
    //           0     1     2     3     4     5     6     7     8     9     10    11    12
    let mut v = [a[3], a[4], b[2], b[3], b[4], c[1], c[2], c[3], d[0], d[1], d[2], e[0], e[1]];
    exchange!(v: 2 9, 7 9, 1 3, 6 11, 5 8, 4 7, 10 12, 1 6, 3 11, 0 4, 3 6, 3 8, 6 10, 4 6, 4 8, 6 8);
    v[6]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0-1 principle: each sorted column of zeros and ones is its number of ones, 6^5 windows in
    /// all.
    #[test]
    fn selects_the_median_of_every_window_of_zeros_and_ones() {
        for code in 0..6usize.pow(5) {
            let ones: [usize; SIDE] = std::array::from_fn(|j| code / 6usize.pow(j as u32) % 6);
            let window = std::array::from_fn(|i| std::array::from_fn(|j| f32::from(u8::from(i + ones[j] >= SIDE))));
            let expected = f32::from(u8::from(ones.iter().sum::<usize>() >= 13));
            assert_eq!(median_of_sorted_columns(window), expected, "columns with {ones:?} ones");
        }
    }

    #[test]
    fn sorts_every_five_zeros_and_ones() {
        for code in 0..32u8 {
            let sorted = sort5(std::array::from_fn(|i| f32::from(code >> i & 1)));
            assert!(sorted.is_sorted(), "{code:05b}");
        }
    }

    /// Against sorting the window, on planes smaller than the window, of a vector's width, and odd.
    #[test]
    fn equals_the_middle_of_the_sorted_window() {
        let mut median = Median::default();
        for (width, height) in [(1, 1), (2, 3), (8, 4), (19, 11)] {
            let value = |x: usize, y: usize| ((x * 7919 + y * 104_729 + x * y * 31) % 1009) as f32;
            let mut plane = Grid::default();
            let rows: Vec<f32> = (0..width * height).map(|i| value(i % width, i / width)).collect();
            plane.load_rows(width, height, &rows);
            median.run(&mut plane);
            for y in 0..height {
                for x in 0..width {
                    let at = |center: usize, i: usize, n: usize| (center + i).saturating_sub(REACH).min(n - 1);
                    let mut window: Vec<f32> =
                        (0..25).map(|i| value(at(x, i % 5, width), at(y, i / 5, height))).collect();
                    window.sort_by(f32::total_cmp);
                    assert_eq!(plane.row(y)[x], window[12], "({x}, {y}) of {width}x{height}");
                }
                assert_eq!(plane.row(y)[width], plane.row(y)[width - 1]);
            }
        }
    }
}
