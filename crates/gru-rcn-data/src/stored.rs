//! Clips straight from stored images: only the pictures that a plan names are decoded, and each goes from its file to the
//! crop in one step.

use std::path::{Path, PathBuf};

use crate::clip::Frames;
use crate::dataset::{ClipSource, Sample};
use crate::error::DataError;
use crate::frames_folder::list_frames;
use crate::load::ClipReader;
use crate::picture::{Colours, Picture, whole, with_decoded};
use crate::plan::{ClipPlan, ClipPlanner, PlanKey, Stream};
use crate::resize::{Crop, Rectangle, resize_into};
use crate::video::DecodeLimits;

/// The image files of a clip.
pub(crate) enum Pictures {
    Rgb(Vec<PathBuf>),
    Flow([Vec<PathBuf>; 2]),
}

impl ClipReader {
    /// Reads a sample once and cuts clips out of it: for each key the training clip of that key, for `None` the one that
    /// is evaluated.
    ///
    /// Of stored images only those are decoded that the plans name, each straight to its crop; videos are decoded whole.
    ///
    /// # Errors
    /// Those of [`ClipReader::read`] and [`ClipPlanner::training`]; [`DataError::BadDataset`] where flow is asked of
    /// something that has none.
    pub fn read_clips(
        &self,
        sample: &Sample,
        planner: &ClipPlanner,
        keys: &[Option<PlanKey>],
    ) -> Result<Vec<Frames>, DataError> {
        let plan = |key: &Option<PlanKey>, count: usize| match key {
            Some(key) => planner.training(key, count),
            None => planner.evaluation(count),
        };
        match pictures(&sample.source, planner.stream)? {
            Some(pictures) => {
                let limits = self.limits();
                keys.iter().map(|key| pictures.clip(&plan(key, pictures.len())?, planner.frame_size, limits)).collect()
            }
            None => {
                let frames = self.read(sample, planner.frame_size)?;
                keys.iter().map(|key| plan(key, frames.time)?.apply(&frames)).collect()
            }
        }
    }
}

/// The stored images of a clip; `None` where there are none and frames have to be decoded or drawn.
pub(crate) fn pictures(source: &ClipSource, stream: Stream) -> Result<Option<Pictures>, DataError> {
    match (source, stream) {
        (ClipSource::Prepared(clip), Stream::Rgb) => Ok(Some(Pictures::Rgb(clip.frame_files()?))),
        (ClipSource::Prepared(clip), Stream::Flow) => Ok(Some(Pictures::Flow(clip.flow_files()?))),
        (ClipSource::FrameFolder(folder), Stream::Rgb) => Ok(Some(Pictures::Rgb(list_frames(folder)?))),
        (ClipSource::Video(_) | ClipSource::Motion(_), Stream::Rgb) => Ok(None),
        (ClipSource::Video(path) | ClipSource::FrameFolder(path), Stream::Flow) => {
            let reason = "it has no optical flow; prepare the data set with `gru-rcn prepare --flow dis` first";
            Err(DataError::dataset(path, reason))
        }
        (ClipSource::Motion(_), Stream::Flow) => {
            Err(DataError::setting("stream", "flow", "the built-in motion data has no optical flow"))
        }
    }
}

impl Pictures {
    /// Frames, or fields of flow.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Rgb(files) => files.len(),
            Self::Flow([x, _]) => x.len(),
        }
    }

    /// A file of them, to name the clip by.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Rgb(files) | Self::Flow([files, _]) => files.first().map_or(Path::new(""), PathBuf::as_path),
        }
    }

    /// Decodes frame or field `t`.
    pub(crate) fn picture(&self, t: usize, limits: &DecodeLimits) -> Result<Picture, DataError> {
        self.with_picture(t, limits, whole, |pixels, size, _| Ok(Picture { pixels: pixels.to_vec(), size }))
    }

    /// Decodes a window of frame or field `t`; see [`with_decoded`].
    fn with_picture<T>(
        &self,
        t: usize,
        limits: &DecodeLimits,
        window: impl Fn([usize; 2]) -> Crop,
        take: impl FnOnce(&[u8], [usize; 2], Crop) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let [x, y] = match self {
            Self::Rgb(files) => return with_decoded(&files[t], Colours::Rgb, limits, window, take),
            Self::Flow(files) => [&files[0][t], &files[1][t]],
        };
        with_decoded(x, Colours::Grey, limits, &window, |across, size, shown| {
            with_decoded(y, Colours::Grey, limits, &window, |down, other, _| {
                if size != other {
                    let reason = format!("its size is not that of {}", y.display());
                    return Err(DataError::BadImage { path: x.clone(), reason });
                }
                let pixels: Vec<u8> = across.iter().zip(down).flat_map(|(&x, &y)| [x, y]).collect();
                take(&pixels, size, shown)
            })
        })
    }

    fn clip(&self, plan: &ClipPlan, planned: [usize; 2], limits: &DecodeLimits) -> Result<Frames, DataError> {
        let crop = |size: [usize; 2]| Rectangle::scaled(plan.crop, planned, size);
        plan.gather(self.len(), |t, target| {
            let window = |size| crop(size).window(plan.output, size);
            self.with_picture(t, limits, window, |pixels, size, window| {
                let part = [window.height, window.width];
                let crop = crop(size).within(window);
                resize_into(pixels, part, plan.stream.stored_channels(), crop, plan.output, target)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CropRule, Photometric, TemporalSampling};
    use crate::testing::{flow_clip, temporary};

    fn planner(stream: Stream) -> ClipPlanner {
        ClipPlanner {
            stream,
            temporal: TemporalSampling::Consecutive { frames: 2 },
            frame_size: [8, 8],
            input_size: [8, 8],
            crop: CropRule::Full,
            flip: false,
            photometric: Photometric::default(),
        }
    }

    /// Twelve fields whose x is 100 + t and whose y is 50 + t, as lossless images: consecutive steps from field t on see
    /// x, y of t, t + 1, ….
    #[test]
    fn flow_is_read_as_stacks() {
        let folder = temporary();
        let clip = flow_clip(folder.path(), 12, [16, 16]);
        let source = ClipSource::Prepared(clip);
        let sample = Sample { id: "a/b".into(), class: 0, appearance: None, source };
        let planner = planner(Stream::Flow);
        let clips = ClipReader::default().read_clips(&sample, &planner, &[None]).unwrap();
        let first = planner.evaluation(12).unwrap().frames[0] as u8;
        assert_eq!((clips[0].time, clips[0].height, clips[0].channels), (2, 8, 20));
        let expected: Vec<u8> = (first..first + 10).flat_map(|t| [100 + t, 50 + t]).collect();
        assert_eq!(clips[0].frame(0)[..20], expected);
    }

    /// The same frames read by plan and read whole: where nothing is resized, nothing differs.
    #[test]
    fn planned_frames_are_those_of_the_whole() {
        let folder = temporary();
        for t in 0..5u8 {
            let image = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([t * 40, x as u8 * 9, y as u8 * 11]));
            image.save(folder.path().join(format!("{t}.png"))).unwrap();
        }
        let source = ClipSource::FrameFolder(folder.path().to_owned());
        let sample = Sample { id: "a/b".into(), class: 0, appearance: None, source };
        let (planner, reader) = (planner(Stream::Rgb), ClipReader::default());
        let keys = [None, Some(PlanKey { seed: 1, epoch: 2, sample: "a/b".into() })];
        let clips = reader.read_clips(&sample, &planner, &keys).unwrap();
        let whole = reader.read(&sample, [8, 8]).unwrap();
        assert_eq!(clips[0], planner.evaluation(5).unwrap().apply(&whole).unwrap());
        assert_eq!(clips[1], planner.training(keys[1].as_ref().unwrap(), 5).unwrap().apply(&whole).unwrap());
    }

    /// Only the window of a crop is decoded, with as much around it as resizing looks at: nothing differs from the whole.
    #[test]
    fn crops_are_those_of_whole_pictures() {
        let folder = temporary();
        let value = |x: u32, y: u32| ((x * 37) ^ (y * 91)) as u8;
        for extension in ["jpg", "png"] {
            let file = folder.path().join(format!("0.{extension}"));
            image::RgbImage::from_fn(85, 64, |x, y| image::Rgb([value(x, y), (x * 3) as u8, value(y, x)]))
                .save(&file)
                .unwrap();
            let pictures = Pictures::Rgb(vec![file.clone()]);
            let whole = pictures.picture(0, &DecodeLimits::default()).unwrap();
            // Of frames planned at their size and at half of it; enlarged, shrunk and cut out; at the borders and inside.
            for (planned, output) in
                [([64, 85], [40, 40]), ([64, 85], [20, 31]), ([64, 85], [56, 70]), ([32, 43], [20, 20])]
            {
                for (x, y, width, height) in
                    [(0, 0, 40, 30), (1, 2, 40, 30), (3, 2, 20, 20), (13, 11, 30, 21), (2, 0, 41, 32)]
                {
                    let crop = Crop { x, y, width, height };
                    let plan = ClipPlan { crop, output, ..planner(Stream::Rgb).evaluation(1).unwrap() };
                    let cut = pictures.clip(&plan, planned, &DecodeLimits::default()).unwrap();
                    let mut expected = vec![0; output[0] * output[1] * 3];
                    let crop = Rectangle::scaled(crop, planned, whole.size);
                    resize_into(&whole.pixels, whole.size, 3, crop, output, &mut expected).unwrap();
                    let once = &cut.data[..expected.len()];
                    assert_eq!(once, expected, "{extension} {plan:?}");
                }
            }
        }
    }

    #[test]
    fn flow_of_a_video_is_an_error_that_says_what_to_do() {
        let source = ClipSource::Video("a.avi".into());
        let sample = Sample { id: "a".into(), class: 0, appearance: None, source };
        let error = ClipReader::default().read_clips(&sample, &planner(Stream::Flow), &[None]).unwrap_err();
        assert!(error.to_string().contains("prepare"), "{error}");
    }
}
