//! Running Cargo, visibly.

use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

/// The Cargo that runs this program, so that a `cargo +toolchain xtask` stays with its toolchain.
///
/// It does not get what Cargo told this program about its own package. Some build scripts ask to run again where that changes,
/// and a build from here and one that was typed would throw away each other's results.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// The root of the workspace, wherever the command was typed.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Shows a command on standard error as it could be typed.
pub(crate) fn show(command: &Command) {
    let mut line = String::from("$");
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            line += &format!(" {}={}", name.display(), quoted(value));
        }
    }
    let program = Path::new(command.get_program());
    let name = if program.file_stem() == Some(OsStr::new("cargo")) { OsStr::new("cargo") } else { program.as_os_str() };
    line += &format!(" {}", quoted(name));
    for argument in command.get_args() {
        line += &format!(" {}", quoted(argument));
    }
    eprintln!("{line}");
}

/// Shows and runs a command to its end.
///
/// # Errors
///
/// When it cannot be started; a command that fails is no error here.
pub(crate) fn run(command: &mut Command) -> Result<ExitStatus> {
    show(command);
    command.status().with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// The exit code of this program for that of another.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
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
    fn words_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(OsStr::new("--set=a.b=3")), "--set=a.b=3");
        assert_eq!(quoted(OsStr::new("two words")), "'two words'");
        assert_eq!(quoted(OsStr::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }

    #[test]
    fn the_root_holds_the_lock_file() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
