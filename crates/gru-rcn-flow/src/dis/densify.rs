//! From the displacements of patches to a flow per pixel (§2.2, equation 3).

use super::lanes::{LANES, Lanes};
use super::patch::{Grid, Mask, between, locate};
use super::pyramid::Level;

/// Averages the displacements of the patches over each pixel, weighted by
/// `1 / max(1, |I(x + u) - T(x)|)`, into `flow`. `weights` is scratch; all three have one value per
/// pixel.
#[inline(always)]
pub(super) fn densify<V: Lanes>(
    grid: &Grid,
    size: usize,
    first: &Level,
    second: &Level,
    flow: [&mut [f32]; 2],
    weights: &mut [f32],
) {
    if size == LANES {
        densify_sized::<V>(grid, LANES, first, second, flow, weights);
    } else {
        densify_sized::<V>(grid, size, first, second, flow, weights);
    }
}

#[inline(always)]
fn densify_sized<V: Lanes>(
    grid: &Grid,
    size: usize,
    first: &Level,
    second: &Level,
    [u, v]: [&mut [f32]; 2],
    weights: &mut [f32],
) {
    u.fill(0.0);
    v.fill(0.0);
    weights.fill(0.0);
    for (row, &y) in grid.ys.iter().enumerate() {
        for (column, &x) in grid.xs.iter().enumerate() {
            let [du, dv] = grid.found[row * grid.xs.len() + column];
            let (at, fx, fy) = locate(second, x as f32 + du, y as f32 + dv, size);
            let (du, dv, fx, fy) = (V::splat(du), V::splat(dv), V::splat(fx), V::splat(fy));
            for strip in 0..size.div_ceil(LANES) {
                let (mask, x, at) = (Mask::new(size, strip), x + strip * LANES, at + strip * LANES);
                let mut above = between(&second.image[at..], fx);
                for line in 0..size {
                    let below = between(&second.image[at + (line + 1) * second.stride..], fx);
                    let value = above.add(fy.mul(below.sub(above)));
                    let difference = value.sub(V::load(&first.image[first.at(x, y + line)..]));
                    let weight = mask.apply(difference.trust());
                    let to = (y + line) * first.width + x;
                    for (plane, values) in
                        [(&mut *u, weight.mul(du)), (&mut *v, weight.mul(dv)), (&mut *weights, weight)]
                    {
                        V::load(&plane[to..]).add(values).store(&mut plane[to..]);
                    }
                    above = below;
                }
            }
        }
    }
    for ((u, v), weight) in u.iter_mut().zip(v.iter_mut()).zip(weights.iter()) {
        let inverse = 1.0 / weight;
        *u *= inverse;
        *v *= inverse;
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Portable;
    use super::super::pyramid::Pyramid;
    use super::*;
    use crate::image::Image;

    /// Two patches at x = 0 and 2 of a black image, displaced by 1 and 3 in an image that is 4 from
    /// x = 5 on. At x = 2 and 3 the first patch still covers black and weighs 1, the second covers 4
    /// and weighs 1/4: (1 + 3 / 4) / (5 / 4) = 1.4.
    #[test]
    fn matching_patches_weigh_more() {
        let level = |pixel: fn(usize) -> f32| {
            let mut pyramid = Pyramid::default();
            pyramid.build(&Image::new(6, 4, (0..24).map(|i| pixel(i % 6)).collect()).unwrap(), 0, 0, 9);
            pyramid.levels.remove(0)
        };
        let (first, second) = (level(|_| 0.0), level(|x| if x < 5 { 0.0 } else { 4.0 }));
        let mut grid = Grid::default();
        grid.lay_out(6, 4, 4, 2);
        grid.found.copy_from_slice(&[[1.0, 0.0], [3.0, 0.0]]);
        let [mut u, mut v, mut weights] = [const { [f32::NAN; 24 + LANES] }; 3];
        densify::<Portable>(&grid, 4, &first, &second, [&mut u, &mut v], &mut weights);
        for row in u[..24].chunks_exact(6) {
            let expected = [1.0, 1.0, 1.4, 1.4, 3.0, 3.0];
            assert!(row.iter().zip(expected).all(|(u, e)| (u - e).abs() < 1e-6), "{row:?}");
        }
        assert_eq!(v[..24], [0.0; 24]);
    }
}
