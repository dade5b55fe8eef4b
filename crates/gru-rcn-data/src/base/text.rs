//! Files that are read whole: regular ones within a limit, and UTF-8 text.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;

use super::disk::unless_missing;
use super::error::DataError;

/// Most bytes of a text file: lists and manifests of a million clips are smaller.
const MOST_TEXT: u64 = 512 << 20;

/// Opens a regular file and returns it with its length. Anything else is refused: a pipe could block
/// for ever, and a device never end.
///
/// # Errors
/// [`DataError::NotFound`] and [`DataError::Io`]; [`DataError::NotAFile`] for a folder, a pipe, a
/// socket or a device.
pub fn open_file(path: &Path) -> Result<(File, u64), DataError> {
    let io = |error| DataError::io(path, error);
    // Checked first, because opening a pipe waits for a writer.
    let metadata = fs::metadata(path).map_err(io)?;
    regular(path, &metadata)?;
    Ok((File::open(path).map_err(io)?, metadata.len()))
}

/// Refuses anything but a regular file.
pub(super) fn regular(path: &Path, metadata: &Metadata) -> Result<(), DataError> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() { "a folder" } else { "a pipe, socket or device" };
    Err(DataError::NotAFile { path: path.to_owned(), what })
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// Those of [`open_file`]; [`DataError::TooLong`] for more bytes.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    read_file_into(path, most, &mut bytes)?;
    Ok(bytes)
}

/// As [`read_file`], into a buffer whose content is replaced.
pub(crate) fn read_file_into(path: &Path, most: u64, bytes: &mut Vec<u8>) -> Result<(), DataError> {
    let (file, length) = open_file(path)?;
    bytes.clear();
    if length <= most {
        bytes.reserve(length as usize);
        // Limited once more, because the file may grow or its length be wrong.
        file.take(most + 1).read_to_end(bytes).map_err(|error| DataError::io(path, error))?;
        if bytes.len() as u64 <= most {
            return Ok(());
        }
    }
    Err(DataError::TooLong { path: path.to_owned(), most })
}

/// Reads a UTF-8 text file. A byte-order mark is skipped.
///
/// # Errors
/// Those of [`read_file`], with a limit of 512 MiB; [`DataError::NotText`] for UTF-16 and for bytes
/// that are not UTF-8, naming the line.
pub fn read_text(path: &Path) -> Result<String, DataError> {
    let wrong = |reason: String| DataError::NotText { path: path.to_owned(), reason };
    let mut bytes = read_file(path, MOST_TEXT)?;
    if let Some(name) = wide_encoding(&bytes) {
        return Err(wrong(format!("the file is {name} text; save it as UTF-8")));
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        wrong(format!("not UTF-8 text in line {line}; save the file as UTF-8, or make it again if it is damaged"))
    })
}

/// As [`read_text`]; `None` if the file does not exist.
///
/// # Errors
/// Those of [`read_text`] except [`DataError::NotFound`].
pub fn read_text_if_there(path: &Path) -> Result<Option<String>, DataError> {
    unless_missing(read_text(path))
}

/// Escapes control characters except newlines and tabs: file names may hold sequences that a
/// terminal would execute.
pub fn printable(text: &str) -> String {
    let escape = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.chars().map(|c| if escape(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Recognises UTF-16 and UTF-32 by their byte-order mark, and UTF-16 also by a zero byte in its
/// first character, which UTF-8 text does not have.
fn wide_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [a, b, ..] if (*a == 0) != (*b == 0) => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{put, refused, temporary};

    #[test]
    fn text_is_utf_8_and_loses_its_byte_order_mark() {
        let folder = temporary();
        let read = |content: &[u8]| {
            put(folder.path(), "list.txt", content);
            read_text(&folder.path().join("list.txt"))
        };
        assert_eq!(read("a/ü.mp4\r\n".as_bytes()).unwrap(), "a/ü.mp4\r\n");
        assert_eq!(read("\u{feff}a\n".as_bytes()).unwrap(), "a\n");
        assert_eq!(read(b"").unwrap(), "");
        // `a/b` and a line end, low byte first and high byte first, with a byte-order mark and without.
        for mark in [&b""[..], b"\xff\xfe"] {
            refused(read(&[mark, b"a\0/\0b\0\n\0"].concat()), &["list.txt", "UTF-16", "save it as UTF-8"]);
        }
        for mark in [&b""[..], b"\xfe\xff"] {
            refused(read(&[mark, b"\0a\0/\0b\0\n"].concat()), &["UTF-16"]);
        }
        refused(read(b"\xff\xfe\0\0a\0\0\0"), &["UTF-32"]);
        // Latin-1.
        refused(read(b"a/b\na/\xfc.mp4\n"), &["list.txt", "line 2", "not UTF-8"]);
        assert_eq!(read_text_if_there(&folder.path().join("none")).unwrap(), None);
        assert!(matches!(read_text(&folder.path().join("none")), Err(DataError::NotFound(_))));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a/\u{1b}[31mü\r\u{9b}.avi\tx\n"), "a/\\u{1b}[31mü\\r\\u{9b}.avi\tx\n");
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = temporary();
        put(folder.path(), "ten", [0; 10]);
        assert_eq!(read_file(&folder.path().join("ten"), 10).unwrap().len(), 10);
        refused(read_file(&folder.path().join("ten"), 9), &["ten", "more than 9 bytes"]);
        refused(read_text(folder.path()), &["a folder"]);
        // A file of a tebibyte without content takes no disk.
        let sparse = folder.path().join("sparse");
        File::create(&sparse).and_then(|file| file.set_len(1 << 40)).unwrap();
        refused(read_text(&sparse), &["sparse", "more than"]);
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_not_opened() {
        let folder = temporary();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [Path::new("/dev/zero"), &pipe] {
            refused(read_text(path), &[path.to_str().unwrap(), "a pipe, socket or device"]);
        }
    }
}
