//! The journal: the manifest of an unfinished run.
//!
//! It has a header and one line for each prepared clip, in the order in which they were finished. Each
//! line is on disk before its thread begins the next clip. A process that is killed leaves at most
//! a torn last line, and the clip of that line is prepared again.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{ClipRecord, Header, Manifest, line_of};
use crate::base::{DataError, read_file, sync_folder_of, unless_missing, write_atomically};

/// Most bytes of a journal.
const MOST: u64 = 512 << 20;

pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal to append after its last complete line; creates it if there is none.
    pub(crate) fn open(path: &Path, header: &Header) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        if whole_text(path)?.is_none_or(|text| text.is_empty()) {
            write_atomically(path, line_of(path, header)?.as_bytes())?;
        }
        let mut file = OpenOptions::new().write(true).open(path).map_err(io)?;
        let whole = whole_text(path)?.map_or(0, |text| text.len() as u64);
        file.set_len(whole).map_err(io)?;
        file.seek(SeekFrom::Start(whole)).map_err(io)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a clip; it is on disk when this returns.
    pub(crate) fn append(&mut self, clip: &ClipRecord) -> Result<(), DataError> {
        let line = line_of(&self.path, clip)?;
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| DataError::io(&self.path, error))
    }

    /// Removes the journal, once the manifest is written.
    pub(crate) fn finish(self) -> Result<(), DataError> {
        drop(self.file);
        fs::remove_file(&self.path).map_err(|error| DataError::io(&self.path, error))?;
        sync_folder_of(&self.path)
    }
}

/// Whether the file's name is that of a journal, `manifest.partial….jsonl`.
pub(crate) fn is_journal(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("manifest.partial"))
}

/// Reads a journal as strictly as a manifest, except that a torn last line is ignored and a clip may
/// occur twice. `None` without a journal, and if it has no complete line.
pub(crate) fn read(path: &Path) -> Result<Option<Manifest>, DataError> {
    let Some(text) = whole_text(path)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let mut lines = text.lines();
    let header = Header::parse(path, lines.next().unwrap_or_default())?;
    let clips = lines.enumerate().map(|(index, line)| ClipRecord::parse(path, index + 2, line, &header));
    let clips = clips.collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Manifest::of(header, clips)))
}

/// The text up to its last line end.
fn whole_text(path: &Path) -> Result<Option<String>, DataError> {
    let Some(mut bytes) = unless_missing(read_file(path, MOST))? else { return Ok(None) };
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1));
    let torn = |_| DataError::manifest(path, 1, "not UTF-8 text; the file is damaged, remove it to prepare from anew");
    String::from_utf8(bytes).map(Some).map_err(torn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::{header, record};
    use crate::testing::{refused, temporary};

    #[test]
    fn a_journal_continues_after_its_last_whole_line() {
        let folder = temporary();
        let path = folder.path().join("j.jsonl");
        assert!(read(&path).unwrap().is_none());
        let mut journal = Journal::open(&path, &header()).unwrap();
        journal.append(&record("a/x")).unwrap();
        journal.append(&record("a/y")).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        // Cut anywhere in the second clip's line: the first stays.
        let line = whole.len() - whole[..whole.len() - 1].iter().rposition(|&b| b == b'\n').unwrap() - 1;
        for cut in [1, 2, line - 1, line] {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().clips, [record("a/x")]);
            Journal::open(&path, &header()).unwrap().append(&record("a/y")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        // Even the header may be torn, or not be there yet.
        for start in [&whole[..9], &[]] {
            fs::write(&path, start).unwrap();
            assert!(read(&path).unwrap().is_none());
            Journal::open(&path, &header()).unwrap();
            assert_eq!(read(&path).unwrap().unwrap().clips, []);
        }
        Journal::open(&path, &header()).unwrap().finish().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_broken_line_before_the_last_is_an_error() {
        let folder = temporary();
        let path = folder.path().join("j.jsonl");
        let mut journal = Journal::open(&path, &header()).unwrap();
        journal.append(&record("a/x")).unwrap();
        journal.append(&record("a/x")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().clips.len(), 1);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"id\n{}", line_of(&path, &record("a/y")).unwrap())).unwrap();
        refused(read(&path), &["line 4"]);
    }
}
