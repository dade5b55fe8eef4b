//! `report`: draws `report.html` again from what the run has kept, or several runs on one page.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::shared::RunArgs;
use crate::output::say;
use crate::report::{CaptionReport, RunReport, render};
use crate::run::card::{RunCard, SystemResult};
use crate::run::dir::{RunDir, write_atomically};

#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// Finished runs to show beside each other on one page, the main one first; if not given, `--run`
    /// alone.
    #[arg(value_name = "RUN", conflicts_with = "run")]
    compared: Vec<PathBuf>,
    /// File of the comparison.
    #[arg(long, value_name = "FILE", default_value = "comparison.html", requires = "compared")]
    out: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

impl ReportArgs {
    pub(super) fn run(&self) -> Result<()> {
        if !self.compared.is_empty() {
            return self.compare();
        }
        let dir = self.run.open()?;
        if dir.captions_videos()? {
            CaptionReport::read(&dir)?.write(&dir)?;
        } else {
            RunReport::read(&dir)?.write(&dir)?;
        }
        say!("{}", dir.report().display())
    }

    /// Several runs on one page, each under its name. They must have been tested on the same clips.
    fn compare(&self) -> Result<()> {
        let read = |root: &PathBuf| -> Result<(RunDir, RunReport, RunCard)> {
            let dir = RunDir::open_at(root)?;
            let (report, card) = (RunReport::read(&dir)?, dir.card()?);
            Ok((dir, report, card))
        };
        let runs: Vec<_> = self.compared.iter().map(read).collect::<Result<_>>()?;
        let (first_dir, first, first_card) = &runs[0];
        let (mut systems, mut run_card) = (Vec::new(), Vec::new());
        for (dir, report, card) in &runs {
            let [fingerprint, of_first] = [card, first_card].map(|card| &card.data.fingerprint);
            ensure!(
                fingerprint == of_first,
                "{dir} was tested on other clips than {first_dir}: {fingerprint} and {of_first}; runs are compared on the same \
                 clips only"
            );
            let name = dir.root().file_name().unwrap_or(dir.root().as_os_str()).to_string_lossy().into_owned();
            let system = report.systems.first().cloned();
            let system = system.with_context(|| format!("{dir}: the report has no system"))?;
            run_card.push((name.clone(), format!("recipe {}, seed {}, {}", card.recipe, card.seed, card.backend)));
            systems.push(SystemResult { name: format!("{name}: {}", system.name), key: name, ..system });
        }
        let title = format!("{} runs on {}", runs.len(), first_card.data.name);
        let page = RunReport { title, systems, run_card, recipe: String::new(), ..first.clone() };
        write_atomically(&self.out, render(&page).as_bytes())?;
        say!("{}", self.out.display())
    }
}
