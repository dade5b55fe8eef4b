//! Which frames of a video make the clip.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Draws;

/// Time stamps that differ by less than this, in seconds, count as equal: Matroska rounds to
/// milliseconds.
pub const SAME_MOMENT: f64 = 1e-3;

/// The rule for the frames that are taken from a video.
///
/// In a recipe: `{ consecutive = { frames = 8 } }`, `{ spread = { frames = 8 } }` or
/// `{ every = "0.2 s", frames = 8 }`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(try_from = "Spelling", into = "Spelling")]
pub enum TemporalSampling {
    /// The paper's rule: neighbouring frames, from a uniformly random start in training, from the
    /// middle of the video in evaluation. A video that is too short repeats its last frame.
    Consecutive {
        /// Frames of the clip.
        frames: usize,
    },
    /// One frame of each of equal parts of the video: a random one in training, the middle one in
    /// evaluation. A video with fewer frames than parts repeats frames, in order.
    Spread {
        /// Frames of the clip.
        frames: usize,
    },
    /// By time, so that clips of videos with different frame rates cover the same time: the first frame
    /// at or after each of equally spaced moments. Starts are those of neighbouring frames. Frames are
    /// repeated if the video's rate is lower, and the last one beyond the end.
    Every {
        /// From one moment to the next.
        every: Duration,
        /// Frames of the clip.
        frames: usize,
        /// Frames per second of the video, which a plan needs; set by
        /// [`at_rate`](TemporalSampling::at_rate), not by a recipe.
        rate: Option<f64>,
    },
}

/// The serialised form of [`TemporalSampling`].
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
struct Spelling {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consecutive: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spread: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames: Option<usize>,
}

#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Count {
    frames: usize,
}

impl TryFrom<Spelling> for TemporalSampling {
    type Error = String;

    fn try_from(spelling: Spelling) -> Result<Self, String> {
        let Spelling { consecutive, spread, every, frames } = spelling;
        match (consecutive, spread, every, frames) {
            (Some(Count { frames }), None, None, None) => Ok(Self::Consecutive { frames }),
            (None, Some(Count { frames }), None, None) => Ok(Self::Spread { frames }),
            (None, None, Some(every), Some(frames)) => Ok(Self::Every { every: seconds(&every)?, frames, rate: None }),
            _ => Err("the frames of a clip are taken by one of { consecutive = { frames = N } }, \
                      { spread = { frames = N } } and { every = \"0.2 s\", frames = N }"
                .to_owned()),
        }
    }
}

impl From<TemporalSampling> for Spelling {
    fn from(rule: TemporalSampling) -> Self {
        match rule {
            TemporalSampling::Consecutive { frames } => Self { consecutive: Some(Count { frames }), ..Self::default() },
            TemporalSampling::Spread { frames } => Self { spread: Some(Count { frames }), ..Self::default() },
            TemporalSampling::Every { every, frames, .. } => {
                let every = format!("{} s", every.as_secs_f64());
                Self { every: Some(every), frames: Some(frames), ..Self::default() }
            }
        }
    }
}

/// A time such as `0.2 s` or `40 ms`, above 0 and at most an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => ("", 1.0),
    };
    let time = number.trim().parse::<f64>().ok().map(|number| number * unit);
    let time = time.filter(|time| (1e-6..=3600.0).contains(time));
    time.map(Duration::from_secs_f64)
        .ok_or_else(|| format!("every = {text:?} is no time; write seconds or milliseconds, such as \"0.2 s\""))
}

impl TemporalSampling {
    /// Frames of the clip.
    pub fn frames(&self) -> usize {
        match *self {
            Self::Consecutive { frames } | Self::Spread { frames } | Self::Every { frames, .. } => frames,
        }
    }

    /// Whether frames are taken by time. A plan then needs the video's frame rate.
    pub fn by_time(&self) -> bool {
        matches!(self, Self::Every { .. })
    }

    /// The rule for a video of `rate` frames per second.
    pub fn at_rate(self, rate: f64) -> Self {
        match self {
            Self::Every { every, frames, .. } => Self::Every { every, frames, rate: Some(rate) },
            other => other,
        }
    }

    /// Distance in frames between neighbouring frames of the clip, if the rule states one.
    pub(super) fn step(&self) -> Option<f64> {
        match *self {
            Self::Consecutive { .. } => Some(1.0),
            Self::Spread { .. } => None,
            Self::Every { every, rate, .. } => rate.map(|rate| every.as_secs_f64() * rate),
        }
    }

    pub(super) fn training(&self, video: usize, draws: &mut Draws) -> Vec<usize> {
        match *self {
            Self::Consecutive { frames } | Self::Every { frames, .. } => {
                let offsets = self.offsets(frames);
                let starts = video.saturating_sub(offsets[frames - 1] + 1) + 1;
                shifted(&offsets, draws.below(starts), video)
            }
            Self::Spread { frames } => (0..frames)
                .map(|part| {
                    let first = part * video / frames;
                    let end = (part + 1) * video / frames;
                    first + draws.below(end.saturating_sub(first))
                })
                .collect(),
        }
    }

    /// The frames of a clip that begins at frame 0: the first at or after each moment.
    fn offsets(&self, frames: usize) -> Vec<usize> {
        let (step, tolerance) = match *self {
            Self::Every { rate, .. } => (self.step().unwrap_or(1.0), SAME_MOMENT * rate.unwrap_or(0.0)),
            _ => (1.0, 0.0),
        };
        (0..frames).map(|k| (k as f64 * step - tolerance).ceil().max(0.0) as usize).collect()
    }

    pub(super) fn evaluation(&self, video: usize) -> Vec<usize> {
        self.view(video, 0, 1)
    }

    /// View `index` of `views` in time; a single view is the middle.
    pub(super) fn view(&self, video: usize, index: usize, views: usize) -> Vec<usize> {
        match *self {
            Self::Consecutive { frames } | Self::Every { frames, .. } => {
                let offsets = self.offsets(frames);
                let last = video.saturating_sub(offsets[frames - 1] + 1);
                // index · last / (views − 1), rounded to the nearest frame, halves up.
                let start = match views {
                    1 => last / 2,
                    _ => (2 * index * last + views - 1) / (2 * (views - 1)),
                };
                shifted(&offsets, start, video)
            }
            // The middle of piece `index` of `views` equal pieces of each part.
            Self::Spread { frames } => {
                (0..frames).map(|part| (2 * (part * views + index) + 1) * video / (2 * frames * views)).collect()
            }
        }
    }
}

pub(super) fn consecutive(start: usize, frames: usize, video: usize) -> Vec<usize> {
    shifted(&(0..frames).collect::<Vec<_>>(), start, video)
}

fn shifted(offsets: &[usize], start: usize, video: usize) -> Vec<usize> {
    offsets.iter().map(|offset| (start + offset).min(video - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Fnv64;

    // 10 frames, 4 wanted: starts 0 to 6, the middle one is 3.
    #[test]
    fn consecutive_evaluation_is_the_middle() {
        let rule = TemporalSampling::Consecutive { frames: 4 };
        assert_eq!(rule.evaluation(10), [3, 4, 5, 6]);
        assert_eq!(rule.evaluation(2), [0, 1, 1, 1]);
        assert_eq!(rule.evaluation(4), [0, 1, 2, 3]);
    }

    // Parts of 10 frames in 4: [0, 2.5), [2.5, 5), [5, 7.5), [7.5, 10); their middles 1.25, 3.75,
    // 6.25, 8.75.
    #[test]
    fn spread_evaluation_is_the_middle_of_each_part() {
        let rule = TemporalSampling::Spread { frames: 4 };
        assert_eq!(rule.evaluation(10), [1, 3, 6, 8]);
        // Parts of half a frame.
        assert_eq!(rule.evaluation(2), [0, 0, 1, 1]);
        assert_eq!(rule.evaluation(1), [0, 0, 0, 0]);
    }

    #[test]
    fn training_reaches_every_start_and_no_other() {
        let mut draws = Draws::new(Fnv64::default().text("starts"));
        let rule = TemporalSampling::Consecutive { frames: 4 };
        let mut starts = [0; 7];
        for _ in 0..700 {
            let frames = rule.training(10, &mut draws);
            assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
            starts[frames[0]] += 1;
        }
        assert!(starts.iter().all(|&n| n > 50), "{starts:?}");
        assert_eq!(rule.training(3, &mut draws), [0, 1, 2, 2]);
    }

    fn every(every: &str, frames: usize, rate: f64) -> TemporalSampling {
        TemporalSampling::Every { every: seconds(every).unwrap(), frames, rate: Some(rate) }
    }

    // 0, 0.2, 0.4, 0.6 s: at 25 fps every fifth frame, at 60 fps every twelfth; at 29.97 fps the
    // moments are the frames 0, 5.994, 11.988 and 17.982; at 4 fps, 0.25 s a frame, 0, 0.8, 1.6,
    // 2.4. Of 20 frames at 25 fps the starts are 0 to 4, of 20 at 60 fps there is one start and the
    // last frame repeats.
    #[test]
    fn sampling_by_time_means_the_same_at_every_frame_rate() {
        assert_eq!(every("0.2 s", 4, 25.0).evaluation(16), [0, 5, 10, 15]);
        assert_eq!(every("200 ms", 4, 60.0).evaluation(37), [0, 12, 24, 36]);
        assert_eq!(every("0.2s", 4, 29.97).evaluation(19), [0, 6, 12, 18]);
        assert_eq!(every("0.2 s", 4, 4.0).evaluation(4), [0, 1, 2, 3]);
        assert_eq!(every("0.2 s", 4, 25.0).evaluation(20), [2, 7, 12, 17]);
        assert_eq!(every("0.2 s", 4, 60.0).evaluation(20), [0, 12, 19, 19]);
        let mut draws = Draws::new(Fnv64::default().text("by time"));
        let starts: std::collections::BTreeSet<usize> =
            (0..200).map(|_| every("0.2 s", 4, 25.0).training(20, &mut draws)[0]).collect();
        assert!(starts.into_iter().eq(0..5));
        // Finer than the video: frames repeat.
        assert_eq!(every("50 ms", 4, 10.0).evaluation(2), [0, 1, 1, 1]);
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [r#"{"consecutive":{"frames":3}}"#, r#"{"spread":{"frames":3}}"#, r#"{"every":"0.2 s","frames":3}"#]
        {
            let rule: TemporalSampling = serde_json::from_str(text).unwrap();
            assert_eq!((serde_json::to_string(&rule).unwrap().as_str(), rule.frames()), (text, 3));
        }
        let refused = |text: &str| serde_json::from_str::<TemporalSampling>(text).unwrap_err().to_string();
        for (text, words) in [
            (r#"{"every":"0.2","frames":3}"#, "0.2 s"),
            (r#"{"every":"0 s","frames":3}"#, "no time"),
            (r#"{"every":"0.2 s"}"#, "one of"),
            (r#"{"spread":{"frames":3},"frames":2}"#, "one of"),
            (r#"{"spread":{"frames":3},"consecutive":{"frames":2}}"#, "one of"),
            (r#"{"evry":"1 s"}"#, "unknown field"),
        ] {
            assert!(refused(text).contains(words), "{}", refused(text));
        }
    }

    #[test]
    fn spread_training_takes_one_frame_of_each_part() {
        let mut draws = Draws::new(Fnv64::default().text("parts"));
        let rule = TemporalSampling::Spread { frames: 4 };
        for _ in 0..200 {
            let frames = rule.training(10, &mut draws);
            // Whole frames of the parts: 0–1, 2–4, 5–6, 7–9.
            for (frame, part) in frames.iter().zip([0..2, 2..5, 5..7, 7..10]) {
                assert!(part.contains(frame), "{frames:?}");
            }
            assert!(rule.training(2, &mut draws).windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
