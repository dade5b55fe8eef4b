//! Probes a backend's devices in a child process, so that a broken driver ends only that process.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::smoke::{Smoke, smoke};
use crate::cli::shared::this_program;
use crate::device::backend::Backend;
use crate::output::{describe, note, say};

/// Longest time for one backend, which compiles its kernels, and tunes them if autotuning is built in.
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

/// The work of the child process: prints a [`Probe`] as one line. A driver that hangs cannot hold
/// it longer than [`PATIENCE`].
pub(super) fn answer(backend: Backend, compute: bool) -> Result<()> {
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        note!("no answer after {} minutes", PATIENCE.as_secs() / 60);
        std::process::abort();
    });
    let devices = backend.devices();
    let mut probe =
        Probe { devices: devices.iter().map(|device| found(backend, device)).collect(), ..Probe::default() };
    if compute && !devices.is_empty() {
        match backend.device().and_then(|device| smoke(&device)) {
            Ok(smoke) => probe.smoke = Some(smoke),
            Err(error) => probe.error = Some(describe(&error)),
        }
    }
    say!("{}", serde_json::to_string(&probe)?)
}

fn found(backend: Backend, device: &Device) -> FoundDevice {
    let name = match backend {
        Backend::Cpu => "Burn's flex".to_string(),
        #[cfg(feature = "_gpu")]
        _ => device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name),
        #[cfg(not(feature = "_gpu"))]
        _ => format!("{device:?}"),
    };
    let graphics = !matches!(backend, Backend::Cpu | Backend::Cuda(_));
    let lower = name.to_lowercase();
    let software = graphics && ["llvmpipe", "lavapipe", "swiftshader", "warp", "cpu"].iter().any(|n| lower.contains(n));
    FoundDevice { name, software }
}

/// Starts this program again for one backend and reads its answer.
pub(super) fn ask(backend: Backend, compute: bool) -> Probe {
    let answer = run(backend, compute);
    answer.unwrap_or_else(|error| Probe { error: Some(describe(&error)), ..Probe::default() })
}

fn run(backend: Backend, compute: bool) -> Result<Probe> {
    let mut command = this_program()?;
    command.args(["doctor", "--probe", &backend.to_string()]);
    if !compute {
        command.arg("--quick");
    }
    let output = command.output().context("cannot start this program once more")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = out.lines().rev().find(|line| line.starts_with('{'));
    if let (true, Some(line)) = (output.status.success(), last) {
        return serde_json::from_str(line).context("its answer cannot be read");
    }
    let complaint: Vec<&str> =
        err.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("note:")).collect();
    bail!("{}: {}", output.status, complaint[complaint.len().saturating_sub(3)..].join(" "))
}
