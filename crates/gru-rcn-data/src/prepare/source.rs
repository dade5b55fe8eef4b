//! The clips of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::Prepare;
use crate::base::{DataError, canonical_folder};
use crate::dataset::{
    CaptionedPart, ClipSource, Found, Groups, MSVD_CLASS, PassedOver, SplitList, aside, group_of, of_msvd, official,
    own, part_folders, same_clip, scan, unlisted, videos_of,
};
use crate::image::list_frames;
use crate::manifest::{ContentHash, Layout, check_id};

#[derive(Clone, Debug)]
pub(crate) struct SourceClip {
    /// `<class>/<clip>`.
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) group: String,
    /// A video or a folder of frames.
    pub(crate) path: PathBuf,
    /// Bytes of the video, a measure of the work.
    pub(crate) bytes: u64,
}

impl SourceClip {
    /// SHA-256 of the video or of the frames, in their order.
    pub(crate) fn hash(&self) -> Result<String, DataError> {
        ContentHash::of(&if self.path.is_dir() { list_frames(&self.path)? } else { vec![self.path.clone()] })
    }
}

/// The clips of the source, sorted by id, and the lists that divide them.
#[derive(Debug)]
pub(crate) struct Source {
    root: PathBuf,
    pub(crate) clips: Vec<SourceClip>,
    pub(crate) lists: Vec<SplitList>,
    /// Captions of the clips that the lists name.
    pub(crate) captions: Vec<CaptionedPart>,
    /// Sentences on files that were passed over and on clips in no list.
    pub(crate) notes: Vec<String>,
}

impl Source {
    pub(crate) fn find(options: &Prepare) -> Result<Self, DataError> {
        let root = canonical_folder(&options.source, "the source is a folder of videos")?;
        let mut passed = PassedOver::default();
        let (found, parts) = match options.layout {
            Layout::Msvd => (videos_of(&root, MSVD_CLASS, &mut passed)?, Vec::new()),
            Layout::Folder => folder(options, &root, &mut passed)?,
            Layout::Ucf101 | Layout::Hmdb51 => (classes(options, &root, &mut passed)?, Vec::new()),
        };
        let mut notes: Vec<String> = passed.notes().collect();
        let mut groups = Groups::default();
        if let Some(path) = options.own_lists.groups.as_ref().map(|path| root.join(path)) {
            groups = Groups::read(&path)?;
            notes.extend(groups.unused(&path, found.iter().map(|clip| clip.id.as_str()))?);
        }
        let clips = unique(options.layout, found, &groups)?;
        if clips.is_empty() {
            return Err(DataError::dataset(&options.source, "there is no video in it; check the path and the layout"));
        }
        let known: BTreeSet<String> = clips.iter().map(|clip| clip.id.clone()).collect();
        let given = &options.own_lists;
        let lists = match (&options.lists, options.layout) {
            (Some(lists), layout) => official(layout, lists, &known)?,
            (None, Layout::Folder) if given.given() => {
                let files = [("train", &given.train), ("validation", &given.validation), ("test", &given.test)];
                own(&root, &files.map(|(name, path)| (name, path.clone())), &known)?
            }
            (None, _) => parts,
        };
        if !lists.is_empty() {
            let listed = lists.iter().flat_map(|list| &list.clips).map(String::as_str).collect();
            unlisted(clips.iter().map(|clip| (&*clip.id, &*clip.class)), &listed, &mut notes);
        }
        let captions = match (&options.captions, &options.lists, options.layout) {
            (Some(captions), Some(folder), Layout::Msvd) => of_msvd(captions, folder, &lists, &mut notes)?,
            (Some(captions), ..) => {
                let reason = "captions are for the layout msvd with its official lists; give those too";
                return Err(DataError::setting("captions", captions.display(), reason));
            }
            (None, ..) => Vec::new(),
        };
        Ok(Self { root, clips, lists, captions, notes })
    }

    /// The message of an error with paths relative to the source, so that it is the same on all
    /// machines.
    pub(crate) fn relative(&self, error: &DataError) -> String {
        error.to_string().replace(&format!("{}{}", self.root.display(), std::path::MAIN_SEPARATOR), "")
    }
}

/// The clips of class folders.
fn classes(options: &Prepare, root: &Path, passed: &mut PassedOver) -> Result<Vec<Found>, DataError> {
    let own = &options.own_lists;
    let files = [&own.train, &own.validation, &own.test, &own.groups].into_iter().flatten().map(|path| root.join(path));
    Ok(scan(root, root, "", &aside(root, files.chain(options.lists.clone())), passed)?.into_values().collect())
}

/// The clips of class folders, or of class folders in `train/`, `validation/` (or `val/`, `valid/`) and
/// `test/`, which then are the lists.
fn folder(options: &Prepare, root: &Path, passed: &mut PassedOver) -> Result<(Vec<Found>, Vec<SplitList>), DataError> {
    let parts = if options.own_lists.given() { None } else { part_folders(root, false, passed)? };
    let Some(parts) = parts else { return Ok((classes(options, root, passed)?, Vec::new())) };
    let (mut found, mut lists) = (Vec::new(), Vec::new());
    for (name, part) in ["train", "validation", "test"].into_iter().zip(parts) {
        let Some(part) = part else { continue };
        let clips = part.iter().map(|clip| clip.stem().to_owned()).collect();
        lists.push(SplitList { name: name.to_owned(), clips, absent: Vec::new() });
        found.extend(part);
    }
    Ok((found, lists))
}

/// Gives every clip its id, and refuses two clips with the same id.
fn unique(layout: Layout, found: Vec<Found>, groups: &Groups) -> Result<Vec<SourceClip>, DataError> {
    let mut clips: BTreeMap<String, SourceClip> = BTreeMap::new();
    for clip in found {
        let id = clip.stem().to_owned();
        let group = groups.named(&clip.id).map_or_else(|| group_of(layout, &id), str::to_owned);
        // A scan finds only these two.
        let (ClipSource::Video(path) | ClipSource::FrameFolder(path)) = clip.source else { continue };
        check_id(&id).map_err(|reason| DataError::dataset(&path, reason))?;
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let new = SourceClip { id: id.clone(), class: clip.class, group, path: path.clone(), bytes };
        if let Some(other) = clips.insert(id.clone(), new) {
            return Err(same_clip(&path, &other.path, &id));
        }
    }
    Ok(clips.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::OwnLists;
    use crate::testing::{put, refused, temporary};

    fn source(files: &[&str], layout: Layout) -> (tempfile::TempDir, Prepare) {
        let folder = temporary();
        files.iter().for_each(|file| put(folder.path(), file, "x"));
        let options = Prepare { layout, source: folder.path().to_owned(), ..Prepare::default() };
        (folder, options)
    }

    /// Id, class and group of every clip.
    fn shown(options: &Prepare) -> Vec<String> {
        let clips = Source::find(options).unwrap().clips;
        clips.iter().map(|clip| format!("{} {} {}", clip.id, clip.class, clip.group)).collect()
    }

    #[test]
    fn ids_classes_and_groups() {
        let files = ["Diving/v_Diving_g01_c02.avi", "Archery/v_Archery_g07_c01.avi", "notes.txt"];
        let (_folder, options) = source(&files, Layout::Ucf101);
        let expected =
            ["Archery/v_Archery_g07_c01 Archery v_Archery_g07", "Diving/v_Diving_g01_c02 Diving v_Diving_g01"];
        assert_eq!(shown(&options), expected);
    }

    #[test]
    fn msvd_is_one_folder() {
        let (_folder, options) = source(&["-a_1_2.avi", "b_3_4.avi", "list.txt"], Layout::Msvd);
        assert_eq!(shown(&options), ["msvd/-a_1_2 msvd -a", "msvd/b_3_4 msvd b"]);
    }

    #[test]
    fn folders_of_parts_are_lists() {
        let (_folder, options) =
            source(&["train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "test/b/4.mp4"], Layout::Folder);
        let found = Source::find(&options).unwrap();
        assert_eq!(found.clips.iter().map(|clip| &*clip.id).collect::<Vec<_>>(), ["a/1", "a/3", "b/2", "b/4"]);
        let lists = found.lists.iter().map(|list| format!("{} {}", list.name, list.clips.join(" ")));
        assert_eq!(lists.collect::<Vec<_>>(), ["train a/1 b/2", "validation a/3", "test b/4"]);
    }

    #[test]
    fn own_lists_and_groups() {
        let (folder, mut options) = source(&["a/1.mp4", "a/2.mp4", "b/3.mp4"], Layout::Folder);
        put(folder.path(), "lists/test.txt", "b/3.mp4 1\n");
        put(folder.path(), "lists/groups.json", r#"{"1": "one", "b/3.mp4": "three"}"#);
        let (test, groups) = (Some("lists/test.txt".into()), Some("lists/groups.json".into()));
        options.own_lists = OwnLists { test, groups, ..OwnLists::default() };
        let found = Source::find(&options).unwrap();
        assert_eq!(found.clips.iter().map(|clip| &*clip.group).collect::<Vec<_>>(), ["one", "a/2", "three"]);
        assert_eq!(found.lists[0].clips, ["b/3"]);
    }

    #[test]
    fn two_clips_of_one_id_are_named() {
        let (_folder, options) = source(&["a/x.avi", "a/x.mp4", "b/y.avi"], Layout::Folder);
        refused(Source::find(&options), &["x.avi", "x.mp4", "a/x"]);
        let (_folder, options) = source(&["train/a/1.mp4", "test/a/1.mp4"], Layout::Folder);
        refused(Source::find(&options), &["train", "test"]);
    }

    #[test]
    fn an_empty_source_is_an_error() {
        let (_folder, options) = source(&["readme.txt"], Layout::Msvd);
        refused(Source::find(&options), &["no video"]);
        let options = Prepare { source: options.source.join("none"), ..options };
        assert!(matches!(Source::find(&options), Err(DataError::NotFound(_))));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf_8_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        for layout in [Layout::Folder, Layout::Msvd] {
            let (folder, options) = source(&["a/x.avi", "b/y.avi"], layout);
            let name = std::ffi::OsStr::from_bytes(b"bad\xff.avi");
            let place = if layout == Layout::Msvd { folder.path().to_owned() } else { folder.path().join("a") };
            fs::write(place.join(name), b"x").unwrap();
            refused(Source::find(&options), &["not UTF-8"]);
        }
    }
}
