//! `report`: draws `report.html` again from what the run has kept.

use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{RunReport, render};
use crate::run_dir::RunDir;

/// Runs the command.
pub fn run(run: Option<&Path>, runs: &Path) -> Result<()> {
    let dir = match run {
        Some(path) => RunDir::open(path)?,
        None => RunDir::newest(runs)?,
    };
    let text = dir.read("report.json").context("the run is not finished, it has no results to show")?;
    let report: RunReport =
        serde_json::from_str(&text).with_context(|| format!("{} cannot be read", dir.path("report.json").display()))?;
    write(&dir, &report)?;
    println!("{}", dir.path("report.html").display());
    Ok(())
}

/// Writes a report and what it is drawn from.
pub fn write(dir: &RunDir, report: &RunReport) -> Result<()> {
    dir.write_json("report.json", report)?;
    dir.write("report.html", render(report).as_bytes())
}
