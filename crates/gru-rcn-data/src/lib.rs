//! Videos and folders of frames to clips, the same clips every time.
//!
//! A [`Dataset`] names the clips, their classes and the part each belongs to. A [`ClipReader`]
//! decodes a clip to [`Frames`]. A [`ClipPlan`] selects frames, crops them, mirrors them or not.
//! Plans come from a [`ClipPlanner`] and are a pure function of seed, epoch and sample id, so
//! neither the number of loading threads nor a resumed run changes them. [`ordered`] loads clips in
//! parallel and yields them in order, within a bound on bytes.
//!
//! The modules are layers; each imports only from those before it: [`base`], [`image`], [`video`],
//! [`manifest`], [`dataset`] and [`plan`], [`read`], [`prepare`] and [`verify`](mod@verify).
//!
//! ```
//! use gru_rcn_data::{
//!     ClipPlanner, ClipReader, CropRule, Modality, MotionConfig, Photometric, PlanKey, Split, TemporalSampling,
//! };
//!
//! // The built-in data set; `Dataset::from_folder` reads a folder of videos in its place.
//! let dataset = MotionConfig { train: 48, validation: 8, test: 8, ..MotionConfig::default() }.dataset()?;
//! let planner = ClipPlanner {
//!     modality: Modality::Rgb,
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
//! # Guarantees
//!
//! - No silent errors: a missing clip, a gap between frames, a label that disagrees and a file that
//!   cannot be decoded are each a [`DataError`] that names the clip or file. No clip is ever
//!   replaced by another.
//! - No file can make another program run: FFmpeg gets an argument vector and may open local files
//!   only; list files stay below the data set's root; sizes are checked before memory is taken.
//! - Frame counts are those of decoding, not those of a header ([`video`]).

pub mod base;
pub mod dataset;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod image;
pub mod manifest;
pub mod plan;
pub mod prepare;
pub mod read;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod video;

pub use base::{DataError, DecodeLimits, Frames, Split, free_bytes, printable};
pub use dataset::{
    COLOURS, CaptionClip, CaptionedClip, CaptionedPart, ClipSource, Dataset, FilmedMotion, FolderOptions, MOTIONS,
    MotionCaptions, MotionClip, MotionConfig, MotionFilm, PreparedClip, QUARANTINE, SHAPES, Sample, SplitList,
    read_quarantine, without_extension,
};
pub use image::{Crop, SizeRule, write_frames};
pub use manifest::{ClipRecord, Failure, Header, ImageCoding, Layout, MANIFEST, Manifest, Shard};
pub use plan::{
    ClipPlan, ClipPlanner, CropRule, Modality, Photometric, PhotometricDraw, PlanKey, SAME_MOMENT, Segments,
    TemporalSampling, TestCrops, TestViews, balanced_order, epoch_order,
};
pub use prepare::{Estimate, FlowMethod, FlowOptions, OwnLists, Prepare, PrepareOutcome, Progress, merge};
pub use read::{ClipReader, ClipViews, LoaderConfig, OrderedLoader, ordered, source_of};
pub use verify::{Fault, FaultKind, VerifyOptions, VerifyReport, verify, write_quarantine};
pub use video::{DecoderId, Ffmpeg, StreamInput, VideoDecoder, VideoFrame, VideoFrames};
