//! Bilinear resizing between the scales of the pyramid.

use super::grid::Grid;

/// Resizes planes; keeps its tables from call to call.
#[derive(Clone, Debug, Default)]
pub(super) struct Resize {
    columns: Vec<(usize, usize, f32)>,
    blend: Vec<f32>,
}

impl Resize {
    /// Resizes `from` to the size of `to`. The pixel centre `x + ½` of the result lies at `(x + ½)·step`
    /// of the source, where `step` is in source pixels per result pixel. Beyond the outermost centres the
    /// edge is repeated.
    pub(super) fn run(&mut self, from: &Grid, to: &mut Grid, step: (f64, f64)) {
        let (width, height) = (to.width(), to.height());
        self.columns.clear();
        self.columns.extend((0..width).map(|x| neighbours(x, step.0, from.width())));
        for y in 0..height {
            let (upper, lower, weight) = neighbours(y, step.1, from.height());
            self.blend.clear();
            let pairs = from.row(upper).iter().zip(from.row(lower));
            self.blend.extend(pairs.map(|(&a, &b)| a * (1.0 - weight) + b * weight));
            for (out, &(left, right, weight)) in to.row_mut(y)[..width].iter_mut().zip(&self.columns) {
                *out = self.blend[left] * (1.0 - weight) + self.blend[right] * weight;
            }
        }
    }
}

/// The two source pixels on either side of a result pixel, and the weight of the second.
fn neighbours(at: usize, step: f64, length: usize) -> (usize, usize, f32) {
    let centre = ((at as f64 + 0.5) * step - 0.5).clamp(0.0, (length - 1) as f64);
    let first = centre as usize; // truncation is the floor: the centre is not negative
    (first, (first + 1).min(length - 1), (centre - first as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halving: the centre of result pixel 0 is at 0.5·2 − 0.5 = 0.5, midway between 0 and 10; that
    /// of pixel 1 at 2.5. Doubling: centres at −0.25 (clamped to 0), 0.25, 0.75, 1.25 (clamped to
    /// 1).
    #[test]
    fn halving_averages_pixels_and_doubling_repeats_the_edge() {
        for (pixels, step, expected) in
            [(&[0.0, 10.0, 20.0, 40.0][..], 2.0, &[5.0, 30.0][..]), (&[0.0, 8.0], 0.5, &[0.0, 2.0, 6.0, 8.0])]
        {
            let (mut from, mut to) = (Grid::default(), Grid::default());
            from.load_rows(pixels.len(), 1, pixels);
            to.reshape(expected.len(), 1);
            Resize::default().run(&from, &mut to, (step, 1.0));
            assert_eq!(&to.row(0)[..expected.len()], expected);
        }
    }
}
