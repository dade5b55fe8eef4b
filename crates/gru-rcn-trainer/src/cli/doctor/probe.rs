//! Probes a backend's devices in a child process, so that a broken driver ends only that process.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::smoke::{Smoke, smoke};
use crate::cli::shared::this_program;
use crate::device::backend::Backend;

/// Longest time for one backend. Kernels are compiled, and tuned if autotuning is built in.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct FoundDevice {
    /// Its name, or Burn's description of it.
    pub(crate) name: String,
    /// Whether it is a graphics driver that computes on the CPU.
    pub(crate) software: bool,
}

/// The output of the child process.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(super) struct Probe {
    pub(crate) devices: Vec<FoundDevice>,
    pub(crate) smoke: Option<Smoke>,
    pub(crate) error: Option<String>,
}

/// The work of the child process: prints a [`Probe`] as one line.
pub(super) fn answer(backend: Backend, compute: bool) -> Result<()> {
    let devices = backend.devices();
    let mut probe =
        Probe { devices: devices.iter().map(|device| found(backend, device)).collect(), ..Probe::default() };
    if compute && !devices.is_empty() {
        match backend.device().and_then(|device| smoke(&device)) {
            Ok(smoke) => probe.smoke = Some(smoke),
            Err(error) => probe.error = Some(format!("{error:#}")),
        }
    }
    println!("{}", serde_json::to_string(&probe)?);
    Ok(())
}

fn found(backend: Backend, device: &Device) -> FoundDevice {
    let name = match backend {
        Backend::Cpu => "Burn's flex".to_string(),
        Backend::Ndarray => "Burn's ndarray".to_string(),
        _ => named(device),
    };
    let graphics = !matches!(backend, Backend::Cpu | Backend::Ndarray | Backend::Cuda(_));
    let lower = name.to_lowercase();
    let software = graphics && ["llvmpipe", "lavapipe", "swiftshader", "warp", "cpu"].iter().any(|n| lower.contains(n));
    FoundDevice { name, software }
}

#[cfg(feature = "_gpu")]
fn named(device: &Device) -> String {
    device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name)
}

#[cfg(not(feature = "_gpu"))]
fn named(device: &Device) -> String {
    format!("{device:?}")
}

/// Starts this program again for one backend and reads its answer.
pub(super) fn ask(backend: Backend, compute: bool) -> Probe {
    let answer = run(backend, compute);
    answer.unwrap_or_else(|error| Probe { error: Some(format!("{error:#}")), ..Probe::default() })
}

fn run(backend: Backend, compute: bool) -> Result<Probe> {
    let mut command = this_program()?;
    command.args(["doctor", "--probe", &backend.to_string()]);
    if !compute {
        command.arg("--quick");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start this program once more")?;
    // Both pipes are read while it runs, because a full pipe would block it.
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().ok();
            child.wait().ok();
            bail!("no answer after {} minutes", PATIENCE.as_secs() / 60);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    let last = out.lines().rev().find(|line| line.starts_with('{'));
    if let (true, Some(line)) = (status.success(), last) {
        return serde_json::from_str(line).context("its answer cannot be read");
    }
    let complaint: Vec<&str> =
        err.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("note:")).collect();
    bail!("{status}: {}", complaint[complaint.len().saturating_sub(3)..].join(" "))
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
