//! A model on a stream: frames without an end that is known, in constant memory.
//!
//! [`Moments`] takes frames by time, [`Watcher`] makes answers of them, [`Events`] merges
//! neighbouring answers into events, and [`Outputs`] writes those as they come.
//!
//! **Answers.** An answer holds for a piece of time; the pieces lie end to end. Every frame goes
//! through the CNN once. A model that carries its hidden state goes on frame by frame; others see
//! windows of the last frames, whose maps are held in a ring. The piece of an answer is not that of
//! the newest frames but lies half of a clip before them: what fills half of a window begins or ends
//! there, and half of a clip convinces a hidden state.

mod events;
mod moments;
mod outputs;
mod watcher;

pub(crate) use events::{BACKGROUND, Event, Events, Rule};
pub(crate) use moments::Moments;
pub(crate) use outputs::{Outputs, clock, field};
pub(crate) use watcher::{Answer, Pass, Taps, Watcher};

/// To the microsecond, finer than any clock of a video: the same moment is the same number whatever
/// it was computed from.
fn whole_microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
