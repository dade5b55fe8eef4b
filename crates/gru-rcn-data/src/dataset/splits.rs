//! Official and own lists of train and test clips, converted to one format.
//!
//! A prepared folder has `splits/<name>.txt` with one `<class>/<clip>` per line, which the list
//! options of [`FolderOptions`](crate::FolderOptions) read, `splits/<name>.absent` with the entries
//! that are missing from the source, if any, and `splits/groups.json` with the group of every clip.
//! The names are `train01`, `test01` … for data sets with several splits, otherwise `train`,
//! `validation`, `test`. The division is that of the original lists; a missing validation part is
//! held out of the train list when a run begins, in whole groups.
//!
//! Clips of one group resemble each other for reasons other than the action, such as the same
//! scene:
//!
//! - **UCF-101** cuts the clips of a group from one video: `v_Diving_g01_c03` is of `v_Diving_g01`.
//! - **HMDB-51** names a clip
//!   `<movie>_<class>_<visible>_<camera>_<people>_<side>_<quality>_<number>`, as in
//!   `winKen_wave_u_cm_np1_ri_bad_2`. The part before the class names the movie, and a movie's
//!   clips are one group whatever their class. If the class does not stand before the last six
//!   parts, everything before these is the group. The official splits keep a movie on one side
//!   within each class; in another class it may lie on the other side.
//! - **MSVD** cuts clips from YouTube videos: `-8y1Q0rA3n8_108_115` is seconds 108 to 115 of
//!   `-8y1Q0rA3n8`.
//! - **Folders** may have a file that maps clips to groups, or names like UCF-101's. Otherwise each
//!   clip is a group of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lists::{Ids, Labels, bad_line, check_disjoint, find, lines, normal, without_extension};
use super::notes::ABSENT;
use crate::base::{DataError, read_folder, sync_folder_of, write_atomically};
use crate::manifest::{GROUPS, Layout, SPLITS};

const SPLIT_COUNT: u32 = 3;
/// The only class of MSVD, whose clips have captions instead of classes.
pub(crate) const MSVD_CLASS: &str = "msvd";
/// MSVD's lists and their names in the prepared folder.
const MSVD_LISTS: [(&str, &str); 3] =
    [("train_list.txt", "train"), ("val_list.txt", "validation"), ("test_list.txt", "test")];

/// One list.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SplitList {
    /// `train01`, `test`, …: the file's name without `.txt`.
    pub name: String,
    /// The listed clips that the source has, as `<class>/<clip>`, in the list's order.
    pub clips: Vec<String>,
    /// The listed clips that are missing from the source, such as where it is only a part of the
    /// official data set. They are written to `splits/<name>.absent`, so that runs can count them.
    pub absent: Vec<String>,
}

impl SplitList {
    /// Divides the ids of a list into known and absent ones.
    fn of(name: impl Into<String>, ids: Ids, known: &BTreeSet<String>) -> Self {
        let (clips, absent) = ids.into_iter().map(|(_, id)| id).partition(|id| known.contains(id));
        Self { name: name.into(), clips, absent }
    }
}

/// Reads the user's own lists, in the format of [`FolderOptions`](crate::FolderOptions). A line that
/// names no clip is an error. Paths are relative to `root`.
pub(crate) fn own(
    root: &Path,
    lists: &[(&str, Option<PathBuf>)],
    known: &BTreeSet<String>,
) -> Result<Vec<SplitList>, DataError> {
    let mut read: Vec<(&str, PathBuf, Ids)> = Vec::new();
    for (name, path) in lists {
        let Some(path) = path.as_ref().map(|path| root.join(path)) else { continue };
        let id = |(number, line): (usize, String)| match find(&line, |id| known.contains(id)) {
            Ok((id, _)) => Ok((number, id)),
            Err(reason) => Err(bad_line(&path, number, &line, reason)),
        };
        let ids = lines(&path)?.into_iter().map(id).collect::<Result<_, _>>()?;
        read.push((name, path, ids));
    }
    check_disjoint(read.iter().map(|(_, path, ids)| (path.as_path(), ids)))?;
    Ok(read.into_iter().map(|(name, _, ids)| SplitList::of(name, ids, known)).collect())
}

/// A line of an official list: a path, here without its extension, and in some lists a number.
struct Line {
    number: usize,
    entry: String,
    label: Option<u64>,
}

fn official_lines(path: &Path, labelled: bool) -> Result<Vec<Line>, DataError> {
    let read = |(number, line): (usize, String)| {
        let bad = |reason: &str| bad_line(path, number, &line, reason);
        let (entry, label) = if labelled {
            let (entry, label) = line.rsplit_once(char::is_whitespace).ok_or_else(|| bad("a number is missing"))?;
            (entry.trim_end(), Some(label.parse().map_err(|_| bad("it does not end with a number"))?))
        } else {
            (line.as_str(), None)
        };
        let entry = normal(entry).map_err(|reason| bad(&reason))?;
        Ok(Line { number, entry: without_extension(&entry).to_owned(), label })
    };
    lines(path)?.into_iter().map(read).collect()
}

/// Reads the official lists in `folder`; `known` are the clips of the source.
///
/// # Errors
/// [`DataError::BadList`], naming file and line, for a line that is not in the list's format, repeats a
/// clip or leads out of the data set, and for labels that contradict each other;
/// [`DataError::BadDataset`] for missing lists.
pub(crate) fn official(layout: Layout, folder: &Path, known: &BTreeSet<String>) -> Result<Vec<SplitList>, DataError> {
    if !folder.is_dir() {
        return Err(DataError::dataset(folder, "the official lists are files in a folder; give that folder"));
    }
    let parts = match layout {
        Layout::Ucf101 => ucf101(folder)?,
        Layout::Hmdb51 => hmdb51(folder)?,
        Layout::Msvd => msvd(folder, known)?,
        Layout::Folder => {
            return Err(DataError::setting("lists", folder.display(), "the layout `folder` has no official lists"));
        }
    };
    Ok(parts.into_iter().map(|(name, ids)| SplitList::of(name, ids, known)).collect())
}

fn ucf101(folder: &Path) -> Result<Vec<(String, Ids)>, DataError> {
    // `1 ApplyEyeMakeup`, …
    let number = |number: &str, class: &str| Some((class.to_owned(), number.parse::<u64>().ok()?));
    let numbers = table(&folder.join("classInd.txt"), true, "<number> <class>", number)?;
    let two_parts = |path: &Path, Line { number, entry, .. }: Line| match entry.split('/').count() {
        2 => Ok((number, entry)),
        _ => Err(bad_line(path, number, &entry, "not `Class/clip.avi`")),
    };
    let mut labels = Labels::default();
    let mut parts = Vec::new();
    for split in 1..=SPLIT_COUNT {
        let paths = [format!("trainlist{split:02}.txt"), format!("testlist{split:02}.txt")].map(|n| folder.join(n));
        match paths.each_ref().map(|path| path.is_file()) {
            [false, false] => continue,
            [true, true] => {}
            [train, _] => return Err(missing(&paths[usize::from(train)])),
        }
        let [train, test] = &paths;
        let mut train_ids = Ids::new();
        for line in official_lines(train, true)? {
            let class = line.entry.split('/').next().unwrap_or_default();
            let number = line.label.unwrap_or_default();
            let bad = |reason| bad_line(train, line.number, &line.entry, reason);
            labels.agree(class, number).map_err(bad)?;
            if let Some(&right) = numbers.get(class)
                && right != number
            {
                return Err(bad(format!("label {number}, but classInd.txt gives `{class}` the number {right}")));
            }
            train_ids.push(two_parts(train, line)?);
        }
        let test_lines = official_lines(test, false)?.into_iter();
        let test_ids: Ids = test_lines.map(|line| two_parts(test, line)).collect::<Result<_, _>>()?;
        check_disjoint([(train.as_path(), &train_ids), (test, &test_ids)])?;
        parts.push((format!("train{split:02}"), train_ids));
        parts.push((format!("test{split:02}"), test_ids));
    }
    if parts.is_empty() { Err(missing(&folder.join("trainlist01.txt"))) } else { Ok(parts) }
}

/// Reads a file of two words per line, which `pair` turns into a key and a value; empty if there is no
/// such file. A key may occur twice unless keys are `unique`.
fn table<V>(
    path: &Path,
    unique: bool,
    expected: &str,
    pair: impl Fn(&str, &str) -> Option<(String, V)>,
) -> Result<HashMap<String, V>, DataError> {
    let mut table = HashMap::new();
    for (line, text) in if path.is_file() { lines(path)? } else { Ids::new() } {
        let bad = |reason: String| bad_line(path, line, &text, reason);
        let words = text.split_once(char::is_whitespace).and_then(|(first, second)| pair(first, second.trim()));
        let (key, value) = words.ok_or_else(|| bad(format!("not `{expected}`")))?;
        if table.insert(key, value).is_some() && unique {
            return Err(bad("the class occurs twice".to_owned()));
        }
    }
    Ok(table)
}

fn hmdb51(folder: &Path) -> Result<Vec<(String, Ids)>, DataError> {
    let mut parts = Vec::new();
    for split in 1..=SPLIT_COUNT {
        let files = hmdb_files(folder, split)?;
        let (mut train, mut test) = (Ids::new(), Ids::new());
        for (class, path) in &files {
            let mut of_class = Ids::new();
            for line in official_lines(path, true)? {
                let id = format!("{class}/{}", line.entry);
                if line.entry.contains('/') {
                    return Err(bad_line(path, line.number, &line.entry, "not the name of a clip"));
                }
                of_class.push((line.number, id.clone()));
                match line.label {
                    Some(0) => {}
                    Some(1) => train.push((line.number, id)),
                    Some(2) => test.push((line.number, id)),
                    _ => {
                        let reason = "the mark is 0 (unused), 1 (train) or 2 (test)";
                        return Err(bad_line(path, line.number, &line.entry, reason));
                    }
                }
            }
            check_disjoint([(path.as_path(), &of_class)])?;
        }
        if !files.is_empty() {
            parts.push((format!("train{split:02}"), train));
            parts.push((format!("test{split:02}"), test));
        }
    }
    if parts.is_empty() { Err(missing(&folder.join("<class>_test_split1.txt"))) } else { Ok(parts) }
}

/// The list files of a split by class, sorted.
fn hmdb_files(folder: &Path, split: u32) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut files = BTreeMap::new();
    for entry in read_folder(folder)? {
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(class) = name.strip_suffix(&format!("_test_split{split}.txt")).filter(|class| !class.is_empty()) {
            files.insert(class.to_owned(), path.clone());
        }
    }
    Ok(files)
}

fn msvd(folder: &Path, known: &BTreeSet<String>) -> Result<Vec<(String, Ids)>, DataError> {
    let numbered = msvd_numbers(folder)?;
    let mut parts = Vec::new();
    for (file, name) in MSVD_LISTS {
        let path = folder.join(file);
        if !path.is_file() {
            return Err(missing(&path));
        }
        let id = |line: Line| {
            if line.entry.contains('/') {
                return Err(bad_line(&path, line.number, &line.entry, "not the name of a clip"));
            }
            let id = format!("{MSVD_CLASS}/{}", line.entry);
            let other = numbered.get(&line.entry).map(|video| format!("{MSVD_CLASS}/{video}"));
            Ok((line.number, other.filter(|other| !known.contains(&id) && known.contains(other)).unwrap_or(id)))
        };
        let ids: Ids = official_lines(&path, false)?.into_iter().map(id).collect::<Result<_, _>>()?;
        parts.push((path, name.to_owned(), ids));
    }
    check_disjoint(parts.iter().map(|(path, _, ids): &(PathBuf, String, Ids)| (path.as_path(), ids)))?;
    Ok(parts.into_iter().map(|(_, name, ids)| (name, ids)).collect())
}

/// Some copies of MSVD number the clips. The numbers by name, from lines such as
/// `-4wsuPCjDBc_5_15 vid1`; empty without the file.
pub(super) fn msvd_numbers(folder: &Path) -> Result<HashMap<String, String>, DataError> {
    let name = |clip: &str, video: &str| Some((without_extension(clip).to_owned(), video.to_owned()));
    table(&folder.join("youtube_mapping.txt"), false, "<clip> vid<number>", name)
}

fn missing(path: &Path) -> DataError {
    DataError::dataset(path, "this official list does not exist; give the folder that holds the lists")
}

/// Writes the lists and the groups of all clips below the prepared folder `root`.
pub(crate) fn write(root: &Path, lists: &[SplitList], groups: &BTreeMap<String, String>) -> Result<(), DataError> {
    let folder = root.join(SPLITS);
    fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
    let text = |ids: &[String]| ids.iter().map(|id| format!("{id}\n")).collect::<String>();
    for list in lists {
        let path = folder.join(format!("{}.txt", list.name));
        write_atomically(&path, text(&list.clips).as_bytes())?;
        let path = path.with_extension(ABSENT);
        if !list.absent.is_empty() {
            write_atomically(&path, text(&list.absent).as_bytes())?;
        } else if path.is_file() {
            fs::remove_file(&path).map_err(|error| DataError::io(&path, error))?;
        }
    }
    let path = folder.join(GROUPS);
    let mut text = serde_json::to_string_pretty(groups).map_err(|error| DataError::io(&path, error.into()))?;
    text.push('\n');
    write_atomically(&path, text.as_bytes())?;
    sync_folder_of(&folder)
}

#[cfg(test)]
mod tests;
