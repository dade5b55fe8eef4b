//! A data set: classes, and clips in three parts.
//!
//! [`Dataset::from_folder`] makes one of a folder with a sub-folder per class; the rules are those
//! of [`FolderOptions`]. Nothing is decoded here.

mod captions;
mod content;
mod folder;
mod groups;
mod leaks;
mod lists;
mod motion;
mod notes;
mod prepared;
mod scan;
mod splits;

use std::path::PathBuf;

pub(crate) use captions::of_msvd;
pub use captions::{CAPTIONS, CaptionedClip, CaptionedPart};
pub use folder::FolderOptions;
pub(crate) use groups::{Groups, group_of};
pub use lists::{QUARANTINE, read_quarantine, without_extension};
pub(crate) use lists::{find, lines};
pub use motion::{
    COLOURS, CaptionClip, FilmedMotion, MOTIONS, MotionCaptions, MotionClip, MotionConfig, MotionFilm, SHAPES,
};
pub(crate) use notes::unlisted;
pub use prepared::PreparedClip;
pub(crate) use scan::{Entry, Found, PassedOver, aside, is_video, part_folders, same_clip, scan, videos_of};
pub use splits::SplitList;
pub(crate) use splits::{MSVD_CLASS, official, own, write};

use crate::base::{DataError, Fnv64, Split};

/// Where the frames of a clip come from.
#[derive(Clone, Debug, PartialEq)]
pub enum ClipSource {
    /// A video file.
    Video(PathBuf),
    /// A folder of JPEG or PNG images, one per frame.
    FrameFolder(PathBuf),
    /// A clip of a prepared folder, whose manifest says how many images it has.
    Prepared(PreparedClip),
    /// A clip of the built-in data set, drawn when it is read.
    Motion(MotionClip),
}

/// One labelled clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Unique in the data set; for files the path relative to the root, with `/`.
    pub id: String,
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// Index into [`Dataset::appearances`], if the data set labels appearance as well as action.
    pub appearance: Option<usize>,
    /// Where its frames come from.
    pub source: ClipSource,
}

/// Labelled clips in three parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// A name for messages: the root folder's, or `motion`.
    pub name: String,
    /// Names of the classes, by class index.
    pub classes: Vec<String>,
    /// Names of the appearances; empty if the data set has none.
    pub appearances: Vec<String>,
    /// Clips to train on.
    pub train: Vec<Sample>,
    /// Clips for choices, such as early stopping.
    pub validation: Vec<Sample>,
    /// Clips for the reported result.
    pub test: Vec<Sample>,
    /// Ids of the clips that are in no part because they are in quarantine.
    pub skipped: Vec<String>,
    /// Sentences for readers of a result, such as on listed clips that are in no part, and on the
    /// groups by which parts were drawn. Each has a count and names the first clip.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Reads a folder of clips; see [`FolderOptions`] for the layouts.
    ///
    /// # Errors
    /// [`DataError::BadDataset`], [`DataError::BadList`], [`DataError::EmptySplit`] and
    /// [`DataError::NotFound`], each naming the folder, line or clip.
    pub fn from_folder(options: &FolderOptions) -> Result<Self, DataError> {
        folder::read(options, 2)
    }

    /// As [`Dataset::from_folder`], for clips whose class folders are no labels, such as clips with
    /// captions: a single folder is enough.
    ///
    /// # Errors
    /// As [`Dataset::from_folder`].
    pub fn from_unlabelled_folder(options: &FolderOptions) -> Result<Self, DataError> {
        folder::read(options, 1)
    }

    /// All clips of a folder, or those of `test_list`, as the test part of a data set with the classes
    /// of a model. Not every class needs a clip. Of the other options only `root` and `quarantine` are
    /// used. If the folder has folders of parts, the clips of all parts are taken.
    ///
    /// # Errors
    /// As [`Dataset::from_folder`], and if a clip's class is not among `classes`.
    pub fn clips_of(options: &FolderOptions, classes: &[String]) -> Result<Self, DataError> {
        folder::clips_of(options, classes)
    }

    /// The samples of one part.
    pub fn split(&self, split: Split) -> &[Sample] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// A stable 16-digit hash of the classes and of every part's ids and labels, in order.
    ///
    /// A run resumes only on the data set it began with. The hash includes the manifest's hashes of
    /// the files of prepared clips, and the settings of the built-in set, which its ids do not state.
    /// Otherwise pixels are not hashed.
    pub fn fingerprint(&self) -> String {
        let mut hash = Fnv64::default().text("data set").number(self.classes.len() as u64);
        for class in &self.classes {
            hash = hash.text(class);
        }
        for part in [&self.train, &self.validation, &self.test] {
            hash = hash.number(part.len() as u64);
            for sample in part {
                hash = hash.text(&sample.id).number(sample.class as u64);
                match &sample.source {
                    ClipSource::Motion(clip) => hash = clip.add_to(hash),
                    ClipSource::Prepared(clip) => hash = hash.text(&clip.record.sha256),
                    ClipSource::Video(_) | ClipSource::FrameFolder(_) => {}
                }
            }
        }
        format!("{:016x}", hash.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_sees_ids_labels_and_parts() {
        let sample = |id: &str, class| Sample {
            id: id.to_owned(),
            class,
            ..crate::testing::sample(ClipSource::Video(id.into()))
        };
        let set = |train: Vec<Sample>, test: Vec<Sample>| Dataset {
            classes: vec!["a".to_owned(), "b".to_owned()],
            train,
            test,
            ..Dataset::default()
        };
        let first = set(vec![sample("x", 0)], vec![sample("y", 1)]).fingerprint();
        assert_eq!(first, set(vec![sample("x", 0)], vec![sample("y", 1)]).fingerprint());
        assert_ne!(first, set(vec![sample("x", 1)], vec![sample("y", 1)]).fingerprint());
        assert_ne!(first, set(vec![sample("x", 0), sample("y", 1)], vec![]).fingerprint());
        assert_ne!(first, set(vec![sample("z", 0)], vec![sample("y", 1)]).fingerprint());
        assert_eq!(first.len(), 16);
    }
}
