//! The inverse search: the displacements of a grid of patches (§2.1).

use super::Dis;
use super::lanes::{LANES, Lanes};
use super::pyramid::Level;

/// Levenberg's damping: added to the squared gradient of every pixel in a patch's Hessian, in
/// squared intensities per pixel. Not in the paper.
///
/// An edge gives little information on motion along it, and a flat area on any motion. Full steps there
/// follow the noise and lose the result of the coarser scale. On the five Middlebury pairs with known
/// flow, errors change by at most 6 % between 50 and 150; without damping they are up to 30 % larger,
/// on the pair with the largest motion.
const DAMPING: f32 = 50.0;

/// The patches of one scale and their displacements.
#[derive(Clone, Debug, Default)]
pub(super) struct Grid {
    /// Left edges of the columns of patches.
    pub(super) xs: Vec<usize>,
    /// Upper edges of the rows of patches.
    pub(super) ys: Vec<usize>,
    /// Displacement of each patch, row after row.
    pub(super) found: Vec<[f32; 2]>,
    fits: Vec<Fit>,
    template: Template,
}

/// The match of a patch at one place, and its gradient.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    /// Sum of squared differences; their mean is subtracted before squaring if means are normalised.
    ssd: f32,
    /// Σ ∇T · (I(x + u) - T), the right side of the normal equations of equation 2.
    gradient: [f32; 2],
    /// Whether descent has ended, without a better match or with a lost patch.
    settled: bool,
}

/// A patch of the first image with all values that do not depend on the displacement, which is the idea
/// of inverse search.
#[derive(Clone, Debug, Default)]
struct Template {
    /// Position of its upper left pixel.
    x: f32,
    y: f32,
    /// Rows of intensities. Patches wider than `LANES` are stored strip by strip, with unused lanes at
    /// the right.
    image: Vec<[f32; LANES]>,
    dx: Vec<[f32; LANES]>,
    dy: Vec<[f32; LANES]>,
    normalise: bool,
    /// Sums of `dx` and `dy`; zero if means are not normalised.
    sums: [f32; 2],
    /// The inverse of the damped Hessian: xx, xy and yy.
    inverse: [f32; 3],
}

impl Grid {
    /// Lays patches out over `width` by `height` pixels. The last row and column of patches touch the
    /// border, even if it is less than a stride away, so every pixel is covered.
    pub(super) fn lay_out(&mut self, width: usize, height: usize, size: usize, stride: usize) {
        for (edges, side) in [(&mut self.xs, width), (&mut self.ys, height)] {
            let last = side - size;
            edges.clear();
            edges.extend((0..last).step_by(stride));
            edges.push(last);
        }
        let patches = self.xs.len() * self.ys.len();
        self.found.resize(patches, [0.0; 2]);
        self.fits.resize(patches, Fit::default());
    }

    /// Searches for every patch of `first` in `second`, from the flow `start` of each patch's
    /// centre.
    #[inline(always)]
    pub(super) fn search<V: Lanes>(&mut self, dis: &Dis, first: &Level, second: &Level, start: [&[f32]; 2]) {
        // With the constant size, the compiler unrolls the loops.
        if dis.patch_size == LANES {
            self.search_sized::<V>(dis, first, second, start, LANES);
        } else {
            self.search_sized::<V>(dis, first, second, start, dis.patch_size);
        }
    }

    #[inline(always)]
    fn search_sized<V: Lanes>(&mut self, dis: &Dis, first: &Level, second: &Level, [u, v]: [&[f32]; 2], size: usize) {
        let Self { xs, ys, found, fits, template } = self;
        let (columns, rows) = (xs.len(), ys.len());
        let passes = if dis.use_spatial_propagation { 2 } else { 1 };
        let steps = dis.gradient_descent_iterations / passes;
        for pass in 0..passes {
            for turn in 0..columns * rows {
                // The second pass runs in the opposite direction.
                let i = if pass == 0 { turn } else { columns * rows - 1 - turn };
                let (column, row) = (i % columns, i / columns);
                let (x, y) = (xs[column], ys[row]);
                template.load::<V>(first, x, y, size, dis.use_mean_normalization);
                if pass == 0 {
                    let centre = (y + size / 2) * first.width + x + size / 2;
                    found[i] = [u[centre], v[centre]];
                    fits[i] = template.fit::<V>(second, found[i], size);
                }
                if dis.use_spatial_propagation {
                    let neighbours = if pass == 0 {
                        [(column > 0).then(|| i - 1), (row > 0).then(|| i - columns)]
                    } else {
                        [(column + 1 < columns).then_some(i + 1), (row + 1 < rows).then_some(i + columns)]
                    };
                    for neighbour in neighbours {
                        let Some(neighbour) = neighbour else { continue };
                        if found[neighbour] != found[i] {
                            let candidate = template.fit::<V>(second, found[neighbour], size);
                            if candidate.ssd < fits[i].ssd {
                                (found[i], fits[i]) = (found[neighbour], candidate);
                            }
                        }
                    }
                }
                if !fits[i].settled {
                    (found[i], fits[i]) = template.descend::<V>(second, found[i], fits[i], steps, size);
                }
            }
        }
    }
}

impl Template {
    /// Takes the patch at `(x, y)` and inverts its Hessian.
    #[inline(always)]
    fn load<V: Lanes>(&mut self, level: &Level, x: usize, y: usize, size: usize, normalise: bool) {
        let rows = size * size.div_ceil(LANES);
        if self.image.len() != rows {
            for lanes in [&mut self.image, &mut self.dx, &mut self.dy] {
                lanes.resize(rows, [0.0; LANES]);
            }
        }
        (self.x, self.y, self.normalise) = (x as f32, y as f32, normalise);
        let zero = V::splat(0.0);
        let [mut sx, mut sy, mut xx, mut xy, mut yy] = [zero; 5];
        for strip in 0..size.div_ceil(LANES) {
            let (mask, left) = (Mask::new(size, strip), x + strip * LANES);
            let lines = strip * size..(strip + 1) * size;
            let (images, dxs, dys) = (&mut self.image[lines.clone()], &mut self.dx[lines.clone()], &mut self.dy[lines]);
            for row in 0..size {
                V::load(&level.image[level.at(left, y + row)..]).store(&mut images[row]);
                let at = (y + row) * level.width + left;
                let (dx, dy) = (mask.apply(V::load(&level.dx[at..])), mask.apply(V::load(&level.dy[at..])));
                dx.store(&mut dxs[row]);
                dy.store(&mut dys[row]);
                (sx, sy) = (sx.add(dx), sy.add(dy));
                (xx, xy, yy) = (xx.add(dx.mul(dx)), xy.add(dx.mul(dy)), yy.add(dy.mul(dy)));
            }
        }
        let [sx, sy, ..] = V::totals([sx, sy, zero, zero]);
        let [mut xx, mut xy, mut yy, _] = V::totals([xx, xy, yy, zero]);
        self.sums = [0.0; 2];
        if normalise {
            // If differences lose their mean, so do their derivatives.
            let pixels = (size * size) as f32;
            self.sums = [sx, sy];
            (xx, xy, yy) = (xx - sx * sx / pixels, xy - sx * sy / pixels, yy - sy * sy / pixels);
        }
        let damping = DAMPING * (size * size) as f32;
        (xx, yy) = (xx + damping, yy + damping);
        let determinant = xx * yy - xy * xy;
        self.inverse = [yy / determinant, -xy / determinant, xx / determinant];
    }

    /// Compares the patch with the second image at a displacement, by bilinear interpolation.
    #[inline(always)]
    fn fit<V: Lanes>(&self, level: &Level, [u, v]: [f32; 2], size: usize) -> Fit {
        let (at, fx, fy) = locate(level, self.x + u, self.y + v, size);
        let (fx, fy) = (V::splat(fx), V::splat(fy));
        let [mut sum, mut squares, mut gx, mut gy] = [V::splat(0.0); 4];
        for strip in 0..size.div_ceil(LANES) {
            let (mask, at) = (Mask::new(size, strip), at + strip * LANES);
            let lines = strip * size..(strip + 1) * size;
            let (images, dxs, dys) = (&self.image[lines.clone()], &self.dx[lines.clone()], &self.dy[lines]);
            let mut above = between(&level.image[at..], fx);
            for row in 0..size {
                let below = between(&level.image[at + (row + 1) * level.stride..], fx);
                let value = above.add(fy.mul(below.sub(above)));
                let difference = mask.apply(value.sub(V::load(&images[row])));
                sum = sum.add(difference);
                squares = squares.add(difference.mul(difference));
                gx = gx.add(difference.mul(V::load(&dxs[row])));
                gy = gy.add(difference.mul(V::load(&dys[row])));
                above = below;
            }
        }
        let [sum, squares, gx, gy] = V::totals([sum, squares, gx, gy]);
        let mean = sum / (size * size) as f32;
        // `self.sums` is zero where means stay in.
        let [sx, sy] = self.sums;
        let ssd = if self.normalise { squares - sum * mean } else { squares };
        Fit { ssd, gradient: [gx - sx * mean, gy - sy * mean], settled: false }
    }

    /// Damped Gauss-Newton steps (equation 2) from `start`, as long as the match improves.
    #[inline(always)]
    fn descend<V: Lanes>(
        &self,
        second: &Level,
        start: [f32; 2],
        start_fit: Fit,
        steps: usize,
        size: usize,
    ) -> ([f32; 2], Fit) {
        let [xx, xy, yy] = self.inverse;
        let (mut best, mut best_fit) = (start, start_fit);
        for _ in 0..steps {
            let [gx, gy] = best_fit.gradient;
            let next = [best[0] - (xx * gx + xy * gy), best[1] - (xy * gx + yy * gy)];
            let next_fit = self.fit::<V>(second, next, size);
            if next_fit.ssd < best_fit.ssd {
                (best, best_fit) = (next, next_fit);
            } else {
                best_fit.settled = true;
                break;
            }
        }
        // A patch that moved further than its own size has lost its target.
        let (du, dv) = (best[0] - start[0], best[1] - start[1]);
        if du * du + dv * dv <= (size * size) as f32 {
            (best, best_fit)
        } else {
            (start, Fit { settled: true, ..start_fit })
        }
    }
}

/// The index of the pixel at `(x, y)` rounded down, and the fractions. Patches that leave the image stop
/// just outside, where they cover only the border.
#[inline(always)]
pub(super) fn locate(level: &Level, x: f32, y: f32, size: usize) -> (usize, f32, f32) {
    let border = level.border as f32;
    let x = x.clamp(-(size as f32), level.width as f32) + border;
    let y = y.clamp(-(size as f32), level.height as f32) + border;
    // Not negative, because the border is wider than a patch; NaN becomes 0.
    let (left, top) = (x as usize, y as usize);
    (top * level.stride + left, x - left as f32, y - top as f32)
}

/// Interpolates between the first eight pixels of a row and their right neighbours by `fraction`.
#[inline(always)]
pub(super) fn between<V: Lanes>(row: &[f32], fraction: V) -> V {
    let row = &row[..LANES + 1];
    let left = V::load(row);
    left.add(fraction.mul(V::load(&row[1..]).sub(left)))
}

/// The lanes of a strip that belong to the patch: all, except in the last strip.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    width: usize,
}

impl Mask {
    #[inline(always)]
    pub(super) fn new(size: usize, strip: usize) -> Self {
        Self { width: (size - strip * LANES).min(LANES) }
    }

    /// Zero in lanes that do not belong to the patch.
    #[inline(always)]
    pub(super) fn apply<V: Lanes>(self, lanes: V) -> V {
        if self.width == LANES {
            return lanes;
        }
        // Not by multiplication with zero, which would keep NaN and turn infinities into it.
        let mut values = [0.0; LANES];
        lanes.store(&mut values);
        values[self.width..].fill(0.0);
        V::load(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Portable;
    use super::super::pyramid::Pyramid;
    use super::*;
    use crate::image::Image;

    fn level(width: usize, pixel: impl Fn(usize, usize) -> f32) -> Level {
        let pixels = (0..width * width).map(|i| pixel(i % width, i / width)).collect();
        let mut pyramid = Pyramid::default();
        pyramid.build(&Image::new(width, width, pixels).unwrap(), 0, 0, 2 * LANES + 1);
        pyramid.differentiate();
        pyramid.levels.remove(0)
    }

    /// A ramp of 4 per pixel that moves right by one: every difference is -4 and every derivative
    /// (4, 0), so with n pixels the normal equations are n (16 + 50) du = 16 n, the first step is
    /// 16 / 66, and it leaves 4 (1 - 16 / 66) of the difference.
    #[test]
    fn first_step_on_a_ramp_follows_the_normal_equations() {
        let (first, second) = (level(24, |x, _| 4.0 * x as f32), level(24, |x, _| 4.0 * (x as f32 - 1.0)));
        for size in [5, 8, 11] {
            let mut template = Template::default();
            template.load::<Portable>(&first, 6, 5, size, false);
            let pixels = (size * size) as f32;
            let fit = template.fit::<Portable>(&second, [0.0; 2], size);
            assert_eq!((fit.ssd, fit.gradient), (16.0 * pixels, [-16.0 * pixels, 0.0]));
            let ([u, v], fit) = template.descend::<Portable>(&second, [0.0; 2], fit, 1, size);
            assert!((u - 16.0 / 66.0).abs() < 1e-6 && v == 0.0, "{u}, {v}");
            let left = 4.0f32 * (1.0 - 16.0 / 66.0);
            assert!((fit.ssd / pixels - left * left).abs() < 1e-4);

            // Without their mean nothing is left of a ramp's differences.
            template.load::<Portable>(&first, 6, 5, size, true);
            let fit = template.fit::<Portable>(&second, [0.0; 2], size);
            assert_eq!((fit.ssd, fit.gradient), (0.0, [0.0; 2]));
        }
    }

    #[test]
    fn grids_reach_the_border() {
        let mut grid = Grid::default();
        grid.lay_out(15, 8, 8, 3);
        assert_eq!((grid.xs, grid.ys), (vec![0, 3, 6, 7], vec![0]));
    }

    #[test]
    fn indices_stay_inside() {
        let level = level(16, |_, _| 0.0);
        for far in [1e30, -1e30, f32::INFINITY, f32::NAN] {
            for size in [4, 8, 16] {
                let (at, fx, fy) = locate(&level, far, far, size);
                let strips = size.next_multiple_of(LANES);
                assert!(at + size * level.stride + strips < level.image.len());
                assert!(far.is_nan() || (fx, fy) == (0.0, 0.0));
            }
        }
    }
}
