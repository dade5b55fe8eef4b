//! `verify`: whether a prepared or foreign folder of frames and flow is whole.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use gru_rcn_data::{QUARANTINE, VerifyOptions, verify, write_quarantine};

use super::shared::print_json;
use crate::observe::Interval;
use crate::output::{note, say};
use crate::signals::{Faults, StopFlag};

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// A prepared folder, or one that other tools made: a folder of images per clip.
    root: PathBuf,
    /// Folder of optical flow that lies elsewhere.
    #[arg(long, value_name = "DIR")]
    flow: Option<PathBuf>,
    /// A list whose lines must name clips; may be given several times.
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
    /// Write the clips with faults to a list that training skips; by default `quarantine.jsonl` in
    /// the folder.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    quarantine: Option<Option<PathBuf>>,
    /// Number of clips processed in parallel; 0 is one per processor.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Faults found are exit code 1.
    pub(super) fn run(&self) -> Result<()> {
        let stop = StopFlag::install("what was found so far is above")?;
        let options = VerifyOptions {
            flow: self.flow.clone(),
            lists: self.list.clone(),
            workers: self.workers,
            ..VerifyOptions::default()
        };
        let mut interval = Interval::default();
        let report = verify(&self.root, &options, stop.flag(), &mut |done, total| {
            if interval.is_over() {
                note!("{done} of {total} clips");
            }
        })?;
        if self.json {
            print_json(&report)?;
        } else {
            say!("{}", report.table().trim_end())?;
        }
        ensure!(!report.interrupted, stop.interrupted());
        if let Some(path) = &self.quarantine {
            let path = path.clone().unwrap_or_else(|| self.root.join(QUARANTINE));
            let clips = write_quarantine(&path, &report)?;
            note!("{clips} clips with faults in {}", path.display());
        }
        let faults = report.faults.len();
        ensure!(faults == 0, Faults(format!("{faults} faults in {}", self.root.display())));
        Ok(())
    }
}
