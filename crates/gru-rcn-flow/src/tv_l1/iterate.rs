//! One iteration of the primal-dual scheme in one pass over memory.
//!
//! With `q = θ p` in place of the dual variable `p` of Zach et al., an iteration is, for both
//! components `d` of the flow,
//!
//! ```text
//! v_d = u_d + clamp(−ρ(u) / |∇I|², ±λθ) · ∂_d I      thresholding
//! u_d = v_d + div q_d                                backward differences
//! q_d = (q_d + τ ∇u_d) / (1 + τ/θ |∇u_d|)            forward differences
//! ```
//!
//! The new `u` of row `y` needs the old `q` of rows `y` and `y − 1`; the new `q` of row `y − 1` needs the
//! new `u` of these rows. So each row is visited once: first `u` of the row is updated, then `q` of the
//! row above, while both are in the cache.

use super::dispatch::for_each_cpu;
use super::grid::Grid;
use super::linearise::Linearised;

/// Constants of an iteration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// λθ, the reach of the thresholding step.
    pub(super) threshold: f32,
    /// τ, the step of the dual variable.
    pub(super) tau: f32,
    /// τ/θ.
    pub(super) shrink: f32,
}

/// The unknowns on one scale. `u` has closed rows, the padding of `q` is zeros.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The flow's components.
    pub(super) u: [Grid; 2],
    /// The horizontal and vertical part of `q` for each component.
    pub(super) q: [[Grid; 2]; 2],
    change: Vec<f32>,
    above_first: Vec<f32>,
}

impl Default for State {
    fn default() -> Self {
        let pair = |turn| [Grid::staggered(turn), Grid::staggered(turn + 1)];
        Self { u: pair(4), q: [pair(6), pair(8)], change: Vec::new(), above_first: Vec::new() }
    }
}

impl State {
    /// Sets the dual variables to zero, for an image of this size.
    pub(super) fn reset_dual(&mut self, width: usize, height: usize) {
        self.q.iter_mut().flatten().for_each(|grid| grid.reshape(width, height));
    }

    /// One iteration; returns the sum of the squared changes of `u`.
    pub(super) fn iterate(&mut self, data: &Linearised, steps: Steps) -> f64 {
        let (height, stride) = (self.u[0].height(), self.u[0].stride());
        for row in [&mut self.change, &mut self.above_first] {
            row.clear();
            row.resize(stride, 0.0);
        }
        pass(self, data, steps, height);
        // On every machine, sums over rows are in f32 and the sum over columns in f64, in this order.
        self.change.iter().map(|&sum| f64::from(sum)).sum()
    }
}

for_each_cpu! {
    fn pass(state: &mut State, data: &Linearised, steps: Steps, height: usize) {
        for y in 0..height {
            update_flow(state, data, steps, y);
            if y > 0 {
                update_dual(state, steps, y - 1, y);
            }
        }
        update_dual(state, steps, height - 1, height - 1); // the difference beyond the last row is zero
    }
}

#[inline(always)]
fn update_flow(state: &mut State, data: &Linearised, steps: Steps, y: usize) {
    let State { u, q, change, above_first } = state;
    let rows = [data.horizontal.row(y), data.vertical.row(y), data.rho.row(y), data.inverse.row(y)];
    let [u_dual, v_dual] = q.each_ref().map(|[sideways, down]| {
        let above = if y > 0 { down.row(y - 1) } else { above_first.as_slice() };
        [sideways.left_of(y), sideways.row(y), above, down.row(y)]
    });
    let [u, v] = u;
    advance(u.row_mut(y), v.row_mut(y), change, rows, u_dual, v_dual, steps.threshold);
    u.close_row(y);
    v.close_row(y);
}

/// The thresholding step and the divergence: computes the new flow of a row and adds its squared changes
/// by column.
///
/// The dual rows of each component are the horizontal part, shifted by a pixel and not shifted, and the
/// vertical part of the row above and of this row. Every slice that is written is an argument of its
/// own, so that the compiler knows that it overlaps with no other.
#[inline(always)]
fn advance(
    u: &mut [f32],
    v: &mut [f32],
    change: &mut [f32],
    data: [&[f32]; 4],
    u_dual: [&[f32]; 4],
    v_dual: [&[f32]; 4],
    reach: f32,
) {
    let n = u.len();
    let (v, change) = (&mut v[..n], &mut change[..n]);
    let [gx, gy, rho, inverse] = data.map(|row| &row[..n]);
    let [[u_left, u_here, u_above, u_down], [v_left, v_here, v_above, v_down]] =
        [u_dual, v_dual].map(|rows| rows.map(|row| &row[..n]));
    for x in 0..n {
        let residual = rho[x] + (gx[x] * u[x] + gy[x] * v[x]);
        let full = -residual * inverse[x];
        // Not `clamp`, whose care for NaN costs more instructions.
        let raised = if full > -reach { full } else { -reach };
        let step = if raised < reach { raised } else { reach };
        let du = step * gx[x] + ((u_here[x] - u_left[x]) + (u_down[x] - u_above[x]));
        let dv = step * gy[x] + ((v_here[x] - v_left[x]) + (v_down[x] - v_above[x]));
        u[x] += du;
        v[x] += dv;
        change[x] += du * du + dv * dv;
    }
}

#[inline(always)]
fn update_dual(state: &mut State, steps: Steps, y: usize, below: usize) {
    let [u, v] = &state.u;
    let width = u.width();
    let [[u_left, u_down], [v_left, v_down]] = &mut state.q;
    let [q1, q2, q3, q4] = [u_left, u_down, v_left, v_down].map(|grid| grid.row_mut(y));
    let u = [u.row(y), u.right_of(y), u.row(below)];
    let v = [v.row(y), v.right_of(y), v.row(below)];
    ascend(u, v, q1, q2, q3, q4, steps);
    for q in [q1, q2, q3, q4] {
        q[width..].fill(0.0);
    }
}

/// Computes the new dual variables of a row from, for both components, the row, the row shifted by a
/// pixel and the row below. Written slices are arguments of their own, as in [`advance`].
#[inline(always)]
fn ascend(
    u: [&[f32]; 3],
    v: [&[f32]; 3],
    q1: &mut [f32],
    q2: &mut [f32],
    q3: &mut [f32],
    q4: &mut [f32],
    steps: Steps,
) {
    let n = q1.len();
    let ([u, u_right, u_below], [v, v_right, v_below]) = (u.map(|row| &row[..n]), v.map(|row| &row[..n]));
    let (q2, q3, q4) = (&mut q2[..n], &mut q3[..n], &mut q4[..n]);
    let Steps { tau, shrink, .. } = steps;
    for x in 0..n {
        let (u_dx, u_dy) = (u_right[x] - u[x], u_below[x] - u[x]);
        let (v_dx, v_dy) = (v_right[x] - v[x], v_below[x] - v[x]);
        let u_norm = 1.0 + shrink * (u_dx * u_dx + u_dy * u_dy).sqrt();
        let v_norm = 1.0 + shrink * (v_dx * v_dx + v_dy * v_dy).sqrt();
        // One division for both: 1/a = b/(ab), 1/b = a/(ab). Divisions and roots take half of an
        // iteration's time.
        let both = 1.0 / (u_norm * v_norm);
        let (u_factor, v_factor) = (both * v_norm, both * u_norm);
        q1[x] = (q1[x] + tau * u_dx) * u_factor;
        q2[x] = (q2[x] + tau * u_dy) * u_factor;
        q3[x] = (q3[x] + tau * v_dx) * v_factor;
        q4[x] = (q4[x] + tau * v_dy) * v_factor;
    }
}
