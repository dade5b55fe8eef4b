//! Films of generated motions, encoded by FFmpeg, and a comparison of events with their motions.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use gru_rcn_data::Frames;
pub use gru_rcn_data::{FilmedMotion as Action, MotionFilm as Film};

/// Writes a film with these options of FFmpeg for its output; returns its motions and its length in
/// seconds.
///
/// # Panics
///
/// If FFmpeg cannot write it.
pub fn save(film: &Film, path: &Path, options: &[&str]) -> (Vec<Action>, f64) {
    encode(path, film.size, film.fps as f64, options, |write| {
        let scene = |scene: &Frames| {
            write(&scene.data);
            Ok(())
        };
        film.draw(scene).expect("`write` reports what goes wrong")
    })
}

/// Encodes square raw frames, which `draw` passes to the function that it is called with.
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

/// How many actions of a film were found, and how many events are wrong.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Number of actions.
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
