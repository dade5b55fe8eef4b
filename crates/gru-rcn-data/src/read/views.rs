//! The test views of a clip, cut out of pictures that are decoded once.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{DataError, Frames};
use crate::image::{Picture, Rectangle, resize_into};
use crate::plan::ClipPlan;

/// The test views of a clip. Every picture of a view is in memory once; [`ClipViews::cut`] cuts the
/// views out.
///
/// Frames of videos have the planner's frame size, stored images their own size. 25 starts of 10 frames
/// take 250 frames at most, whatever the length of the video.
#[derive(Clone, Debug)]
pub struct ClipViews {
    pub(super) plans: Vec<(ClipPlan, usize)>,
    pub(super) pictures: BTreeMap<usize, Picture>,
    pub(super) planned: [usize; 2],
    pub(super) total: usize,
    pub(super) rate: Option<f64>,
}

impl ClipViews {
    /// The distinct views in their order, each with its number of occurrences.
    pub fn plans(&self) -> &[(ClipPlan, usize)] {
        &self.plans
    }

    /// Number of frames, or fields of flow, of the whole clip.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Mean number of frames per second; `None` for a folder of frames.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Cuts out one of the views, or another clip of their pictures.
    ///
    /// # Errors
    /// [`DataError::Shape`] for a plan with a picture that is in no view.
    pub fn cut(&self, plan: &ClipPlan) -> Result<Frames, DataError> {
        let channels = plan.modality.stored_channels();
        plan.gather(self.total, |t, target| {
            let Some(Picture { pixels, size }) = self.pictures.get(&t) else {
                return Err(DataError::Shape(format!("the plan names frame {t}, which no view of the clip shows")));
            };
            let crop = Rectangle::scaled(plan.crop, self.planned, *size);
            resize_into(pixels, *size, channels, crop, plan.output, target)
        })
    }
}

/// The pictures of the plans, of `total`.
pub(super) fn shown(plans: &[(ClipPlan, usize)], total: usize) -> BTreeSet<usize> {
    let steps = plans.iter().flat_map(|(plan, _)| plan.frames.iter().map(|&t| (plan.modality, t)));
    steps.flat_map(|(modality, t)| modality.stack(t, total)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::base::DecodeLimits;
    use crate::dataset::{ClipSource, PreparedClip};
    use crate::image::flip_horizontal;
    use crate::manifest::ClipRecord;
    use crate::manifest::tests::record;
    use crate::plan::{ClipPlanner, CropRule, Modality, Segments, TemporalSampling, TestCrops, TestViews};
    use crate::read::ClipReader;
    use crate::testing::{self, make_video, refused, sample, save_frame, temporary};

    /// A prepared clip of lossless flow fields `[height, width]` with x = 100 + t and y = 50 + t.
    fn flow_clip(folder: &Path, fields: u8, [height, width]: [usize; 2]) -> PreparedClip {
        let flow = folder.join("flow");
        for (name, base) in [("x", 100), ("y", 50)] {
            std::fs::create_dir_all(flow.join(name)).expect("a folder");
            for t in 0..fields {
                let image = image::GrayImage::from_pixel(width as u32, height as u32, image::Luma([base + t]));
                image.save(flow.join(name).join(format!("{t:06}.png"))).expect("saving");
            }
        }
        let (frames, fields) = (usize::from(fields) + 1, fields.into());
        let record = ClipRecord { frames, flow: fields, height, width, ..record("a/b") };
        PreparedClip { frames_dir: folder.join("frames"), flow_dir: Some(flow), record }
    }

    fn planner(modality: Modality) -> ClipPlanner {
        let crop = CropRule::FivePoint { ratios: vec![1.0, 0.75], max_distort: 0 };
        let centre = testing::planner(TemporalSampling::Consecutive { frames: 2 }, [16, 24], [12, 12]);
        ClipPlanner { modality, crop, ..centre }
    }

    fn frames(folder: &Path, size: [u32; 2]) {
        (0..6).for_each(|t| save_frame(&folder.join(format!("{t}.png")), size, t));
    }

    // Six frames, clips of two: the starts of three views are 0, 2 and 4, so all six frames are
    // visible.
    #[test]
    fn views_of_stored_frames_are_those_of_single_plans() {
        let folder = temporary();
        // Twice the planned size: crops are scaled, not the frames.
        frames(folder.path(), [32, 48]);
        let source = ClipSource::FrameFolder(folder.path().to_owned());
        let (reader, planner) = (ClipReader::default(), planner(Modality::Rgb));
        let views = reader.read_views(&source, &planner, TestViews { starts: 3, crops: TestCrops::Ten }).unwrap();
        assert_eq!((views.plans().len(), views.total(), views.pictures.len()), (30, 6, 6));
        // The middle view is the plain evaluation.
        let plain = reader.read_clips(&sample(source.clone()), &planner, &[None]).unwrap().remove(0);
        let (middle, _) = &views.plans()[14];
        assert_eq!((middle, &views.cut(middle).unwrap()), (&planner.evaluation(6).unwrap(), &plain));
        // The mirror image of a view is the view, mirrored.
        let (mirrored, _) = &views.plans()[19];
        let mut expected = plain;
        flip_horizontal::<3>(&mut expected.data, 12);
        assert_eq!(views.cut(mirrored).unwrap(), expected);
        // Only visible frames are kept: one start of two frames in the middle.
        let few = reader.read_views(&source, &planner, TestViews { starts: 1, crops: TestCrops::Five }).unwrap();
        assert_eq!(few.pictures.keys().copied().collect::<Vec<_>>(), [2, 3]);
        refused(few.cut(&views.plans()[0].0), &["frame 0", "no view"]);
    }

    // Six frames in two segments from 0 and 3, two frames of each: frames 2 and 5 are not visible.
    #[test]
    fn segments_are_read_like_views() {
        let folder = temporary();
        frames(folder.path(), [16, 24]);
        let source = ClipSource::FrameFolder(folder.path().to_owned());
        let (reader, planner) = (ClipReader::default(), planner(Modality::Rgb));
        let segments = reader.read_segments(&source, &planner, Segments { count: 2, frames: 2 }).unwrap();
        assert_eq!(segments.pictures.keys().copied().collect::<Vec<_>>(), [0, 1, 3, 4]);
        let whole = reader.read(&sample(source), planner.frame_size).unwrap();
        for ((plan, times), first) in segments.plans().iter().zip([0, 3]) {
            assert_eq!((*times, plan.frames.as_slice()), (1, &[first, first + 1][..]));
            assert_eq!(segments.cut(plan).unwrap(), plan.apply(&whole).unwrap());
        }
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let folder = temporary();
        frames(folder.path(), [16, 24]);
        let source = ClipSource::FrameFolder(folder.path().to_owned());
        let rule = TestViews { starts: 3, crops: TestCrops::Centre };
        let limits = |frames: usize| DecodeLimits { max_bytes: 16 * 24 * 3 * frames, ..DecodeLimits::default() };
        assert!(ClipReader::new(limits(6)).read_views(&source, &planner(Modality::Rgb), rule).is_ok());
        refused(ClipReader::new(limits(5)).read_views(&source, &planner(Modality::Rgb), rule), &["max_bytes"]);
    }

    // A film that does not fit into memory is read in two passes.
    #[test]
    fn views_of_a_video_are_those_of_the_whole() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=48x32:rate=10", 20);
        let (planner, rule) = (planner(Modality::Rgb), TestViews { starts: 4, crops: TestCrops::Ten });
        let source = ClipSource::Video(video);
        let whole = ClipReader::default().read(&sample(source.clone()), planner.frame_size).unwrap();
        // Starts 0, 6, 12 and 18 of two frames each: eight of the twenty frames.
        let tight = DecodeLimits { max_bytes: 16 * 24 * 3 * 10, ..DecodeLimits::default() };
        for limits in [DecodeLimits::default(), tight] {
            let views = ClipReader::new(limits).read_views(&source, &planner, rule).unwrap();
            assert_eq!((views.total(), views.pictures.len(), views.plans().len()), (20, 8, 40));
            for (plan, times) in views.plans() {
                assert_eq!((views.cut(plan).unwrap(), *times), (plan.apply(&whole).unwrap(), 1));
            }
        }
    }

    // Thirteen fields of x = 100 + t and y = 50 + t: four whole stacks, so the starts of clips of
    // two steps are 0 to 2. Mirrored, the codes of x are subtracted from 255.
    #[test]
    fn mirrored_flow_changes_its_sign() {
        let folder = temporary();
        let clip = flow_clip(folder.path(), 13, [16, 24]);
        let rule = TestViews { starts: 3, crops: TestCrops::Ten };
        let source = ClipSource::Prepared(clip);
        let views = ClipReader::default().read_views(&source, &planner(Modality::Flow), rule).unwrap();
        assert_eq!((views.plans().len(), views.total()), (30, 13));
        for (view, (plan, _)) in views.plans().iter().enumerate() {
            let (first, clip) = ((view / 10) as u8, views.cut(plan).unwrap());
            let x = |t: u8| if plan.flip { 155 - t } else { 100 + t };
            let expected: Vec<u8> = (first..first + 10).flat_map(|t| [x(t), 50 + t]).collect();
            assert_eq!((clip.channels, &clip.frame(0)[..20]), (20, &expected[..]), "{view}");
        }
    }

    #[test]
    fn invalid_test_views_are_refused_before_anything_is_read() {
        let source = ClipSource::Video("nowhere.avi".into());
        let planner = ClipPlanner { flip: false, ..planner(Modality::Rgb) };
        let rule = TestViews { starts: 0, crops: TestCrops::Centre };
        refused(ClipReader::default().read_views(&source, &planner, rule), &["views.starts"]);
    }
}
