//! Videos to a prepared folder: frames, optical flow, lists and a manifest.
//!
//! ```text
//! manifest.jsonl                        how it was made, and every clip with its counts and hash
//! frames/<class>/<clip>/000000.jpg …
//! flow/<class>/<clip>/{x,y}/000000.jpg …   one field less than there are frames
//! splits/train01.txt …, groups.json     the official lists, and the group of every clip
//! captions/train.json …                 MSVD's captions, where they were given, in COCO's format
//! failures.jsonl                        clips that could not be prepared, where there are any
//! ```
//!
//! **Clips are written whole or not at all.** A clip is written into hidden folders beside its final
//! ones. When all its files are on disk, the folders are renamed, and then one line is added to the
//! journal `manifest.partial.jsonl`. A process that is killed loses only the clips under way. The
//! next run removes their remains, continues after the last complete line of the journal, and ends
//! with the same files, byte for byte, as a run that was never interrupted. The manifest itself is
//! written at the end.
//!
//! **One folder, one set of settings.** In a folder that already has clips, a run with other
//! settings, another decoder or another version of this crate is refused, naming the setting.
//!
//! **A broken clip** is recorded with its error and is not replaced by another; the other clips go
//! on. The next run in the same folder tries it again. The manifest has a hash of every video, and a
//! clip whose video has changed is prepared again.
//!
//! **Shards** divide the clips among machines by a hash of their ids, so a clip stays in its shard
//! when others are added. Each shard writes `manifest-<i>-of-<n>.jsonl`; [`merge()`] joins them.

mod clip;
mod flow;
mod lay_out;
mod merge;
mod run;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use flow::{FlowMethod, FlowOptions};
pub use merge::{Merged, merge};
pub use run::Estimate;

use crate::dataset::{CaptionedPart, SplitList};
use crate::image::SizeRule;
use crate::manifest::{Failure, Layout, Shard};

/// Settings of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepare {
    /// How the source is laid out.
    pub layout: Layout,
    /// The folder of videos. A folder of frames may take the place of a video.
    pub source: PathBuf,
    /// The prepared folder.
    pub output: PathBuf,
    /// Folder of the official lists; without it no lists are written. Not for [`Layout::Folder`].
    pub lists: Option<PathBuf>,
    /// File of MSVD's captions, `{PART: {CLIP: [CAPTION, …], …}, …}` in JSON or lines `CLIP CAPTION`,
    /// for [`Layout::Msvd`] with its lists. The captions are written to `captions/<part>.json`.
    pub captions: Option<PathBuf>,
    /// The user's own lists and groups, for [`Layout::Folder`].
    pub own_lists: OwnLists,
    /// Size of the frames. Default: the shorter side gets 256 pixels; [`Prepare::size_for`] returns the
    /// usual size for a layout.
    pub size: SizeRule,
    /// JPEG quality of the frames, 1 to 100. Default 95.
    pub quality: u8,
    /// Optical flow, if wanted.
    pub flow: Option<FlowOptions>,
    /// Number of clips that are prepared at the same time; 0 is one for each processor.
    pub workers: usize,
    /// The part of the clips that this run prepares; `None` for all clips.
    pub shard: Option<Shard>,
}

impl Default for Prepare {
    fn default() -> Self {
        Self {
            layout: Layout::Folder,
            source: PathBuf::new(),
            output: PathBuf::new(),
            lists: None,
            captions: None,
            own_lists: OwnLists::default(),
            size: SizeRule::ShortSide { pixels: 256 },
            quality: 95,
            flow: None,
            workers: 0,
            shard: None,
        }
    }
}

/// List files as in [`FolderOptions`](crate::FolderOptions); relative paths are relative to the
/// source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnLists {
    /// The train part.
    pub train: Option<PathBuf>,
    /// The validation part.
    pub validation: Option<PathBuf>,
    /// The test part.
    pub test: Option<PathBuf>,
    /// JSON object from clip path or file stem to group.
    pub groups: Option<PathBuf>,
}

impl OwnLists {
    fn given(&self) -> bool {
        self.train.is_some() || self.validation.is_some() || self.test.is_some()
    }
}

/// Progress of a run.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Finished clips, prepared or failed.
    pub done: usize,
    /// Clips to prepare in this run.
    pub total: usize,
    /// Failed clips.
    pub failed: usize,
    /// Frames written.
    pub frames: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Time since the run began.
    pub elapsed: Duration,
    /// Estimated time left, by the bytes of the videos; unknown before the first clip.
    pub remaining: Option<Duration>,
    /// The clip just finished, with its error if it failed.
    pub clip: Option<(String, Option<String>)>,
}

/// Result of a run.
#[derive(Serialize, Clone, Debug)]
pub struct PrepareOutcome {
    /// Path of the manifest, which does not exist yet after an interrupted run.
    pub manifest: PathBuf,
    /// Number of prepared clips.
    pub clips: usize,
    /// Number of clips that this run prepared.
    pub prepared: usize,
    /// Number of clips kept from earlier runs.
    pub kept: usize,
    /// Ids of the kept clips whose videos are no longer in the source.
    #[serde(skip)]
    pub without_source: Vec<String>,
    /// Ids of the clips that were prepared again because their videos had changed.
    #[serde(skip)]
    pub changed: Vec<String>,
    /// Ids of the clips whose videos are damaged, although the decoder gave frames.
    #[serde(skip)]
    pub damaged: Vec<String>,
    /// Sentences on files that were passed over in the source and on clips in no list.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Frames written by this run.
    pub frames: u64,
    /// Bytes written by this run.
    pub bytes: u64,
    /// Clips that could not be prepared, sorted; `failures.jsonl` lists them too.
    pub failures: Vec<Failure>,
    /// The captions of all clips in the lists; those of clips in the source were written.
    #[serde(skip)]
    pub captions: Vec<CaptionedPart>,
    /// The lists that were written, with their entries that are missing from the source.
    #[serde(skip)]
    pub lists: Vec<SplitList>,
    /// Whether the run was cancelled. Prepared clips are kept; the same run again resumes.
    pub interrupted: bool,
}

#[cfg(test)]
mod tests;
