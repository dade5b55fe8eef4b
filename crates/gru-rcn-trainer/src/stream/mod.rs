//! A model on a stream of frames, whose end is not known, in constant memory.
//!
//! [`Moments`] selects frames by time, [`Watcher`] turns them into answers, [`Events`] merges
//! neighbouring answers into events, and [`Outputs`] writes the events as they come.
//!
//! **Answers.** An answer holds for an interval of time; the intervals lie end to end. Every frame goes
//! through the CNN once. A model that carries its hidden state goes through them frame by frame; others
//! see windows of the last frames, whose maps are held in a ring. The interval of an answer is not that
//! of the newest frames but lies half of a clip before them: an action that fills half of a window
//! begins or ends there, and a hidden state needs half of a clip to change the answer.

mod events;
mod moments;
mod outputs;
mod watcher;

pub(crate) use events::{BACKGROUND, Event, Events, Rule};
pub(crate) use moments::Moments;
pub(crate) use outputs::{Outputs, clock, field};
pub(crate) use watcher::{Answer, Pass, Taps, Watcher};

/// Rounds to the microsecond, which is finer than any clock of a video: the same moment is the same
/// number however it was computed.
fn whole_microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
