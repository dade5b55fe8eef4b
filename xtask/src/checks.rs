//! What a change has to pass: tests, format, lints, documentation.
//!
//! All in the release profile. The numerical tests are slow without optimisation, and with one
//! profile Burn is compiled once for tests and training together.

use crate::cargo::{cargo, exit_code, root, run};
use anyhow::Result;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// `cargo test` over the workspace; the arguments go on to it.
pub(crate) fn test(arguments: &[OsString]) -> Result<ExitCode> {
    let mut command = at_root(&["test", "--release", "--workspace"]);
    Ok(exit_code(run(command.args(arguments))?))
}

/// Format, lints and documentation, the cheapest first; stops at the first that fails.
pub(crate) fn check() -> Result<ExitCode> {
    let format = at_root(&["fmt", "--all", "--check"]);
    let lints = at_root(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    // Libraries only: the program `gru-rcn` would be written over the library of that name.
    let mut documentation = at_root(&["doc", "--release", "--workspace", "--no-deps", "--lib"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    for mut command in [format, lints, documentation] {
        let status = run(&mut command)?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn at_root(arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.current_dir(root()).args(arguments);
    command
}
