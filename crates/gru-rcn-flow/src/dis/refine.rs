//! Variational refinement of a flow field (§2.3, equation 4).
//!
//! The energy is that of Brox, Bruhn, Papenberg, Weickert, *High Accuracy Optical Flow Estimation
//! Based on a Theory for Warping*, ECCV 2004, with each data term divided by the length of its
//! gradient:
//!
//! ```text
//! E(u, v) = Σ δ ψ(β₀ r₀²) + γ ψ(β₁ r₁² + β₂ r₂²) + α ψ(|∇u|² + |∇v|²),   ψ(s²) = sqrt(s² + ε²)
//! r₀ = I_t + I_x du + I_y dv,   r₁ = I_xt + I_xx du + I_xy dv,   r₂ = I_yt + I_xy du + I_yy dv
//! ```
//!
//! where `(du, dv)` is the change of the flow since the second image was warped by it, and
//! `β = 1 / (|∇·|² + ζ²)`. Setting the derivative to zero gives equations that are linear except for
//! ψ'. They are solved with the ψ' of the last flow (lagged diffusivity) by a few sweeps of relaxation,
//! and then linearised again.

use super::Dis;
use super::lattice::Lattice;
use super::patch::locate;
use super::pyramid::Level;
use super::relax::{Run, System};

/// Sweeps of relaxation per linearisation.
const SWEEPS: usize = 5;
/// ζ², which bounds the normalisation where the image is flat; in squared intensities per pixel.
const ZETA_SQUARED: f32 = 0.01;

/// Buffers of the refinement.
#[derive(Clone, Debug, Default)]
pub(super) struct Refiner {
    /// Row after row: the mean of the first image and the warped second, its gradient, and their
    /// difference.
    mean: Vec<f32>,
    mean_dx: Vec<f32>,
    mean_dy: Vec<f32>,
    change: Vec<f32>,
    /// The coefficients of u and v and the constant of each of the normalised residuals r₀, r₁ and
    /// r₂, in planes.
    residuals: [[Vec<f32>; 3]; 3],
    system: System,
    row: [Vec<f32>; 9],
}

impl Refiner {
    /// Refines `flow` between two images of one scale, in place.
    #[inline(always)]
    pub(super) fn refine(&mut self, dis: &Dis, first: &Level, second: &Level, [u, v]: [&mut [f32]; 2]) {
        let lattice = Lattice::new(first.width, first.height);
        self.system.reset(&lattice);
        for plane in self.residuals.as_flattened_mut() {
            plane.clear();
            plane.resize(lattice.len(), 0.0);
        }
        self.warp(first, second, [u, v]);
        self.linearise(&lattice, [u, v]);
        for y in 0..first.height {
            lattice.scatter(line(u, first.width, y), &mut self.system.u, y);
            lattice.scatter(line(v, first.width, y), &mut self.system.v, y);
        }
        for _ in 0..dis.variational_refinement_iterations {
            self.weigh_smoothness(dis, &lattice);
            self.weigh_data(dis, &lattice);
            self.system.relax(&lattice, SWEEPS);
        }
        for y in 0..first.height {
            lattice.gather(&self.system.u, y, line_mut(u, first.width, y));
            lattice.gather(&self.system.v, y, line_mut(v, first.width, y));
        }
    }

    /// Samples the second image along the flow.
    #[inline(always)]
    fn warp(&mut self, first: &Level, second: &Level, [u, v]: [&[f32]; 2]) {
        let (width, height) = (first.width, first.height);
        self.mean.resize(width * height, 0.0);
        self.change.resize(width * height, 0.0);
        for y in 0..height {
            let (u, v, image) = (line(u, width, y), line(v, width, y), first.row(y));
            let (mean, change) = (line_mut(&mut self.mean, width, y), line_mut(&mut self.change, width, y));
            for x in 0..width {
                let (at, fx, fy) = locate(second, x as f32 + u[x], y as f32 + v[x], 1);
                let (above, below) = (&second.image[at..][..2], &second.image[at + second.stride..][..2]);
                let above = above[0] + fx * (above[1] - above[0]);
                let below = below[0] + fx * (below[1] - below[0]);
                let warped = above + fy * (below - above);
                mean[x] = 0.5 * (image[x] + warped);
                change[x] = warped - image[x];
            }
        }
    }

    /// Computes the residuals as functions of the whole flow. `[u, v]` is the flow `u₀, v₀` of the warp:
    /// the constant of `I_t + I_x (u - u₀) + I_y (v - v₀)` is `I_t - I_x u₀ - I_y v₀`.
    #[inline(always)]
    fn linearise(&mut self, lattice: &Lattice, [u, v]: [&[f32]; 2]) {
        let (width, height) = (lattice.width, lattice.height);
        self.mean_dx.resize(width * height, 0.0);
        self.mean_dy.resize(width * height, 0.0);
        for y in 0..height {
            derive_across(line(&self.mean, width, y), line_mut(&mut self.mean_dx, width, y));
            derive_down(&self.mean, width, y, line_mut(&mut self.mean_dy, width, y));
        }
        self.row.iter_mut().for_each(|row| row.resize(width, 0.0));
        for y in 0..height {
            let (dx, dy) = (line(&self.mean_dx, width, y), line(&self.mean_dy, width, y));
            let (dt, u, v) = (line(&self.change, width, y), line(u, width, y), line(v, width, y));
            let [x0, y0, t0, xx, xy1, xt, xy2, yy, yt] = self.row.each_mut().map(|row| &mut row[..width]);
            derive_across(dx, xx);
            derive_down(&self.mean_dx, width, y, xy1);
            derive_across(dt, xt);
            derive_down(&self.mean_dy, width, y, yy);
            derive_down(&self.change, width, y, yt);
            for x in 0..width {
                (x0[x], y0[x], t0[x]) = normalise([dx[x], dy[x], dt[x]], [u[x], v[x]]);
                let xy = xy1[x];
                (xx[x], xy1[x], xt[x]) = normalise([xx[x], xy, xt[x]], [u[x], v[x]]);
                (xy2[x], yy[x], yt[x]) = normalise([xy, yy[x], yt[x]], [u[x], v[x]]);
            }
            for (row, plane) in self.row.iter().zip(self.residuals.as_flattened_mut()) {
                lattice.scatter(row, plane, y);
            }
        }
    }

    /// The weights between neighbours: `α ψ'` of the differences to the right and below.
    #[inline(always)]
    fn weigh_smoothness(&mut self, dis: &Dis, lattice: &Lattice) {
        let System { u, v, across, down, .. } = &mut self.system;
        lattice.extend(u);
        lattice.extend(v);
        let (alpha, epsilon_squared) = (dis.variational_refinement_alpha, dis.variational_refinement_epsilon.powi(2));
        for y in 0..lattice.height {
            for odd in 0..2 {
                let run = Run::new(lattice, y, odd);
                let (u_here, u_right, u_below) =
                    (&u[run.here..][..run.len], &u[run.right..][..run.len], &u[run.below..][..run.len]);
                let (v_here, v_right, v_below) =
                    (&v[run.here..][..run.len], &v[run.right..][..run.len], &v[run.below..][..run.len]);
                let (across, down) = (&mut across[run.here..][..run.len], &mut down[run.here..][..run.len]);
                for k in 0..run.len {
                    let (ux, uy) = (u_right[k] - u_here[k], u_below[k] - u_here[k]);
                    let (vx, vy) = (v_right[k] - v_here[k], v_below[k] - v_here[k]);
                    let weight = alpha / (ux * ux + uy * uy + vx * vx + vy * vy + epsilon_squared).sqrt();
                    (across[k], down[k]) = (weight, weight);
                }
            }
            // No weight across the border.
            for x in lattice.width - 1..2 * lattice.half {
                across[lattice.pixel(x, y)] = 0.0;
            }
        }
        for half in lattice.halves_mut(down, lattice.height - 1) {
            half.fill(0.0);
        }
    }

    /// The equations' coefficients: `ψ'` of the residuals times their derivatives.
    #[inline(always)]
    fn weigh_data(&mut self, dis: &Dis, lattice: &Lattice) {
        let (delta, gamma) = (dis.variational_refinement_delta, dis.variational_refinement_gamma);
        let epsilon_squared = dis.variational_refinement_epsilon.powi(2);
        for y in 0..lattice.height {
            for odd in 0..2 {
                let run = Run::new(lattice, y, odd);
                let n = run.len;
                let System { u, v, a12, b1, b2, inverse1, inverse2, across, down } = &mut self.system;
                let (u, v) = (&u[run.here..][..n], &v[run.here..][..n]);
                let (left, right) = (&across[run.left..][..n], &across[run.here..][..n]);
                let (above, below) = (&down[run.above..][..n], &down[run.here..][..n]);
                let (a12, b1, b2) = (&mut a12[run.here..][..n], &mut b1[run.here..][..n], &mut b2[run.here..][..n]);
                let (inverse1, inverse2) = (&mut inverse1[run.here..][..n], &mut inverse2[run.here..][..n]);
                let [[x0, y0, t0], [x1, y1, t1], [x2, y2, t2]] =
                    self.residuals.each_ref().map(|r| r.each_ref().map(|plane| &plane[run.here..][..n]));
                for k in 0..n {
                    let r0 = x0[k] * u[k] + y0[k] * v[k] + t0[k];
                    let r1 = x1[k] * u[k] + y1[k] * v[k] + t1[k];
                    let r2 = x2[k] * u[k] + y2[k] * v[k] + t2[k];
                    let bright = delta / (r0 * r0 + epsilon_squared).sqrt();
                    let slope = gamma / (r1 * r1 + r2 * r2 + epsilon_squared).sqrt();
                    // All weights are zero beyond the last column; the small constant keeps the inverse
                    // finite.
                    let around = left[k] + right[k] + above[k] + below[k] + 1e-12;
                    let a11 = bright * x0[k] * x0[k] + slope * (x1[k] * x1[k] + x2[k] * x2[k]);
                    let a22 = bright * y0[k] * y0[k] + slope * (y1[k] * y1[k] + y2[k] * y2[k]);
                    a12[k] = bright * x0[k] * y0[k] + slope * (x1[k] * y1[k] + x2[k] * y2[k]);
                    b1[k] = -(bright * x0[k] * t0[k] + slope * (x1[k] * t1[k] + x2[k] * t2[k]));
                    b2[k] = -(bright * y0[k] * t0[k] + slope * (y1[k] * t1[k] + y2[k] * t2[k]));
                    inverse1[k] = 1.0 / (a11 + around);
                    inverse2[k] = 1.0 / (a22 + around);
                }
            }
        }
    }
}

/// A residual's coefficients of u and v and its constant at no flow, from its derivatives at
/// `flow`, divided by the length of its gradient.
#[inline(always)]
fn normalise([x, y, t]: [f32; 3], [u, v]: [f32; 2]) -> (f32, f32, f32) {
    let scale = 1.0 / (x * x + y * y + ZETA_SQUARED).sqrt();
    (x * scale, y * scale, (t - x * u - y * v) * scale)
}

#[inline(always)]
fn line(plane: &[f32], width: usize, y: usize) -> &[f32] {
    &plane[y * width..][..width]
}

#[inline(always)]
fn line_mut(plane: &mut [f32], width: usize, y: usize) -> &mut [f32] {
    &mut plane[y * width..][..width]
}

/// Central differences along a row, whose ends are repeated.
#[inline(always)]
fn derive_across(row: &[f32], derivative: &mut [f32]) {
    let last = row.len() - 1;
    for ((d, before), after) in derivative[1..last].iter_mut().zip(row).zip(&row[2..]) {
        *d = 0.5 * (after - before);
    }
    derivative[0] = 0.5 * (row[1] - row[0]);
    derivative[last] = 0.5 * (row[last] - row[last - 1]);
}

/// Central differences down the columns at row `y`.
#[inline(always)]
fn derive_down(plane: &[f32], width: usize, y: usize, derivative: &mut [f32]) {
    let above = line(plane, width, y.saturating_sub(1));
    let below = line(plane, width, (y + 1).min(plane.len() / width - 1));
    for ((d, above), below) in derivative.iter_mut().zip(above).zip(below) {
        *d = 0.5 * (below - above);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pyramid::Pyramid;
    use super::*;
    use crate::image::Image;

    fn level(pixel: impl Fn(f32, f32) -> f32) -> Level {
        let pixels = (0..20 * 15).map(|i| pixel((i % 20) as f32, (i / 20) as f32)).collect();
        let mut pyramid = Pyramid::default();
        pyramid.build(&Image::new(20, 15, pixels).unwrap(), 0, 0, 9);
        pyramid.levels.remove(0)
    }

    #[test]
    fn flat_images_only_smooth_the_flow() {
        let flat = level(|_, _| 7.0);
        let (mut u, mut v) = (vec![2.0; 300], vec![-1.0; 300]);
        Refiner::default().refine(&Dis::medium(), &flat, &flat, [&mut u, &mut v]);
        assert!(u.iter().all(|u| (u - 2.0).abs() < 1e-4) && v.iter().all(|v| (v + 1.0).abs() < 1e-4));
        // A peak is spread out.
        u[150] = 8.0;
        Refiner::default().refine(&Dis::medium(), &flat, &flat, [&mut u, &mut v]);
        assert!((2.0..4.0).contains(&u[150]), "{}", u[150]);
    }

    /// A plane that slopes by 3 and moved right by half a pixel: all differences are -1.5, which u
    /// = 0.5 explains.
    #[test]
    fn data_term_pulls_the_flow_to_the_motion() {
        let (first, second) = (level(|x, _| 3.0 * x), level(|x, _| 3.0 * (x - 0.5)));
        let (mut u, mut v) = (vec![0.0; 300], vec![0.0; 300]);
        let dis = Dis { variational_refinement_iterations: 50, ..Dis::medium() };
        Refiner::default().refine(&dis, &first, &second, [&mut u, &mut v]);
        assert!((u[7 * 20 + 10] - 0.5).abs() < 0.02 && v[7 * 20 + 10].abs() < 0.02, "{}", u[7 * 20 + 10]);
    }
}
