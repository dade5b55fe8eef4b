//! Whether the lines of lists name clips.

use std::fs;
use std::path::{Path, PathBuf};

use super::report::{Fault, FaultKind};
use crate::dataset::lists::normal;
use crate::splits::{SPLITS, without_extension};

/// The lists of a data set, and those that were asked for.
pub(super) fn paths(root: &Path, asked: &[PathBuf]) -> Vec<PathBuf> {
    let own = fs::read_dir(root.join(SPLITS)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = own.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    paths.extend(asked.iter().map(|path| root.join(path)));
    paths
}

/// The faults of a list; `known` tells whether there is a clip of that id.
pub(super) fn check(root: &Path, path: &Path, known: impl Fn(&str) -> bool) -> Vec<Fault> {
    let place = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let fault = |clip: &str, detail: String| Fault { clip: clip.to_owned(), kind: FaultKind::List, detail };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return vec![fault("", format!("{place}: {error}"))],
    };
    let mut faults = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // A label number may follow the path, which may itself hold spaces.
        let unlabelled = line.rsplit_once(char::is_whitespace).filter(|(_, last)| last.parse::<u64>().is_ok());
        let found = [Some(line), unlabelled.map(|(entry, _)| entry.trim_end())]
            .into_iter()
            .flatten()
            .any(|entry| normal(entry).is_ok_and(|id| known(&id) || known(without_extension(&id))));
        if !found {
            let reason = normal(line).err().unwrap_or_else(|| "no such clip in the data set".to_owned());
            let entry: String = line.chars().take(200).collect();
            faults.push(fault(&entry, format!("{place} line {}: {reason}", index + 1)));
        }
    }
    faults
}
