//! Pictures of flow by Middlebury's colour wheel.
//!
//! The direction is the hue, on a wheel of 55 colours in about equally visible steps; the length is the
//! saturation, from white for no motion. Right is red, down yellow, left cyan-blue, up magenta-blue.
//! The wheel is that of S. Baker et al.: *A Database and Evaluation Methodology for Optical Flow*,
//! IJCV 92, 2011.

use std::f32::consts::PI;

use crate::field::Flow;

/// The wheel's arcs: number of steps, first colour, and the first colour of the next arc.
const ARCS: [(usize, [u8; 3], [u8; 3]); 6] = [
    (15, [255, 0, 0], [255, 255, 0]), // red to yellow
    (6, [255, 255, 0], [0, 255, 0]),  // to green
    (4, [0, 255, 0], [0, 255, 255]),  // to cyan
    (11, [0, 255, 255], [0, 0, 255]), // to blue
    (13, [0, 0, 255], [255, 0, 255]), // to magenta
    (6, [255, 0, 255], [255, 0, 0]),  // to red
];
/// Colours of the wheel.
const COLOURS: usize = 55;
/// Brightness of flow longer than the maximum.
const DIMMED: f32 = 0.75;

/// Draws a flow as an image of interleaved 8-bit RGB.
///
/// Displacements of `max` pixels have the full colour, longer ones a darker shade of it. Without a `max`
/// above 0, the longest known displacement is the maximum. Unknown flow, above 1e9 in magnitude or not
/// finite, is black.
pub fn draw(flow: &Flow, max: Option<f32>) -> Vec<u8> {
    let longest = max.filter(|&max| max > 0.0).unwrap_or_else(|| longest(flow));
    let scale = if longest > 0.0 { 1.0 / longest } else { 1.0 };
    let wheel = wheel();
    let mut rgb = Vec::with_capacity(3 * flow.u.len());
    for (&u, &v) in flow.u.iter().zip(&flow.v) {
        rgb.extend(if known(u, v) { colour(&wheel, u * scale, v * scale) } else { [0; 3] });
    }
    rgb
}

fn known(u: f32, v: f32) -> bool {
    u.abs() <= 1e9 && v.abs() <= 1e9 // false for NaN
}

fn longest(flow: &Flow) -> f32 {
    let known = flow.u.iter().zip(&flow.v).filter(|&(&u, &v)| known(u, v));
    known.map(|(u, v)| u.hypot(*v)).fold(0.0, f32::max)
}

/// The colours in the order of the wheel. Within an arc they are whole numbers, rounded down.
fn wheel() -> [[f32; 3]; COLOURS] {
    let mut wheel = [[0.0; 3]; COLOURS];
    let steps = ARCS.iter().flat_map(|&(steps, from, to)| (0..steps).map(move |step| (step, steps, from, to)));
    for (entry, (step, steps, from, to)) in wheel.iter_mut().zip(steps) {
        for c in 0..3 {
            let part = (255 * step / steps) as u8;
            let value = if to[c] >= from[c] { from[c] + part.min(to[c] - from[c]) } else { from[c] - part };
            entry[c] = f32::from(value);
        }
    }
    wheel
}

/// The colour of a displacement whose length is 1 at the maximum.
fn colour(wheel: &[[f32; 3]; COLOURS], u: f32, v: f32) -> [u8; 3] {
    let length = u.hypot(v);
    // From −1 to 1. Adding 0 turns −0 into 0, so that rest and motion to the right have one colour each.
    let angle = (-v + 0.0).atan2(-u + 0.0) / PI;
    let place = ((angle + 1.0) / 2.0 * (COLOURS - 1) as f32).clamp(0.0, (COLOURS - 1) as f32);
    let (first, weight) = (place as usize, place.fract());
    let second = (first + 1) % COLOURS;
    [0, 1, 2].map(|c| {
        let hue = (1.0 - weight) * wheel[first][c] + weight * wheel[second][c];
        let shade = if length <= 1.0 { 255.0 - length * (255.0 - hue) } else { DIMMED * hue };
        shade as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(u: f32, v: f32, max: Option<f32>) -> Vec<u8> {
        draw(&Flow::new(1, 1, vec![u], vec![v]).unwrap(), max)
    }

    /// The arcs begin at 0, 15, 21, 25, 36 and 49; colour 1 is 255·1/15 = 17 green, colour 54 is
    /// 255 − 255·5/6 = 43 blue.
    #[test]
    fn wheel_has_the_colours_of_middlebury() {
        let wheel = wheel();
        assert_eq!(ARCS.iter().map(|arc| arc.0).sum::<usize>(), COLOURS);
        assert_eq!(wheel[0], [255.0, 0.0, 0.0]);
        assert_eq!(wheel[1], [255.0, 17.0, 0.0]);
        assert_eq!(wheel[15], [255.0, 255.0, 0.0]);
        assert_eq!(wheel[21], [0.0, 255.0, 0.0]);
        assert_eq!(wheel[25], [0.0, 255.0, 255.0]);
        assert_eq!(wheel[36], [0.0, 0.0, 255.0]);
        assert_eq!(wheel[49], [255.0, 0.0, 255.0]);
        assert_eq!(wheel[54], [255.0, 0.0, 43.0]);
    }

    /// Right: atan2(0, −1)/π = 1, place 54, colour 54. Left: atan2(0, 1) = 0, place 27, in the arc
    /// to blue: 2/11 of the way is 255 − 46 = 209 green. Down: atan2(−1, 0)/π = −½, place 13.5
    /// between 221 and 238 green: 229.5. Half the length of colour 54 is halfway to white: (255,
    /// 127.5, 149).
    #[test]
    fn directions_have_their_colours() {
        assert_eq!(drawn(3.0, 0.0, None), [255, 0, 43]);
        assert_eq!(drawn(-3.0, 0.0, None), [0, 209, 255]);
        assert_eq!(drawn(0.0, 3.0, None), [255, 229, 0]);
        assert_eq!(drawn(1.0, 0.0, Some(2.0)), [255, 127, 149]);
    }

    /// Twice the maximum: three quarters of 255, 0 and 43 are 191.25, 0 and 32.25.
    #[test]
    fn extreme_and_unknown_flow_have_their_colours() {
        assert_eq!(drawn(0.0, 0.0, None), [255, 255, 255]);
        assert_eq!(drawn(-0.0, -0.0, Some(1.0)), [255, 255, 255]);
        assert_eq!(drawn(2.0, 0.0, Some(1.0)), [191, 0, 32]);
        assert_eq!(drawn(1.67e9, 0.0, None), [0, 0, 0]);
        assert_eq!(drawn(f32::NAN, 0.0, Some(1.0)), [0, 0, 0]);
        assert_eq!(drawn(0.0, f32::INFINITY, None), [0, 0, 0]);
        assert_eq!(drawn(3.0, 0.0, Some(-1.0)), drawn(3.0, 0.0, None));
    }
}
