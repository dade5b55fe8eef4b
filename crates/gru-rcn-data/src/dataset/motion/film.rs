//! Films of generated motions and pauses with known times.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{MOTIONS, MotionClip};
use crate::base::{DataError, Frames, Split, write_atomically_by};

/// A film of scenes. In each one a shape rests, moves and rests again.
#[derive(Clone, Copy, Debug)]
pub struct MotionFilm {
    /// Height and width in pixels.
    pub size: usize,
    /// Frames per second.
    pub fps: usize,
    /// Length of a motion, seconds.
    pub motion: f64,
    /// Shortest and longest pause, seconds. Each scene begins and ends with one, so two lie between two
    /// motions.
    pub pause: [f64; 2],
    /// Number of scenes.
    pub scenes: usize,
    /// Seed of the generated clips. A run trained with another seed has not seen them.
    pub seed: u64,
}

/// The time of one motion in a film.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmedMotion {
    /// Seconds from the first frame of the film to the first moving one.
    pub start: f64,
    /// Seconds from the first frame of the film to the last moving one.
    pub end: f64,
    /// Name of the motion.
    pub class: String,
}

impl Default for MotionFilm {
    /// About a minute: each motion once, at the frame rate of generated clips.
    fn default() -> Self {
        Self {
            size: 96,
            fps: MotionClip::FPS as usize,
            motion: 2.4,
            pause: [1.5, 4.5],
            scenes: MOTIONS.len(),
            seed: 77,
        }
    }
}

impl MotionFilm {
    /// Renders one scene after the other and passes its frames to `write`. Returns the motions and the
    /// length in seconds.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn draw(&self, mut write: impl FnMut(&Frames) -> io::Result<()>) -> io::Result<(Vec<FilmedMotion>, f64)> {
        let (mut motions, mut at) = (Vec::new(), 0);
        let frames = |seconds: f64| (seconds * self.fps as f64).round() as usize;
        let moving = frames(self.motion);
        for scene in 0..self.scenes {
            // Every motion in turn, in another order than that of the classes, then the next shape.
            let index = scene * 5 % MOTIONS.len() + scene / MOTIONS.len() * MOTIONS.len();
            let clip = MotionClip {
                size: self.size,
                frames: moving,
                seed: self.seed,
                split: Split::Test,
                index,
                background: false,
            };
            // Pauses that look random, as shares from 0 to 1.
            let share = |n: usize| ((n * 37 + 11) % 64) as f64 / 63.0;
            let pause = |n: usize| frames(self.pause[0] + share(n) * (self.pause[1] - self.pause[0]));
            let (before, after) = (pause(2 * scene), pause(2 * scene + 1));
            write(&clip.render_held(before, after))?;
            let seconds = |frame: usize| frame as f64 / self.fps as f64;
            let class = MOTIONS[clip.motion()].to_owned();
            motions.push(FilmedMotion { start: seconds(at + before), end: seconds(at + before + moving - 1), class });
            at += before + moving + after;
        }
        Ok((motions, at as f64 / self.fps as f64))
    }

    /// Writes the film as an uncompressed YUV4MPEG2 file, whole or not at all, and returns the motions.
    /// FFmpeg is not needed.
    ///
    /// # Errors
    /// Those of [`write_atomically`](crate::base::write_atomically).
    pub fn write(&self, path: &Path) -> Result<Vec<FilmedMotion>, DataError> {
        write_atomically_by(path, |file| {
            let mut file = BufWriter::new(file);
            writeln!(file, "YUV4MPEG2 W{0} H{0} F{1}:1 Ip A1:1 C444", self.size, self.fps)?;
            let (motions, _) = self.draw(|scene| {
                (0..scene.time).try_for_each(|t| {
                    let pixels = scene.frame(t).as_chunks::<3>().0;
                    file.write_all(b"FRAME\n")?;
                    (0..3).try_for_each(|plane| {
                        let plane: Vec<u8> = pixels.iter().map(|pixel| yuv(*pixel)[plane]).collect();
                        file.write_all(&plane)
                    })
                })
            })?;
            file.flush()?;
            Ok(motions)
        })
    }
}

/// Converts RGB to ITU-R BT.601: luma from 16 to 235 and chroma from 16 to 240.
fn yuv(pixel: [u8; 3]) -> [u8; 3] {
    let rows = [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]];
    let zeros = [16.0, 128.0, 128.0];
    std::array::from_fn(|i| {
        let sum: f64 = (0..3).map(|k| rows[i][k] * f64::from(pixel[k]) / 255.0).sum();
        (zeros[i] + sum).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::temporary;

    // White is 16 + 219 without colour. Red: 16 + 65.481, 128 − 37.797, 128 + 112.
    #[test]
    fn colours_are_those_of_bt_601() {
        assert_eq!(yuv([0; 3]), [16, 128, 128]);
        assert_eq!(yuv([255; 3]), [235, 128, 128]);
        assert_eq!(yuv([255, 0, 0]), [81, 90, 240]);
    }

    // A scene at 10 frames a second: pauses of 11/63 and 48/63 of the way from 0.1 to 0.4 s, 0.152 s
    // and 0.329 s, are 2 and 3 frames; 5 frames move.
    #[test]
    fn a_film_has_its_frames_and_their_times() {
        let folder = temporary();
        let path = folder.path().join("film.y4m");
        let film = MotionFilm { size: 16, motion: 0.5, pause: [0.1, 0.4], scenes: 1, ..MotionFilm::default() };
        assert_eq!(film.write(&path).unwrap(), [FilmedMotion { start: 0.2, end: 0.6, class: "right".into() }]);
        let header = b"YUV4MPEG2 W16 H16 F10:1 Ip A1:1 C444\n";
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(header));
        assert_eq!(bytes.len(), header.len() + 10 * (6 + 3 * 16 * 16));
        assert!(film.write(&folder.path().join("none/film.y4m")).is_err());
    }
}
