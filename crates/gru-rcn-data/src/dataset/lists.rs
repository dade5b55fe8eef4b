//! List files: one clip per line, as a path below the data set's root.
//!
//! UCF-101's own lists have a label number after the path. Class indices here are the positions of the sorted class names,
//! whatever the lists count from; the numbers only have to agree with the folders: one number for each class, one class
//! for each number.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::scan::Clips;
use crate::error::DataError;

/// The ids that a list names, with the list's path for messages.
#[derive(Debug)]
pub(super) struct List {
    pub(super) path: PathBuf,
    /// Line number and id.
    pub(super) lines: Vec<(usize, String)>,
    /// Clips that it names and the quarantine leaves out.
    pub(super) left_out: Vec<String>,
}

/// The label numbers met so far, over all lists of a data set.
#[derive(Default)]
pub(crate) struct Labels {
    by_class: HashMap<String, u64>,
    by_number: HashMap<u64, String>,
}

/// Reads a list; every line must name a clip of `clips` or of `quarantine`, whose clips need not be there any more.
pub(super) fn read(
    path: &Path,
    clips: &Clips,
    quarantine: &BTreeSet<String>,
    labels: &mut Labels,
) -> Result<List, DataError> {
    let text = fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    let (mut lines, mut left_out) = (Vec::new(), Vec::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let bad = |reason: String| bad_line(path, index + 1, line, reason);
        if let Ok((id, _)) = find(line, |id| quarantine.contains(id)) {
            left_out.push(id);
            continue;
        }
        let (id, label) = find(line, |id| clips.contains_key(id)).map_err(&bad)?;
        if let Some(number) = label {
            labels.agree(&clips[&id].class, number).map_err(&bad)?;
        }
        lines.push((index + 1, id));
    }
    Ok(List { path: path.to_owned(), lines, left_out })
}

/// The error of a line, of which no more is shown than a message can bear.
pub(crate) fn bad_line(list: &Path, line: usize, entry: &str, reason: String) -> DataError {
    let entry = entry.chars().filter(|c| !c.is_control()).take(200).collect();
    DataError::BadList { list: list.to_owned(), line, entry, reason }
}

/// The clip and the label number of a line. A path may hold spaces, so the whole line is tried first.
fn find(line: &str, known: impl Fn(&str) -> bool) -> Result<(String, Option<u64>), String> {
    if let Some(id) = look_up(line, &known)? {
        return Ok((id, None));
    }
    if let Some((entry, last)) = line.rsplit_once(char::is_whitespace)
        && let Ok(number) = last.parse()
        && let Some(id) = look_up(entry.trim_end(), &known)?
    {
        return Ok((id, Some(number)));
    }
    Err("no such clip in the data set; paths are relative to its root, as in `Class/clip.avi`".to_owned())
}

/// The id of the clip at a path; a video's name also finds the folder of its frames.
fn look_up(entry: &str, known: &impl Fn(&str) -> bool) -> Result<Option<String>, String> {
    let id = normal(entry)?;
    let without_extension = id.rsplit_once('.').map(|(stem, _)| stem);
    let candidates = [Some(id.as_str()), without_extension];
    Ok(candidates.into_iter().flatten().find(|id| known(id)).map(str::to_owned))
}

/// The path with plain `/`, or why it is refused.
pub(crate) fn normal(entry: &str) -> Result<String, String> {
    let windows_prefix = entry.as_bytes().get(1) == Some(&b':');
    if entry.contains('\0') || entry.starts_with(['/', '\\']) || windows_prefix {
        return Err("absolute paths and NUL bytes are refused; paths are relative to the data set's root".to_owned());
    }
    let entry = entry.replace('\\', "/");
    let mut parts = Vec::new();
    for part in Path::new(&entry).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            _ => return Err("`..` is refused; paths stay below the data set's root".to_owned()),
        }
    }
    Ok(parts.join("/"))
}

impl Labels {
    pub(crate) fn agree(&mut self, class: &str, number: u64) -> Result<(), String> {
        let known = *self.by_class.entry(class.to_owned()).or_insert(number);
        if known != number {
            return Err(format!("label {number}, but the class `{class}` has label {known} elsewhere in the lists"));
        }
        let owner = self.by_number.entry(number).or_insert_with(|| class.to_owned());
        if owner != class {
            return Err(format!("label {number} of the class `{class}` is that of the class `{owner}` elsewhere"));
        }
        Ok(())
    }
}

/// Refuses a clip that two lines name, in one list or in two.
pub(super) fn check_disjoint(lists: &[&List]) -> Result<(), DataError> {
    let mut seen: HashMap<&str, (&Path, usize)> = HashMap::new();
    for list in lists {
        for (line, id) in &list.lines {
            if let Some((other, at)) = seen.insert(id, (&list.path, *line)) {
                return Err(DataError::BadList {
                    list: list.path.clone(),
                    line: *line,
                    entry: id.clone(),
                    reason: format!(
                        "the clip is named before, in {} line {at}; remove one of the two",
                        other.display()
                    ),
                });
            }
        }
    }
    Ok(())
}
