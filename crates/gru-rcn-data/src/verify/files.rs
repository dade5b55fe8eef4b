//! Listing folders that are not trusted, and checking lists.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::VerifyOptions;
use super::image::{self, Sound};
use super::report::{Fault, FaultKind};
use crate::base::DataError;
use crate::dataset::{Entry, find, lines};
use crate::manifest::SPLITS;

/// Collects the faults of one clip, naming files from the data set's root.
pub(super) struct Findings<'a> {
    root: &'a Path,
    clip: &'a str,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(root: &'a Path, clip: &'a str) -> Self {
        Self { root, clip, faults: Vec::new() }
    }

    pub(super) fn add(&mut self, kind: FaultKind, path: &Path, words: &str) {
        let place = path.strip_prefix(self.root).unwrap_or(path).display();
        let detail = if words.is_empty() { place.to_string() } else { format!("{place}: {words}") };
        self.faults.push(Fault { clip: self.clip.to_owned(), kind, detail });
    }

    /// Checks an image, which must have the size `wanted` if that is known; `whose` introduces it in the
    /// message. Returns the image if it can be decoded.
    pub(super) fn image(
        &mut self,
        path: &Path,
        options: &VerifyOptions,
        wanted: Option<(usize, usize)>,
        whose: &str,
    ) -> Option<Sound> {
        match image::check(path, options) {
            Ok(sound) => {
                let ((width, height), wanted) = (sound.size, wanted.unwrap_or(sound.size));
                if sound.size != wanted {
                    let words = format!("{width}x{height} pixels, {whose} {}x{}", wanted.0, wanted.1);
                    self.add(FaultKind::WrongSize, path, &words);
                }
                Some(sound)
            }
            Err((kind, words)) => {
                self.add(kind, path, &words);
                None
            }
        }
    }

    /// The entries of a folder, hidden ones included, sorted by name. A name that is not UTF-8, a link
    /// that leads nowhere or out of the root, and a folder that cannot be read are faults and
    /// skipped.
    pub(super) fn entries(&mut self, folder: &Path) -> Vec<Entry> {
        let listing: Vec<_> = fs::read_dir(folder).map_or_else(|error| vec![Err(error)], Iterator::collect);
        let mut found = Vec::new();
        for entry in listing {
            match entry {
                Ok(entry) => found.extend(self.entry(&entry)),
                Err(error) => self.add(FaultKind::Unreadable, folder, &error.to_string()),
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn entry(&mut self, entry: &fs::DirEntry) -> Option<Entry> {
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            self.add(FaultKind::Name, &path, "the name is not UTF-8");
            return None;
        };
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) && !self.inside(&path) {
            return None;
        }
        let is_folder = path.is_dir();
        Some(Entry { name, path, is_folder })
    }

    /// Whether a path stays in the root when links are followed; if not, a fault is added.
    pub(super) fn inside(&mut self, path: &Path) -> bool {
        match fs::canonicalize(path) {
            Ok(real) if real.starts_with(self.root) => true,
            real => {
                let words = real
                    .map_or_else(|error| format!("leads nowhere: {error}"), |_| "leads out of the data set".to_owned());
                self.add(FaultKind::Link, path, &words);
                false
            }
        }
    }
}

/// The faults of the data set's own lists and of the lists `asked` for; `known` says whether there is a
/// clip with an id.
pub(super) fn check_lists(root: &Path, asked: &[PathBuf], known: impl Fn(&str) -> bool) -> Vec<Fault> {
    let own = fs::read_dir(root.join(SPLITS)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = own.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    paths.extend(asked.iter().map(|path| root.join(path)));
    let mut faults = Vec::new();
    for path in paths {
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let mut fault = |clip: String, detail| faults.push(Fault { clip, kind: FaultKind::List, detail });
        match lines(&path) {
            Ok(lines) => {
                let mut seen = HashMap::new();
                for (number, line) in lines {
                    let found = find(&line, &known).and_then(|(id, _)| match seen.insert(id, number) {
                        Some(before) => Err(format!("the clip is named before, in line {before}")),
                        None => Ok(()),
                    });
                    if let Err(reason) = found {
                        fault(line.chars().take(200).collect(), format!("{place} line {number}: {reason}"));
                    }
                }
            }
            Err(DataError::Io { source, .. }) => fault(String::new(), format!("{place}: {source}")),
            Err(error) => fault(String::new(), error.to_string()),
        }
    }
    faults
}
