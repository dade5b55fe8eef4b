//! The data term, linearised around the flow so far.

use super::dispatch::for_each_cpu;
use super::grid::Grid;
use super::packed::{Packed, Sample, Samples};

/// Squared gradients up to this value give no information on the motion.
const LEAST_GRADIENT: f32 = f32::EPSILON;

/// The data term around a flow `u₀`: the residual of a flow `u` is
/// `rho + horizontal·u₁ + vertical·u₂`.
#[derive(Clone, Debug)]
pub(super) struct Linearised {
    /// Horizontal derivative of the warped image.
    pub(super) horizontal: Grid,
    /// Vertical derivative of the warped image.
    pub(super) vertical: Grid,
    /// The constant part of the residual.
    pub(super) rho: Grid,
    /// One over the squared gradient, or zero if there is no gradient.
    pub(super) inverse: Grid,
    samples: Samples,
}

impl Default for Linearised {
    fn default() -> Self {
        let [horizontal, vertical, rho, inverse] = [0, 1, 2, 3].map(Grid::staggered);
        Self { horizontal, vertical, rho, inverse, samples: Samples::default() }
    }
}

impl Linearised {
    /// Resizes the planes for an image of this size. Their padding is and remains zero.
    pub(super) fn reshape(&mut self, width: usize, height: usize) {
        for grid in [&mut self.horizontal, &mut self.vertical, &mut self.rho, &mut self.inverse] {
            grid.reshape(width, height);
        }
    }

    /// Warps the second image by a flow and linearises the data term there.
    pub(super) fn run(&mut self, first: &Grid, second: &Packed, u: &[Grid; 2]) {
        let width = first.width();
        for y in 0..first.height() {
            let flow = [&u[0].row(y)[..width], &u[1].row(y)[..width]];
            let samples = self.samples.take(second, y, flow[0], flow[1]);
            let grids = [&mut self.horizontal, &mut self.vertical, &mut self.rho, &mut self.inverse];
            linearise_row(samples, first.row(y), flow, grids.map(|grid| grid.row_mut(y)));
        }
    }
}

for_each_cpu! {
    fn linearise_row(samples: &[Sample], first: &[f32], flow: [&[f32]; 2], out: [&mut [f32]; 4]) {
        let n = samples.len();
        let (first, [u, v]) = (&first[..n], flow.map(|row| &row[..n]));
        let [horizontal, vertical, rho, inverse] = out.map(|row| &mut row[..n]);
        for x in 0..n {
            let [warped, dx, dy, _] = samples[x];
            let squared = dx * dx + dy * dy;
            horizontal[x] = dx;
            vertical[x] = dy;
            rho[x] = warped - dx * u[x] - dy * v[x] - first[x];
            inverse[x] = if squared > LEAST_GRADIENT { 1.0 / squared } else { 0.0 };
        }
    }
}
