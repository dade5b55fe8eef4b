//! Training clips that cannot be read: left out, recorded and counted, never replaced by others.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use gru_rcn_data::DataError;
use serde_json::{Value, json};

/// The bad clips of a run.
///
/// Which clips are bad is found out anew by every process, so that a run that is gone on with sees what one in one piece
/// would have seen: the file is a record for people, not a list that is obeyed.
#[derive(Debug)]
pub struct BadClips {
    record: PathBuf,
    clips: usize,
    fraction: f64,
    seen: Mutex<BTreeSet<String>>,
}

impl BadClips {
    /// Of `clips` training clips at most this fraction may be bad; they are recorded in this file.
    pub fn new(record: PathBuf, clips: usize, fraction: f64) -> Self {
        Self { record, clips, fraction, seen: Mutex::default() }
    }

    /// Records a clip that could not be read.
    ///
    /// # Errors
    ///
    /// If there are too many of them now.
    pub fn leave_out(&self, clip: &str, fault: DataError) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.insert(clip.to_string()) {
            return Ok(());
        }
        if seen.len() as f64 > self.fraction * self.clips as f64 {
            let (bad, clips, fraction) = (seen.len(), self.clips, self.fraction);
            return Err(fault).with_context(|| {
                format!(
                    "the training clip {clip} cannot be read, tried twice, and {bad} of {clips} are more than \
                     training.max_bad_fraction = {fraction} allows; mend the clip or leave it out"
                )
            });
        }
        self.record(clip, &fault.to_string())
    }

    /// One line a clip, whatever number of processes found it.
    fn record(&self, clip: &str, fault: &str) -> Result<()> {
        let fail = || format!("could not write {}", self.record.display());
        let known = fs::read_to_string(&self.record).unwrap_or_default();
        let same = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["clip"] == clip);
        if known.lines().any(same) {
            return Ok(());
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.record).with_context(fail)?;
        file.write_all(format!("{}\n", json!({"clip": clip, "error": fault})).as_bytes()).with_context(fail)
    }

    /// Names of the clips found so far, in their alphabet's order.
    pub fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str) -> DataError {
        DataError::EmptyFile(name.into())
    }

    /// Of 20 clips a tenth, 2, may be bad; the third is one too many. What was found twice counts once.
    #[test]
    fn so_many_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("quarantine.jsonl");
        let bad = BadClips::new(record.clone(), 20, 0.1);
        for clip in ["b", "a", "b"] {
            bad.leave_out(clip, fault(clip)).unwrap();
        }
        let again = BadClips::new(record.clone(), 20, 0.1);
        again.leave_out("b", fault("b")).unwrap();
        assert_eq!(bad.names(), ["a", "b"]);
        let text = fs::read_to_string(record).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(r#"{"clip":"b","error":"b: the file is empty"#), "{text}");
        let message = format!("{:#}", bad.leave_out("c", fault("c")).unwrap_err());
        assert!(message.contains("clip c cannot be read") && message.contains("3 of 20"), "{message}");
        assert!(message.contains("max_bad_fraction = 0.1") && message.contains("c: the file is empty"), "{message}");
    }
}
