//! Official lists of train and test clips, brought to one format.
//!
//! A prepared folder has `splits/<name>.txt` with one `<class>/<clip>` per line, which the list options of
//! [`FolderOptions`](crate::FolderOptions) read, and `splits/groups.json` with the group of every clip. The names are
//! `train01`, `test01` … for data sets with several splits, `train`, `validation`, `test` otherwise. Lists are kept as their
//! makers wrote them: a validation part is held out of the train list when a run begins, in whole groups.
//!
//! Two clips are of one group where one helps to recognise the other without anything being learnt of the action:
//!
//! - **UCF-101** cuts the clips of a group from one video: `v_Diving_g01_c03` is of `v_Diving_g01`.
//! - **HMDB-51** names a clip `<movie>_<class>_<visible>_<camera>_<people>_<side>_<quality>_<number>`, as in
//!   `winKen_wave_u_cm_np1_ri_bad_2`. What stands before the class names the movie, and a movie's clips are one group
//!   whatever their class. The class is looked for in front of the last six parts; where it is not found, all that comes
//!   before them is the group. The official splits keep a movie on one side within each class; in another class it may lie on
//!   the other side.
//! - **MSVD** cuts clips from YouTube videos: `-8y1Q0rA3n8_108_115` is seconds 108 to 115 of `-8y1Q0rA3n8`.
//! - **Folders** have a file that maps clips to groups, or names like UCF-101's, or each clip is a group of its own.

mod group;
mod official;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use group::group_of;
pub(crate) use official::{MSVD_CLASS, read as official};

use crate::dataset::lists::{bad_line, normal};
use crate::disk::{sync_folder_of, write_atomic};
use crate::error::DataError;

/// Name of the folder of lists in a prepared folder.
pub const SPLITS: &str = "splits";
/// Name of the file of groups in it.
pub const GROUPS: &str = "groups.json";

/// One list.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SplitList {
    /// `train01`, `test`, …: the file's name without `.txt`.
    pub name: String,
    /// The clips that the list names, as `<class>/<clip>`, in its order.
    pub clips: Vec<String>,
    /// Those that the list names and the source does not have. They are not written: a data set that is only part of
    /// the official one gives part of its lists, and whoever uses them should know.
    pub absent: Vec<String>,
}

/// Ids with the numbers of their lines.
type Ids = Vec<(usize, String)>;

/// A line of a list before it is known whether there is such a clip.
struct Line {
    number: usize,
    entry: String,
    label: Option<u64>,
}

/// The lines of a list file that are not empty; each a path without extension, then perhaps a number.
fn lines(path: &Path, labelled: bool) -> Result<Vec<Line>, DataError> {
    let text = fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    let mut lines = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let bad = |reason: &str| bad_line(path, index + 1, line, reason.to_owned());
        let (entry, label) = if labelled {
            let (entry, label) = line.rsplit_once(char::is_whitespace).ok_or_else(|| bad("a number is missing"))?;
            let label = label.parse().map_err(|_| bad("it does not end with a number"))?;
            (entry.trim_end(), Some(label))
        } else {
            (line, None)
        };
        let entry = normal(entry).map_err(|reason| bad(&reason))?;
        lines.push(Line { number: index + 1, entry: without_extension(&entry).to_owned(), label });
    }
    Ok(lines)
}

/// The path without the extension of its last part, if that is one of a video.
pub(crate) fn without_extension(path: &str) -> &str {
    let video = crate::dataset::scan::is_video(Path::new(path));
    path.rsplit_once('.').filter(|_| video).map_or(path, |(stem, _)| stem)
}

impl SplitList {
    /// Divides the ids of a list into those that are known and the others.
    fn of(name: String, ids: impl IntoIterator<Item = String>, known: &BTreeSet<String>) -> Self {
        let (clips, absent) = ids.into_iter().partition(|id| known.contains(id));
        Self { name, clips, absent }
    }
}

/// Refuses a clip that a list names twice, and one that two parts of the same split name.
fn check_disjoint(files: &[(&Path, &Ids)]) -> Result<(), DataError> {
    let mut seen: HashMap<&str, (&Path, usize)> = HashMap::new();
    for (path, ids) in files {
        for (line, id) in ids.iter() {
            if let Some((other, at)) = seen.insert(id, (path, *line)) {
                let reason =
                    format!("the clip is named before, in {} line {at}; remove one of the two", other.display());
                return Err(bad_line(path, *line, id, reason));
            }
        }
    }
    Ok(())
}

/// The lists of a folder of one's own; a line that names no clip is an error, since nobody else wrote it.
///
/// Paths are relative to `root`, lines as in [`FolderOptions`](crate::FolderOptions).
pub(crate) fn own(
    root: &Path,
    lists: &[(&str, Option<PathBuf>)],
    known: &BTreeSet<String>,
) -> Result<Vec<SplitList>, DataError> {
    let mut read: Vec<(&str, PathBuf, Ids)> = Vec::new();
    for (name, path) in lists {
        let Some(path) = path.as_ref().map(|path| root.join(path)) else { continue };
        let mut ids = Ids::new();
        for line in lines(&path, false)? {
            // A path may hold spaces, so the whole line is tried first; then what stands before a label number.
            let unlabelled =
                line.entry.rsplit_once(char::is_whitespace).filter(|(_, last)| last.parse::<u64>().is_ok());
            let unlabelled = unlabelled.map(|(entry, _)| without_extension(entry.trim_end()).to_owned());
            let id = [Some(line.entry.clone()), unlabelled].into_iter().flatten().find(|id| known.contains(id));
            let unknown = "no such clip in the source; paths are relative to its root, as in `class/clip.avi`";
            ids.push((line.number, id.ok_or_else(|| bad_line(&path, line.number, &line.entry, unknown.to_owned()))?));
        }
        read.push((name, path, ids));
    }
    let files: Vec<(&Path, &Ids)> = read.iter().map(|(_, path, ids)| (path.as_path(), ids)).collect();
    check_disjoint(&files)?;
    let list =
        |(name, _, ids): (&str, PathBuf, Ids)| SplitList::of(name.to_owned(), ids.into_iter().map(|(_, id)| id), known);
    Ok(read.into_iter().map(list).collect())
}

/// Writes the lists and the groups of all clips below the prepared folder `root`.
pub(crate) fn write(root: &Path, lists: &[SplitList], groups: &BTreeMap<String, String>) -> Result<(), DataError> {
    let folder = root.join(SPLITS);
    fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
    for list in lists {
        let text: String = list.clips.iter().map(|id| format!("{id}\n")).collect();
        write_atomic(&folder.join(format!("{}.txt", list.name)), text.as_bytes())?;
    }
    let path = folder.join(GROUPS);
    let mut text = serde_json::to_string_pretty(groups).map_err(|error| DataError::io(&path, error.into()))?;
    text.push('\n');
    write_atomic(&path, text.as_bytes())?;
    sync_folder_of(&folder)
}

#[cfg(test)]
mod tests;
