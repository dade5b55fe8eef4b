//! Test views: several starts in time, crops and mirror images of one test clip.
//!
//! The paper scores a test clip by 25 equally spaced starts, and at each of them by the four
//! corners, the middle and the mirror images of these five: 250 views, whose probabilities are
//! averaged (section 5.1). [`TestViews::paper`] is that.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ClipPlan;
use crate::base::DataError;

/// Most starts, as a guard against typing errors.
const MOST_STARTS: usize = 1000;

/// The crops that are scored. All have the size of the evaluation's crop.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum TestCrops {
    /// The crop of a plain evaluation.
    #[default]
    Centre,
    /// Crops in the four corners of the frame and in its middle.
    Five,
    /// The five crops and their mirror images.
    Ten,
}

/// The test views of a clip, over which class probabilities are averaged. Written `STARTSxCROPS`:
/// `1x1`, `3x5`, `25x10`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(deny_unknown_fields, default)]
pub struct TestViews {
    /// Number of starts in time, 1 to 1000. For
    /// [`Consecutive`](super::TemporalSampling::Consecutive) frames they are equally spaced, from
    /// the first frame to the last start of a whole clip, rounded to the nearest frame; a single
    /// start is the middle one. For [`Spread`](super::TemporalSampling::Spread) frames they are
    /// equally spaced positions within the part of each frame.
    pub starts: usize,
    /// Crops at each start.
    pub crops: TestCrops,
}

impl Default for TestViews {
    /// One view, that of a plain evaluation.
    fn default() -> Self {
        Self { starts: 1, crops: TestCrops::Centre }
    }
}

impl TestViews {
    /// The paper's 25 starts of ten crops.
    pub fn paper() -> Self {
        Self { starts: 25, crops: TestCrops::Ten }
    }

    /// Number of views.
    pub fn count(self) -> usize {
        self.starts * self.crops.count()
    }

    /// Whether this is the single view of a plain evaluation.
    pub fn is_single(self) -> bool {
        self == Self::default()
    }

    /// The views that are allowed if mirror images keep their class (`flip`) or not: without mirror
    /// images, ten crops become five.
    pub fn allowed(self, flip: bool) -> Self {
        let crops = if self.crops == TestCrops::Ten && !flip { TestCrops::Five } else { self.crops };
        Self { crops, ..self }
    }

    /// Checks the number of starts.
    ///
    /// # Errors
    /// [`DataError::Setting`] for none and for more than 1000.
    pub fn validate(self) -> Result<(), DataError> {
        if (1..=MOST_STARTS).contains(&self.starts) {
            return Ok(());
        }
        Err(DataError::setting("views.starts", self.starts, "it is 1 to 1000"))
    }
}

impl TestCrops {
    /// Views at each start.
    pub fn count(self) -> usize {
        match self {
            Self::Centre => 1,
            Self::Five => 5,
            Self::Ten => 10,
        }
    }
}

impl fmt::Display for TestViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.starts, self.crops.count()))
    }
}

impl FromStr for TestViews {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let known = [TestCrops::Centre, TestCrops::Five, TestCrops::Ten];
        let crops = |text: &str| known.into_iter().find(|crops| crops.count().to_string() == text);
        let parts = text.split_once('x').and_then(|(starts, rest)| Some((starts.parse().ok()?, crops(rest)?)));
        let Some((starts, crops)) = parts else {
            let reason = "it is STARTSxCROPS with 1, 5 or 10 crops, such as 25x10";
            return Err(DataError::setting("views", text, reason));
        };
        let rule = Self { starts, crops };
        rule.validate()?;
        Ok(rule)
    }
}

/// Each distinct plan, in the order of its first occurrence, with its number of occurrences. Equal
/// views are scored once and averaged with that weight.
pub(crate) fn distinct_views(plans: Vec<ClipPlan>) -> Vec<(ClipPlan, usize)> {
    let mut counted: Vec<(ClipPlan, usize)> = Vec::new();
    for plan in plans {
        match counted.iter_mut().find(|(known, _)| *known == plan) {
            Some((_, times)) => *times += 1,
            None => counted.push((plan, 1)),
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Crop;
    use crate::plan::{ClipPlanner, CropRule, Modality, TemporalSampling};
    use crate::testing::{self, refused};

    fn planner(temporal: TemporalSampling) -> ClipPlanner {
        ClipPlanner { crop: CropRule::paper(), ..testing::planner(temporal, [256, 340], [224, 224]) }
    }

    fn ten() -> ClipPlanner {
        planner(TemporalSampling::Consecutive { frames: 10 })
    }

    // A clip of 106 frames has 97 starts, 0 to 96; 25 of them are 96 / 24 = 4 apart. 224x224 in
    // 256x340: x is 0, 58 or 116 and y is 0, 16 or 32.
    #[test]
    fn the_papers_250_views() {
        let plans = ten().test_views(TestViews::paper(), 106).unwrap();
        assert_eq!(plans.len(), 250);
        for (view, plans) in plans.chunks(10).enumerate() {
            let frames: Vec<usize> = (4 * view..4 * view + 10).collect();
            assert!(plans.iter().all(|plan| plan.frames == frames), "{view}");
            let places: Vec<(usize, usize, bool)> = plans.iter().map(|p| (p.crop.x, p.crop.y, p.flip)).collect();
            let corners = [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)];
            let expected = [false, true].map(|flip| corners.map(|(x, y)| (x, y, flip))).concat();
            assert_eq!(places, expected);
            assert!(plans.iter().all(|plan| (plan.crop.width, plan.crop.height) == (224, 224)));
        }
        assert_eq!(distinct_views(plans).len(), 250);
    }

    // 29 frames, the shortest clip of UCF-101: starts 0 to 19, the view v at 19 v / 24 = 0, 0.79,
    // 1.58, 2.375, 3.17, …, that is 0, 1, 2, 2, 3, …; the last is 19. All 20 starts occur, so five
    // of the 25 twice.
    #[test]
    fn starts_are_rounded_to_the_nearest_frame() {
        let rule = TestViews { starts: 25, crops: TestCrops::Centre };
        let plans = ten().test_views(rule, 29).unwrap();
        let starts: Vec<usize> = plans.iter().map(|plan| plan.frames[0]).collect();
        assert_eq!((&starts[..5], starts[24]), (&[0, 1, 2, 2, 3][..], 19));
        let counted = distinct_views(plans);
        assert_eq!((counted.len(), counted.iter().filter(|(_, times)| *times == 2).count()), (20, 5));
        // Halves go up: 3 starts of 11 frames lie at 0, 0.5 and 1.
        let plans = ten().test_views(TestViews { starts: 3, ..rule }, 11).unwrap();
        assert_eq!([0, 1, 2].map(|view: usize| plans[view].frames[0]), [0, 1, 1]);
        // Shorter than a clip: one start, the last frame repeated.
        let counted = distinct_views(ten().test_views(rule, 4).unwrap());
        assert_eq!(counted, [(ten().evaluation(4).unwrap(), 25)]);
    }

    #[test]
    fn one_view_is_the_plain_evaluation() {
        for frames in [1, 7, 29, 300] {
            for temporal in [TemporalSampling::Consecutive { frames: 10 }, TemporalSampling::Spread { frames: 6 }] {
                let planner = planner(temporal);
                let plans = planner.test_views(TestViews::default(), frames).unwrap();
                assert_eq!(plans, [planner.evaluation(frames).unwrap()]);
            }
        }
    }

    // 40 frames in 4 parts of 10; 5 positions lie 2 apart in each part, at 1, 3, 5, 7 and 9.
    #[test]
    fn spread_views_are_shifted_within_their_parts() {
        let planner = planner(TemporalSampling::Spread { frames: 4 });
        let plans = planner.test_views(TestViews { starts: 5, crops: TestCrops::Centre }, 40).unwrap();
        for (view, plan) in plans.iter().enumerate() {
            let first = 2 * view + 1;
            assert_eq!(plan.frames, [first, first + 10, first + 20, first + 30]);
        }
    }

    // 29 frames have 28 fields and 19 whole stacks of ten; a clip of ten steps then has the starts
    // 0 to 9.
    #[test]
    fn flow_starts_leave_whole_stacks() {
        let planner = ClipPlanner { modality: Modality::Flow, ..ten() };
        let plans = planner.test_views(TestViews { starts: 4, crops: TestCrops::Ten }, 28).unwrap();
        let starts: Vec<usize> = plans.iter().step_by(10).map(|plan| plan.frames[0]).collect();
        assert_eq!(starts, [0, 3, 6, 9]);
        assert!(plans.iter().all(|plan| plan.modality == Modality::Flow && plan.frames[9] <= 18));
    }

    #[test]
    fn crops_of_whole_frames_are_the_frame() {
        let planner = ClipPlanner { crop: CropRule::Full, ..ten() };
        let counted = distinct_views(planner.test_views(TestViews { starts: 1, crops: TestCrops::Ten }, 10).unwrap());
        let whole = Crop::whole(256, 340);
        let found: Vec<(Crop, bool, usize)> = counted.iter().map(|(plan, n)| (plan.crop, plan.flip, *n)).collect();
        assert_eq!(found, [(whole, false, 5), (whole, true, 5)]);
    }

    #[test]
    fn mirror_images_need_flip() {
        let planner = ClipPlanner { flip: false, ..ten() };
        refused(planner.test_views(TestViews::paper(), 40), &["`views` = 25x10", "`flip` is off"]);
        let allowed = TestViews::paper().allowed(false);
        assert_eq!((allowed, allowed.count()), (TestViews { starts: 25, crops: TestCrops::Five }, 125));
        assert_eq!(planner.test_views(allowed, 40).unwrap().len(), 125);
        assert_eq!(TestViews::paper().allowed(true), TestViews::paper());
    }

    #[test]
    fn rules_are_read_and_written() {
        for (text, rule) in [("1x1", TestViews::default()), ("25x10", TestViews::paper())] {
            assert_eq!((text.parse::<TestViews>().unwrap(), rule.to_string().as_str()), (rule, text));
        }
        for text in ["", "25", "x10", "25x7", "0x5", "1001x1", "-1x1", "3x5x1"] {
            refused(text.parse::<TestViews>(), &["views"]);
        }
        assert_eq!(serde_json::from_str::<TestViews>("{}").unwrap(), TestViews::default());
    }
}
