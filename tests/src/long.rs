//! Long films of generated motions with pauses between them, whose times are known, and what a
//! program found in them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use gru_rcn_data::{MOTIONS, MotionClip, Split};

/// A time in which something moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Seconds from the first frame to the first one that moves.
    pub start: f64,
    /// The same to the last one.
    pub end: f64,
    /// Name of the motion.
    pub class: String,
}

/// A film that is made of scenes, in each of which a shape stands still, moves and stands still.
#[derive(Clone, Copy, Debug)]
pub struct Film {
    /// Height and width in pixels.
    pub size: usize,
    /// Frames per second.
    pub fps: usize,
    /// Length of a motion, seconds.
    pub motion: f64,
    /// Shortest and longest pause within a scene, seconds; between two motions there are two.
    pub pause: [f64; 2],
    /// Number of scenes.
    pub scenes: usize,
    /// Seed of the generated clips; a run that was trained with another one has not seen them.
    pub seed: u64,
}

impl Film {
    /// Gives the raw frames of one scene after the other, red, green and blue, to `write`; returns
    /// the actions and the length in seconds.
    pub fn draw(&self, mut write: impl FnMut(&[u8])) -> (Vec<Action>, f64) {
        let (mut actions, mut at) = (Vec::new(), 0);
        let frames = |seconds: f64| (seconds * self.fps as f64).round() as usize;
        let moving = frames(self.motion);
        for scene in 0..self.scenes {
            // Every motion in turn, in an order that is not that of the classes; shapes in turn.
            let index = scene * 5 % MOTIONS.len() + scene / MOTIONS.len() * MOTIONS.len();
            let clip = MotionClip {
                size: self.size,
                frames: moving,
                seed: self.seed,
                split: Split::Test,
                index,
                background: false,
            };
            // Two pauses in 0…1 that look drawn.
            let share = |n: usize| ((n * 37 + 11) % 64) as f64 / 63.0;
            let pause = |n: usize| frames(self.pause[0] + share(n) * (self.pause[1] - self.pause[0]));
            let (before, after) = (pause(2 * scene), pause(2 * scene + 1));
            write(&clip.render_held(before, after).data);
            let seconds = |frame: usize| frame as f64 / self.fps as f64;
            let class = MOTIONS[clip.motion()].to_owned();
            actions.push(Action { start: seconds(at + before), end: seconds(at + before + moving - 1), class });
            at += before + moving + after;
        }
        (actions, at as f64 / self.fps as f64)
    }

    /// Writes the film with these options of FFmpeg for its output.
    ///
    /// # Panics
    ///
    /// If FFmpeg cannot write it.
    pub fn save(&self, path: &Path, options: &[&str]) -> (Vec<Action>, f64) {
        encode(path, self.size, self.fps as f64, options, |write| self.draw(write))
    }
}

/// Encodes square raw frames, which `draw` gives to the function that it is handed.
///
/// # Panics
///
/// If FFmpeg cannot write the film.
pub fn encode<T>(
    path: &Path,
    side: usize,
    fps: f64,
    options: &[&str],
    draw: impl FnOnce(&mut dyn FnMut(&[u8])) -> T,
) -> T {
    let (side, fps) = (format!("{side}x{side}"), fps.to_string());
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-f", "rawvideo", "-pixel_format", "rgb24"]);
    command.args(["-video_size", &side, "-framerate", &fps, "-i", "pipe:0"]).args(options).arg(path);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("this needs FFmpeg: apt install ffmpeg");
    let mut pipe = child.stdin.take().expect("a pipe");
    let drawn = draw(&mut |frames| pipe.write_all(frames).expect("FFmpeg takes frames"));
    drop(pipe);
    assert!(child.wait().is_ok_and(|status| status.success()), "{command:?}");
    drawn
}

/// What was found of the actions of a film.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// Actions.
    pub actions: usize,
    /// Those with an event of their class whose two ends are within the tolerance.
    pub found: usize,
    /// Those with an event of their class at any time during them.
    pub recognised: usize,
    /// Events that touch no action, or are of another class than those that they touch.
    pub invented: usize,
    /// Of these, events that touch no action at all.
    pub in_pauses: usize,
    /// Minutes of pauses.
    pub minutes: f64,
}

/// Compares events with the actions of a film of this length. Both ends of an event may be off by
/// `tolerance` seconds.
pub fn compare(actions: &[Action], events: &[Action], seconds: f64, tolerance: f64) -> Found {
    let near = |a: &Action, e: &Action| {
        (a.start - e.start).abs() <= tolerance && (a.end - e.end).abs() <= tolerance && a.class == e.class
    };
    let touches = |a: &Action, e: &Action| e.start <= a.end && e.end >= a.start;
    let same = |a: &Action, e: &Action| touches(a, e) && a.class == e.class;
    let count = |test: &dyn Fn(&Action, &Action) -> bool| {
        actions.iter().filter(|action| events.iter().any(|event| test(action, event))).count()
    };
    let without = |test: &dyn Fn(&Action, &Action) -> bool| {
        events.iter().filter(|event| !actions.iter().any(|action| test(action, event))).count()
    };
    Found {
        actions: actions.len(),
        found: count(&near),
        recognised: count(&same),
        invented: without(&same),
        in_pauses: without(&touches),
        minutes: (seconds - actions.iter().map(|action| action.end - action.start).sum::<f64>()) / 60.0,
    }
}

/// Reads the lines `start,end,class,…` of a CSV file after its first.
///
/// # Panics
///
/// If a line is something else.
pub fn read_csv(text: &str) -> Vec<Action> {
    let action = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |n: usize| fields[n].parse().unwrap_or_else(|_| panic!("{line}"));
        Action { start: number(0), end: number(1), class: fields[2].to_owned() }
    };
    text.lines().skip(1).map(action).collect()
}
