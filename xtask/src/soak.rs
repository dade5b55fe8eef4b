//! `soak`: the long form of the tests of stopping and going on. It drives the program as somebody does who pulls the plug.
//!
//! - `kills`: runs killed at random moments, with 0, 1 and 4 threads that read, end in the same bytes as one that was not;
//! - `saving`: of runs killed while a checkpoint is written, the newest is whole every time;
//! - `memory`: over 300 epochs the memory of the process does not grow after the first 20.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::backend::KernelCompiler;
use crate::program;

/// What a run leaves that must be the same, byte for byte.
const OUTCOME: [&str; 5] = [
    "backbone.safetensors",
    "model.safetensors",
    "baselines/top_rnn.safetensors",
    "scores-test.safetensors",
    "baselines/scores-test-top_rnn.safetensors",
];

/// Keys of `metrics.jsonl` that tell of the clock.
const CLOCK: [&str; 2] = ["\"seconds\":", "\"data_wait_seconds\":"];

/// What is asked for.
struct Plan {
    program: PathBuf,
    /// Kills per number of reading threads.
    rounds: usize,
    parts: Vec<String>,
    folder: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let mut words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
    let (mut program, mut rounds, mut parts) = (None, 20, Vec::new());
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--rounds" => rounds = value()?.parse().context("--rounds needs a number")?,
            "--program" => program = Some(PathBuf::from(value()?)),
            "kills" | "saving" | "memory" => parts.push(word),
            _ => bail!("soak does not know {word}; it takes kills, saving, memory, --rounds N and --program FILE"),
        }
    }
    if parts.is_empty() {
        parts = ["kills", "saving", "memory"].map(String::from).to_vec();
    }
    let program = match program {
        Some(program) => fs::canonicalize(&program).with_context(|| format!("{}", program.display()))?,
        None => match program::build(None, KernelCompiler::Llvm)? {
            Ok(program) => program,
            Err(failed) => return Ok(failed),
        },
    };
    let folder = std::env::temp_dir().join(format!("gru-rcn-soak-{}", std::process::id()));
    let plan = Plan { program, rounds, parts, folder };
    let outcome = plan.all();
    match &outcome {
        Ok(()) => fs::remove_dir_all(&plan.folder)?,
        Err(_) => eprintln!("what was found is in {}", plan.folder.display()),
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

impl Plan {
    fn all(&self) -> Result<()> {
        for part in &self.parts {
            let started = Instant::now();
            match part.as_str() {
                "kills" => self.kills()?,
                "saving" => self.saving()?,
                _ => self.memory()?,
            }
            println!("{part}: done in {:.0} s", started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// The program in a folder of its own, with what it tells in the file `told`.
    fn start(&self, folder: &Path, changes: &[String]) -> Result<Child> {
        fs::create_dir_all(folder)?;
        let mut command = Command::new(&self.program);
        match folder.join("run/recipe.toml").exists() {
            true => command.args(["train", "--resume"]),
            false => command.args(["train", "motion-tiny"]).args(changes.iter().flat_map(|c| ["--set", c])),
        };
        command.args(["--run", "run", "--plain"]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("told"))?);
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Runs to the end.
    fn finish(&self, folder: &Path, changes: &[String]) -> Result<()> {
        let status = self.start(folder, changes)?.wait()?;
        ensure!(status.success(), "{status}: {}", told(folder));
        Ok(())
    }

    fn kills(&self) -> Result<()> {
        let whole = self.folder.join("whole");
        let started = Instant::now();
        self.finish(&whole, &[])?;
        let seconds = started.elapsed().as_secs_f64();
        println!("kills: a run in one piece takes {seconds:.1} s");
        let mut random = Random(1);
        for workers in [0, 1, 4] {
            let changes = [format!("features.workers={workers}")];
            let (mut kills, mut runs, mut within) = (0, 0, 0);
            while kills < self.rounds {
                runs += 1;
                let folder = self.folder.join(format!("workers-{workers}-{runs}"));
                while kills < self.rounds {
                    let mut child = self.start(&folder, &changes)?;
                    sleep(Duration::from_secs_f64(seconds * random.next()));
                    if let Some(status) = child.try_wait()? {
                        ensure!(status.success(), "{status}: {}", told(&folder));
                        break;
                    }
                    child.kill()?;
                    child.wait()?;
                    kills += 1;
                    within += usize::from(told(&folder).contains("batches of the next"));
                }
                self.finish(&folder, &changes)?;
                ensure!(!told(&folder).contains("warning"), "{}", told(&folder));
                same(&whole.join("run"), &folder.join("run"))?;
                fs::remove_dir_all(&folder)?;
            }
            println!(
                "kills: {kills} kills with {workers} reading threads in {runs} runs, {within} of them after going on within \
                 an epoch; every run ended in the same bytes and metrics"
            );
        }
        Ok(())
    }

    /// A model large enough that it is mostly saved, after every step.
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
        let mut random = Random(2);
        let (mut kills, mut during, mut steps) = (0, 0, 0);
        while kills < 5 * self.rounds {
            let mut child = self.start(&folder, &changes)?;
            // Once it has gone on, the moment at which a checkpoint is begun; then one while it is written.
            let before = newest(&stage);
            wait(&mut child, &folder, || newest(&stage) > before)?;
            wait(&mut child, &folder, || writing(&stage))?;
            sleep(Duration::from_secs_f64(0.02 * random.next()));
            child.kill()?;
            child.wait()?;
            kills += 1;
            during += usize::from(writing(&stage));
            let told = told(&folder);
            ensure!(!told.contains("warning"), "{told}");
            ensure!(before.is_none() || told.contains("going on after"), "{told}");
            ensure!(newest(&stage) > before, "{before:?}: no newer checkpoint");
            steps = newest(&stage).unwrap_or(0);
        }
        println!(
            "saving: {kills} kills, {during} of them with a checkpoint half written; the newest was whole every time, {steps} \
             steps in all"
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
            let told = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap_or_default();
            let epochs = told.lines().filter(|line| line.contains(r#""stage":"gru_rcn""#)).count();
            if let (true, Some(kib)) = (epochs > 0, resident_kib(child.id())) {
                let most = resident.entry(epochs).or_default();
                *most = kib.max(*most);
            }
            sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "{status}: {}", told(&folder));
        let most = |from: usize, to: usize| resident.range(from..to).map(|(_, kib)| *kib).max().unwrap_or(0);
        let mib = |kib: u64| kib as f64 / 1024.0;
        for from in [1, 20, 100, 200, 280] {
            println!("memory: at most {:.1} MiB in the 20 epochs from {from} on", mib(most(from, from + 20)));
        }
        // What comes after the last epoch, scoring and the report, takes memory of its own.
        let (early, late) = (most(20, 40), most(280, 300));
        ensure!(early > 0 && late > 0, "resident memory could not be read; this needs Linux");
        ensure!(late as f64 <= early as f64 * 1.03, "it grew from {:.1} to {:.1} MiB", mib(early), mib(late));
        Ok(())
    }
}

/// Waits for something that the program does.
fn wait(child: &mut Child, folder: &Path, ready: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !ready() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended ({status}): {}", told(folder));
        }
        ensure!(started.elapsed() < Duration::from_secs(120), "nothing happens: {}", told(folder));
        sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn told(folder: &Path) -> String {
    fs::read_to_string(folder.join("told")).unwrap_or_default()
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

/// Steps of the newest checkpoint that has its name.
fn newest(stage: &Path) -> Option<u64> {
    names(stage).filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
}

/// Whether a checkpoint is being written.
fn writing(stage: &Path) -> bool {
    names(stage).any(|name| name.ends_with(".tmp"))
}

/// Checks that two runs ended in the same way.
fn same(whole: &Path, pieces: &Path) -> Result<()> {
    for file in OUTCOME {
        let read = |run: &Path| fs::read(run.join(file)).with_context(|| format!("{}", run.join(file).display()));
        ensure!(read(whole)? == read(pieces)?, "{} differs from a run in one piece", pieces.join(file).display());
    }
    let course = |run: &Path| -> Result<String> { Ok(without_clock(&fs::read_to_string(run.join("metrics.jsonl"))?)) };
    ensure!(course(whole)? == course(pieces)?, "{}: metrics.jsonl differs", pieces.display());
    Ok(())
}

/// Lines of JSON without what they tell of the clock: numbers, which end at a comma.
fn without_clock(text: &str) -> String {
    let mut text = text.to_string();
    for key in CLOCK {
        while let Some(at) = text.find(key) {
            let end = text[at..].find(',').map_or(text.len(), |length| at + length + 1);
            text.replace_range(at..end, "");
        }
    }
    text
}

#[cfg(target_os = "linux")]
fn resident_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn resident_kib(_process: u32) -> Option<u64> {
    None
}

/// Numbers from 0 to below 1, the same in every soak (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_left_out_of_comparisons() {
        let line = r#"{"steps":3,"seconds":0.25,"loss":1.5,"data_wait_seconds":1e-5,"best":true}"#;
        assert_eq!(without_clock(line), r#"{"steps":3,"loss":1.5,"best":true}"#);
    }
}
