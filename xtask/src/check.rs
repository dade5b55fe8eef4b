//! What a change has to pass: tests, format, lints, documentation.
//!
//! All in the release profile: the numerical tests are slow without optimisation, and with one
//! profile and one set of features Burn is compiled once for training and tests.

use std::ffi::OsString;

use anyhow::{Context, Result};

use crate::cargo::{cargo, cargo_at_root, root, run};
use crate::{offline, usage};

const BACKENDS: &str = "vulkan,cuda-nvrtc,remote";

/// `cargo test` over the workspace, with `arguments` for it.
pub(crate) fn test(arguments: &[OsString]) -> Result<()> {
    run(cargo_at_root(&["test", "--release", "--workspace"])?.args(arguments))
}

/// The long tests of stopping and resuming, `soak.rs` of the program's tests: the parts named in
/// `arguments`, or all of them.
pub(crate) fn soak(arguments: &[OsString]) -> Result<()> {
    let mut command = cargo_at_root(&["test", "--release", "--workspace", "--test", "program", "--"])?;
    command.args(["--ignored", "--nocapture", "--test-threads=1"]);
    let (mut words, mut parts) = (arguments.iter().map(|word| word.to_string_lossy()), Vec::new());
    while let Some(word) = words.next() {
        match &*word {
            "kills" | "saving" | "memory" => parts.push(format!("soak::{word}")),
            "--rounds" => {
                let number = words.next().filter(|number| number.parse::<usize>().is_ok());
                let Some(number) = number else { return usage("--rounds needs a number") };
                command.env("GRU_RCN_SOAK_ROUNDS", &*number);
            }
            "--program" => {
                let Some(file) = words.next() else { return usage("--program needs a file") };
                let path = std::fs::canonicalize(&*file).with_context(|| file.to_string())?;
                command.env("GRU_RCN_TEST_PROGRAM", path);
            }
            _ => {
                return usage(format!(
                    "soak does not know {word}; it takes kills, saving, memory, --rounds N and --program FILE"
                ));
            }
        }
    }
    if parts.is_empty() {
        parts.push("soak::".into());
    }
    run(command.args(parts))
}

/// Format, lints, documentation and packages, the cheapest first. With `--backends` also what takes many more
/// crates: the example of Burn's learner, and the lints of the program with every backend that
/// builds on Linux, without LLVM.
pub(crate) fn check(arguments: &[OsString]) -> Result<()> {
    let backends = match arguments {
        [] => false,
        [flag] if flag == "--backends" => true,
        _ => return usage("check takes --backends and nothing else"),
    };
    let mut format = cargo_at_root(&["fmt", "--all", "--check", "--"])?;
    // Modules that a macro declares are not found by rustfmt.
    for folder in ["crates/gru-rcn/src/backbone/cnn", "crates/gru-rcn/src/baselines"] {
        for entry in std::fs::read_dir(root()?.join(folder))? {
            format.arg(entry?.path());
        }
    }
    run(&mut format)?;
    run(&mut cargo_at_root(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])?)?;
    // Libraries only: the program and the library of the trainer have pages of the same name.
    let mut documentation = cargo_at_root(&["doc", "--release", "--workspace", "--no-deps", "--lib"])?;
    run(documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    // As for publishing, in the order of their dependencies; `cargo publish --workspace --dry-run` builds them too.
    let packages = ["package", "--workspace", "--exclude", "gru-rcn-tests", "--exclude", "xtask"];
    run(cargo_at_root(&packages)?.args(["--no-verify", "--allow-dirty"]))?;
    if backends {
        let learner = ["run", "--release", "--package", "gru-rcn", "--example", "learner", "--features", "train"];
        run(&mut cargo_at_root(&learner)?)?;
        let mut lints = cargo();
        lints.current_dir(offline::workspace()?).args(["clippy", "--release"]).args(offline::patch()?);
        lints.args(["--package", "gru-rcn-trainer", "--lib", "--bins", "--features", BACKENDS, "--", "-D", "warnings"]);
        run(&mut lints)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `cargo tree` lists every crate with its features. If one of the program has other features
    /// in the tests, it is compiled twice, with all that depend on it.
    #[test]
    fn program_and_tests_have_the_same_features() {
        let crates = |arguments: &[&str]| -> BTreeSet<String> {
            let mut tree = cargo_at_root(&["tree", "--prefix", "none", "--format", "{p} {f}"]).unwrap();
            let output = tree.args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let lines = String::from_utf8(output.stdout).unwrap();
            // `(*)` ends the repetition of a line.
            lines.lines().filter(|line| !line.ends_with("(*)")).map(String::from).collect()
        };
        let program = crates(&["--package", "gru-rcn-trainer", "--edges", "normal,build"]);
        let tests = crates(&["--workspace", "--edges", "normal,build,dev"]);
        let other: Vec<_> = program.difference(&tests).collect();
        assert!(program.len() > 50 && other.is_empty(), "compiled twice: {other:#?}");
    }

    /// A package holds its licences and page, and includes no file from outside, so that it builds
    /// alone.
    #[test]
    fn every_package_is_complete() {
        for folder in std::fs::read_dir(root().unwrap().join("crates")).unwrap().map(|entry| entry.unwrap().path()) {
            let mut list = cargo();
            let output = list.current_dir(&folder).args(["package", "--list", "--allow-dirty"]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let files: BTreeSet<String> = String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect();
            for name in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
                assert!(files.contains(name), "{} has no {name}", folder.display());
            }
            for file in files.iter().filter(|file| file.ends_with(".rs")) {
                let text = std::fs::read_to_string(folder.join(file)).unwrap();
                let depth = file.matches('/').count();
                for line in
                    text.lines().filter(|line| line.contains("include_str!(") || line.contains("include_bytes!("))
                {
                    assert!(line.matches("../").count() <= depth, "{} includes from outside: {line}", file);
                }
            }
        }
    }
}
