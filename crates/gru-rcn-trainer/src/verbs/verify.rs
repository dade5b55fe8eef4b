//! `verify`: whether a prepared or foreign folder of frames and flow is whole.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use gru_rcn_data::{QUARANTINE, VerifyOptions, verify, write_quarantine};

use super::Faults;
use crate::fit::Interrupted;
use crate::progress::Interval;
use crate::signals::StopFlag;

/// What `verify` is asked.
pub struct Options<'a> {
    /// The folder.
    pub root: &'a Path,
    /// Where and how far to look.
    pub verify: VerifyOptions,
    /// Write the clips with faults to this list; without a name to `quarantine.jsonl` in the folder.
    pub quarantine: Option<&'a Option<PathBuf>>,
    /// JSON instead of a table.
    pub json: bool,
}

/// Runs the command; faults found are exit code 1.
pub fn run(options: &Options) -> Result<()> {
    let stop = StopFlag::install()?;
    let mut told = Interval::default();
    let report = verify(options.root, &options.verify, stop.flag(), &mut |done, total| {
        if told.is_over() {
            eprintln!("{done} of {total} clips");
        }
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    if report.interrupted {
        bail!(Interrupted { exit_code: stop.exit_code(), advice: "what was found so far is above" });
    }
    if let Some(path) = options.quarantine {
        let path = path.clone().unwrap_or_else(|| options.root.join(QUARANTINE));
        let clips = write_quarantine(&path, &report)?;
        eprintln!("{clips} clips with faults in {}", path.display());
    }
    match report.faults.len() {
        0 => Ok(()),
        faults => bail!(Faults(format!("{faults} faults in {}", options.root.display()))),
    }
}
