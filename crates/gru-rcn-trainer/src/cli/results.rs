//! Files of results with a line per classified file, which a later call continues.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gru_rcn_data::DataError;
use gru_rcn_data::base::open_file;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::stream::field;

/// A file with a line for each classified file, in their order. It continues after the lines of an
/// earlier call with the same model.
#[derive(Debug)]
pub(super) struct ResultsFile {
    pub(super) path: PathBuf,
    file: File,
    /// Number of columns of CSV; `None` for a JSON object per line.
    columns: Option<usize>,
    /// Stands in every line, so that one file holds no lines of different models.
    model: String,
    /// The files that have a line or get one in this call, by their names as they are written, and whether
    /// an earlier call wrote an error for them.
    known: HashMap<String, bool>,
}

/// The fields of an earlier line that are read again.
#[derive(Deserialize)]
struct Known {
    file: String,
    model: String,
    #[serde(default)]
    error: Option<String>,
}

impl Known {
    /// Reads a line of CSV; the cells stay quoted as they are written.
    fn of_csv(line: &str) -> Option<Self> {
        let mut quoted = false;
        let mut cells = line.split(|character| {
            quoted ^= character == '"';
            character == ',' && !quoted
        });
        let (file, error) = (cells.next()?.into(), cells.next()?);
        let (_, model) = line.rsplit_once(',')?;
        Some(Self { file, model: model.into(), error: (!error.is_empty()).then(|| error.into()) })
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(flatten)]
    entry: &'a T,
    model: &'a str,
}

impl ResultsFile {
    /// Creates the file or opens it to continue it: as CSV if there are `columns`, of which the first are
    /// `file` and `error`, and otherwise with a JSON object per line. A file that holds anything else is
    /// an error and stays as it is.
    pub(super) fn open(path: &Path, columns: Option<&[String]>, model: String) -> Result<Self> {
        let name = path.display();
        let fail = || format!("could not write {name}");
        if let Err(error @ DataError::NotAFile { .. }) = open_file(path) {
            bail!("{error}: a later call reads the results so far from it");
        }
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).with_context(fail)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{name}: another process is writing this file");
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(fail)?;
        // What follows the last line end is a line that was cut when the program was killed.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (whole, cut) = bytes.split_at(end);
        let head = columns.map_or_else(String::new, |columns| csv_line(columns, "model"));
        let started = match columns {
            Some(_) if whole.is_empty() => head.as_bytes().starts_with(cut),
            Some(_) => whole.starts_with(b"file,error,"),
            // What can be read as JSON was not cut.
            None if whole.is_empty() => {
                let start = b"{\"file\":\"".iter().zip(cut).all(|(expected, found)| found == expected);
                start
                    && serde_json::from_slice::<Known>(cut).is_ok() == serde_json::from_slice::<IgnoredAny>(cut).is_ok()
            }
            None => true,
        };
        let text = str::from_utf8(whole).ok().filter(|_| started);
        let read = |line: &str| match columns {
            Some(_) => Known::of_csv(line),
            None => serde_json::from_str(line).ok(),
        };
        let lines = text.and_then(|text| {
            text.lines().skip(usize::from(columns.is_some())).map(read).collect::<Option<Vec<Known>>>()
        });
        let lines =
            lines.with_context(|| format!("{name} holds something else than such results; name another file"))?;
        ensure!(
            lines.iter().all(|line| line.model == model) && (whole.is_empty() || whole.starts_with(head.as_bytes())),
            "{name} holds results of another model, or by another --views, --top, --threshold or --dtype; name another file, \
             or remove this one"
        );
        file.set_len(end as u64).with_context(fail)?;
        if whole.is_empty() {
            file.write_all(head.as_bytes()).with_context(fail)?;
        }
        let known = lines.into_iter().map(|line| (line.file, line.error.is_some())).collect();
        Ok(Self { path: path.to_owned(), file, columns: columns.map(<[String]>::len), model, known })
    }

    /// Removes the files that have a line or occurred before; returns their number, and the number of those
    /// whose line is an error.
    pub(super) fn retain_new(&mut self, files: &mut Vec<PathBuf>) -> Result<[usize; 2]> {
        let fits = |file: &PathBuf| file.to_str().is_some_and(|name| !name.contains(['\n', '\r']));
        if let Some(file) = files.iter().find(|file| !fits(file)) {
            bail!("{file:?}: this name has a line end or is not UTF-8, which a line of results cannot hold");
        }
        let [mut known, mut failed] = [0, 0];
        files.retain(|file| {
            let name = file.to_string_lossy();
            let name = if self.columns.is_some() { field(&name) } else { name.into_owned() };
            let Some(&error) = self.known.get(&name) else { return self.known.insert(name, false).is_none() };
            known += 1;
            failed += usize::from(error);
            false
        });
        Ok([known, failed])
    }

    /// Adds a line: the object `entry`, or as CSV its first cells, which are padded with empty ones.
    pub(super) fn add(&mut self, entry: &impl Serialize, mut cells: Vec<String>) -> Result<()> {
        let line = match self.columns {
            Some(columns) => {
                cells.iter_mut().for_each(|cell| *cell = cell.replace(['\n', '\r'], " "));
                cells.resize(columns, String::new());
                csv_line(&cells, &self.model)
            }
            None => format!("{}\n", serde_json::to_string(&Line { entry, model: &self.model })?),
        };
        // In one call, so that a killed program leaves whole lines.
        self.file.write_all(line.as_bytes()).with_context(|| format!("could not write {}", self.path.display()))
    }
}

fn csv_line(cells: &[String], last: &str) -> String {
    let cells: String = cells.iter().map(|cell| field(cell) + ",").collect();
    format!("{cells}{last}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// Cut at every byte, the file is continued after its whole lines and ends in the same bytes.
    #[test]
    fn a_file_that_was_cut_anywhere_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a.mp4", "b, \"c\".mp4", "no.mp4"];
        for columns in [Some(["file", "error", "class"].map(str::to_owned)), None] {
            let path = folder.path().join("results");
            let open = |model: &str| ResultsFile::open(&path, columns.as_ref().map(|all| &all[..]), model.to_owned());
            let complete = || {
                let mut results = open("m").unwrap();
                let mut files = ["a.mp4", "b, \"c\".mp4", "a.mp4", "no.mp4"].map(PathBuf::from).to_vec();
                let [known, failed] = results.retain_new(&mut files).unwrap();
                // One is named twice.
                assert_eq!(known, 4 - files.len());
                assert_eq!(files, names[3 - files.len()..].iter().map(PathBuf::from).collect::<Vec<_>>());
                for name in files.iter().map(|file| file.to_str().unwrap()) {
                    let (entry, cells) = match name {
                        "no.mp4" => (json!({ "file": name, "error": "two\nlines" }), [name, "two\nlines", ""]),
                        _ => (json!({ "file": name, "class": "wave" }), [name, "", "wave"]),
                    };
                    results.add(&entry, cells.map(str::to_owned).to_vec()).unwrap();
                }
                (known, failed, fs::read(&path).unwrap())
            };
            let (_, _, bytes) = complete();
            assert_eq!(complete(), (4, 1, bytes.clone()));
            if columns.is_some() {
                let text = "file,error,class,model\na.mp4,,wave,m\n\"b, \"\"c\"\".mp4\",,wave,m\nno.mp4,two lines,,m\n";
                assert_eq!(String::from_utf8(bytes.clone()).unwrap(), text);
            }
            for length in 0..bytes.len() {
                fs::write(&path, &bytes[..length]).unwrap();
                assert_eq!(complete().2, bytes, "{length}");
            }
            let foreign = if columns.is_some() { &b"file,error,mine"[..] } else { b"{\"file\":\"x\",\"mine\":1}" };
            let others = [
                (&bytes[..], "n", "another model"),
                (b"# notes", "m", "something else"),
                (foreign, "m", "something else"),
            ];
            for (content, model, words) in others {
                fs::write(&path, content).unwrap();
                let message = open(model).unwrap_err().to_string();
                assert!(message.contains(words), "{message}");
                assert_eq!(fs::read(&path).unwrap(), content);
            }
            fs::remove_file(&path).unwrap();
        }
    }
}
