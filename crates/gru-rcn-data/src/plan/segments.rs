//! Equally spaced segments of a clip, for captions.

use serde::{Deserialize, Serialize};

use super::temporal::consecutive;
use crate::base::DataError;

/// The first frames of equally spaced segments of a clip: the paper's encoder of captions (section
/// 5.2.1) takes ten frames for GRU-RCN and one for a network of single frames.
///
/// **Segments** follow each other and have equal lengths, except that earlier ones may have one frame
/// more: of n frames in K segments the first n mod K have ⌊n / K⌋ + 1, the others ⌊n / K⌋, as in the
/// released decoder of Yao et al. 2015. If a clip has fewer than K frames, each of them begins a
/// segment, and the missing segments are skipped; a captioner masks them.
///
/// **Frames** are taken from the start of the segment on, even into the next segment. Beyond the end
/// of the clip its last frame is repeated.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// Number of segments, K, 1 to 1000.
    pub count: usize,
    /// Frames of each segment, 1 to 1000.
    pub frames: usize,
}

impl Segments {
    /// Checks both numbers.
    ///
    /// # Errors
    /// [`DataError::Setting`] for 0 and for more than 1000.
    pub fn validate(self) -> Result<(), DataError> {
        for (key, value) in [("segments.count", self.count), ("segments.frames", self.frames)] {
            if !(1..=1000).contains(&value) {
                return Err(DataError::setting(key, value, "it is 1 to 1000"));
            }
        }
        Ok(())
    }

    /// The frames of each segment of a clip of `clip` frames.
    pub(super) fn of(self, clip: usize) -> Vec<Vec<usize>> {
        let (length, longer) = (clip / self.count, clip % self.count);
        let start = |segment: usize| segment * length + segment.min(longer);
        (0..self.count.min(clip)).map(|segment| consecutive(start(segment), self.frames, clip)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ClipPlanner, Modality, TemporalSampling};
    use crate::testing::{self, refused};

    // 23 frames in 5 segments: 23 mod 5 = 3 of five frames, from 0, 5 and 10, and two of four, from
    // 15 and 19.
    #[test]
    fn earlier_segments_are_longer_by_a_frame() {
        let first = Segments { count: 5, frames: 1 }.of(23);
        assert_eq!(first, [[0], [5], [10], [15], [19]]);
        assert_eq!(Segments { count: 5, frames: 4 }.of(20).concat(), (0..20).collect::<Vec<_>>());
    }

    // 12 frames in 4 segments of three. Five are taken of each: two run into the next segment, or repeat
    // the last frame.
    #[test]
    fn short_segments_run_on_and_the_last_frame_is_repeated() {
        let segments = Segments { count: 4, frames: 5 }.of(12);
        assert_eq!(segments, [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [6, 7, 8, 9, 10], [9, 10, 11, 11, 11]]);
    }

    #[test]
    fn short_clips_have_fewer_segments() {
        assert_eq!(Segments { count: 10, frames: 2 }.of(3), [[0, 1], [1, 2], [2, 2]]);
        assert_eq!(Segments { count: 10, frames: 1 }.of(10).concat(), (0..10).collect::<Vec<_>>());
        assert!(Segments { count: 10, frames: 2 }.of(0).is_empty());
    }

    // 21 fields of flow have 12 whole stacks of ten: three segments from 0, 4 and 8.
    #[test]
    fn plans_differ_from_the_evaluation_in_their_frames_alone() {
        let planner = testing::planner(TemporalSampling::Consecutive { frames: 7 }, [16, 24], [12, 12]);
        let planner = ClipPlanner { modality: Modality::Flow, ..planner };
        let plans = planner.segments(Segments { count: 3, frames: 2 }, 21).unwrap();
        assert_eq!(plans.iter().map(|plan| plan.frames.clone()).collect::<Vec<_>>(), [[0, 1], [4, 5], [8, 9]]);
        let plain = planner.evaluation(21).unwrap();
        assert!(plans.iter().all(|plan| plan.crop == plain.crop && !plan.flip));
        refused(planner.segments(Segments { count: 0, frames: 1 }, 21), &["`segments.count` = 0"]);
        refused(planner.segments(Segments { count: 1, frames: 1001 }, 21), &["`segments.frames` = 1001"]);
        refused(planner.segments(Segments { count: 1, frames: 1 }, 0), &["without frames"]);
    }
}
