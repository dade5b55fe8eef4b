//! Measurements against other programs: `cargo xtask bench [WORKLOAD…] [--json]`.
//!
//! Each workload is an example or the program itself, and a script in `tests/peers` that runs the
//! other program and ours in turns, so that both have the same machine at the same time. The
//! scripts need `python3` with the modules that they import, and most of them the data folder of
//! the tests on real data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo_at_root, check, release_folder, root, run, show};
use crate::usage;

const DATA_VARIABLE: &str = "GRU_RCN_TEST_DATA";

#[derive(Debug, PartialEq, Eq)]
struct Workload {
    name: &'static str,
    /// None for a workload of the program itself.
    examples: &'static [&'static str],
    script: &'static str,
    input: Input,
}

/// What a script reads of the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Nothing,
    /// Frames of videos.
    Frames,
    /// Pairs of pictures and their flow.
    Flow,
    /// The whole folder.
    Folder,
}

const WORKLOADS: [Workload; 6] = [
    // JPEG frames to a clip.
    Workload { name: "reading", examples: &["bench_reading"], script: "reading_bench.py", input: Input::Frames },
    // Clips by several threads for a consumer.
    Workload { name: "loader", examples: &["bench_loader"], script: "loader_bench.py", input: Input::Frames },
    // Optical flow.
    Workload { name: "tvl1", examples: &["bench_flow"], script: "flow_bench.py", input: Input::Flow },
    Workload { name: "dis", examples: &["bench_flow"], script: "flow_dis_bench.py", input: Input::Flow },
    // Networks and recurrent layers on the CPU.
    Workload { name: "ops", examples: &["bench_ops", "bench_model"], script: "ops_bench.py", input: Input::Nothing },
    // A whole training.
    Workload { name: "recipe", examples: &[], script: "recipe_bench.py", input: Input::Folder },
];

#[derive(Debug, Default)]
struct Options {
    workloads: Vec<&'static Workload>,
    json: bool,
    /// Arguments for the scripts.
    rest: Vec<OsString>,
}

impl Options {
    fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let name = word.to_string_lossy();
            if let Some(workload) = WORKLOADS.iter().find(|workload| workload.name == name) {
                options.workloads.push(workload);
            } else if name == "--json" {
                options.json = true;
            } else if name == "--rounds" {
                let Some(rounds) = words.next() else { return usage("--rounds needs a number") };
                options.rest.extend([word.clone(), rounds.clone()]);
            } else {
                let known = WORKLOADS.map(|workload| workload.name).join(", ");
                return usage(format!(
                    "{name}: no such workload; those are {known}; options are --rounds N and --json"
                ));
            }
        }
        if options.workloads.is_empty() {
            options.workloads = WORKLOADS.iter().collect();
        }
        Ok(options)
    }

    /// The data folder, empty where no workload reads any.
    fn data(&self, variable: Option<OsString>) -> Result<PathBuf> {
        if self.workloads.iter().all(|workload| workload.input == Input::Nothing) {
            return Ok(PathBuf::new());
        }
        let data = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        data.with_context(|| {
            format!("set {DATA_VARIABLE} to the folder that holds ucf101, flow, egogestar and weights")
        })
    }
}

/// Builds the examples, then measures one workload after the other. `--json` prints one list.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let data = options.data(std::env::var_os(DATA_VARIABLE))?;
    // Of the whole workspace, so that nothing is compiled twice with other features.
    let mut build = cargo_at_root(&["build", "--release", "--workspace"])?;
    if options.workloads.iter().any(|workload| workload.input == Input::Frames) {
        build.args(["--example", "prepare"]);
    }
    if options.workloads.iter().any(|workload| workload.examples.is_empty()) {
        build.arg("--bins");
    }
    run(build
        .args(options.workloads.iter().flat_map(|workload| workload.examples).flat_map(|name| ["--example", name])))?;
    let release = release_folder()?;
    let mut lists = Vec::new();
    for workload in &options.workloads {
        let mut command = Command::new("python3");
        command.arg(root()?.join("tests/peers").join(workload.script));
        match workload.examples {
            [] => command.arg(release.join("gru-rcn")),
            names => command.args(names.iter().map(|name| release.join("examples").join(name))),
        };
        command.args(input(workload.input, &data, &release)?).args(&options.rest);
        if !options.json {
            run(&mut command)?;
            continue;
        }
        show(command.arg("--json"));
        let output = command.stderr(Stdio::inherit()).output().context("cannot start python3")?;
        check(output.status)?;
        let list = list(&String::from_utf8_lossy(&output.stdout));
        lists.push(list.with_context(|| format!("{} printed no list", workload.script))?);
    }
    if options.json {
        println!("[{}]", lists.join(", "));
    }
    Ok(())
}

/// The arguments that name the data for a script.
fn input(input: Input, data: &Path, release: &Path) -> Result<Vec<OsString>> {
    Ok(match input {
        Input::Nothing => Vec::new(),
        Input::Folder => vec![data.into()],
        Input::Frames => vec![frames(data, release)?.into_os_string()],
        Input::Flow => ["frames", "truth"].map(|name| data.join("flow").join(name).into()).into(),
    })
}

/// The frames of the class Diving, prepared from the videos on first use.
fn frames(data: &Path, release: &Path) -> Result<PathBuf> {
    let prepared = release.with_file_name("bench").join("ucf101");
    let frames = prepared.join("frames/Diving");
    if !prepared.join("manifest.jsonl").is_file() {
        let mut prepare = Command::new(release.join("examples/prepare"));
        run(prepare.arg("ucf101").arg(data.join("ucf101")).arg(&prepared).stdout(Stdio::null()))?;
    }
    ensure!(frames.is_dir(), "{} is missing; remove {} and try again", frames.display(), prepared.display());
    Ok(frames)
}

/// The elements of a JSON list, without its brackets.
fn list(text: &str) -> Option<String> {
    Some(text.trim().strip_prefix('[')?.strip_suffix(']')?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn selects_workloads_by_name() {
        assert_eq!(parse("").unwrap().workloads.len(), WORKLOADS.len());
        let options = parse("dis --json reading --rounds 3").unwrap();
        assert_eq!(options.workloads, [&WORKLOADS[3], &WORKLOADS[0]]);
        assert!(options.json && options.rest == ["--rounds", "3"]);
        let error = parse("speed").unwrap_err().to_string();
        assert!(error.contains("speed: no such workload") && error.contains("tvl1"), "{error}");
        assert!(parse("--rounds").is_err());
    }

    #[test]
    fn asks_for_the_data_folder_only_where_a_workload_reads_it() {
        assert_eq!(parse("ops --rounds 2").unwrap().data(None).unwrap(), PathBuf::new());
        for line in ["ops reading", "dis", ""] {
            let error = parse(line).unwrap().data(Some(OsString::new())).unwrap_err().to_string();
            assert!(error.contains(DATA_VARIABLE), "{error}");
        }
        assert_eq!(parse("tvl1").unwrap().data(Some("folder".into())).unwrap(), PathBuf::from("folder"));
    }

    #[test]
    fn every_script_exists() {
        for workload in &WORKLOADS {
            assert!(root().unwrap().join("tests/peers").join(workload.script).is_file(), "{workload:?}");
        }
    }

    #[test]
    fn removes_the_brackets_of_a_list() {
        assert_eq!(list("[{\"a\": 1}]\n"), Some("{\"a\": 1}".to_owned()));
        assert_eq!(list("skipped"), None);
    }
}
