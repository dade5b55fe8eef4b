//! `compare-backends`: compares the losses of the same recipe on every backend, for a few steps.
//!
//! The recipe is a small one on the built-in motion data, with one step per epoch, so that the
//! metrics of a run contain the loss of every step. The CNN is trained once, on the CPU, because
//! its dropout draws different numbers on every backend. Each backend then computes the percepts and
//! trains the GRU-RCN without dropout, from the same initial weights. Several devices that share
//! the batch are compared in the same way.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::shared::{print_json, this_program};
use crate::device::backend::Backend;
use crate::output::{note, say};
use crate::run::dir::METRICS;
use crate::signals::Faults;

/// Largest allowed relative difference of a loss after twenty steps of Adam in float32. The
/// backends sum in different orders, and Adam divides each gradient by its own size: a difference
/// in the last digit of a gradient near zero can become one in the fourth digit of a weight.
const TOLERANCE: f64 = 1e-3;

/// Clips, all in one batch.
const CLIPS: usize = 48;

/// A backend, or several whose devices share each batch, such as `cuda:0+cuda:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Devices(Vec<Backend>);

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('+').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined("+"))
    }
}

impl Devices {
    fn joined(&self, by: &str) -> String {
        self.0.iter().map(Backend::to_string).collect::<Vec<_>>().join(by)
    }
}

#[derive(Args, Debug)]
pub(super) struct CompareBackendsArgs {
    /// The backends to compare, such as `wgpu,cuda:0+cuda:1`; devices joined by `+` share each
    /// batch. By default all that are built in and have a device.
    #[arg(long, value_delimiter = ',')]
    backends: Vec<Devices>,
    /// Start N CPU servers in child processes, and compare the first alone and all together.
    #[arg(long, value_name = "N", default_value_t = 0)]
    serve: usize,
    /// Steps of training.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Largest relative difference of a loss from that of cpu.
    #[arg(long, default_value_t = TOLERANCE)]
    tolerance: f64,
    /// Keep the runs in this folder, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The output of `compare-backends --json`.
#[derive(Serialize)]
struct Comparison {
    steps: usize,
    tolerance: f64,
    backends: Vec<Course>,
    ok: bool,
}

#[derive(Serialize)]
struct Course {
    name: String,
    losses: Vec<f64>,
    validation_losses: Vec<f64>,
    /// Largest relative difference of any of these losses from that of cpu.
    difference: f64,
    /// Seconds of the run, start-up and compilation of kernels included.
    seconds: f64,
}

impl CompareBackendsArgs {
    /// The exit code is 1 if losses differ too much.
    pub(super) fn run(&self) -> Result<()> {
        ensure!(self.steps > 0, "--steps is 0; compare at least one");
        let mut backends = self.backends()?;
        let temporary;
        let folder = match &self.keep {
            Some(folder) => {
                ensure!(!folder.exists(), "{} exists already; name a new folder with --keep", folder.display());
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                folder
            }
            None => {
                temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
                temporary.path()
            }
        };
        let servers = serve(self.serve, folder)?;
        let remote: Vec<Backend> = servers.iter().map(|server| Backend::Remote(server.address)).collect();
        backends.extend(remote.first().map(|first| Devices(vec![*first])));
        backends.extend((remote.len() > 1).then_some(Devices(remote)));
        let comparison = self.compare(&backends, folder)?;
        if self.json {
            print_json(&comparison)?;
        } else {
            say!("{}", table(&comparison).trim_end())?;
        }
        ensure!(comparison.ok, Faults("the backends' losses are further apart than --tolerance".into()));
        Ok(())
    }

    /// The backends to compare, cpu first.
    fn backends(&self) -> Result<Vec<Devices>> {
        let cpu = Devices(vec![Backend::Cpu]);
        let mut backends = vec![cpu.clone()];
        if self.backends.is_empty() && self.serve == 0 {
            let others = Backend::ALL.into_iter().filter(|backend| *backend != Backend::Cpu);
            backends
                .extend(others.filter(|backend| !backend.devices().is_empty()).map(|backend| Devices(vec![backend])));
            ensure!(
                backends.len() > 1,
                "this build has no other backend than cpu, or no device for it; run `cargo xtask compare-backends`, which \
                 builds in wgpu"
            );
        } else {
            for devices in self.backends.iter().filter(|devices| **devices != cpu) {
                for device in &devices.0 {
                    // The error says how to get a missing backend.
                    device.device()?;
                }
                backends.push(devices.clone());
            }
        }
        Ok(backends)
    }

    fn compare(&self, backends: &[Devices], folder: &Path) -> Result<Comparison> {
        let mut courses: Vec<Course> = Vec::new();
        for backend in backends {
            note!("{} steps on {backend}", self.steps);
            let run = folder.join(backend.to_string().replace([':', '+'], "-"));
            let started = Instant::now();
            if courses.is_empty() {
                train(&run, backend, &first(self.steps))?;
            } else {
                fs::create_dir_all(&run)?;
                for file in ["recipe.toml", "backbone.safetensors"] {
                    fs::copy(folder.join("cpu").join(file), run.join(file)).with_context(|| file.to_string())?;
                }
                train(&run, backend, &["--resume".into()])?;
            }
            let (losses, validation_losses) = losses(&run)?;
            let difference = courses.first().map_or(0.0, |cpu| {
                let of_validation = largest_difference(&validation_losses, &cpu.validation_losses);
                largest_difference(&losses, &cpu.losses).max(of_validation)
            });
            let seconds = started.elapsed().as_secs_f64();
            courses.push(Course { name: backend.to_string(), losses, validation_losses, difference, seconds });
        }
        let ok = courses.iter().all(|course| course.difference <= self.tolerance);
        Ok(Comparison { steps: self.steps, tolerance: self.tolerance, backends: courses, ok })
    }
}

fn serve(count: usize, folder: &Path) -> Result<Vec<Server>> {
    if count > 0 {
        Backend::Remote(([127, 0, 0, 1], 0).into()).require()?;
    }
    (0..count).map(|server| Server::start(&folder.join(format!("serve-{server}.log")))).collect()
}

/// The arguments of the first run, which makes the recipe and the CNN for all.
fn first(steps: usize) -> Vec<String> {
    let mut arguments = vec!["motion".to_string()];
    let changes = [
        format!("data.motion.train={CLIPS}"),
        "data.motion.validation=16".into(),
        "data.motion.test=16".into(),
        "backbone.pretrain.epochs=2".into(),
        "backbone.pretrain.patience=2".into(),
        "model.dropout=0.0".into(),
        format!("training.batch={CLIPS}"),
        format!("training.epochs={steps}"),
        format!("training.patience={steps}"),
        "baselines.frame=false".into(),
        "baselines.top_rnn=0".into(),
    ];
    arguments.extend(changes.into_iter().flat_map(|change| ["--set".to_string(), change]));
    arguments
}

/// Trains in a child process: the settings of a backend apply to a whole process, and a failure may end it.
fn train(run: &Path, backend: &Devices, arguments: &[String]) -> Result<()> {
    let log = run.with_extension("log");
    let log_file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = this_program()?;
    command
        .arg("train")
        .args(arguments)
        .args(["--plain", "--json", "--devices", &backend.joined(","), "--run"])
        .arg(run);
    let status = command.stdout(Stdio::null()).stderr(log_file).status()?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        bail!("{backend}: {status}\n{}", lines[lines.len().saturating_sub(8)..].join("\n"));
    }
    Ok(())
}

/// Training and validation losses of the GRU-RCN, step by step.
fn losses(run: &Path) -> Result<(Vec<f64>, Vec<f64>)> {
    let path = run.join(METRICS);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| path.display().to_string())?;
        if line["stage"] == "gru_rcn" {
            training.push(line["train"]["loss"].as_f64().unwrap_or(f64::NAN));
            validation.push(line["validation"]["loss"].as_f64().unwrap_or(f64::NAN));
        }
    }
    Ok((training, validation))
}

/// The largest relative difference; infinite if the lengths differ or a difference is not finite.
fn largest_difference(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let relative = found.iter().zip(expected).map(|(f, e)| (f - e).abs() / e.abs());
    relative.fold(0.0, |worst, off| if off.is_finite() { f64::max(worst, off) } else { f64::INFINITY })
}

fn table(comparison: &Comparison) -> String {
    let width = |course: &Course| course.name.len().max(12);
    let mut text = format!("{:>6}", "step");
    for course in &comparison.backends {
        text += &format!("  {:>1$}", course.name, width(course));
    }
    text.push('\n');
    for step in 0..comparison.steps {
        text += &format!("{:>6}", step + 1);
        for course in &comparison.backends {
            text += &match course.losses.get(step) {
                Some(loss) => format!("  {loss:>0$.7}", width(course)),
                None => format!("  {:>1$}", "-", width(course)),
            };
        }
        text.push('\n');
    }
    for course in &comparison.backends {
        text += &format!(
            "{}: {:.1e} off cpu at most, validation losses included; {:.1} s\n",
            course.name, course.difference, course.seconds
        );
    }
    text
}

/// Longest time until a server listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `gru-rcn serve` on a free port of the loopback interface. Dropping it ends the process.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(log: &Path) -> Result<Self> {
        let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = this_program()?;
        command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(file);
        let process = command.spawn().context("cannot start a server")?;
        let mut server = Self { process, address: ([127, 0, 0, 1], 0).into() };
        let started = Instant::now();
        loop {
            let output = fs::read_to_string(log).unwrap_or_default();
            if let Some(found) = address(&output) {
                server.address = found;
                return Ok(server);
            }
            if let Some(status) = server.process.try_wait()? {
                bail!("serve: {status}\n{output}");
            }
            ensure!(started.elapsed() < PATIENCE, "serve prints no address after {} s:\n{output}", PATIENCE.as_secs());
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The address in the line `serving on ADDRESS; …`.
fn address(output: &str) -> Option<SocketAddr> {
    let (_, rest) = output.split_once("serving on ")?;
    rest.split_once(';')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.2 differs from 2 by a tenth.
    #[test]
    fn differences_by_hand() {
        assert!((largest_difference(&[1.0, 2.2], &[1.0, 2.0]) - 0.1).abs() < 1e-12);
        assert_eq!(largest_difference(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(largest_difference(&[f64::NAN], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn devices_are_joined_by_plus_signs() {
        let devices: Devices = "cpu+cuda:1".parse().unwrap();
        assert_eq!((devices.joined(","), devices.to_string()), ("cpu,cuda:1".into(), "cpu+cuda:1".into()));
        assert!("cpu+".parse::<Devices>().is_err());
    }

    #[test]
    fn the_recipe_of_the_first_run_is_valid() {
        let arguments = first(3);
        let changes: Vec<String> = arguments[1..].iter().filter(|word| *word != "--set").cloned().collect();
        let recipe: crate::recipe::Recipe = crate::recipe::load(&arguments[0], &changes).unwrap();
        assert_eq!((recipe.training.epochs, recipe.training.batch), (3, CLIPS));
        assert_eq!(recipe.model.dropout, 0.0);
    }

    #[test]
    fn the_address_is_known_once_its_line_is_whole() {
        assert_eq!(address("serving on 127.0.0.1:30"), None);
        let output = "serving on 127.0.0.1:3000; use it by --backend remote:127.0.0.1:3000; Ctrl-C ends it\n";
        assert_eq!(address(output), Some("127.0.0.1:3000".parse().unwrap()));
    }
}
