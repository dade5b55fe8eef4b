//! Which frames of a video make the clip.

use serde::{Deserialize, Serialize};

use crate::base::Draws;

/// The rule by which frames are taken from a video.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TemporalSampling {
    /// The paper's rule: neighbouring frames, from a uniformly random start in training, from the
    /// middle of the video in evaluation. A video shorter than that repeats its last frame.
    Consecutive {
        /// Frames of the clip.
        frames: usize,
    },
    /// The video is cut in equal parts and one frame is taken of each: a random one in training,
    /// the middle one in evaluation. A video with fewer frames than parts repeats frames, in order.
    Spread {
        /// Frames of the clip.
        frames: usize,
    },
}

impl TemporalSampling {
    /// Frames of the clip.
    pub fn frames(&self) -> usize {
        match *self {
            Self::Consecutive { frames } | Self::Spread { frames } => frames,
        }
    }

    pub(super) fn training(&self, video: usize, draws: &mut Draws) -> Vec<usize> {
        match *self {
            Self::Consecutive { frames } => {
                let starts = video.saturating_sub(frames) + 1;
                consecutive(draws.below(starts), frames, video)
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

    pub(super) fn evaluation(&self, video: usize) -> Vec<usize> {
        self.view(video, 0, 1)
    }

    /// The view `index` of `views` in time; of a single one the middle.
    pub(super) fn view(&self, video: usize, index: usize, views: usize) -> Vec<usize> {
        match *self {
            Self::Consecutive { frames } => {
                let last = video.saturating_sub(frames);
                // index · last / (views − 1) to the nearest, halves up.
                let start = match views {
                    1 => last / 2,
                    _ => (2 * index * last + views - 1) / (2 * (views - 1)),
                };
                consecutive(start, frames, video)
            }
            // The middle of the index-th of `views` equal pieces of each part.
            Self::Spread { frames } => {
                (0..frames).map(|part| (2 * (part * views + index) + 1) * video / (2 * frames * views)).collect()
            }
        }
    }
}

pub(super) fn consecutive(start: usize, frames: usize, video: usize) -> Vec<usize> {
    (start..start + frames).map(|index| index.min(video - 1)).collect()
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
