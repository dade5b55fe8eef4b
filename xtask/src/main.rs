//! The workspace's own commands: `cargo xtask VERB`.
//!
//! Every verb prints the commands that it runs, so none of them is needed: the installed program
//! `gru-rcn` and Cargo do the same. There is one dependency, `anyhow`, because `xtask` is compiled
//! before anything else can start.

mod backend;
mod bench;
mod cargo;
mod check;
mod goldens;
#[cfg(test)]
mod layers;
mod offline;
mod program;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use anyhow::Result;

/// Exit code for wrong usage, the same as the program's.
const USAGE: u8 = 2;

/// Arguments that a verb does not understand.
#[derive(Debug)]
struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn usage<T>(message: impl Into<String>) -> Result<T> {
    Err(UsageError(message.into()).into())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_else(|| "help".into());
    let Err(error) = run(&verb.to_string_lossy(), arguments.collect()) else { return ExitCode::SUCCESS };
    if let Some(failure) = error.downcast_ref::<cargo::CommandFailure>() {
        return failure.exit_code();
    }
    eprintln!("error: {error:#}");
    if error.is::<UsageError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

fn run(verb: &str, arguments: Vec<OsString>) -> Result<()> {
    match verb {
        "test" => check::test(&arguments),
        "check" => check::check(&arguments),
        "bench" => bench::bench(&arguments),
        "soak" => check::soak(&arguments),
        "goldens" => goldens::goldens(),
        "help" | "-h" | "--help" => {
            print!("{}", help());
            Ok(())
        }
        _ if program::VERBS.iter().any(|(known, _)| *known == verb) => program::run(verb, arguments),
        _ => usage(format!("unknown verb {verb:?}\n\n{}", help())),
    }
}

fn help() -> String {
    let verbs: String = program::VERBS.iter().map(|(verb, purpose)| format!("  {verb:<18} {purpose}\n")).collect();
    format!(
        "\
Usage: cargo xtask VERB [arguments]

Verbs of the program gru-rcn, which is built with the requested backend:
{verbs}
Verbs of the workspace:
  test               all tests, optimised: cargo test --release --workspace
  check              format, lints, documentation, packages: all that runs nothing; with --backends also
                     the lints of all backends, which compiles all of them, and the example of
                     Burn's learner
  bench              measure against other programs, in turns: reading, loader, tvl1, dis,
                     ops, recipe
                     (python3 with torch, torchvision or OpenCV; --rounds N, --json)
  soak               kill training runs again and again and compare their results with those of
                     an uninterrupted run; --rounds N, --program FILE; kills, saving or memory
                     selects a part
  goldens            compute the reference numbers again
                     (python3 with torch and what tests/peers/README.md names)
  help               this text

--backend and --devices also select what is compiled in: {}
(default cpu); cuda:1 is the second device. With cuda, --kernel-compiler nvrtc builds without a
network: the CUDA toolkit of the machine that runs the program then compiles the kernels. llvm,
the default, downloads a compiler during the build.
All other arguments are the program's: cargo xtask train --help
",
        backend::NAMES.join("|")
    )
}
