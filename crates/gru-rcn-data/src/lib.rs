//! Videos and folders of frames to clips, the same clips every time.
//!
//! A clip takes one way: a [`Dataset`] says which clips there are, their classes and their parts; a [`ClipReader`] decodes
//! one to [`Frames`]; a [`ClipPlan`] says which frames and which rectangle of them, mirrored or not, and cuts them out.
//! Plans come from a [`ClipPlanner`] and are a pure function of seed, epoch and sample id, so neither the number of loading
//! threads nor a resumed run changes them. [`ordered`] loads in parallel and hands over in order, within a bound on bytes.
//!
//! ```
//! use gru_rcn_data::{
//!     ClipPlanner, ClipReader, CropRule, MotionConfig, Photometric, PlanKey, Split, Stream, TemporalSampling,
//! };
//!
//! // The built-in data set; `Dataset::from_folder` reads a folder of videos in its place.
//! let dataset = MotionConfig { train: 48, validation: 8, test: 8, ..MotionConfig::default() }.dataset()?;
//! let planner = ClipPlanner {
//!     stream: Stream::Rgb,
//!     temporal: TemporalSampling::Consecutive { frames: 6 },
//!     frame_size: [32, 32],
//!     input_size: [28, 28],
//!     crop: CropRule::Uniform { min_scale: 0.8 },
//!     flip: false, // left and right are classes
//!     photometric: Photometric::default(),
//! };
//! let sample = &dataset.split(Split::Train)[0];
//! let frames = ClipReader::default().read(sample, planner.frame_size)?;
//! let key = PlanKey { seed: 1, epoch: 0, sample: sample.id.clone() };
//! let clip = planner.training(&key, frames.time)?.apply(&frames)?;
//! assert_eq!((clip.time, clip.height, clip.width, clip.channels), (6, 28, 28, 3));
//! # Ok::<(), gru_rcn_data::DataError>(())
//! ```
//!
//! # What is promised
//!
//! - Nothing is silently wrong: a missing clip, a gap between frames, a label that disagrees, a file that cannot be decoded are
//!   errors with the name of the thing ([`DataError`]). No clip ever stands in for another.
//! - Nothing foreign runs: FFmpeg gets an argument vector and may open local files only; list files stay below the data
//!   set's root; sizes are checked before memory is taken.
//! - Frame counts are those of decoding, not those of a header ([`video`]).

pub mod clip;
pub mod dataset;
mod disk;
pub mod error;
pub mod frames_folder;
mod jpeg;
pub mod load;
pub mod loader;
pub mod manifest;
pub mod motion;
mod parallel;
mod picture;
pub mod plan;
pub mod prepare;
pub mod quarantine;
mod random;
pub mod resize;
pub mod splits;
mod stored;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod video;
mod view_reader;

pub use clip::Frames;
pub use dataset::{ClipSource, Dataset, FolderOptions, PreparedClip, Sample, Split, VIDEO_EXTENSIONS};
pub use disk::free_bytes;
pub use error::DataError;
pub use frames_folder::{list_frames, read_frames_folder};
pub use load::{ClipReader, source_of};
pub use loader::{LoaderConfig, OrderedLoader, ordered};
pub use manifest::{ClipRecord, Header, ImageCoding, Layout, MANIFEST, Manifest, SizeRule};
pub use motion::{MOTIONS, MotionClip, MotionConfig, Pose, SHAPES, contact_sheet};
pub use plan::{
    ClipPlan, ClipPlanner, CropRule, Photometric, PhotometricDraw, PlanKey, Stream, TemporalSampling, ViewCrops,
    ViewRule, distinct_views, epoch_order,
};
pub use prepare::{
    Decoder, Estimate, Failure, FfmpegDecoder, FlowMethod, FlowOptions, OwnLists, Prepare, PrepareOutcome, Progress,
    Shard, merge,
};
pub use quarantine::{QUARANTINE, read_quarantine, write_quarantine};
pub use resize::{Crop, flip_horizontal, resize_frames, resize_rgb};
pub use verify::{Fault, FaultKind, VerifyOptions, VerifyReport, verify};
#[cfg(feature = "pure-decode")]
pub use video::PureDecoder;
pub use video::{DecodeLimits, DecoderKind, Ffmpeg, FrameSize};
pub use view_reader::ClipViews;
