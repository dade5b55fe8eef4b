//! Finding the clips of a folder with a sub-folder per class.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::{ClipSource, Sample, without_extension};
use crate::base::{DataError, printable, read_folder};
use crate::image::{check_link, is_frame};

/// File name extensions of videos, in lower case.
const VIDEO_EXTENSIONS: [&str; 22] = [
    "3g2", "3gp", "asf", "avi", "flv", "gif", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts",
    "ogv", "qt", "ts", "vob", "webm", "wmv",
];

/// The files and folders that a scan passed over, as paths relative to the root.
#[derive(Debug, Default)]
pub(crate) struct PassedOver {
    files: Vec<String>,
    folders: Vec<String>,
}

impl PassedOver {
    /// One note for files and one for folders, with the count and the first path.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let line = |paths: &[String], what: &str, why: &str| {
            paths.first().map(|first| format!("{} {what} passed over, the first {first}: {why}", paths.len()))
        };
        let files = line(
            &self.files,
            "files are",
            "a clip is a file with the extension of a video, or a folder of frames, in the folder of its class",
        );
        let folders = line(
            &self.folders,
            "folders beside `train/` are",
            "the parts are `train/`, `validation/` (or `val/`, `valid/`) and `test/`",
        );
        [files, folders].into_iter().flatten()
    }

    fn file(&mut self, root: &Path, path: &Path) {
        self.files.push(printable(&path.strip_prefix(root).unwrap_or(path).to_string_lossy()));
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) source: ClipSource,
}

impl Found {
    /// The clip as a sample; `None` if its class is not among `classes`.
    pub(crate) fn sample(&self, classes: &[String]) -> Option<Sample> {
        let class = classes.iter().position(|class| *class == self.class)?;
        Some(Sample { id: self.id.clone(), class, appearance: None, source: self.source.clone() })
    }

    /// The id without the extension of a video, which is unique within a class.
    pub(crate) fn stem(&self) -> &str {
        match self.source {
            ClipSource::Video(_) => without_extension(&self.id),
            _ => &self.id,
        }
    }
}

pub(crate) type Clips = BTreeMap<String, Found>;

pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_folder: bool,
}

/// Finds the clips of every class folder in `folder`, which is `root` itself (`prefix` is empty) or a
/// part's folder in it (`prefix` is `train/`, for example).
///
/// The folders `aside` hold lists, not clips.
pub(crate) fn scan(
    root: &Path,
    folder: &Path,
    prefix: &str,
    aside: &[PathBuf],
    passed: &mut PassedOver,
) -> Result<Clips, DataError> {
    let mut clips = Clips::new();
    for class in entries(root, folder)? {
        if !class.is_folder {
            if is_video(&class.path) {
                passed.file(root, &class.path);
            }
            continue;
        }
        if aside.contains(&class.path) {
            continue;
        }
        let mut stems: HashMap<String, PathBuf> = HashMap::new();
        for entry in entries(root, &class.path)? {
            let Some(source) = source(root, &entry)? else {
                passed.file(root, &entry.path);
                continue;
            };
            let id = format!("{prefix}{}/{}", class.name, entry.name);
            let found = Found { id: id.clone(), class: class.name.clone(), source };
            if let Some(other) = stems.insert(found.stem().to_owned(), entry.path.clone()) {
                return Err(same_clip(&entry.path, &other, found.stem()));
            }
            clips.insert(id, found);
        }
        if stems.is_empty() {
            let reason = "this class folder holds no clip; put video files or folders of frames in it, or remove it";
            return Err(DataError::dataset(&class.path, reason));
        }
    }
    Ok(clips)
}

/// The error of two files, or a file and a folder of frames, that would both be the clip `id`.
pub(crate) fn same_clip(path: &Path, other: &Path, id: &str) -> DataError {
    let other = other.display();
    DataError::dataset(path, format!("this and {other} would both be the clip {id}; rename or remove one of the two"))
}

/// The videos directly in `root`, as clips of one class.
pub(crate) fn videos_of(root: &Path, class: &str, passed: &mut PassedOver) -> Result<Vec<Found>, DataError> {
    let mut found = Vec::new();
    for Entry { name, path, is_folder } in entries(root, root)? {
        if !is_folder && is_video(&path) {
            let (id, class) = (format!("{class}/{name}"), class.to_owned());
            found.push(Found { id, class, source: ClipSource::Video(path) });
        } else if !is_folder {
            passed.file(root, &path);
        }
    }
    Ok(found)
}

/// The clips of the folders `train`, `validation` (or `val`, `valid`) and `test` in `root`, each with
/// class folders; `None` if there is no such `train`. With `prefixed`, ids begin with the name of the
/// part's folder.
pub(crate) fn part_folders(
    root: &Path,
    prefixed: bool,
    passed: &mut PassedOver,
) -> Result<Option<[Option<Vec<Found>>; 3]>, DataError> {
    const NAMES: [&[&str]; 3] = [&["train"], &["validation", "val", "valid"], &["test"]];
    let train = root.join("train");
    if !train.is_dir() || !holds_classes(root, &train)? {
        return Ok(None);
    }
    let mut parts = [None, None, None];
    let mut taken: [Option<String>; 3] = Default::default();
    for entry in entries(root, root)? {
        let part = NAMES.iter().position(|names| names.contains(&entry.name.as_str()));
        match part {
            Some(part) if entry.is_folder && holds_classes(root, &entry.path)? => {
                if let Some(other) = taken[part].replace(entry.name.clone()) {
                    let reason = format!("there are both `{other}` and `{}`; keep one of the two", entry.name);
                    return Err(DataError::dataset(root, reason));
                }
                let prefix = if prefixed { format!("{}/", entry.name) } else { String::new() };
                parts[part] = Some(scan(root, &entry.path, &prefix, &[], passed)?.into_values().collect());
            }
            _ if entry.is_folder => passed.folders.push(entry.name),
            _ if is_video(&entry.path) => passed.file(root, &entry.path),
            _ => {}
        }
    }
    Ok(Some(parts))
}

/// Whether `folder` has class folders: a sub-folder with a video file or a folder in it.
fn holds_classes(root: &Path, folder: &Path) -> Result<bool, DataError> {
    for class in entries(root, folder)?.into_iter().filter(|entry| entry.is_folder) {
        if entries(root, &class.path)?.iter().any(|entry| entry.is_folder || is_video(&entry.path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folders directly in `root` that hold one of the list files `files`. They are no classes.
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

/// The clip that an entry of a class folder is; `None` for other files, such as notes. Frames that are
/// links out of `root` are refused.
fn source(root: &Path, entry: &Entry) -> Result<Option<ClipSource>, DataError> {
    if !entry.is_folder {
        return Ok(is_video(&entry.path).then(|| ClipSource::Video(entry.path.clone())));
    }
    let mut frames = false;
    for file in read_folder(&entry.path)? {
        if is_frame(&file.path()) {
            frames = true;
            check_link(root, &file)?;
        }
    }
    if frames {
        return Ok(Some(ClipSource::FrameFolder(entry.path.clone())));
    }
    let reason = "a folder in a class folder is a clip of JPEG or PNG frames, but this one holds none; clips lie directly \
                  in their class folder";
    Err(DataError::dataset(&entry.path, reason))
}

/// The visible entries of `folder`, sorted by name. Names with control characters, which a terminal
/// would execute, and links out of `root` are refused.
fn entries(root: &Path, folder: &Path) -> Result<Vec<Entry>, DataError> {
    let mut found = Vec::new();
    for entry in read_folder(folder)? {
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(DataError::dataset(&path, "the name is not UTF-8; rename it"));
        };
        if name.starts_with('.') {
            continue;
        }
        if name.chars().any(char::is_control) {
            let shown = folder.join(printable(&name));
            return Err(DataError::dataset(&shown, "the name has a control character; rename it"));
        }
        check_link(root, &entry)?;
        found.push(Entry { name, is_folder: path.is_dir(), path });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
