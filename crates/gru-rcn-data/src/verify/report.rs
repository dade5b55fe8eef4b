//! The report of verifying.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::base::{DataError, printable, write_atomically};
use crate::manifest::line_of;

/// Kind of a fault.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The manifest cannot be read.
    Manifest,
    /// Preparing was not finished, or left something behind.
    Unfinished,
    /// The clip could not be prepared.
    NotPrepared,
    /// The clip was prepared from a damaged video.
    Damaged,
    /// A clip of the manifest has no folder.
    MissingClip,
    /// A folder that belongs to no clip of the manifest.
    UnlistedClip,
    /// Images are missing.
    MissingImage,
    /// A file that is not an image of the clip.
    ExtraFile,
    /// Images that are not numbered as one sequence.
    Numbering,
    /// A file without bytes.
    EmptyFile,
    /// An image that ends too early.
    Truncated,
    /// A file that is not an image or cannot be decoded.
    BadImage,
    /// An image or file above the limits.
    TooLarge,
    /// An image of the wrong size.
    WrongSize,
    /// A wrong number of flow fields: not one less than frames, or x and y differ.
    FlowCount,
    /// Bytes that differ from those that were written.
    Hash,
    /// A link that leads out of the data set, or nowhere.
    Link,
    /// A name that is not UTF-8.
    Name,
    /// A file or folder that cannot be read.
    Unreadable,
    /// A line of a list that names no clip or leads out of the data set.
    List,
}

impl FaultKind {
    /// Whether the fault is one of a clip, which may be skipped.
    pub(crate) fn concerns_a_clip(self) -> bool {
        !matches!(self, Self::Manifest | Self::Unfinished | Self::UnlistedClip | Self::List)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name that JSON has.
        let name = serde_json::to_string(self).unwrap_or_default();
        f.pad(name.trim_matches('"'))
    }
}

/// A fault of a data set.
#[derive(Serialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Id of the clip, or an entry of a list that names no clip; empty if no clip is concerned.
    pub clip: String,
    /// Its kind.
    pub kind: FaultKind,
    /// The file and details.
    pub detail: String,
}

/// Report of [`verify`](super::verify()). As JSON:
/// `{"clips": …, "faults": [{"clip": …, "kind": …, "detail": …}]}`.
#[derive(Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Clips that were verified.
    pub clips: usize,
    /// Faults, sorted by clip.
    pub faults: Vec<Fault>,
    /// Whether verifying was cancelled before its end.
    #[serde(skip)]
    pub interrupted: bool,
}

impl VerifyReport {
    /// Whether everything was verified without a fault.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && !self.interrupted
    }

    /// The faults as a table for people, with their number in the last line.
    pub fn table(&self) -> String {
        let row = |fault: &Fault| {
            let clip = if fault.clip.is_empty() { "-" } else { &fault.clip };
            [printable(clip), fault.kind.to_string(), printable(&fault.detail)]
        };
        let head = (!self.faults.is_empty()).then(|| ["clip", "fault", "detail"].map(str::to_owned));
        let rows: Vec<[String; 3]> = head.into_iter().chain(self.faults.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (clip, kind) = (width(0), width(1));
        let mut text = String::new();
        for [name, fault, detail] in &rows {
            text += &format!("{name:clip$}  {fault:kind$}  {detail}\n");
        }
        let concerned: BTreeSet<&str> =
            self.faults.iter().map(|fault| fault.clip.as_str()).filter(|clip| !clip.is_empty()).collect();
        let (clips, faults, of) = (self.clips, self.faults.len(), concerned.len());
        text += &format!("{clips} clips verified, {faults} faults in {of} clips");
        if self.interrupted {
            text += ", stopped before the end";
        }
        text + "\n"
    }
}

/// Writes the faults of clips, one JSON object per line, and returns the number of these clips.
///
/// A data set that is given the file skips these clips ([`FolderOptions`](crate::FolderOptions)).
/// Faults that concern no clip, such as a wrong line in a list, are not written: they have to be
/// mended.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::NotFound`].
pub fn write_quarantine(path: &Path, report: &VerifyReport) -> Result<usize, DataError> {
    let faults = || report.faults.iter().filter(|fault| fault.kind.concerns_a_clip());
    let lines: String = faults().map(|fault| line_of(path, fault)).collect::<Result<_, _>>()?;
    write_atomically(path, lines.as_bytes())?;
    Ok(faults().map(|fault| &fault.clip).collect::<BTreeSet<_>>().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> VerifyReport {
        let fault = |clip: &str, kind, detail: &str| Fault { clip: clip.into(), kind, detail: detail.into() };
        let faults = vec![
            fault("", FaultKind::Unfinished, "a journal"),
            fault("a/long_name", FaultKind::Truncated, "frames/a/long_name/000001.jpg: ends \x1b[31mearly"),
            fault("a/long_name", FaultKind::Hash, "other bytes"),
        ];
        VerifyReport { clips: 7, faults, interrupted: false }
    }

    #[test]
    fn json_has_the_documented_keys() {
        let value = serde_json::to_value(report()).unwrap();
        assert_eq!(value["clips"], 7);
        assert_eq!(value.as_object().unwrap().len(), 2);
        let fault = serde_json::json!({"clip": "a/long_name", "kind": "hash", "detail": "other bytes"});
        assert_eq!(value["faults"][2], fault);
    }

    #[test]
    fn kinds_have_these_names_in_json() {
        use FaultKind::*;
        let images = serde_json::json!([MissingImage, ExtraFile, Truncated, BadImage, TooLarge, WrongSize, FlowCount]);
        let names = ["missing_image", "extra_file", "truncated", "bad_image", "too_large", "wrong_size", "flow_count"];
        assert_eq!(images, serde_json::json!(names));
        let others = serde_json::json!([Damaged, MissingClip, UnlistedClip, EmptyFile, Hash, Link, Name, List]);
        let names = ["damaged", "missing_clip", "unlisted_clip", "empty_file", "hash", "link", "name", "list"];
        assert_eq!(others, serde_json::json!(names));
    }

    #[test]
    fn the_table_is_aligned_and_free_of_control_characters() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "clip         fault       detail");
        assert_eq!(lines[1], "-            unfinished  a journal");
        assert_eq!(lines[4], "7 clips verified, 3 faults in 1 clips");
        assert!(!table.contains('\x1b'));
        let sound = VerifyReport { clips: 2, ..VerifyReport::default() };
        assert!(sound.is_sound() && sound.table() == "2 clips verified, 0 faults in 0 clips\n");
    }

    #[test]
    fn only_faults_of_clips_are_quarantined() {
        assert!(FaultKind::NotPrepared.concerns_a_clip() && FaultKind::Hash.concerns_a_clip());
        assert!(!FaultKind::List.concerns_a_clip() && !FaultKind::Unfinished.concerns_a_clip());
    }
}
