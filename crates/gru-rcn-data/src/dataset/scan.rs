//! Finding the clips of a folder with a sub-folder per class.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{ClipSource, Sample};
use crate::base::DataError;
use crate::image::is_frame;

/// File name extensions of videos, in lower case.
const VIDEO_EXTENSIONS: [&str; 16] =
    ["3gp", "asf", "avi", "flv", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"];

#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) source: ClipSource,
}

impl Found {
    /// The clip as a sample of `classes`; `None` if its class is not among them.
    pub(crate) fn sample(&self, classes: &[String]) -> Option<Sample> {
        let class = classes.iter().position(|class| *class == self.class)?;
        Some(Sample { id: self.id.clone(), class, appearance: None, source: self.source.clone() })
    }
}

pub(crate) type Clips = BTreeMap<String, Found>;

pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_folder: bool,
}

/// Finds the clips of every class folder in `folder`, whose own path below `root` is `prefix` (""
/// or "train/").
///
/// Folders named in `aside` hold lists, not clips.
pub(crate) fn scan(root: &Path, folder: &Path, prefix: &str, aside: &[PathBuf]) -> Result<Clips, DataError> {
    let mut clips = Clips::new();
    for class in entries(root, folder)?.into_iter().filter(|entry| entry.is_folder) {
        if aside.contains(&class.path) {
            continue;
        }
        let before = clips.len();
        for entry in entries(root, &class.path)? {
            if let Some(source) = source(&entry)? {
                let id = format!("{prefix}{}/{}", class.name, entry.name);
                clips.insert(id.clone(), Found { id, class: class.name.clone(), source });
            }
        }
        if clips.len() == before {
            let reason = "this class folder holds no clip; put video files or folders of frames in it, or remove it";
            return Err(DataError::dataset(&class.path, reason));
        }
    }
    Ok(clips)
}

/// The videos directly in `root`, all of one class.
pub(crate) fn videos_of(root: &Path, class: &str) -> Result<Vec<Found>, DataError> {
    let videos = entries(root, root)?.into_iter().filter(|entry| !entry.is_folder && is_video(&entry.path));
    let found = |Entry { name, path, .. }| Found {
        id: format!("{class}/{name}"),
        class: class.to_owned(),
        source: ClipSource::Video(path),
    };
    Ok(videos.map(found).collect())
}

/// The clips of the folders `train`, `validation` (or `val`) and `test` of a root, each with class
/// folders; `None` without such a `train`. With `prefixed`, ids begin with the name of the part's
/// folder.
pub(crate) fn part_folders(root: &Path, prefixed: bool) -> Result<Option<[Option<Vec<Found>>; 3]>, DataError> {
    let part = |name: &str| -> Result<Option<Vec<Found>>, DataError> {
        let folder = root.join(name);
        let inside = folder.is_dir() && fs::canonicalize(&folder).is_ok_and(|path| path.starts_with(root));
        if !inside || !holds_classes(root, &folder)? {
            return Ok(None);
        }
        let prefix = if prefixed { format!("{name}/") } else { String::new() };
        Ok(Some(scan(root, &folder, &prefix, &[])?.into_values().collect()))
    };
    let Some(train) = part("train")? else { return Ok(None) };
    let validation = match (part("validation")?, part("val")?) {
        (Some(_), Some(_)) => {
            return Err(DataError::dataset(root, "there are both `validation` and `val`; keep one of the two"));
        }
        (validation, val) => validation.or(val),
    };
    Ok(Some([Some(train), validation, part("test")?]))
}

/// Whether `folder` is a folder of class folders: one of its sub-folders holds a video file or a
/// folder.
fn holds_classes(root: &Path, folder: &Path) -> Result<bool, DataError> {
    for class in entries(root, folder)?.into_iter().filter(|entry| entry.is_folder) {
        if entries(root, &class.path)?.iter().any(|entry| entry.is_folder || is_video(&entry.path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folders directly below `root` that hold one of `files`, which are lists: they are no
/// classes.
pub(crate) fn aside(root: &Path, files: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let folder = |file: PathBuf| {
        let path = fs::canonicalize(file).ok()?;
        Some(root.join(path.strip_prefix(root).ok()?.components().next()?))
    };
    files.into_iter().filter_map(folder).collect()
}

pub(crate) fn is_video(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| VIDEO_EXTENSIONS.contains(&extension.as_str()))
}

/// The clip an entry of a class folder is; `None` for other files, such as notes and thumbnails.
fn source(entry: &Entry) -> Result<Option<ClipSource>, DataError> {
    if !entry.is_folder {
        return Ok(is_video(&entry.path).then(|| ClipSource::Video(entry.path.clone())));
    }
    let listing = fs::read_dir(&entry.path).map_err(|error| DataError::io(&entry.path, error))?;
    for file in listing {
        let file = file.map_err(|error| DataError::io(&entry.path, error))?;
        if is_frame(&file.path()) {
            return Ok(Some(ClipSource::FrameFolder(entry.path.clone())));
        }
    }
    let reason = "a folder in a class folder is a clip of JPEG or PNG frames, but this one holds none; clips lie directly \
                  in their class folder";
    Err(DataError::dataset(&entry.path, reason))
}

/// The entries of `folder` sorted by name, without hidden ones. Links that lead out of `root`, which
/// is canonical, are refused.
fn entries(root: &Path, folder: &Path) -> Result<Vec<Entry>, DataError> {
    let io = |error| DataError::io(folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(DataError::dataset(&path, "the name is not UTF-8; rename it"));
        };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(io)?.is_symlink() {
            let target = fs::canonicalize(&path).map_err(|error| DataError::io(&path, error))?;
            if !target.starts_with(root) {
                let target = target.display();
                let reason = format!("this link leads out of the data set, to {target}; copy the files into it");
                return Err(DataError::dataset(&path, reason));
            }
        }
        found.push(Entry { name, is_folder: path.is_dir(), path });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
