//! Rendering of poses to pixels.
//!
//! Every pixel is the mean of 3×3 samples, which smooths edges and shows motions of a fraction of a
//! pixel. Each frame has its own weak sensor noise, so resting parts differ from frame to frame too.

use super::MotionClip;
use super::captions::CaptionClip;
use super::shapes::{Texture, inside, mix, two_colours, value_noise};
use super::trajectory::Pose;
use crate::base::{Draws, Frames};

const SAMPLES: usize = 3;
/// Standard deviation of the sensor noise in grey levels.
const NOISE: f64 = 2.5;
/// No shape reaches further than this from its centre, in outer radii: the square's corners, furthest
/// of all, are at 0.8·√2 = 1.13.
const REACH: f64 = 1.2;

/// Everything visible in a clip except the pose.
struct Scene {
    shape: usize,
    texture: Texture,
    background: Vec<[f64; 3]>,
}

/// As [`MotionClip::render_held`].
pub(super) fn render(clip: &MotionClip, before: usize, after: usize) -> Frames {
    let mut draws = clip.draws("look");
    let texture = Texture::draw(&mut draws);
    let colours = two_colours(&mut draws, 40.0);
    let background = background(&mut draws, clip.size, colours);
    let scene = Scene { shape: clip.shape(), texture, background };
    let trajectories = clip.trajectories();
    let poses = (0..before + clip.frames + after).map(|t| t.saturating_sub(before).min(clip.frames - 1));
    film(&scene, poses.map(|t| trajectories.pose(t)), clip.draws("noise"), clip.size)
}

/// The box around the pixels of each frame whose centres lie in the shape; zeros if there are none.
pub(super) fn boxes(clip: &MotionClip) -> Vec<[usize; 4]> {
    let (trajectories, side) = (clip.trajectories(), 0..clip.size);
    let of_frame = |t: usize| {
        let placed = Placed::at(&trajectories.pose(t));
        let own = |&[row, column]: &[usize; 2]| {
            let [u, v] = placed.own([column as f64 + 0.5 - placed.centre[0], row as f64 + 0.5 - placed.centre[1]]);
            inside(clip.shape(), u, v)
        };
        let pixels = side.clone().flat_map(|row| side.clone().map(move |column| [row, column]));
        let around = |found: Option<[usize; 4]>, [row, column]: [usize; 2]| {
            let [top, left, bottom, right] = found.unwrap_or([row, column, 0, 0]);
            Some([top.min(row), left.min(column), bottom.max(row + 1), right.max(column + 1)])
        };
        pixels.filter(own).fold(None, around).unwrap_or_default()
    };
    (0..clip.frames).map(of_frame).collect()
}

/// As [`CaptionClip::render`]: the shape in two shades of its colour, the background in greys.
pub(super) fn render_captioned(clip: &CaptionClip) -> Frames {
    let (numbers, mut draws) = (clip.numbers, clip.draws("look"));
    let mut texture = Texture::draw(&mut draws);
    texture.colours = shades(&mut draws, clip.hue());
    let greys = [draws.range(15.0, 240.0), draws.range(15.0, 240.0)].map(|grey| [grey; 3]);
    let background = background(&mut draws, numbers.size, greys);
    let scene = Scene { shape: clip.shape, texture, background };
    let trajectories = clip.trajectories();
    film(&scene, (0..numbers.frames).map(|t| trajectories.pose(t)), clip.draws("noise"), numbers.size)
}

/// A light and a dark shade of a hue in degrees, a few degrees to either side of it.
fn shades(draws: &mut Draws, hue: f64) -> [[f64; 3]; 2] {
    let hue = (hue + draws.range(-8.0, 8.0)).rem_euclid(360.0) / 60.0;
    // Red, green and blue at full saturation: 1 within one sixth of the circle of their own hue, 0
    // beyond two sixths.
    let pure = [0.0, 2.0, 4.0].map(|own: f64| {
        let apart = (hue - own).abs();
        (2.0 - apart.min(6.0 - apart)).clamp(0.0, 1.0)
    });
    let [light, dark] = [draws.range(215.0, 245.0), draws.range(85.0, 105.0)];
    [light, dark].map(|value| pure.map(|share| value * (0.1 + 0.9 * share)))
}

/// Renders the scene with its shape at each of the poses: RGB `[poses, size, size, 3]`.
fn film(scene: &Scene, poses: impl ExactSizeIterator<Item = Pose>, mut noise: Draws, size: usize) -> Frames {
    let time = poses.len();
    let mut data = Vec::with_capacity(time * size * size * 3);
    for pose in poses {
        let placed = Placed::at(&pose);
        for index in 0..size * size {
            let colour = pixel(scene, &placed, index % size, index / size, size);
            let grain = gaussians(noise.word());
            data.extend((0..3).map(|i| (colour[i] + NOISE * grain[i]).round().clamp(0.0, 255.0) as u8));
        }
    }
    Frames { data, time, height: size, width: size, channels: 3 }
}

/// Two octaves of smooth noise between two colours, with random contrast.
fn background(draws: &mut Draws, size: usize, [first, second]: [[f64; 3]; 2]) -> Vec<[f64; 3]> {
    let contrast = draws.range(0.25, 0.9);
    let coarse = draws.range(2.0, 4.0);
    let (salt, fine_salt) = (draws.word(), draws.word());
    let colour = |index: usize| {
        let (x, y) = ((index % size) as f64 / size as f64, (index / size) as f64 / size as f64);
        let noise = value_noise(x * coarse, y * coarse, salt) * 0.65
            + value_noise(x * coarse * 3.0, y * coarse * 3.0, fine_salt) * 0.35;
        mix(first, second, 0.5 + (noise - 0.5) * 2.0 * contrast)
    };
    (0..size * size).map(colour).collect()
}

/// A pose in pixels.
struct Placed {
    radius: f64,
    /// Sine and cosine of the angle.
    turn: (f64, f64),
    centre: [f64; 2],
}

impl Placed {
    fn at(pose: &Pose) -> Self {
        Self { radius: pose.log_size.exp(), turn: pose.angle.sin_cos(), centre: [pose.x, pose.y] }
    }

    /// A point, relative to the centre, in the shape's own coordinates.
    fn own(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.turn;
        [(x * cos + y * sin) / self.radius, (y * cos - x * sin) / self.radius]
    }
}

/// The mean colour of the samples of the pixel in column `x` and row `y`.
fn pixel(scene: &Scene, placed: &Placed, x: usize, y: usize, size: usize) -> [f64; 3] {
    let behind = scene.background[y * size + x];
    let &Placed { radius, centre, .. } = placed;
    let (dx, dy) = (x as f64 + 0.5 - centre[0], y as f64 + 0.5 - centre[1]);
    let reach = radius * REACH + 1.0;
    if dx * dx + dy * dy > reach * reach {
        return behind;
    }
    let mut sum = [0.0; 3];
    for sample in 0..SAMPLES * SAMPLES {
        let offset = |i: usize| (i as f64 + 0.5) / SAMPLES as f64 - 0.5;
        let [u, v] = placed.own([dx + offset(sample % SAMPLES), dy + offset(sample / SAMPLES)]);
        let colour = if inside(scene.shape, u, v) { scene.texture.colour(u, v) } else { behind };
        (0..3).for_each(|i| sum[i] += colour[i]);
    }
    sum.map(|value| value / (SAMPLES * SAMPLES) as f64)
}

/// Three nearly normal numbers of variance 1 from one word: sums of two pieces of ten bits,
/// standardised.
fn gaussians(word: u64) -> [f64; 3] {
    let piece = |i: usize| ((word >> (10 * i)) & 1023) as f64 / 1023.0;
    // The sum of two uniform numbers has mean 1 and variance 1/6.
    std::array::from_fn(|i| (piece(2 * i) + piece(2 * i + 1) - 1.0) * 6f64.sqrt())
}
