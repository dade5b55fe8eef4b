//! `soak`: the long form of the tests of stopping and resuming, with runs killed without warning.
//!
//! - `kills`: runs killed at any moment and resumed, with 0, 1 and 4 reading threads, end in
//!   the same bytes as an uninterrupted run;
//! - `saving`: after a kill while a checkpoint is written, the newest complete one is readable;
//! - `memory`: over 300 epochs the memory of the process does not grow after the first 20.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{cargo_at_root, release_folder, run};
use crate::usage;

/// Files of a finished run that must not depend on interruptions, byte for byte.
const RESULTS: [&str; 5] = [
    "backbone.safetensors",
    "model.safetensors",
    "baselines/top_rnn.safetensors",
    "scores-test.safetensors",
    "baselines/scores-test-top_rnn.safetensors",
];

/// Keys of `metrics.jsonl` whose values depend on the clock.
const CLOCK: [&str; 2] = ["\"seconds\":", "\"data_wait_seconds\":"];

/// What the program prints when it resumes a stage, and when it does so within an epoch.
const RESUMED: &str = "resuming after";
const RESUMED_WITHIN_EPOCH: &str = "batches of the next";

const PARTS: [&str; 3] = ["kills", "saving", "memory"];

struct Soak {
    program: PathBuf,
    /// Kills per number of reading threads.
    rounds: usize,
    folder: PathBuf,
}

/// Runs the parts named in `arguments`, or all of them.
pub(crate) fn soak(arguments: &[OsString]) -> Result<()> {
    let mut words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
    let (mut program, mut rounds, mut parts) = (None, 20, Vec::new());
    while let Some(word) = words.next() {
        match (word.as_str(), PARTS.into_iter().find(|part| *part == word)) {
            (_, Some(part)) => parts.push(part),
            ("--rounds", _) => match words.next().and_then(|number| number.parse().ok()) {
                Some(number) => rounds = number,
                None => return usage("--rounds needs a number"),
            },
            ("--program", _) => match words.next() {
                Some(file) => program = Some(fs::canonicalize(&file).context(file)?),
                None => return usage("--program needs a file"),
            },
            _ => {
                return usage(format!(
                    "soak does not know {word}; it takes {}, --rounds N and --program FILE",
                    PARTS.join(", ")
                ));
            }
        }
    }
    if parts.is_empty() {
        parts = PARTS.to_vec();
    }
    let program = match program {
        Some(program) => program,
        None => {
            run(&mut cargo_at_root(&["build", "--release", "--package", "gru-rcn-trainer", "--bin", "gru-rcn"])?)?;
            release_folder()?.join("gru-rcn").with_extension(std::env::consts::EXE_EXTENSION)
        }
    };
    let folder = std::env::temp_dir().join(format!("gru-rcn-soak-{}", std::process::id()));
    let soak = Soak { program, rounds, folder };
    let result = soak.run(&parts);
    match &result {
        Ok(()) => fs::remove_dir_all(&soak.folder)?,
        Err(_) => eprintln!("the failed run is in {}", soak.folder.display()),
    }
    result
}

impl Soak {
    fn run(&self, parts: &[&str]) -> Result<()> {
        for part in parts {
            let started = Instant::now();
            match *part {
                "kills" => self.kills()?,
                "saving" => self.saving()?,
                _ => self.memory()?,
            }
            println!("{part}: done in {:.0} s", started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Starts or resumes the run in `folder`; standard error goes to the file `log`.
    fn start(&self, folder: &Path, changes: &[String]) -> Result<Child> {
        fs::create_dir_all(folder)?;
        let mut command = Command::new(&self.program);
        match folder.join("run/recipe.toml").exists() {
            true => command.args(["train", "--resume"]),
            false => command.args(["train", "motion-tiny"]).args(changes.iter().flat_map(|c| ["--set", c])),
        };
        command.args(["--run", "run", "--plain"]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("log"))?);
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    fn finish(&self, folder: &Path, changes: &[String]) -> Result<()> {
        let status = self.start(folder, changes)?.wait()?;
        ensure!(status.success(), "{status}: {}", log(folder));
        Ok(())
    }

    fn kills(&self) -> Result<()> {
        let uninterrupted = self.folder.join("uninterrupted");
        let started = Instant::now();
        self.finish(&uninterrupted, &[])?;
        let seconds = started.elapsed().as_secs_f64();
        println!("kills: an uninterrupted run takes {seconds:.1} s");
        let mut starts = 0;
        for workers in [0, 1, 4] {
            let changes = [format!("features.workers={workers}")];
            let (mut kills, mut runs, mut within) = (0, 0, 0);
            while kills < self.rounds {
                runs += 1;
                let folder = self.folder.join(format!("workers-{workers}-{runs}"));
                while kills < self.rounds {
                    let mut child = self.start(&folder, &changes)?;
                    starts += 1;
                    sleep(Duration::from_secs_f64(seconds * moment(starts)));
                    if let Some(status) = child.try_wait()? {
                        ensure!(status.success(), "{status}: {}", log(&folder));
                        break;
                    }
                    child.kill()?;
                    child.wait()?;
                    kills += 1;
                    within += usize::from(log(&folder).contains(RESUMED_WITHIN_EPOCH));
                }
                self.finish(&folder, &changes)?;
                ensure!(!log(&folder).contains("warning"), "{}", log(&folder));
                check_same(&uninterrupted.join("run"), &folder.join("run"))?;
                fs::remove_dir_all(&folder)?;
            }
            println!(
                "kills: {kills} kills with {workers} reading threads in {runs} runs, {within} of them after resuming within \
                 an epoch; every run ended in the same bytes and metrics"
            );
        }
        Ok(())
    }

    /// With a model so large, and a checkpoint after every step, most of the time goes into saving.
    fn saving(&self) -> Result<()> {
        let changes = [
            "training.checkpoint_steps=1",
            "training.accumulate=1",
            "training.epochs=1000",
            "training.patience=1000",
            "training.batch=36",
            "model.hidden=[96, 96]",
            "baselines.top_rnn=0",
        ]
        .map(String::from);
        let folder = self.folder.join("saving");
        let stage = folder.join("run/checkpoints/gru_rcn");
        let (mut kills, mut during, mut steps) = (0, 0, 0);
        while kills < 5 * self.rounds {
            let mut child = self.start(&folder, &changes)?;
            // After the first new checkpoint, kill at any moment while the next one is written.
            let before = newest(&stage);
            wait(&mut child, &folder, || newest(&stage) > before)?;
            wait(&mut child, &folder, || writing(&stage))?;
            sleep(Duration::from_secs_f64(0.02 * moment(kills)));
            child.kill()?;
            child.wait()?;
            kills += 1;
            during += usize::from(writing(&stage));
            let log = log(&folder);
            ensure!(!log.contains("warning"), "{log}");
            ensure!(before.is_none() || log.contains(RESUMED), "{log}");
            ensure!(newest(&stage) > before, "{before:?}: no newer checkpoint");
            steps = newest(&stage).unwrap_or(0);
        }
        println!(
            "saving: {kills} kills in {steps} steps, {during} of them with a partly written checkpoint; the newest complete one \
             was readable every time"
        );
        Ok(())
    }

    fn memory(&self) -> Result<()> {
        let changes = ["training.epochs=300", "training.patience=300", "baselines.top_rnn=0", "data.motion.train=24"]
            .map(String::from);
        let folder = self.folder.join("memory");
        let mut child = self.start(&folder, &changes)?;
        let mut resident: BTreeMap<usize, u64> = BTreeMap::new();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            let metrics = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap_or_default();
            let epochs = metrics.lines().filter(|line| line.contains(r#""stage":"gru_rcn""#)).count();
            if let (true, Some(kib)) = (epochs > 0, resident_kib(child.id())) {
                let most = resident.entry(epochs).or_default();
                *most = kib.max(*most);
            }
            sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "{status}: {}", log(&folder));
        let most = |from: usize, to: usize| resident.range(from..to).map(|(_, kib)| *kib).max().unwrap_or(0);
        let mib = |kib: u64| kib as f64 / 1024.0;
        for from in [1, 20, 100, 200, 280] {
            println!("memory: at most {:.1} MiB in the 20 epochs from {from}", mib(most(from, from + 20)));
        }
        // Scoring and the report, after the last epoch, take memory of their own.
        let (early, late) = (most(20, 40), most(280, 300));
        ensure!(early > 0 && late > 0, "resident memory could not be read; this needs Linux");
        ensure!(late as f64 <= early as f64 * 1.03, "memory grew from {:.1} to {:.1} MiB", mib(early), mib(late));
        Ok(())
    }
}

/// Waits until `ready`, while the program runs.
fn wait(child: &mut Child, folder: &Path, ready: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !ready() {
        if let Some(status) = child.try_wait()? {
            bail!("the program ended ({status}): {}", log(folder));
        }
        ensure!(started.elapsed() < Duration::from_secs(120), "no progress for 120 s: {}", log(folder));
        sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

/// Steps of the newest complete checkpoint.
fn newest(stage: &Path) -> Option<u64> {
    names(stage).filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
}

/// Whether a checkpoint is partly written.
fn writing(stage: &Path) -> bool {
    names(stage).any(|name| name.ends_with(".tmp"))
}

/// Checks that two runs have the same results and metrics.
fn check_same(uninterrupted: &Path, resumed: &Path) -> Result<()> {
    for file in RESULTS {
        let read = |run: &Path| fs::read(run.join(file)).with_context(|| format!("{}", run.join(file).display()));
        ensure!(
            read(uninterrupted)? == read(resumed)?,
            "{} differs from that of an uninterrupted run",
            resumed.join(file).display()
        );
    }
    let metrics = |run: &Path| -> Result<String> { Ok(without_clock(&fs::read_to_string(run.join("metrics.jsonl"))?)) };
    ensure!(metrics(uninterrupted)? == metrics(resumed)?, "{}: metrics.jsonl differs", resumed.display());
    Ok(())
}

/// Removes the values that depend on the clock from lines of JSON: numbers, followed by a comma.
fn without_clock(text: &str) -> String {
    let timeless = |field: &&str| !CLOCK.iter().any(|key| field.starts_with(key));
    text.split_inclusive(',').filter(timeless).collect()
}

/// Memory that a process holds; none on systems other than Linux.
fn resident_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Numbers spread evenly over [0, 1), the same in every soak: multiples of the golden ratio.
fn moment(count: usize) -> f64 {
    (count as f64 * 0.618_033_988_749_895).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_ignore_the_clock() {
        let line = r#"{"steps":3,"seconds":0.25,"loss":1.5,"data_wait_seconds":1e-5,"best":true}"#;
        assert_eq!(without_clock(line), r#"{"steps":3,"loss":1.5,"best":true}"#);
    }
}
