//! List files: one clip per line, as a path below the data set's root.
//!
//! UCF-101's own lists have a label number after the path. These numbers are only checked against the
//! folders: one number for each class, one class for each number. Class indices are the positions
//! in the sorted class names.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use super::scan::{Clips, is_video};
use crate::base::{DataError, read_text};

/// Default name of the list of clips to skip.
pub const QUARANTINE: &str = "quarantine.jsonl";

/// Ids with the numbers of their lines, counted from 1.
pub(crate) type Ids = Vec<(usize, String)>;

/// The non-empty lines of a list, trimmed, with their numbers.
pub(crate) fn lines(path: &Path) -> Result<Ids, DataError> {
    // Line ends of every system.
    let text = read_text(path)?.replace("\r\n", "\n");
    let lines = text.split(['\n', '\r']).enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.trim().to_owned()));
    Ok(lines.filter(|(_, line)| !line.is_empty()).collect())
}

/// The error of a line; the message has at most 200 characters of it.
pub(crate) fn bad_line(list: &Path, line: usize, entry: &str, reason: impl Into<String>) -> DataError {
    let entry = entry.chars().filter(|c| !c.is_control()).take(200).collect();
    DataError::BadList { list: list.to_owned(), line, entry, reason: reason.into() }
}

/// The ids that a list names, with the list's path for messages.
#[derive(Debug)]
pub(super) struct List {
    pub(super) path: PathBuf,
    pub(super) ids: Ids,
    /// The listed clips that are in quarantine.
    pub(super) skipped: Ids,
}

impl List {
    /// All its ids, for [`check_disjoint`].
    pub(super) fn entries(&self) -> [(&Path, &Ids); 2] {
        [(&self.path, &self.ids), (&self.path, &self.skipped)]
    }

    pub(super) fn skipped_ids(&self) -> impl Iterator<Item = String> {
        self.skipped.iter().map(|(_, id)| id.clone())
    }
}

/// Reads a list. Every line must name a clip of `clips` or of `quarantine`; the latter need not exist
/// any more.
pub(super) fn read(
    path: &Path,
    clips: &Clips,
    quarantine: &BTreeSet<String>,
    labels: &mut Labels,
) -> Result<List, DataError> {
    let mut list = List { path: path.to_owned(), ids: Ids::new(), skipped: Ids::new() };
    for (number, line) in lines(path)? {
        let bad = |reason: String| bad_line(path, number, &line, reason);
        if let Ok((id, _)) = find(&line, |id| quarantine.contains(id)) {
            list.skipped.push((number, id));
            continue;
        }
        let (id, label) = find(&line, |id| clips.contains_key(id)).map_err(bad)?;
        if let Some(label) = label {
            labels.agree(&clips[&id].class, label).map_err(&bad)?;
        }
        list.ids.push((number, id));
    }
    Ok(list)
}

/// The clip and the label number of a line. The whole line is tried first, because a path may contain
/// spaces.
pub(crate) fn find(line: &str, known: impl Fn(&str) -> bool) -> Result<(String, Option<u64>), String> {
    // A video's name also finds the clip without the extension.
    let look_up = |entry: &str| -> Result<Option<String>, String> {
        let id = normal(entry)?;
        Ok([id.as_str(), without_extension(&id)].into_iter().find(|id| known(id)).map(str::to_owned))
    };
    if let Some(id) = look_up(line)? {
        return Ok((id, None));
    }
    if let Some((entry, last)) = line.rsplit_once(char::is_whitespace)
        && let Ok(number) = last.parse()
        && let Some(id) = look_up(entry.trim_end())?
    {
        return Ok((id, Some(number)));
    }
    // A clip followed by more than a label, as in a table. Only the first columns are tried, because
    // a line may have a million.
    for (end, _) in line.match_indices(|c: char| c.is_whitespace() || ",;|\"'".contains(c)).take(64) {
        let (entry, rest) = line.split_at(end);
        if let Ok(Some(id)) = look_up(entry.trim_start_matches(['"', '\'']).trim_end()) {
            let rest = rest.trim();
            return Err(format!(
                "no such clip in the data set: after the clip `{id}` comes `{rest}`, and a line is the clip's path \
                 alone, or the path, a blank and one label number"
            ));
        }
    }
    Err("no such clip in the data set; paths are relative to its root, as in `Class/clip.avi`".to_owned())
}

/// The path with `/` as separator, or the reason why it is refused.
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

/// The path without its extension, if that is an extension of videos.
pub fn without_extension(path: &str) -> &str {
    let video = is_video(Path::new(path));
    path.rsplit_once('.').filter(|_| video).map_or(path, |(stem, _)| stem)
}

/// The label numbers found so far in all lists of a data set.
#[derive(Default)]
pub(super) struct Labels {
    by_class: HashMap<String, u64>,
    by_number: HashMap<u64, String>,
}

impl Labels {
    pub(super) fn agree(&mut self, class: &str, number: u64) -> Result<(), String> {
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
pub(super) fn check_disjoint<'a>(lists: impl IntoIterator<Item = (&'a Path, &'a Ids)>) -> Result<(), DataError> {
    let mut seen: HashMap<&str, (&Path, usize)> = HashMap::new();
    for (path, ids) in lists {
        for (line, id) in ids {
            if let Some((other, at)) = seen.insert(id, (path, *line)) {
                let other = other.display();
                let reason = format!("the clip is named before, in {other} line {at}; remove one of the two");
                return Err(bad_line(path, *line, id, reason));
            }
        }
    }
    Ok(())
}

/// Reads the ids of clips to skip.
///
/// Each line is a JSON object with the id as `clip`, as
/// [`write_quarantine`](crate::write_quarantine) writes it, or a plain id, for lists written by hand.
///
/// # Errors
/// [`DataError::BadList`], naming the line, for JSON without a `clip` and for paths out of the data
/// set; [`DataError::NotFound`] and [`DataError::Io`].
pub fn read_quarantine(path: &Path) -> Result<BTreeSet<String>, DataError> {
    let id = |(number, line): (usize, String)| {
        let bad = |reason: String| bad_line(path, number, &line, reason);
        if !line.starts_with('{') {
            return normal(&line).map_err(bad);
        }
        let value: serde_json::Value =
            serde_json::from_str(&line).map_err(|error| bad(format!("not a JSON object: {error}")))?;
        let clip = value.get("clip").and_then(|clip| clip.as_str());
        normal(clip.ok_or_else(|| bad("the object has no text `clip`".to_owned()))?).map_err(bad)
    };
    lines(path)?.into_iter().map(id).collect()
}
