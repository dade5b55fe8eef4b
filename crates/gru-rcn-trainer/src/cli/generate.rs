//! `generate`: man pages and completions, for packages of the program.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Args, Debug)]
pub(super) struct GenerateArgs {
    /// Folder for the files; it is made if it does not exist.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl GenerateArgs {
    pub(super) fn run(&self) -> Result<()> {
        // A page for each verb, none for `help VERB`.
        let mut command = super::Cli::command().disable_help_subcommand(true);
        command = command.mut_subcommands(|verb| verb.disable_help_subcommand(true));
        let write = || {
            std::fs::create_dir_all(&self.dir)?;
            for shell in [Shell::Fish, Shell::Zsh] {
                clap_complete::generate_to(shell, &mut command, "gru-rcn", &self.dir)?;
            }
            // clap_complete 4.6 replaces the hyphen of the program's name in one half of bash's script only:
            // no option would be completed.
            let mut script = Vec::new();
            clap_complete::generate(Shell::Bash, &mut command, "gru-rcn", &mut script);
            let script = String::from_utf8_lossy(&script).replace("gru__subcmd__rcn", "gru__rcn");
            std::fs::write(self.dir.join("gru-rcn.bash"), script)?;
            clap_mangen::generate_to(command, &self.dir)
        };
        write().with_context(|| self.dir.display().to_string())
    }
}
