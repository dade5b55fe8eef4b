//! `report`: draws `report.html` again from what the run has kept, or several runs on one page.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
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
    /// Where that page is written.
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
        let (mut first, mut systems, mut run_card) = (None::<(RunReport, RunCard)>, Vec::new(), Vec::new());
        for root in &self.compared {
            let dir = RunDir::open_at(root)?;
            let (report, card) = (RunReport::read(&dir)?, dir.card()?);
            let name = root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
            let system = report.systems.first().cloned();
            let system = system.with_context(|| format!("{dir}: the report has no system"))?;
            if let Some((_, first)) = &first
                && first.data.fingerprint != card.data.fingerprint
            {
                bail!(
                    "{dir} was tested on other clips than {}: {} and {}; runs are compared on the same clips only",
                    self.compared[0].display(),
                    card.data.fingerprint,
                    first.data.fingerprint
                );
            }
            systems.push(SystemResult { name: format!("{name}: {}", system.name), key: name.clone(), ..system });
            run_card.push((name, format!("recipe {}, seed {}, {}", card.recipe, card.seed, card.backend)));
            first.get_or_insert((report, card));
        }
        let Some((report, card)) = first else { bail!("name the runs to compare") };
        let title = format!("{} runs on {}", self.compared.len(), card.data.name);
        let page = RunReport { title, systems, run_card, recipe: String::new(), ..report };
        write_atomically(&self.out, render(&page).as_bytes())?;
        say!("{}", self.out.display())
    }
}
