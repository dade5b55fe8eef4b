//! Clips that are not to be used.
//!
//! `verify` writes the clips that it finds faults in, one JSON object per line as in its report; a data set that is
//! given the file leaves these clips out, says how many ([`Dataset::left_out`](crate::Dataset::left_out)), and puts no other
//! clip in their place. A line that is not JSON is taken for a clip's id, so a list by hand will do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::dataset::lists::{bad_line, normal};
use crate::disk::write_atomic;
use crate::error::DataError;
use crate::manifest::line_of;
use crate::verify::VerifyReport;

/// Name under which the list is looked for and written by default.
pub const QUARANTINE: &str = "quarantine.jsonl";

/// Reads the ids of the clips to leave out.
///
/// # Errors
/// [`DataError::BadList`], naming the line, for JSON without a `clip` and for paths that leave the data set;
/// [`DataError::NotFound`] and [`DataError::Io`].
pub fn read_quarantine(path: &Path) -> Result<BTreeSet<String>, DataError> {
    let text = fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    let mut ids = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let bad = |reason: String| bad_line(path, index + 1, line, reason);
        let id = if line.starts_with('{') {
            let value: serde_json::Value =
                serde_json::from_str(line).map_err(|error| bad(format!("not a JSON object: {error}")))?;
            let id = value.get("clip").and_then(|clip| clip.as_str()).map(str::to_owned);
            id.ok_or_else(|| bad("the object has no text `clip`".to_owned()))?
        } else {
            line.to_owned()
        };
        ids.insert(normal(&id).map_err(bad)?);
    }
    Ok(ids)
}

/// Writes the clips that a report finds faults in, with the faults; returns how many clips they are.
///
/// Faults that are no clip's, such as a wrong line in a list, are left out: they are to be mended.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::NotFound`].
pub fn write_quarantine(path: &Path, report: &VerifyReport) -> Result<usize, DataError> {
    let of_clips = report.faults.iter().filter(|fault| fault.kind.concerns_a_clip());
    let (mut text, mut clips) = (String::new(), BTreeSet::new());
    for fault in of_clips {
        text += &line_of(path, fault)?;
        clips.insert(&fault.clip);
    }
    write_atomic(path, text.as_bytes())?;
    Ok(clips.len())
}
