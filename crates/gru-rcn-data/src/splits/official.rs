//! The lists as the makers of UCF-101, HMDB-51 and MSVD publish them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Ids, Line, SplitList, check_disjoint, lines, without_extension};
use crate::dataset::lists::{Labels, bad_line};
use crate::error::DataError;
use crate::manifest::Layout;

/// UCF-101 and HMDB-51 have three splits.
const SPLITS: u32 = 3;
/// The one class of MSVD, whose clips have sentences in place of classes.
pub(crate) const MSVD_CLASS: &str = "msvd";
/// MSVD's lists, and the names they get.
const MSVD_LISTS: [(&str, &str); 3] =
    [("train_list.txt", "train"), ("val_list.txt", "validation"), ("test_list.txt", "test")];

/// Reads the official lists in `folder`; `known` are the clips of the source.
///
/// # Errors
/// [`DataError::BadList`], naming file and line, for a line that is not in the list's format, names a clip twice or leads
/// out of the data set, and for labels that contradict each other; [`DataError::BadDataset`] where lists are missing.
pub(crate) fn read(layout: Layout, folder: &Path, known: &BTreeSet<String>) -> Result<Vec<SplitList>, DataError> {
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
    Ok(parts.into_iter().map(|(name, ids)| SplitList::of(name, ids.into_iter().map(|(_, id)| id), known)).collect())
}

fn ucf101(folder: &Path) -> Result<Vec<(String, Ids)>, DataError> {
    let numbers = class_numbers(&folder.join("classInd.txt"))?;
    let mut labels = Labels::default();
    let mut parts = Vec::new();
    for split in 1..=SPLITS {
        let paths = [format!("trainlist{split:02}.txt"), format!("testlist{split:02}.txt")].map(|n| folder.join(n));
        match paths.each_ref().map(|path| path.is_file()) {
            [false, false] => continue,
            [true, true] => {}
            [train, _] => return Err(missing(&paths[usize::from(train)])),
        }
        let [train, test] = &paths;
        let mut train_ids = Ids::new();
        for line in lines(train, true)? {
            let class = line.entry.split('/').next().unwrap_or_default();
            let number = line.label.unwrap_or_default();
            let bad = |reason| bad_line(train, line.number, &line.entry, reason);
            labels.agree(class, number).map_err(bad)?;
            if let Some(&right) = numbers.get(class)
                && right != number
            {
                return Err(bad(format!("label {number}, but classInd.txt gives `{class}` the number {right}")));
            }
            train_ids.push((line.number, two_parts(train, line)?));
        }
        let test_ids: Ids = lines(test, false)?
            .into_iter()
            .map(|line| Ok((line.number, two_parts(test, line)?)))
            .collect::<Result<_, DataError>>()?;
        check_disjoint(&[(train, &train_ids), (test, &test_ids)])?;
        parts.push((format!("train{split:02}"), train_ids));
        parts.push((format!("test{split:02}"), test_ids));
    }
    if parts.is_empty() { Err(missing(&folder.join("trainlist01.txt"))) } else { Ok(parts) }
}

/// `1 ApplyEyeMakeup`, …; nothing where there is no such file.
fn class_numbers(path: &Path) -> Result<HashMap<String, u64>, DataError> {
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let text = fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    let mut numbers = HashMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let bad = |reason: &str| bad_line(path, index + 1, line, reason.to_owned());
        let pair = line.trim().split_once(char::is_whitespace);
        let pair = pair.and_then(|(number, class)| Some((class.trim().to_owned(), number.parse::<u64>().ok()?)));
        let (class, number) = pair.ok_or_else(|| bad("not `<number> <class>`"))?;
        if numbers.insert(class, number).is_some() {
            return Err(bad("the class is there before"));
        }
    }
    Ok(numbers)
}

/// `Class/clip`, which UCF-101's lists name.
fn two_parts(path: &Path, line: Line) -> Result<String, DataError> {
    if line.entry.split('/').count() == 2 {
        return Ok(line.entry);
    }
    Err(bad_line(path, line.number, &line.entry, "not `Class/clip.avi`".to_owned()))
}

fn hmdb51(folder: &Path) -> Result<Vec<(String, Ids)>, DataError> {
    let mut parts = Vec::new();
    for split in 1..=SPLITS {
        let files = hmdb_files(folder, split)?;
        let (mut train, mut test) = (Ids::new(), Ids::new());
        for (class, path) in &files {
            let mut of_class = Ids::new();
            for line in lines(path, true)? {
                let id = format!("{class}/{}", line.entry);
                if line.entry.contains('/') {
                    return Err(bad_line(path, line.number, &line.entry, "not the name of a clip".to_owned()));
                }
                of_class.push((line.number, id.clone()));
                match line.label {
                    Some(0) => {}
                    Some(1) => train.push((line.number, id)),
                    Some(2) => test.push((line.number, id)),
                    _ => {
                        let reason = "the mark is 0 (unused), 1 (train) or 2 (test)".to_owned();
                        return Err(bad_line(path, line.number, &line.entry, reason));
                    }
                }
            }
            check_disjoint(&[(path, &of_class)])?;
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
    let io = |error| DataError::io(folder, error);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(class) = name.strip_suffix(&format!("_test_split{split}.txt")).filter(|class| !class.is_empty()) {
            files.insert(class.to_owned(), path.clone());
        }
    }
    Ok(files)
}

fn msvd(folder: &Path, known: &BTreeSet<String>) -> Result<Vec<(String, Ids)>, DataError> {
    let numbered = msvd_videos(folder)?;
    let mut parts = Vec::new();
    for (file, name) in MSVD_LISTS {
        let path = folder.join(file);
        if !path.is_file() {
            return Err(missing(&path));
        }
        let id = |line: Line| {
            if line.entry.contains('/') {
                return Err(bad_line(&path, line.number, &line.entry, "not the name of a clip".to_owned()));
            }
            let id = format!("{MSVD_CLASS}/{}", line.entry);
            // Some copies of the data set have the videos under their numbers.
            let other = numbered.get(&line.entry).map(|video| format!("{MSVD_CLASS}/{video}"));
            Ok((line.number, other.filter(|other| !known.contains(&id) && known.contains(other)).unwrap_or(id)))
        };
        let ids: Ids = lines(&path, false)?.into_iter().map(id).collect::<Result<_, _>>()?;
        parts.push((path, name.to_owned(), ids));
    }
    let files: Vec<(&Path, &Ids)> = parts.iter().map(|(path, _, ids)| (path.as_path(), ids)).collect();
    check_disjoint(&files)?;
    Ok(parts.into_iter().map(|(_, name, ids)| (name, ids)).collect())
}

/// `-4wsuPCjDBc_5_15 vid1`, …: names by which some copies of MSVD call the same clips. Empty without the file
/// `youtube_mapping.txt`.
fn msvd_videos(folder: &Path) -> Result<HashMap<String, String>, DataError> {
    let path = folder.join("youtube_mapping.txt");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let text = fs::read_to_string(&path).map_err(|error| DataError::io(&path, error))?;
    let mut videos = HashMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let pair = line.trim().split_once(char::is_whitespace);
        let (clip, video) =
            pair.ok_or_else(|| bad_line(&path, index + 1, line, "not `<clip> vid<number>`".to_owned()))?;
        videos.insert(without_extension(clip).to_owned(), video.trim().to_owned());
    }
    Ok(videos)
}

fn missing(path: &Path) -> DataError {
    DataError::dataset(path, "this official list is not there; give the folder that holds the lists")
}
