//! Successive over-relaxation of the refinement's linear equations.

use super::lattice::Lattice;

/// Over-relaxation factor ω.
const OMEGA: f32 = 1.6;

/// For every pixel two equations in its flow `(u, v)` and its neighbours', in planes of a
/// [`Lattice`]:
///
/// ```text
/// (a11 + Σw) u + a12 v = b1 + Σ w u_neighbour
/// a12 u + (a22 + Σw) v = b2 + Σ w v_neighbour
/// ```
#[derive(Clone, Debug, Default)]
pub(super) struct System {
    pub(super) u: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) a12: Vec<f32>,
    pub(super) b1: Vec<f32>,
    pub(super) b2: Vec<f32>,
    /// `1 / (a11 + Σw)`.
    pub(super) inverse1: Vec<f32>,
    /// `1 / (a22 + Σw)`.
    pub(super) inverse2: Vec<f32>,
    /// Weight `w` between a pixel and the one right of it; zero in the last column and beyond.
    pub(super) across: Vec<f32>,
    /// Weight between a pixel and the one below; zero in the last row.
    pub(super) down: Vec<f32>,
}

/// Half a row: the indices of its first pixel and of that pixel's neighbours.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) above: usize,
    pub(super) here: usize,
    pub(super) below: usize,
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) len: usize,
}

impl Run {
    /// Half row `odd` of row `y`.
    #[inline(always)]
    pub(super) fn new(lattice: &Lattice, y: usize, odd: usize) -> Self {
        let other = lattice.at(y + 1, 1 - odd);
        Self {
            above: lattice.at(y, odd),
            here: lattice.at(y + 1, odd),
            below: lattice.at(y + 2, odd),
            // Column 2k lies between 2(k - 1) + 1 and 2k + 1, column 2k + 1 between 2k and 2(k +
            // 1).
            left: other + odd - 1,
            right: other + odd,
            len: lattice.half,
        }
    }

    /// The run itself, and its neighbours at the left, right, above and below.
    #[inline(always)]
    fn split<'a>(&self, plane: &'a mut [f32]) -> (&'a mut [f32], [&'a [f32]; 4]) {
        let n = self.len;
        // In the order of memory: the row above, this half row and the other one in either order,
        // the row below.
        let odd = self.left < self.here;
        let cut = if odd { self.here } else { self.here + n };
        let (head, tail) = plane.split_at_mut(cut);
        if odd {
            let (here, tail) = tail.split_at_mut(n);
            let side = |at: usize| &head[at..][..n];
            (here, [side(self.left), side(self.right), side(self.above), &tail[self.below - cut - n..][..n]])
        } else {
            let (above, here) = head.split_at_mut(self.here);
            let side = |at: usize| &tail[at - cut..][..n];
            (here, [side(self.left), side(self.right), &above[self.above..][..n], side(self.below)])
        }
    }
}

impl System {
    /// Makes room for the planes of `lattice`, all zero.
    pub(super) fn reset(&mut self, lattice: &Lattice) {
        let Self { u, v, a12, b1, b2, inverse1, inverse2, across, down } = self;
        for plane in [u, v, a12, b1, b2, inverse1, inverse2, across, down] {
            plane.clear();
            plane.resize(lattice.len(), 0.0);
        }
    }

    /// `sweeps` sweeps of red-black relaxation.
    ///
    /// A row is ready for its next half sweep after the rows around it had theirs, so half sweeps follow
    /// each other down the image at a distance of one row. The arithmetic is that of sweep after sweep,
    /// but every row is still in the cache when it is read again.
    #[inline(always)]
    pub(super) fn relax(&mut self, lattice: &Lattice, sweeps: usize) {
        for front in 0..lattice.height + 2 * sweeps {
            for half_sweep in 0..2 * sweeps {
                if let Some(y) = front.checked_sub(half_sweep).filter(|&y| y < lattice.height) {
                    self.relax_row(lattice, y, half_sweep % 2);
                }
            }
        }
    }

    /// Relaxes the pixels of one colour in row `y`.
    #[inline(always)]
    fn relax_row(&mut self, lattice: &Lattice, y: usize, colour: usize) {
        let run = Run::new(lattice, y, (y + colour) % 2);
        let n = run.len;
        let (a12, b1, b2) = (&self.a12[run.here..][..n], &self.b1[run.here..][..n], &self.b2[run.here..][..n]);
        let (inverse1, inverse2) = (&self.inverse1[run.here..][..n], &self.inverse2[run.here..][..n]);
        let (to_left, to_right) = (&self.across[run.left..][..n], &self.across[run.here..][..n]);
        let (to_above, to_below) = (&self.down[run.above..][..n], &self.down[run.here..][..n]);
        let (u, [u_left, u_right, u_above, u_below]) = run.split(&mut self.u);
        let (v, [v_left, v_right, v_above, v_below]) = run.split(&mut self.v);
        for k in 0..n {
            let (left, right, above, below) = (to_left[k], to_right[k], to_above[k], to_below[k]);
            let u_around = left * u_left[k] + right * u_right[k] + above * u_above[k] + below * u_below[k];
            let v_around = left * v_left[k] + right * v_right[k] + above * v_above[k] + below * v_below[k];
            let new_u = u[k] + OMEGA * ((b1[k] + u_around - a12[k] * v[k]) * inverse1[k] - u[k]);
            let new_v = v[k] + OMEGA * ((b2[k] + v_around - a12[k] * new_u) * inverse2[k] - v[k]);
            (u[k], v[k]) = (new_u, new_v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equations with u = 3, v = -1 at the upper left pixel, and smoothness alone elsewhere.
    fn system(lattice: &Lattice) -> System {
        let mut system = System::default();
        system.reset(lattice);
        for y in 0..lattice.height {
            for x in 0..lattice.width {
                let i = lattice.pixel(x, y);
                system.across[i] = if x + 1 < lattice.width { 1.0 } else { 0.0 };
                system.down[i] = if y + 1 < lattice.height { 1.0 } else { 0.0 };
            }
        }
        for y in 0..lattice.height {
            for x in 0..lattice.width {
                let inner = |at: usize, side: usize| if at == 0 || at + 1 == side { 1.0 } else { 2.0 };
                let data = if x + y == 0 { 1.0 } else { 0.0 };
                let i = lattice.pixel(x, y);
                let sum = inner(x, lattice.width) + inner(y, lattice.height);
                (system.inverse1[i], system.inverse2[i]) = (1.0 / (sum + data), 1.0 / (sum + data));
                (system.b1[i], system.b2[i]) = (3.0 * data, -data);
            }
        }
        system
    }

    #[test]
    fn converges_to_the_only_solution() {
        for (width, height) in [(4, 4), (5, 7), (18, 3)] {
            let lattice = Lattice::new(width, height);
            let mut system = system(&lattice);
            system.relax(&lattice, 2000);
            for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
                let i = lattice.pixel(x, y);
                assert!((system.u[i] - 3.0).abs() < 1e-3 && (system.v[i] + 1.0).abs() < 1e-3, "{x},{y}");
            }
        }
    }

    #[test]
    fn overlapping_half_sweeps_equal_sequential_ones() {
        let lattice = Lattice::new(11, 6);
        let (mut skewed, mut plain) = (system(&lattice), system(&lattice));
        skewed.relax(&lattice, 3);
        for half_sweep in 0..6 {
            for y in 0..lattice.height {
                plain.relax_row(&lattice, y, half_sweep % 2);
            }
        }
        assert_eq!((skewed.u, skewed.v), (plain.u, plain.v));
    }
}
