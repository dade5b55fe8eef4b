//! Running Cargo and other commands, visibly.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};

/// A command that ran and failed. It printed the reason itself.
#[derive(Debug)]
pub(crate) struct CommandFailure(ExitStatus);

impl CommandFailure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        self.0.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command failed: {}", self.0)
    }
}

impl std::error::Error for CommandFailure {}

/// The Cargo that runs this program, so that `cargo +toolchain xtask` stays with its toolchain.
///
/// The variables that describe this package are removed. Some build scripts run again when they
/// change, and a build from here and one that was typed would then invalidate each other.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo with `arguments`, in the root of the workspace.
pub(crate) fn cargo_at_root(arguments: &[&str]) -> Result<Command> {
    let mut command = cargo();
    command.current_dir(root()?).args(arguments);
    Ok(command)
}

/// The root of the workspace that the current folder lies in, whichever checkout compiled this
/// program: several can share a target folder.
pub(crate) fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    root_above(&here).with_context(|| format!("{} is not in a checkout of gru-rcn", here.display()))
}

fn root_above(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file()).map(PathBuf::from)
}

/// The folder of what Cargo builds in the release profile: beside that of this program.
pub(crate) fn release_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where xtask lies")?;
    Ok(program.ancestors().nth(2).context("xtask does not lie in a target folder")?.join("release"))
}

/// Shows and runs a command to its end.
///
/// # Errors
///
/// If it cannot be started, or [`CommandFailure`].
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    check(status)
}

/// Shows a command and replaces this process by it: signals, streams and exit code are its own.
#[cfg(unix)]
pub(crate) fn replace_process(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    show(command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Other systems cannot replace a process.
#[cfg(not(unix))]
pub(crate) fn replace_process(command: &mut Command) -> Result<()> {
    run(command)
}

/// Turns a failure of a command into an error.
pub(crate) fn check(status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(CommandFailure(status).into()) }
}

/// Prints a command to standard error in a form that can be typed.
pub(crate) fn show(command: &Command) {
    let program = Path::new(command.get_program());
    let name = if program.file_stem() == Some(OsStr::new("cargo")) { OsStr::new("cargo") } else { program.as_os_str() };
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables = variables.map(|(name, value)| format!("{}={}", name.display(), quoted(value)));
    let words = std::iter::once(name).chain(command.get_args()).map(quoted);
    eprintln!("$ {}", variables.chain(words).collect::<Vec<_>>().join(" "));
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_words_for_a_shell() {
        for (word, shown) in
            [("--set=a.b=3", "--set=a.b=3"), ("two words", "'two words'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(quoted(OsStr::new(word)), shown);
        }
    }

    #[test]
    fn finds_the_root_above_the_given_folder() {
        let root = root().unwrap();
        assert!(root.join("Cargo.lock").is_file());
        assert_eq!(root_above(&root.join("crates/gru-rcn/src")), Some(root.clone()));
        assert_eq!(root_above(Path::new("/")), None);
    }

    /// A second checkout inside the first one is a root of its own.
    #[test]
    fn finds_the_nearest_root() {
        let outer = std::env::temp_dir().join(format!("gru-rcn-xtask-{}", std::process::id()));
        let inner = outer.join("wt/inner");
        for checkout in [&outer, &inner] {
            std::fs::create_dir_all(checkout.join("xtask")).unwrap();
            std::fs::write(checkout.join("xtask/Cargo.toml"), "").unwrap();
        }
        assert_eq!(root_above(&inner.join("xtask")), Some(inner.clone()));
        assert_eq!(root_above(&outer.join("wt")), Some(outer.clone()));
        std::fs::remove_dir_all(outer).unwrap();
    }
}
