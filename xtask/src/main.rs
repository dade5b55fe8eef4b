//! The workspace's own commands: `cargo xtask <verb>`.
//!
//! A convenience and never the only door: every verb prints the command it stands for, and the
//! installed program `gru-rcn` has the same verbs. It depends on next to nothing, because it is
//! compiled before anything else can start.

mod backend;
mod bench;
mod cargo;
mod checks;
mod goldens;
mod offline;
mod program;
mod soak;

use std::ffi::OsString;
use std::process::ExitCode;

/// Wrong usage, as the program itself reports it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_else(|| "help".into());
    let rest: Vec<OsString> = arguments.collect();
    let outcome = match verb.to_str() {
        Some(verb) if program::VERBS.contains(&verb) => program::run(verb, &rest),
        Some("test") => checks::test(&rest),
        Some("check") => checks::check(&rest),
        Some("bench") => bench::bench(&rest),
        Some("soak") => soak::run(&rest),
        Some("goldens") => goldens::run_scripts(),
        Some("help" | "-h" | "--help") => {
            print!("{}", help());
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("unknown verb {verb:?}\n\n{}", help());
            Ok(ExitCode::from(USAGE))
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn help() -> String {
    format!(
        "Usage: cargo xtask <verb> [arguments]

  train      build the program with the backend asked for, and train
  evaluate   the same, and score a trained run on a split
  predict    the same, and name the class of video files or frame folders
  report     the same, and write a run's report again
  fuse       the same, and average the scores of several runs
  features   the same, and write percepts or encodings as safetensors
  prepare    the same, and make frames and optical flow of videos
  merge      the same, and join the manifests of shards
  verify     the same, and check a folder of frames and flow
  flow       the same, and compute the flow between two images
  doctor     the same, and say what it can do on this machine; tests its backends
  compare-backends
             build with ndarray and wgpu, or what --backends and --serve name, and train the
             same recipe on each
  serve      build with remote devices, and let other processes compute on this machine
  test       all tests, optimised: cargo test --release --workspace
  check      format, lints, documentation: whatever needs no running;
             with --backends also the lints of all backends, which compiles all of them
  bench      measure against other programs, in turns: reading, loader, tvl1, dis
             (python3 with torch, torchvision or OpenCV; --rounds N, --json)
  soak       kill training runs again and again and compare what they end in with
             one that was not; --rounds N, --program FILE, and kills, saving or memory
             for a part of it
  goldens    compute the reference numbers again
             (python3 with torch, safetensors and numpy)
  help       this text

train, evaluate, predict, report and features take --backend, which also selects what is compiled in:
{} (default cpu); cuda:1 is the second device. With cuda,
--kernel-compiler nvrtc builds without a network: kernels are then compiled by the CUDA
toolkit of the machine that runs it, where llvm (the default) downloads a compiler now.
All their arguments go on to the program: cargo xtask train --help
",
        backend::NAMES.join("|")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_verb_of_the_program() {
        for verb in program::VERBS {
            assert!(help().contains(&format!("\n  {verb}")), "{verb}");
        }
    }
}
