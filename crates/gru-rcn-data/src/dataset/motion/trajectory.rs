//! The pose of the shape at each time. The parent module says why trajectories are drawn this way.

use std::f64::consts::TAU;

use crate::base::Draws;

/// Position, size and angle of the shape in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pose {
    /// Column of the centre in pixels; the left border is 0.
    pub(super) x: f64,
    /// Row of the centre in pixels, counted downwards from the upper border.
    pub(super) y: f64,
    /// Natural logarithm of the shape's outer radius in pixels.
    pub(super) log_size: f64,
    /// Angle in radians; growing angles turn clockwise on the screen.
    pub(super) angle: f64,
}

/// A value that moves at a constant speed or rests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Virtual {
    pub(super) centre: f64,
    pub(super) speed: f64,
    pub(super) sign: f64,
    pub(super) still: usize,
}

impl Virtual {
    /// Draws centre, speed, sign and still frame, in the same way for every class.
    fn draw(draws: &mut Draws, centre: (f64, f64), speed: (f64, f64), frames: usize) -> Self {
        Self {
            centre: draws.range(centre.0, centre.1),
            speed: draws.range(speed.0, speed.1),
            sign: if draws.coin() { 1.0 } else { -1.0 },
            still: draws.below(frames),
        }
    }

    /// The value at time `t`: moving with the sign `moving` of the class, or at rest without one.
    pub(super) fn value(&self, moving: Option<f64>, t: usize, frames: usize) -> f64 {
        let (sign, t) = moving.map_or((self.sign, self.still), |sign| (sign, t));
        let middle = (frames - 1) as f64 / 2.0;
        self.centre + sign * self.speed * (t as f64 - middle)
    }
}

/// All that is drawn for the motion of one clip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trajectories {
    motion: usize,
    frames: usize,
    pub(super) x: Virtual,
    pub(super) y: Virtual,
    pub(super) log_size: Virtual,
    angle: f64,
    turn: f64,
}

impl Trajectories {
    pub(super) fn draw(draws: &mut Draws, motion: usize, size: usize, frames: usize) -> Self {
        let side = size as f64;
        // The ranges are meant for eight frames; longer clips move more slowly, over the same distance.
        let slow = (7.0 / (frames - 1) as f64).min(1.0);
        let place = (side * 0.42, side * 0.58);
        let speed = (side * slow / 32.0, side * slow * 2.2 / 32.0);
        let radius = ((side * 0.24).ln(), (side * 0.3).ln());
        let growth = (slow * 1.05f64.ln(), slow * 1.09f64.ln());
        Self {
            motion,
            frames,
            x: Virtual::draw(draws, place, speed, frames),
            y: Virtual::draw(draws, place, speed, frames),
            log_size: Virtual::draw(draws, radius, growth, frames),
            angle: draws.range(0.0, TAU),
            turn: draws.range(slow * 14f64.to_radians(), slow * 26f64.to_radians()),
        }
    }

    /// Class indices are those of [`MOTIONS`](super::MOTIONS).
    pub(super) fn pose(&self, t: usize) -> Pose {
        let moving = |forward: usize, backward: usize| match self.motion {
            motion if motion == forward => Some(1.0),
            motion if motion == backward => Some(-1.0),
            _ => None,
        };
        let turned = moving(4, 5).map_or(0.0, |sense| sense * self.turn * t as f64);
        Pose {
            x: self.x.value(moving(0, 1), t, self.frames),
            y: self.y.value(moving(3, 2), t, self.frames),
            log_size: self.log_size.value(moving(6, 7), t, self.frames),
            angle: (self.angle + turned).rem_euclid(TAU),
        }
    }
}
