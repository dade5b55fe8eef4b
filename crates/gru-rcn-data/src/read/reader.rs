//! Reading the frames of clips from all sources.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::views::{ClipViews, shown};
use crate::base::{DataError, DecodeLimits, Frames, read_folder};
use crate::dataset::{ClipSource, MotionClip, Sample, is_video};
use crate::image::{
    Colours, Crop, Picture, Rectangle, SizeRule, is_frame, list_frames, read_selected, resize_into, resize_rgb,
    with_decoded,
};
use crate::plan::{ClipPlan, ClipPlanner, Modality, PlanKey, Segments, TestViews, distinct_views};
use crate::video::{Ffmpeg, StreamInput, VideoDecoder, VideoFrames};

/// Reads clips. All loading threads share one reader.
///
/// FFmpeg is looked for when the first video is read, so frame folders and the built-in data set do
/// not need it.
#[derive(Debug, Default)]
pub struct ClipReader {
    found: OnceLock<Ffmpeg>,
    limits: DecodeLimits,
}

impl ClipReader {
    /// A reader with the given limits; `ClipReader::default()` has the default limits.
    pub fn new(limits: DecodeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Reads all frames of a sample, resized to `frame_size` (height, width): RGB
    /// `[time, height, width, 3]`.
    ///
    /// # Errors
    /// Those of [`VideoDecoder::decode`] and [`Ffmpeg::locate`] for videos. For stored frames
    /// [`DataError::NoFrames`]; [`DataError::BadFrames`] for a name without a number, a gap, a
    /// number used twice, two prefixes or two sizes; [`DataError::BadImage`] for an image that
    /// cannot be decoded, [`DataError::TooLarge`] above a limit.
    pub fn read(&self, sample: &Sample, frame_size: [usize; 2]) -> Result<Frames, DataError> {
        match &sample.source {
            ClipSource::Video(path) => self.video()?.decode(path, frame_size.into()),
            other => self.read_some(other, frame_size.into(), |total, _| (0..total).collect()).map(|(all, _)| all),
        }
    }

    /// Reads a sample once and cuts clips out of it: for each key the training clip of that key, for
    /// `None` the evaluation clip.
    ///
    /// Of stored images, only those that the plans name are decoded; videos are decoded whole.
    ///
    /// # Errors
    /// Those of [`ClipReader::read`] and [`ClipPlanner::training`]; [`DataError::BadDataset`] if the
    /// sample has no optical flow, which the planner asks for.
    pub fn read_clips(
        &self,
        sample: &Sample,
        planner: &ClipPlanner,
        keys: &[Option<PlanKey>],
    ) -> Result<Vec<Frames>, DataError> {
        let plan = |planner: &ClipPlanner, key: &Option<PlanKey>, count: usize| match key {
            Some(key) => planner.training(key, count),
            None => planner.evaluation(count),
        };
        match pictures(&sample.source, planner.modality)? {
            Some(pictures) => {
                let planner = timed(planner, &sample.source, None)?;
                let cut = |key| pictures.clip(&plan(&planner, key, pictures.len())?, planner.frame_size, &self.limits);
                keys.iter().map(cut).collect()
            }
            None => {
                let (frames, rate) = match &sample.source {
                    ClipSource::Video(path) => self.video()?.decode_with_rate(path, planner.frame_size.into())?,
                    _ => (self.read(sample, planner.frame_size)?, None),
                };
                let planner = timed(planner, &sample.source, rate)?;
                keys.iter().map(|key| plan(&planner, key, frames.time)?.apply(&frames)).collect()
            }
        }
    }

    /// Checks whether a clip can be read, without reading all of it: it exists, its first frame can be
    /// decoded, and its frame rate is known if frames are taken by time. For stored frames, the
    /// numbering is checked too, and in a prepared folder the count.
    ///
    /// # Errors
    /// Those of [`ClipReader::read_clips`].
    pub fn probe(&self, source: &ClipSource, planner: &ClipPlanner) -> Result<(), DataError> {
        // A video's rate is known only after decoding.
        timed(planner, source, Some(1.0))?;
        match (pictures(source, planner.modality)?, source) {
            // A clip of one frame has no flow, which its plan reports.
            (Some(pictures), _) if pictures.len() == 0 => Ok(()),
            (Some(pictures), _) => pictures.with_picture(0, &self.limits, |_, _| Ok(())),
            (None, ClipSource::Video(path)) => {
                let none = || DataError::NoFrames { path: path.clone(), words: String::new() };
                // Tiny frames, so that the only work is decoding.
                self.video()?.open(path, [2, 2].into())?.next().ok_or_else(none)?.map(drop)
            }
            (None, _) => Ok(()),
        }
    }

    /// [`ClipReader::probe`] of several clips. If all are sound videos, one run of FFmpeg checks them.
    pub fn probe_all(&self, sources: &[&ClipSource], planner: &ClipPlanner) -> Vec<Result<(), DataError>> {
        let videos: Option<Vec<&Path>> = (sources.iter())
            .map(|source| match source {
                ClipSource::Video(path) if planner.modality == Modality::Rgb => Some(path.as_path()),
                _ => None,
            })
            .collect();
        let whole = |videos: &Vec<&Path>| self.video().is_ok_and(|decoder| decoder.all_begin(videos));
        match videos.filter(|videos| videos.len() > 1).filter(whole) {
            Some(videos) => videos.iter().map(|_| Ok(())).collect(),
            None => sources.iter().map(|source| self.probe(source, planner)).collect(),
        }
    }

    /// Decodes the pictures of the test views of a clip, each once. Others are not kept, so a video of
    /// any length fits into memory. The plans are those of [`ClipPlanner::test_views`].
    ///
    /// # Errors
    /// Those of [`ClipReader::read_clips`] and [`ClipPlanner::test_views`]; [`DataError::TooLarge`] if
    /// there are more pictures than the limit `max_frames`, or more bytes than `max_bytes`.
    pub fn read_views(
        &self,
        source: &ClipSource,
        planner: &ClipPlanner,
        views: TestViews,
    ) -> Result<ClipViews, DataError> {
        views.validate()?;
        self.read_plans(source, planner, |planner, total| planner.test_views(views, total))
    }

    /// As [`ClipReader::read_views`], for the segments of a clip; the plans are those of
    /// [`ClipPlanner::segments`], without repeats.
    ///
    /// # Errors
    /// As [`ClipReader::read_views`].
    pub fn read_segments(
        &self,
        source: &ClipSource,
        planner: &ClipPlanner,
        segments: Segments,
    ) -> Result<ClipViews, DataError> {
        segments.validate()?;
        self.read_plans(source, planner, |planner, total| planner.segments(segments, total))
    }

    /// Decodes the pictures of the plans that `plans` makes for the number of frames or fields.
    fn read_plans(
        &self,
        source: &ClipSource,
        planner: &ClipPlanner,
        plans: impl Fn(&ClipPlanner, usize) -> Result<Vec<ClipPlan>, DataError>,
    ) -> Result<ClipViews, DataError> {
        planner.validate()?;
        let planned = planner.frame_size;
        if let Some(stored) = pictures(source, planner.modality)? {
            let (total, rate) = (stored.len(), rate_of(source, None).ok());
            let plans = distinct_views(plans(&*timed(planner, source, None)?, total)?);
            let (shown, mut pictures, mut bytes) = (shown(&plans, total), BTreeMap::new(), 0);
            self.limits.check(stored.path(), shown.len(), 0)?;
            for t in shown {
                let picture = stored.picture(t, &self.limits)?;
                bytes += picture.pixels.len();
                self.limits.check(stored.path(), 1, bytes)?;
                pictures.insert(t, picture);
            }
            return Ok(ClipViews { plans, pictures, planned, total, rate });
        }
        let mut rate = None;
        let plan = |total: usize, rate| plans(&*timed(planner, source, rate)?, total);
        let select = |total: usize, decoded| {
            rate = decoded;
            match plan(total, decoded) {
                Ok(plans) => shown(&distinct_views(plans), total).into_iter().collect(),
                // The plans are made again below, which returns the error.
                Err(_) => vec![0],
            }
        };
        let (frames, total) = self.read_some(source, planned.into(), select)?;
        let plans = distinct_views(plan(total, rate)?);
        let size = [frames.height, frames.width];
        let held = shown(&plans, total).into_iter().enumerate();
        let held = held.map(|(place, t)| (t, Picture { pixels: frames.frame(place).to_vec(), size }));
        Ok(ClipViews { plans, pictures: held.collect(), planned, total, rate: rate_of(source, rate).ok() })
    }

    /// Reads the frames that `select` names, in its order, and returns them with the number of all
    /// frames. `select` gets that number and, for a video, the frame rate.
    fn read_some(
        &self,
        source: &ClipSource,
        size: SizeRule,
        mut select: impl FnMut(usize, Option<f64>) -> Vec<usize>,
    ) -> Result<(Frames, usize), DataError> {
        let (folder, files) = match source {
            ClipSource::Video(path) => return self.video()?.decode_selected(path, size, &mut select),
            ClipSource::Motion(clip) => {
                let frames = clip.render();
                return Ok((sized(frames.pick(select(frames.time, None))?, size)?, frames.time));
            }
            ClipSource::FrameFolder(folder) => (folder, list_frames(folder)?),
            ClipSource::Prepared(clip) => (&clip.frames_dir, clip.frame_files()?),
        };
        Ok((read_selected(folder, &files, &select(files.len(), None), size, &self.limits)?, files.len()))
    }

    /// Checks that there is a decoder of video files, before many clips are read.
    ///
    /// # Errors
    /// As [`Ffmpeg::locate`].
    pub fn require_decoder(&self) -> Result<(), DataError> {
        self.video().map(drop)
    }

    /// As [`Ffmpeg::damaged`]. These clips are used, which callers should report.
    pub fn damaged(&self) -> Vec<(PathBuf, String)> {
        self.found.get().map(Ffmpeg::damaged).unwrap_or_default()
    }

    /// Opens a stream, whose frames come one by one; see [`Ffmpeg::stream`].
    ///
    /// # Errors
    /// As [`Ffmpeg::stream`] and [`Ffmpeg::locate`].
    pub fn stream(&self, input: &StreamInput, size: SizeRule) -> Result<VideoFrames, DataError> {
        self.video()?.stream(input, size)
    }

    /// The decoder, which is looked for once. A failure is not kept, because FFmpeg may be installed
    /// meanwhile.
    fn video(&self) -> Result<&Ffmpeg, DataError> {
        if let Some(decoder) = self.found.get() {
            return Ok(decoder);
        }
        let decoder = Ffmpeg::locate()?.with_limits(self.limits);
        Ok(self.found.get_or_init(|| decoder))
    }
}

/// The clip at a path: a folder of frames or a video file.
///
/// # Errors
/// [`DataError::NotFound`] if the path does not exist, [`DataError::BadFrames`] for a folder of videos
/// or of folders.
pub fn source_of(path: &Path) -> Result<ClipSource, DataError> {
    if !std::fs::metadata(path).map_err(|error| DataError::io(path, error))?.is_dir() {
        return Ok(ClipSource::Video(path.to_owned()));
    }
    let (mut videos, mut folders) = (0, 0);
    for entry in read_folder(path)? {
        let entry = entry.path();
        if is_frame(&entry) {
            return Ok(ClipSource::FrameFolder(path.to_owned()));
        }
        videos += usize::from(is_video(&entry));
        folders += usize::from(entry.is_dir());
    }
    if videos + folders == 0 {
        return Ok(ClipSource::FrameFolder(path.to_owned()));
    }
    let reason = format!(
        "a folder is read as the frames of one clip, and this one holds no JPEG or PNG image, but {videos} videos and \
         {folders} folders; name the clips themselves"
    );
    Err(DataError::frames(path, reason))
}

/// Frames per second of a clip, which for a video are `decoded`; or the clip's path and why they are
/// unknown.
fn rate_of(source: &ClipSource, decoded: Option<f64>) -> Result<f64, (&Path, &'static str)> {
    match source {
        ClipSource::Video(path) => decoded.ok_or((path.as_path(), "its frames have no time stamps")),
        ClipSource::Prepared(clip) => {
            clip.record.fps.ok_or((&*clip.frames_dir, "the manifest states no `fps` of this clip"))
        }
        ClipSource::Motion(_) => Ok(MotionClip::FPS),
        ClipSource::FrameFolder(path) => Err((
            path,
            "a folder of frames states no frame rate; make the data set of the videos by `gru-rcn prepare`, whose \
             manifest states it",
        )),
    }
}

/// The planner for a clip, with the clip's frame rate if frames are taken by time.
fn timed<'a>(
    planner: &'a ClipPlanner,
    source: &ClipSource,
    decoded: Option<f64>,
) -> Result<Cow<'a, ClipPlanner>, DataError> {
    if !planner.temporal.by_time() {
        return Ok(Cow::Borrowed(planner));
    }
    let rate = rate_of(source, decoded).map_err(|(path, reason)| {
        let advice = "or take frames by their number, with `consecutive` or `spread` for `every` in clip.temporal";
        DataError::dataset(path, format!("{reason}, which sampling by time needs; {advice}"))
    })?;
    Ok(Cow::Owned(planner.at_rate(rate)))
}

/// Resizes every frame of an RGB clip.
fn sized(frames: Frames, size: SizeRule) -> Result<Frames, DataError> {
    let from = [frames.height, frames.width];
    let [height, width] = size.of(frames.height, frames.width);
    if from == [height, width] {
        return Ok(frames);
    }
    let frame = |t| resize_rgb(frames.frame(t), from, Crop::whole(from[0], from[1]), [height, width]);
    let data: Vec<Vec<u8>> = (0..frames.time).map(frame).collect::<Result<_, _>>()?;
    Frames::new(data.concat(), frames.time, height, width, 3)
}

/// The image files of a clip.
enum Pictures {
    Rgb(Vec<PathBuf>),
    Flow([Vec<PathBuf>; 2]),
}

/// The image files of a clip; `None` if it has none, so that its frames are decoded or rendered.
fn pictures(source: &ClipSource, modality: Modality) -> Result<Option<Pictures>, DataError> {
    match (source, modality) {
        (ClipSource::Prepared(clip), Modality::Rgb) => Ok(Some(Pictures::Rgb(clip.frame_files()?))),
        (ClipSource::Prepared(clip), Modality::Flow) => Ok(Some(Pictures::Flow(clip.flow_files()?))),
        (ClipSource::FrameFolder(folder), Modality::Rgb) => Ok(Some(Pictures::Rgb(list_frames(folder)?))),
        (ClipSource::Video(_) | ClipSource::Motion(_), Modality::Rgb) => Ok(None),
        (ClipSource::Video(path) | ClipSource::FrameFolder(path), Modality::Flow) => {
            let reason = "it has no optical flow; prepare the data set with `gru-rcn prepare --flow dis` first";
            Err(DataError::dataset(path, reason))
        }
        (ClipSource::Motion(_), Modality::Flow) => {
            Err(DataError::setting("stream", "flow", "the built-in motion data has no optical flow"))
        }
    }
}

impl Pictures {
    fn len(&self) -> usize {
        match self {
            Self::Rgb(files) => files.len(),
            Self::Flow([x, _]) => x.len(),
        }
    }

    /// A path for messages.
    fn path(&self) -> &Path {
        match self {
            Self::Rgb(files) | Self::Flow([files, _]) => files.first().map_or(Path::new(""), PathBuf::as_path),
        }
    }

    fn picture(&self, t: usize, limits: &DecodeLimits) -> Result<Picture, DataError> {
        self.with_picture(t, limits, |pixels, size| Ok(Picture { pixels: pixels.to_vec(), size }))
    }

    /// Decodes frame or field `t` and lends its pixels, height and width to `take`.
    fn with_picture<T>(
        &self,
        t: usize,
        limits: &DecodeLimits,
        take: impl FnOnce(&[u8], [usize; 2]) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let [x, y] = match self {
            Self::Rgb(files) => return with_decoded(&files[t], Colours::Rgb, limits, take),
            Self::Flow(files) => [&files[0][t], &files[1][t]],
        };
        with_decoded(x, Colours::Grey, limits, |across, size| {
            with_decoded(y, Colours::Grey, limits, |down, other| {
                if size != other {
                    let reason = format!("its size is not that of {}", y.display());
                    return Err(DataError::BadImage { path: x.clone(), reason });
                }
                let pixels: Vec<u8> = across.iter().zip(down).flat_map(|(&x, &y)| [x, y]).collect();
                take(&pixels, size)
            })
        })
    }

    /// Cuts a clip out. Only the pictures of the plan are decoded, each once.
    fn clip(&self, plan: &ClipPlan, planned: [usize; 2], limits: &DecodeLimits) -> Result<Frames, DataError> {
        let channels = plan.modality.stored_channels();
        plan.gather(self.len(), |t, target| {
            self.with_picture(t, limits, |pixels, size| {
                let crop = Rectangle::scaled(plan.crop, planned, size);
                resize_into(pixels, size, channels, crop, plan.output, target)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::MotionConfig;
    use crate::plan::{CropRule, TemporalSampling};
    use crate::testing::{self, make_video, put, refused, sample, save_frame, temporary};

    fn planner(frames: usize) -> ClipPlanner {
        testing::planner(TemporalSampling::Spread { frames }, [16, 24], [16, 16])
    }

    // Three of twenty frames are kept, and fifteen are allowed: the rest is only counted.
    #[test]
    fn frames_that_are_only_counted_have_no_limit() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=48x32:rate=10", 20);
        std::fs::create_dir(folder.path().join("frames")).unwrap();
        (0..20).for_each(|t| save_frame(&folder.path().join(format!("frames/{t:06}.png")), [16, 24], t));
        let few = ClipReader::new(DecodeLimits { max_frames: 15, ..DecodeLimits::default() });
        for source in [ClipSource::Video(video), ClipSource::FrameFolder(folder.path().join("frames"))] {
            for starts in [1, 2] {
                let rule = TestViews { starts, ..TestViews::default() };
                let cut = |reader: &ClipReader| {
                    let views = reader.read_views(&source, &planner(3), rule).unwrap();
                    (views.total(), views.plans().iter().map(|(plan, _)| views.cut(plan).unwrap()).collect::<Vec<_>>())
                };
                assert_eq!(cut(&few), cut(&ClipReader::default()));
                assert_eq!(cut(&few).0, 20);
            }
            refused(few.read_views(&source, &planner(16), TestViews::default()), &["max_frames", "15"]);
            refused(few.read(&sample(source), [16, 24]), &["max_frames", "15"]);
        }
    }

    #[test]
    fn frame_folders_are_read_by_plan() {
        let folder = temporary();
        (0..6).for_each(|t| save_frame(&folder.path().join(format!("{t:06}.png")), [16, 24], t));
        let reader = ClipReader::default();
        let source = source_of(folder.path()).unwrap();
        let views = reader.read_views(&source, &planner(3), TestViews::default()).unwrap();
        // Parts of two frames, their middles 1, 3 and 5.
        let first: Vec<u8> = views.pictures.values().map(|picture| picture.pixels[0]).collect();
        assert_eq!((views.total(), &first[..]), (6, &[40, 120, 200][..]));
        assert_eq!(reader.read(&sample(source), [16, 24]).unwrap().time, 6);
        assert!(matches!(source_of(&folder.path().join("none")), Err(DataError::NotFound(_))));
    }

    #[test]
    fn a_probe_finds_clips_that_cannot_be_read() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=48x32:rate=10", 3);
        put(folder.path(), "words.avi", "no film");
        put(folder.path(), "empty.avi", "");
        put(folder.path(), "torn/0.png", b"\x89PNG");
        (0..2).for_each(|t| save_frame(&folder.path().join(format!("whole/{t}.png")), [8, 8], t));
        let reader = ClipReader::default();
        let probe = |source: ClipSource| reader.probe(&source, &planner(3));
        probe(ClipSource::Video(video.clone())).unwrap();
        probe(ClipSource::FrameFolder(folder.path().join("whole"))).unwrap();
        for (name, words) in [("words.avi", "not a video"), ("empty.avi", "empty"), ("gone.avi", "no such file")] {
            refused(probe(ClipSource::Video(folder.path().join(name))), &[name, words]);
        }
        refused(probe(ClipSource::FrameFolder(folder.path().join("torn"))), &["0.png", "not a readable"]);
        // Two sizes and two rates in one run. One broken file does not affect the others.
        let other = make_video(folder.path(), "other.avi", "testsrc=size=64x48:rate=5", 2);
        let [first, other, words] =
            [&video, &other, &folder.path().join("words.avi")].map(|path| ClipSource::Video(path.clone()));
        assert!(reader.video().unwrap().all_begin(&[&video, &folder.path().join("other.avi")]));
        assert!(reader.probe_all(&[&first, &other], &planner(3)).iter().all(Result::is_ok));
        let mixed = reader.probe_all(&[&first, &words, &other], &planner(3));
        assert_eq!(mixed.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        let flow = ClipPlanner { modality: Modality::Flow, ..planner(3) };
        refused(reader.probe(&ClipSource::Video(video.clone()), &flow), &["no optical flow"]);
        // Frames by time need a frame rate, which a folder of frames does not state.
        let every = std::time::Duration::from_millis(100);
        let by_time = ClipPlanner { temporal: TemporalSampling::Every { every, frames: 3, rate: None }, ..planner(3) };
        let whole = ClipSource::FrameFolder(folder.path().join("whole"));
        refused(reader.probe(&whole, &by_time), &["whole", "frame rate", "gru-rcn prepare", "consecutive"]);
        refused(reader.read_clips(&sample(whole), &by_time, &[None]), &["frame rate"]);
        reader.probe(&ClipSource::Video(video), &by_time).unwrap();
    }

    // Twenty frames at ten per second. Three that are 0.4 s apart have the starts 0 to 11; from the
    // middle one they are 5, 9 and 13, in a view as in a clip.
    #[test]
    fn videos_are_sampled_by_their_time_stamps() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=48x32:rate=10", 20);
        let (reader, every) = (ClipReader::default(), std::time::Duration::from_millis(400));
        let by_time = ClipPlanner { temporal: TemporalSampling::Every { every, frames: 3, rate: None }, ..planner(3) };
        let views = reader.read_views(&ClipSource::Video(video.clone()), &by_time, TestViews::default()).unwrap();
        assert_eq!((&views.plans()[0].0.frames[..], views.rate()), (&[5, 9, 13][..], Some(10.0)));
        let clip = reader.read_clips(&sample(ClipSource::Video(video)), &by_time, &[None]).unwrap().remove(0);
        assert_eq!(clip, views.cut(&views.plans()[0].0).unwrap());
    }

    // An AVI without its last third: FFmpeg gives the frames before it, and complains.
    #[test]
    fn damaged_videos_are_read_and_named() {
        let folder = temporary();
        let video = make_video(folder.path(), "clip.avi", "testsrc=size=96x64:rate=10", 28);
        let reader = ClipReader::default();
        let whole = reader.read(&sample(ClipSource::Video(video.clone())), [16, 24]).unwrap();
        assert_eq!((whole.time, reader.damaged()), (28, Vec::new()));
        let bytes = std::fs::read(&video).unwrap();
        put(folder.path(), "cut.avi", &bytes[..bytes.len() * 2 / 3]);
        let cut = reader.read(&sample(ClipSource::Video(folder.path().join("cut.avi"))), [16, 24]).unwrap();
        assert!((1..28).contains(&cut.time));
        let damaged = reader.damaged();
        assert!(damaged.len() == 1 && damaged[0].0.ends_with("cut.avi") && !damaged[0].1.is_empty(), "{damaged:?}");
    }

    #[test]
    fn folders_of_videos_or_of_folders_are_no_clip() {
        let folder = temporary();
        std::fs::create_dir(folder.path().join("class")).unwrap();
        std::fs::write(folder.path().join("class/a.mp4"), "x").unwrap();
        refused(source_of(folder.path()), &["0 videos and 1 folders", "name the clips"]);
        refused(source_of(&folder.path().join("class")), &["1 videos and 0 folders"]);
        // A folder with a frame is a clip, whatever lies beside the frame.
        save_frame(&folder.path().join("class/000000.png"), [2, 2], 0);
        assert!(matches!(source_of(&folder.path().join("class")), Ok(ClipSource::FrameFolder(_))));
    }

    #[test]
    fn motion_clips_are_brought_to_size() {
        let dataset = MotionConfig::default().dataset().unwrap();
        let clip = ClipReader::default().read(&dataset.train[0], [20, 24]).unwrap();
        assert_eq!((clip.time, clip.height, clip.width), (8, 20, 24));
    }

    /// Two whole frames of 8×8 pixels.
    fn whole(modality: Modality) -> ClipPlanner {
        let all = testing::planner(TemporalSampling::Consecutive { frames: 2 }, [8, 8], [8, 8]);
        ClipPlanner { modality, crop: CropRule::Full, ..all }
    }

    /// The same frames read by plan and read whole: where nothing is resized, nothing differs.
    #[test]
    fn planned_frames_are_those_of_the_whole() {
        let folder = temporary();
        (0..5).for_each(|t| save_frame(&folder.path().join(format!("{t}.png")), [8, 8], t));
        let sample = sample(ClipSource::FrameFolder(folder.path().to_owned()));
        let (planner, reader) = (whole(Modality::Rgb), ClipReader::default());
        let keys = [None, Some(PlanKey { seed: 1, epoch: 2, sample: "a/b".into() })];
        let clips = reader.read_clips(&sample, &planner, &keys).unwrap();
        let whole = reader.read(&sample, [8, 8]).unwrap();
        assert_eq!(clips[0], planner.evaluation(5).unwrap().apply(&whole).unwrap());
        assert_eq!(clips[1], planner.training(keys[1].as_ref().unwrap(), 5).unwrap().apply(&whole).unwrap());
    }

    #[test]
    fn flow_of_a_video_is_an_error_that_says_what_to_do() {
        let sample = sample(ClipSource::Video("a.avi".into()));
        refused(ClipReader::default().read_clips(&sample, &whole(Modality::Flow), &[None]), &["prepare"]);
    }
}
