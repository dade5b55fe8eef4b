//! Outlines and textures in the shape's own coordinates: its centre is 0 and its outer radius 1.

use std::f64::consts::{PI, TAU};

use crate::base::{Draws, SplitMix64};

/// Whether the point lies in the shape with this index of [`SHAPES`](super::SHAPES).
pub(super) fn inside(shape: usize, x: f64, y: f64) -> bool {
    match shape {
        0 => x.abs().max(y.abs()) <= 0.80,
        1 => (0..3).all(|side| along(x, y, side as f64 * TAU / 3.0 + PI / 2.0) <= 0.52),
        2 => in_star(x, y),
        3 => x.abs().max(y.abs()) <= 0.95 && x.abs().min(y.abs()) <= 0.33,
        4 => (0.45..=0.95).contains(&length(x, y)),
        _ => length(x, y) <= 0.95 && length(x - 0.42, y) > 0.62,
    }
}

/// Not `hypot`, which would take most of the rendering time.
fn length(x: f64, y: f64) -> f64 {
    (x * x + y * y).sqrt()
}

/// The coordinate of a point in a direction.
fn along(x: f64, y: f64, direction: f64) -> f64 {
    x * direction.cos() + y * direction.sin()
}

/// A star of five points: outer radius 1, inner radius 0.45.
fn in_star(x: f64, y: f64) -> bool {
    let radius = length(x, y);
    if radius > 1.0 {
        return false;
    }
    // Fold the circle into half a point, from a tip at angle 0 to a notch at angle 36°.
    let wedge = TAU / 5.0;
    let folded = (y.atan2(x) + PI / 2.0).rem_euclid(wedge);
    let angle = folded.min(wedge - folded);
    let (px, py) = (radius * angle.cos(), radius * angle.sin());
    let (nx, ny) = (0.45 * (wedge / 2.0).cos(), 0.45 * (wedge / 2.0).sin());
    // Left of the edge from the tip (1, 0) to the notch.
    (nx - 1.0) * py - ny * (px - 1.0) >= 0.0
}

/// A pattern between two colours, fixed to the shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texture {
    kind: usize,
    direction: f64,
    frequency: f64,
    phase: f64,
    salt: u64,
    pub(super) colours: [[f64; 3]; 2],
}

impl Texture {
    pub(super) fn draw(draws: &mut Draws) -> Self {
        Self {
            kind: draws.below(3),
            direction: draws.range(0.0, TAU),
            // About one period over the whole shape: finer patterns would repeat within a step of a
            // rotation, and its sense would be ambiguous.
            frequency: draws.range(0.35, 0.6),
            phase: draws.range(0.0, 1.0),
            salt: draws.word(),
            colours: two_colours(draws, 110.0),
        }
    }

    pub(super) fn colour(&self, x: f64, y: f64) -> [f64; 3] {
        let (u, v) = (along(x, y, self.direction), along(x, y, self.direction + PI / 2.0));
        let wave = |w: f64| (TAU * (w * self.frequency + self.phase)).sin();
        let blend = match self.kind {
            0 => soft_step(wave(u)),
            1 => soft_step(wave(u) * wave(v) * 2.0),
            _ => soft_step((value_noise(u * 1.2, v * 1.2, self.salt) - 0.5) * 5.0),
        };
        mix(self.colours[0], self.colours[1], blend)
    }
}

/// 0 below −0.5, 1 above 0.5, a straight line between.
fn soft_step(value: f64) -> f64 {
    (value + 0.5).clamp(0.0, 1.0)
}

/// Two colours that differ by at least `apart` grey levels in some channel.
pub(super) fn two_colours(draws: &mut Draws, apart: f64) -> [[f64; 3]; 2] {
    let mut colour = || -> [f64; 3] { std::array::from_fn(|_| draws.range(15.0, 240.0)) };
    let first = colour();
    // If the second colour is too near, every channel of the first is moved by `apart` to the side of
    // the range that has room: it is at least 112 wide.
    let second = colour();
    let distance = |a: [f64; 3], b: [f64; 3]| (0..3).map(|i| (a[i] - b[i]).abs()).fold(0.0, f64::max);
    if distance(first, second) >= apart {
        return [first, second];
    }
    [first, first.map(|value| if value > 127.5 { value - apart } else { value + apart })]
}

pub(super) fn mix(a: [f64; 3], b: [f64; 3], blend: f64) -> [f64; 3] {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * blend)
}

/// Smooth noise from 0 to 1, with one random value per corner of a unit cell.
pub(super) fn value_noise(x: f64, y: f64, salt: u64) -> f64 {
    let corner = |i: f64, j: f64| {
        let key = salt ^ (i as i64 as u64).wrapping_mul(0x9e37_79b9) ^ (j as i64 as u64).rotate_left(32);
        (SplitMix64::at(key, 0) >> 11) as f64 / (1u64 << 53) as f64
    };
    let (i, j) = (x.floor(), y.floor());
    let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - i), smooth(y - j));
    let upper = corner(i, j) * (1.0 - u) + corner(i + 1.0, j) * u;
    let lower = corner(i, j + 1.0) * (1.0 - u) + corner(i + 1.0, j + 1.0) * u;
    upper * (1.0 - v) + lower * v
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Fnv64;

    /// The share of the square from −1 to 1 that a shape covers.
    fn area(shape: usize) -> f64 {
        let at = |i: usize| (i as f64 + 0.5) / 100.0 - 1.0;
        let hits = (0..200).flat_map(|i| (0..200).map(move |j| (i, j))).filter(|&(i, j)| inside(shape, at(i), at(j)));
        hits.count() as f64 / 40_000.0
    }

    // Square 1.6² / 4 = 0.64; triangle of inradius 0.52: 3√3·0.52² / 4 = 0.351; star of 10
    // triangles ½·1·0.45·sin 36° each: 1.3225 / 4 = 0.331; cross (2·1.9·0.66 − 0.66²) / 4 = 0.518;
    // ring π(0.95² − 0.45²) / 4 = 0.550.
    #[test]
    fn areas_match_geometry() {
        for (shape, expected) in [(0, 0.64), (1, 0.351), (2, 0.331), (3, 0.518), (4, 0.550)] {
            assert!((area(shape) - expected).abs() < 0.01, "shape {shape}: {}", area(shape));
        }
        assert!((0.2..0.6).contains(&area(5)), "{}", area(5));
    }

    #[test]
    fn no_shape_leaves_its_reach() {
        for shape in 0..6 {
            for step in 0..360 {
                let (sin, cos) = f64::from(step).to_radians().sin_cos();
                // A square of half side 0.8 has its corners at 0.8·√2 = 1.131.
                assert!(!inside(shape, 1.14 * cos, 1.14 * sin), "shape {shape}");
            }
        }
    }

    #[test]
    fn colours_are_apart_and_in_range() {
        let mut draws = Draws::new(Fnv64::default().text("colours"));
        for _ in 0..300 {
            let [a, b] = two_colours(&mut draws, 110.0);
            assert!((0..3).any(|i| (a[i] - b[i]).abs() >= 110.0 - 1e-9));
            assert!(a.iter().chain(&b).all(|value| (0.0..=255.0).contains(value)));
        }
    }
}
