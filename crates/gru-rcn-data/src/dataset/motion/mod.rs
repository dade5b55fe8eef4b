//! The built-in data set: a textured shape moves over a textured background. It is generated, so there
//! is nothing to download.
//!
//! Its classes differ in motion alone: right, left, up, down, two senses of rotation, growing,
//! shrinking. It tests whether a model uses order in time, because **a single frame contains no
//! information about the class.**
//!
//! *Why that holds exactly.* Each clip of T frames draws three virtual trajectories, for x, y and
//! the logarithm of the size, from the same distributions whatever the class: a centre c, a speed v
//! above 0, a sign s = ±1 and a frame index u, uniform in 0…T−1. The value at time t is c + s·v·(t
//! − m) with m = (T − 1)/2. In the trajectory that the class names, s is the class's and t is the
//! real time; each of the other two stands still at its own time u. Now look at one frame, at a
//! time drawn uniformly from 0…T−1: t − m is distributed symmetrically about 0, so s·v·(t − m) has
//! the same distribution for s = 1, for s = −1 and for a random s, and a still trajectory's u is
//! distributed like t. So every class has the same joint distribution of (x, y, log size) in a
//! single frame. The angle is uniform on the circle, and adding ω·t leaves it so. Texture, colours,
//! background and noise do not know the class.
//!
//! The argument needs the frame to be drawn uniformly. A model that always gets the same index, say
//! the first frame, gets information: a shape about to move right begins further left. A baseline
//! of single frames must therefore draw its frame from all T, or be given all T one by one.
//!
//! With [`MotionConfig::background`] there is a ninth class, in which all three trajectories and the
//! angle stand still, as when nothing happens in front of a camera. Half of its clips cut to another
//! scene at a random frame, so that models learn that a cut is no motion.

mod captions;
mod film;
mod render;
mod shapes;
mod trajectory;

pub use captions::{COLOURS, CaptionClip, MotionCaptions};
pub use film::{FilmedMotion, MotionFilm};
use serde::{Deserialize, Serialize};

use super::{ClipSource, Dataset, Sample};
use crate::base::{DataError, Draws, Fnv64, Frames, Split};
use trajectory::Trajectories;

/// The classes. Rotation is as seen on the screen.
pub const MOTIONS: [&str; 8] =
    ["right", "left", "up", "down", "rotate-clockwise", "rotate-anticlockwise", "grow", "shrink"];

/// The class of clips in which nothing moves.
const BACKGROUND: &str = "background";

/// The shapes, which are the appearances and independent of the class.
pub const SHAPES: [&str; 6] = ["square", "triangle", "star", "cross", "ring", "crescent"];

/// Size and seed of the built-in data set.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct MotionConfig {
    /// Height and width of a frame in pixels, 16 to 256. Default 32.
    pub size: usize,
    /// Frames of a clip, 2 to 128. Default 8.
    pub frames: usize,
    /// Clips of the train part. Default 2400.
    pub train: usize,
    /// Clips of the validation part. Default 400.
    pub validation: usize,
    /// Clips of the test part. Default 800.
    pub test: usize,
    /// Seed; the parts are drawn from disjoint streams of it.
    pub seed: u64,
    /// Whether there is a class `background` of clips in which nothing moves. Default no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self { size: 32, frames: 8, train: 2400, validation: 400, test: 800, seed: 0, background: false }
    }
}

impl MotionConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`DataError::Setting`] naming the first one that is out of range.
    pub fn validate(&self) -> Result<(), DataError> {
        let parts = [("train", self.train), ("validation", self.validation), ("test", self.test)];
        for (key, clips) in parts {
            if !(1..=1_000_000).contains(&clips) {
                return Err(DataError::setting(key, clips, "a part has 1 to 1000000 clips"));
            }
        }
        if !(16..=256).contains(&self.size) {
            return Err(DataError::setting("size", self.size, "frames are 16 to 256 pixels wide"));
        }
        if !(2..=128).contains(&self.frames) {
            return Err(DataError::setting("frames", self.frames, "a clip has 2 to 128 frames"));
        }
        Ok(())
    }

    /// The data set. Its classes are [`MOTIONS`], followed by `background` if that is asked for; its
    /// appearances are [`SHAPES`]. Clips go through all pairs of the two in turn, so every part is as
    /// balanced as its number of clips allows.
    ///
    /// # Errors
    /// As [`MotionConfig::validate`].
    pub fn dataset(&self) -> Result<Dataset, DataError> {
        self.validate()?;
        let part = |split| self.clips(split).map(sample).collect();
        Ok(Dataset {
            name: "motion".to_owned(),
            classes: MOTIONS.into_iter().chain(self.background.then_some(BACKGROUND)).map(str::to_owned).collect(),
            appearances: SHAPES.map(str::to_owned).into(),
            train: part(Split::Train),
            validation: part(Split::Validation),
            test: part(Split::Test),
            skipped: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// The clips of a part, in order.
    fn clips(&self, split: Split) -> impl Iterator<Item = MotionClip> + use<> {
        let &Self { size, frames, train, validation, test, seed, background } = self;
        let clips = match split {
            Split::Train => train,
            Split::Validation => validation,
            Split::Test => test,
        };
        (0..clips).map(move |index| MotionClip { size, frames, seed, split, index, background })
    }
}

fn sample(clip: MotionClip) -> Sample {
    Sample {
        id: format!("{}/{:06}", clip.split, clip.index),
        class: clip.motion(),
        appearance: Some(clip.shape()),
        source: ClipSource::Motion(clip),
    }
}

/// One clip of the built-in data set: the numbers that it is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MotionClip {
    /// Height and width of a frame in pixels.
    pub size: usize,
    /// Number of frames.
    pub frames: usize,
    /// Seed of the data set.
    pub seed: u64,
    /// The part it belongs to.
    pub split: Split,
    /// Its position in that part.
    pub index: usize,
    /// Whether the data set has the class `background`.
    pub background: bool,
}

impl MotionClip {
    /// Frames per second, for sampling by time.
    pub const FPS: f64 = 10.0;

    /// Number of classes of its data set.
    fn classes(&self) -> usize {
        MOTIONS.len() + usize::from(self.background)
    }

    /// Index of its class in [`MOTIONS`]; the number of motions for the class `background`.
    pub fn motion(&self) -> usize {
        self.index % self.classes()
    }

    /// Index of its shape in [`SHAPES`].
    pub fn shape(&self) -> usize {
        self.index / self.classes() % SHAPES.len()
    }

    /// Renders the clip: RGB `[frames, size, size, 3]`, the same bytes each time.
    pub fn render(&self) -> Frames {
        if self.motion() < MOTIONS.len() {
            return self.render_held(0, 0);
        }
        // Every other round through the shapes has a cut.
        let cut = match self.index / self.classes() / SHAPES.len() % 2 {
            0 => self.frames,
            _ => self.draws("cut").below(self.frames),
        };
        let mut frames = self.render_held(0, 0);
        // No clip of the data set shows this scene.
        let other = Self { seed: !self.seed, ..*self }.render_held(0, 0);
        frames.data.truncate(cut * frames.frame_bytes());
        frames.data.extend_from_slice(&other.data[frames.data.len()..]);
        frames
    }

    /// Renders the clip with its first pose held for `before` more frames and its last one for `after`:
    /// a pause, a motion, a pause. Each frame has its own noise.
    pub fn render_held(&self, before: usize, after: usize) -> Frames {
        render::render(self, before, after)
    }

    /// The bounding box of the shape in each frame: its first row and column, and the row and column
    /// after its last ones.
    pub fn boxes(&self) -> Vec<[usize; 4]> {
        render::boxes(self)
    }

    fn trajectories(&self) -> Trajectories {
        Trajectories::draw(&mut self.draws("trajectory"), self.motion(), self.size, self.frames)
    }

    /// The random draws of this clip for one purpose, independent of those for others.
    fn draws(&self, purpose: &str) -> Draws {
        Draws::new(self.add_to(Fnv64::default().text("motion").text(purpose)))
    }

    /// Adds everything that defines the clip to a hash.
    pub(crate) fn add_to(&self, hash: Fnv64) -> Fnv64 {
        let numbers = [self.size as u64, self.frames as u64, self.seed, self.index as u64];
        let hash = numbers.into_iter().fold(hash.text(&self.split.to_string()), Fnv64::number);
        if self.background { hash.text(BACKGROUND) } else { hash }
    }
}

#[cfg(test)]
mod tests;
