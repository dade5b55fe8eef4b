//! The clips of a prepared folder according to its manifest.

use std::fs;
use std::path::{Path, PathBuf};

use super::ClipSource;
use super::groups::Groups;
use super::scan::{Clips, Found};
use crate::base::DataError;
use crate::image::{check_inside, list_frames_below};
use crate::manifest::{COMPONENTS, ClipRecord, FLOW, FRAMES, MANIFEST, Manifest};

/// A clip of a prepared folder.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedClip {
    /// Folder of its RGB frames.
    pub frames_dir: PathBuf,
    /// Folder of `x` and `y`, the folders of its flow images, if the data set has flow.
    pub flow_dir: Option<PathBuf>,
    /// Its record in the manifest.
    pub record: ClipRecord,
}

impl PreparedClip {
    /// The frame images in order, as many as the manifest says.
    pub(crate) fn frame_files(&self) -> Result<Vec<PathBuf>, DataError> {
        self.counted(&self.frames_dir, self.record.frames)
    }

    /// The images of horizontal and of vertical flow in order; field `t` leads from frame `t` to
    /// frame `t + 1`. Empty for a clip of one frame.
    pub(crate) fn flow_files(&self) -> Result<[Vec<PathBuf>; 2], DataError> {
        let Some(folder) = &self.flow_dir else {
            let reason = "the data set was prepared without optical flow; prepare it again with flow";
            return Err(DataError::frames(&self.frames_dir, reason));
        };
        if self.record.flow == 0 {
            return Ok([Vec::new(), Vec::new()]);
        }
        let [x, y] = COMPONENTS;
        Ok([self.counted(&folder.join(x), self.record.flow)?, self.counted(&folder.join(y), self.record.flow)?])
    }

    /// The images of one of the clip's folders.
    fn counted(&self, folder: &Path, expected: usize) -> Result<Vec<PathBuf>, DataError> {
        // `frames/<class>/<clip>` lies in the data set's root.
        let root = self.frames_dir.ancestors().nth(3).unwrap_or(&self.frames_dir);
        let files = list_frames_below(root, folder)?;
        if files.len() == expected {
            return Ok(files);
        }
        let reason = format!("{} images, the manifest says {expected}; verify the data set", files.len());
        Err(DataError::frames(folder, reason))
    }
}

/// The clips and groups of a prepared folder; `None` without a manifest. `root` is canonical.
pub(super) fn read(root: &Path) -> Result<Option<(Clips, Groups)>, DataError> {
    let path = root.join(MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let manifest = Manifest::read(&path)?;
    let with_flow = manifest.header.flow.is_some();
    let (mut clips, mut groups) = (Clips::new(), Groups::default());
    for record in manifest.clips {
        let (id, class) = (record.id.clone(), record.class.clone());
        let frames_dir = below(root, FRAMES, &id)?;
        let flow_dir = if with_flow { Some(below(root, FLOW, &id)?) } else { None };
        groups.0.insert(id.clone(), record.group.clone());
        let source = ClipSource::Prepared(PreparedClip { frames_dir, flow_dir, record });
        clips.insert(id.clone(), Found { id, class, source });
    }
    Ok(Some((clips, groups)))
}

/// A clip's folder; an error if it does not exist or a link leads out of the data set.
fn below(root: &Path, kind: &str, id: &str) -> Result<PathBuf, DataError> {
    let path = root.join(kind).join(id);
    let real = fs::canonicalize(&path).map_err(|_| {
        DataError::dataset(&path, "the manifest has this clip, but its folder is missing; verify the data set")
    })?;
    check_inside(root, &path, &real).map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Split;
    use crate::dataset::{Dataset, FolderOptions};
    use crate::manifest::tests::{header, record};
    use crate::testing::{put, refused, save_frame, temporary};

    /// Clips of two classes and three frames of 4×2, as their records say.
    fn prepared(ids: &[&str]) -> tempfile::TempDir {
        let folder = temporary();
        for id in ids {
            (0..3).for_each(|t| save_frame(&folder.path().join(format!("frames/{id}/{t:06}.jpg")), [2, 4], t));
        }
        Manifest::of(header(), ids.iter().map(|id| record(id))).write(&folder.path().join(MANIFEST)).unwrap();
        folder
    }

    fn options(folder: &tempfile::TempDir) -> FolderOptions {
        FolderOptions { root: folder.path().to_owned(), ..FolderOptions::default() }
    }

    const IDS: [&str; 6] = ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"];

    #[test]
    fn a_prepared_folder_is_a_data_set() {
        let folder = prepared(&IDS);
        put(folder.path(), "splits/train.txt", "a/1\na/2\nb/1.avi\nb/2\n");
        put(folder.path(), "splits/test.txt", "a/3\nb/3\n");
        let (train_list, test_list) = (Some("splits/train.txt".into()), Some("splits/test.txt".into()));
        let options = FolderOptions { train_list, test_list, validation_fraction: 0.4, ..options(&folder) };
        let set = Dataset::from_folder(&options).unwrap();
        assert_eq!(set.classes, ["a", "b"]);
        assert_eq!(Split::ALL.map(|split| set.split(split).len()), [2, 2, 2]);
        let ClipSource::Prepared(clip) = &set.test[0].source else { panic!() };
        assert_eq!(clip.frame_files().unwrap().len(), 3);
        // Another hash of the same clip is another data set.
        let before = set.fingerprint();
        let mut changed = Manifest::read(&folder.path().join(MANIFEST)).unwrap();
        changed.clips[0].sha256 = "f".repeat(64);
        changed.write(&folder.path().join(MANIFEST)).unwrap();
        assert_ne!(Dataset::from_folder(&options).unwrap().fingerprint(), before);
    }

    #[test]
    fn the_manifests_groups_hold_together() {
        let folder = prepared(&IDS);
        let path = folder.path().join(MANIFEST);
        let mut manifest = Manifest::read(&path).unwrap();
        for clip in &mut manifest.clips {
            clip.group = if clip.id.ends_with('3') { format!("{} alone", clip.class) } else { clip.class.clone() };
        }
        manifest.write(&path).unwrap();
        let (_, groups) = read(&fs::canonicalize(folder.path()).unwrap()).unwrap().unwrap();
        assert_eq!(groups.of("a/1"), groups.of("a/2"));
        assert_ne!(groups.of("a/1"), groups.of("a/3"));
    }

    #[test]
    fn counts_and_folders_are_checked() {
        let folder = prepared(&IDS);
        let (clips, _) = read(&fs::canonicalize(folder.path()).unwrap()).unwrap().unwrap();
        let ClipSource::Prepared(clip) = &clips["a/1"].source else { panic!() };
        assert_eq!(clip.frame_files().unwrap().len(), 3);
        assert!(clip.flow_files().unwrap_err().to_string().contains("without optical flow"));
        fs::remove_file(folder.path().join("frames/a/1/000002.jpg")).unwrap();
        refused(clip.frame_files(), &["2 images, the manifest says 3"]);
        fs::remove_dir_all(folder.path().join("frames/b/2")).unwrap();
        refused(Dataset::from_folder(&options(&folder)), &["b/2", "verify"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_refused() {
        let (folder, other) = (prepared(&IDS), temporary());
        fs::remove_dir_all(folder.path().join("frames/b/2")).unwrap();
        std::os::unix::fs::symlink(other.path(), folder.path().join("frames/b/2")).unwrap();
        refused(Dataset::from_folder(&options(&folder)), &["leads out"]);
        // A single frame.
        let (folder, frame) = (prepared(&IDS), other.path().join("0.jpg"));
        save_frame(&frame, [2, 4], 0);
        let link = folder.path().join("frames/a/1/000001.jpg");
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(frame, link).unwrap();
        let (clips, _) = read(&fs::canonicalize(folder.path()).unwrap()).unwrap().unwrap();
        let ClipSource::Prepared(clip) = &clips["a/1"].source else { panic!() };
        refused(clip.frame_files(), &["000001.jpg", "leads out"]);
    }

    #[test]
    fn the_same_bytes_in_two_parts_are_refused() {
        let folder = prepared(&IDS);
        let path = folder.path().join(MANIFEST);
        let mut manifest = Manifest::read(&path).unwrap();
        manifest.clips[5].sha256 = manifest.clips[0].sha256.clone();
        manifest.write(&path).unwrap();
        put(folder.path(), "train.txt", "a/1\na/2\nb/1\nb/2\n");
        put(folder.path(), "val.txt", "a/3\n");
        put(folder.path(), "test.txt", "b/3\n");
        let [train_list, validation_list, test_list] =
            ["train.txt", "val.txt", "test.txt"].map(|name| Some(name.into()));
        let mut options = FolderOptions { train_list, validation_list, test_list, ..options(&folder) };
        refused(Dataset::from_folder(&options), &["b/3", "a/1", "same bytes"]);
        options.validation_list = Some("test.txt".into());
        options.test_list = Some("val.txt".into());
        refused(Dataset::from_folder(&options), &["validation clip b/3", "train clip a/1"]);
    }

    #[test]
    fn quarantined_clips_are_skipped_and_counted() {
        let folder = prepared(&IDS);
        put(folder.path(), "quarantine.jsonl", "{\"clip\":\"a/3\",\"kind\":\"hash\",\"detail\":\"\"}\n");
        put(folder.path(), "train.txt", "a/1\na/2\na/3\na/gone\nb/1\n");
        put(folder.path(), "test.txt", "b/3\n");
        let quarantine = Some("quarantine.jsonl".into());
        let mut options = FolderOptions { quarantine, validation_fraction: 0.3, ..options(&folder) };
        let set = Dataset::from_folder(&options).unwrap();
        assert_eq!(set.skipped, ["a/3"]);
        assert_eq!(set.train.len() + set.validation.len() + set.test.len(), 5);
        (options.train_list, options.test_list) = (Some("train.txt".into()), Some("test.txt".into()));
        refused(Dataset::from_folder(&options), &["a/gone"]);
        // A clip that could not be prepared is in no manifest, but in the official list.
        put(folder.path(), "quarantine.jsonl", "a/3\na/gone\n");
        let set = Dataset::from_folder(&options).unwrap();
        assert_eq!(set.skipped, ["a/3", "a/gone"]);
        put(folder.path(), "quarantine.jsonl", "{\"clip\":3}\n");
        refused(Dataset::from_folder(&options), &["line 1"]);
    }
}
