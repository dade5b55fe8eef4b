//! What a change has to pass: tests, format, lints, documentation.
//!
//! All in the release profile. The numerical tests are slow without optimisation, and with one
//! profile Burn is compiled once for tests and training together.

use crate::USAGE;
use crate::cargo::{cargo, exit_code, root, run};
use crate::offline;
use anyhow::Result;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

/// Parts of the names of the tests that make or read video files.
const VIDEO_TESTS: [&str; 13] = [
    "video::tests",
    "pure::golden",
    "pure::tests",
    "load::tests",
    "prepare::decoder::tests",
    "view_reader::tests::views_of_a_video",
    "bad_clips::",
    "bad_data::",
    "folder::",
    "prepared::",
    "real_clips::",
    "predict_names_the_most_probable_classes",
    "a_broken_clip_can_be_mended",
];

/// What `check --backends` compiles in.
const BACKENDS: &str = "ndarray,vulkan,cuda-nvrtc,remote";

/// `cargo test` over the workspace; the arguments go on to it. Without FFmpeg the tests on video files are left out, which
/// is said.
pub(crate) fn test(arguments: &[OsString]) -> Result<ExitCode> {
    let mut command = at_root(&["test", "--release", "--workspace"]);
    command.args(arguments);
    if !["ffmpeg", "ffprobe"].iter().all(|program| runs(program)) {
        eprintln!(
            "note: ffmpeg is not installed (apt install ffmpeg); SKIPPED are the tests of {}",
            VIDEO_TESTS.join(", ")
        );
        if !arguments.iter().any(|argument| argument == "--") {
            command.arg("--");
        }
        command.args(VIDEO_TESTS.iter().flat_map(|name| ["--skip", name]));
    }
    Ok(exit_code(run(&mut command)?))
}

/// Whether a program of FFmpeg's is there.
fn runs(program: &str) -> bool {
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet(Command::new(program).arg("-version")).is_ok_and(|status| status.success())
}

/// Format, lints and documentation, the cheapest first; stops at the first that fails. With `--backends` also the lints of
/// the program with every backend that builds on Linux, without LLVM.
pub(crate) fn check(arguments: &[OsString]) -> Result<ExitCode> {
    let backends = match arguments {
        [] => false,
        [flag] if flag == "--backends" => true,
        _ => {
            eprintln!("error: check takes --backends and nothing else");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let format = at_root(&["fmt", "--all", "--check"]);
    let lints = at_root(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    // Libraries only: the program `gru-rcn` would be written over the library of that name.
    let mut documentation = at_root(&["doc", "--release", "--workspace", "--no-deps", "--lib"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let mut commands = vec![format, lints, documentation];
    if backends {
        let mut lints = cargo();
        lints.current_dir(offline::workspace()?).args(["clippy", "--release"]).args(offline::patch());
        lints.args(["--package", "gru-rcn-trainer", "--lib", "--bins", "--features", BACKENDS, "--", "-D", "warnings"]);
        commands.push(lints);
    }
    for mut command in commands {
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
