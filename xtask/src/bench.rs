//! Measurements against other programs: `cargo xtask bench [WORKLOAD…] [--json]`.
//!
//! Each workload is an example of the crate it measures and a script in `tests/peers` that runs the other program and the
//! example in turns, so that both have the same machine at the same time. The scripts need `python3` with what they name,
//! and the data folder that tests on real data use.

use crate::USAGE;
use crate::cargo::{cargo, exit_code, root, run, show};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Names the folder of real data.
const DATA_VARIABLE: &str = "GRU_RCN_TEST_DATA";

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    /// JPEG frames to a clip.
    Reading,
    /// Clips by several threads for a consumer.
    Loader,
    /// TV-L1 optical flow.
    TvL1,
    /// Dense inverse search.
    Dis,
}

impl Workload {
    const ALL: [(&'static str, Self); 4] =
        [("reading", Self::Reading), ("loader", Self::Loader), ("tvl1", Self::TvL1), ("dis", Self::Dis)];

    /// The example and the script.
    fn programs(self) -> (&'static str, &'static str) {
        match self {
            Self::Reading => ("bench_reading", "reading_bench.py"),
            Self::Loader => ("bench_loader", "loader_bench.py"),
            Self::TvL1 => ("bench_tvl1", "flow_bench.py"),
            Self::Dis => ("bench_dis", "flow_dis_bench.py"),
        }
    }
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    workloads: Vec<Workload>,
    json: bool,
    /// What goes on to the scripts.
    rest: Vec<OsString>,
}

impl Request {
    fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut request = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let name = word.to_string_lossy();
            if let Some((_, workload)) = Workload::ALL.iter().find(|(known, _)| *known == name) {
                request.workloads.push(*workload);
            } else if name == "--json" {
                request.json = true;
            } else if name == "--rounds" {
                request.rest.push(word.clone());
                request.rest.push(words.next().context("--rounds needs a number")?.clone());
            } else {
                let known = Workload::ALL.map(|(name, _)| name).join(", ");
                bail!("{name}: no such workload; those are {known}; options are --rounds N and --json");
            }
        }
        if request.workloads.is_empty() {
            request.workloads = Workload::ALL.map(|(_, workload)| workload).to_vec();
        }
        Ok(request)
    }
}

/// Builds what the workloads need, then measures one after the other. With `--json` standard output is one list.
pub(crate) fn bench(arguments: &[OsString]) -> Result<ExitCode> {
    let request = match Request::parse(arguments) {
        Ok(request) => request,
        Err(fault) => {
            eprintln!("error: {fault}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let data = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = data.with_context(|| format!("set {DATA_VARIABLE} to the folder that holds ucf101 and flow"))?;
    let examples = build(&request)?;
    let mut rows = Vec::new();
    for &workload in &request.workloads {
        let (example, script) = workload.programs();
        let mut command = Command::new("python3");
        command.arg(root().join("tests/peers").join(script)).arg(examples.join(example));
        command.args(input(workload, &data, &examples)?).args(&request.rest);
        if !request.json {
            let status = run(&mut command)?;
            if !status.success() {
                return Ok(exit_code(status));
            }
            continue;
        }
        command.arg("--json").stderr(Stdio::inherit());
        show(&command);
        let output = command.output().context("cannot start python3")?;
        if !output.status.success() {
            return Ok(exit_code(output.status));
        }
        rows.push(list(&String::from_utf8_lossy(&output.stdout)).with_context(|| format!("{script} printed no list"))?);
    }
    if request.json {
        println!("[{}]", rows.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the examples and returns their folder.
fn build(request: &Request) -> Result<PathBuf> {
    let mut build = cargo();
    // Of the whole workspace, so that nothing is compiled twice with other features.
    build.current_dir(root()).args(["build", "--release", "--workspace", "--example", "prepare"]);
    for workload in &request.workloads {
        build.args(["--example", workload.programs().0]);
    }
    let status = run(&mut build)?;
    ensure!(status.success(), "the examples were not built");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(root().join(target).join("release/examples"))
}

/// The arguments that tell a script its data. Frames are made of videos where there are none yet.
fn input(workload: Workload, data: &Path, examples: &Path) -> Result<Vec<OsString>> {
    let flow = |name: &str| data.join("flow").join(name).into_os_string();
    Ok(match workload {
        Workload::Reading | Workload::Loader => vec![frames(data, examples)?.into_os_string()],
        Workload::TvL1 => vec!["--frames".into(), flow("frames"), "--truth".into(), flow("truth")],
        Workload::Dis => vec![flow("frames"), flow("truth")],
    })
}

/// Prepared frames of the class Diving, as `prepare` writes them.
fn frames(data: &Path, examples: &Path) -> Result<PathBuf> {
    // Of the target folder, two above that of the examples.
    let prepared = examples.ancestors().nth(2).unwrap_or(examples).join("bench/ucf101");
    let frames = prepared.join("frames/Diving");
    if !prepared.join("manifest.jsonl").is_file() {
        let mut prepare = Command::new(examples.join("prepare"));
        prepare.arg("ucf101").arg(data.join("ucf101")).arg(&prepared).stdout(Stdio::null());
        ensure!(run(&mut prepare)?.success(), "{} could not be prepared", data.join("ucf101").display());
    }
    ensure!(frames.is_dir(), "{} is not there; remove {} and try again", frames.display(), prepared.display());
    Ok(frames)
}

/// What stands between the brackets of a JSON list.
fn list(text: &str) -> Option<String> {
    Some(text.trim().strip_prefix('[')?.strip_suffix(']')?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request> {
        Request::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn workloads_are_chosen_by_name() {
        assert_eq!(parse("").unwrap().workloads.len(), Workload::ALL.len());
        let request = parse("dis --json reading --rounds 3").unwrap();
        assert_eq!(request.workloads, [Workload::Dis, Workload::Reading]);
        assert!(request.json && request.rest == ["--rounds", "3"]);
        let error = parse("speed").unwrap_err().to_string();
        assert!(error.contains("speed: no such workload") && error.contains("tvl1"), "{error}");
        assert!(parse("--rounds").is_err());
    }

    #[test]
    fn every_script_is_there() {
        for (_, workload) in Workload::ALL {
            assert!(root().join("tests/peers").join(workload.programs().1).is_file(), "{workload:?}");
        }
    }

    #[test]
    fn lists_are_joined() {
        assert_eq!(list("[{\"a\": 1}]\n"), Some("{\"a\": 1}".to_owned()));
        assert_eq!(list("skipped"), None);
    }
}
