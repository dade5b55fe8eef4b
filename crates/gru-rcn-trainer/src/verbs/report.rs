//! `report`: draws `report.html` again from what the run has kept, or several runs on one page.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::report::{RunReport, SystemResult, render};
use crate::run_card::RunCard;
use crate::run_dir::{RunDir, write_atomic};

/// Runs the command.
pub fn run(run: Option<&Path>, runs: &Path) -> Result<()> {
    let dir = match run {
        Some(path) => RunDir::open(path)?,
        None => RunDir::newest(runs)?,
    };
    write(&dir, &kept(&dir)?)?;
    println!("{}", dir.path("report.html").display());
    Ok(())
}

/// Several runs on one page: the model of each, by the run's name.
///
/// # Errors
///
/// Also if the runs were not tested on the same clips: figures of different ones stand beside each other for nothing.
pub fn compare(runs: &[PathBuf], out: &Path) -> Result<()> {
    let mut page: Option<(RunReport, RunCard)> = None;
    for root in runs {
        let dir = RunDir::open(root)?;
        let report = kept(&dir)?;
        let card: RunCard = serde_json::from_str(&dir.read("run.json")?)
            .with_context(|| format!("{} cannot be read", dir.path("run.json").display()))?;
        let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
        let Some(system) = report.systems.first().cloned() else {
            bail!("{}: the report has no system", root.display());
        };
        let system = SystemResult { name: format!("{name}: {}", system.name), key: name.clone(), ..system };
        let entry = (name, format!("recipe {}, seed {}, {}", card.recipe, card.seed, card.backend));
        match &mut page {
            None => {
                let title = format!("{} runs on {}", runs.len(), card.data.name);
                let (systems, run_card) = (vec![system], vec![entry]);
                page = Some((RunReport { title, systems, run_card, recipe: String::new(), ..report }, card));
            }
            Some((page, first)) => {
                if first.data.fingerprint != card.data.fingerprint {
                    bail!(
                        "{} was tested on other clips than {}: {} and {}; runs are compared on the same clips only",
                        root.display(),
                        runs[0].display(),
                        card.data.fingerprint,
                        first.data.fingerprint
                    );
                }
                page.systems.push(system);
                page.run_card.push(entry);
            }
        }
    }
    let Some((page, _)) = page else { bail!("name the runs to compare") };
    write_atomic(out, render(&page).as_bytes())?;
    println!("{}", out.display());
    Ok(())
}

fn kept(dir: &RunDir) -> Result<RunReport> {
    let text = dir.read("report.json").context("the run is not finished, it has no results to show")?;
    serde_json::from_str(&text).with_context(|| format!("{} cannot be read", dir.path("report.json").display()))
}

/// Writes a report and what it is drawn from.
pub fn write(dir: &RunDir, report: &RunReport) -> Result<()> {
    dir.write_json("report.json", report)?;
    dir.write("report.html", render(report).as_bytes())
}
