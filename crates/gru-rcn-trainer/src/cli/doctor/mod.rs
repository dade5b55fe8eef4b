//! `doctor`: the abilities of this program on this machine, and whether its backends compute
//! correctly.

mod probe;
mod smoke;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use gru_rcn_data::{Ffmpeg, VideoDecoder, free_bytes};
use serde::Serialize;

use super::shared::{DeviceArgs, print_json};
use crate::device::backend::Backend;
use crate::experiment::data::absolute;
use crate::output::say;
use crate::preflight;
use crate::run::card::BURN;
use crate::signals::Faults;
use probe::Probe;

const NO_DEVICE: &str = "built in, no device found; is a driver installed?";

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// List the devices, but compute nothing.
    #[arg(long)]
    quick: bool,
    /// Folder of all runs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Probes one backend; `doctor` starts itself with this option in a child process for each.
    #[arg(long, hide = true)]
    probe: Option<Backend>,
}

impl DoctorArgs {
    /// The backend of Burn's default device.
    pub(super) fn backend(&self) -> Backend {
        self.probe.unwrap_or(self.device.backend)
    }

    /// The exit code is 1 if a backend fails on a device that it has found.
    pub(super) fn run(&self) -> Result<()> {
        if let Some(backend) = self.probe {
            return probe::answer(backend, !self.quick);
        }
        let mut backends: Vec<BackendReport> =
            Backend::ALL.into_iter().map(|backend| BackendReport::of(backend, !self.quick)).collect();
        let needed = backends.iter_mut().find(|report| report.name == self.device.backend.feature());
        if let Some(report) = needed.filter(|report| report.probe.devices.is_empty() && report.probe.error.is_none()) {
            report.probe.error = Some(if report.built_in { NO_DEVICE } else { "not built in" }.into());
        }
        let report = Report {
            program: env!("CARGO_PKG_VERSION").into(),
            burn: BURN.into(),
            machine: Machine::look(&self.runs),
            ok: backends.iter().all(BackendReport::is_well),
            backends,
        };
        if self.json {
            print_json(&report)?;
        } else {
            say!("gru-rcn {} on Burn {}\n", report.program, report.burn)?;
            say!("{}\n", report.machine.lines().join("\n"))?;
            report.backends.iter().try_for_each(|backend| say!("{}", backend.line()))?;
        }
        let sick: Vec<&str> =
            report.backends.iter().filter(|backend| !backend.is_well()).map(|backend| backend.name.as_str()).collect();
        ensure!(sick.is_empty(), Faults(format!("not in order: {}", sick.join(", "))));
        Ok(())
    }
}

/// The output of `doctor --json`.
#[derive(Serialize, Clone, Debug, PartialEq)]
struct Report {
    program: String,
    burn: String,
    machine: Machine,
    /// All backends, built in or not.
    backends: Vec<BackendReport>,
    /// Whether the requested backend works, and every other that has a device.
    ok: bool,
}

#[derive(Serialize, Clone, Debug, PartialEq)]
struct BackendReport {
    name: String,
    built_in: bool,
    /// How to build it in, if it is not.
    advice: Option<String>,
    #[serde(flatten)]
    probe: Probe,
}

impl BackendReport {
    fn of(backend: Backend, compute: bool) -> Self {
        let name = backend.feature().to_string();
        if !backend.is_compiled_in() {
            let advice = format!("cargo xtask VERB --backend {name}, or install with --features {name}");
            return Self { name, built_in: false, advice: Some(advice), probe: Probe::default() };
        }
        Self { name, built_in: true, advice: None, probe: probe::ask(backend, compute) }
    }

    /// A backend that is not built in is no fault, and neither is a machine without its device.
    fn is_well(&self) -> bool {
        self.probe.error.is_none() && self.probe.smoke.as_ref().is_none_or(|smoke| smoke.ok)
    }

    fn line(&self) -> String {
        let state = match (&self.advice, &self.probe.error, &self.probe.smoke) {
            (Some(advice), ..) => format!("not built in: {advice}"),
            (_, Some(error), _) => format!("FAILS: {error}"),
            _ if self.probe.devices.is_empty() => NO_DEVICE.into(),
            (_, _, None) => "built in".into(),
            (_, _, Some(smoke)) => {
                let verdict = if smoke.ok { "works" } else { "WRONG RESULTS" };
                let bf16 = if smoke.bf16 { "f32 and bf16" } else { "f32" };
                format!("{verdict}, {:.1e} off the cpu backend, {:.1} s, {bf16}", smoke.difference, smoke.seconds)
            }
        };
        let mut lines = vec![format!("{:<9} {state}", self.name)];
        for device in &self.probe.devices {
            let warning = match device.software {
                true => "; NOT A GPU: a graphics driver that computes on the CPU, slower than --backend cpu",
                false => "",
            };
            lines.push(format!("          {}{warning}", device.name));
        }
        lines.join("\n")
    }
}

#[derive(Serialize, Clone, Debug, PartialEq)]
struct Machine {
    cores: usize,
    /// Bytes of memory, if the system reports them.
    memory_bytes: Option<u64>,
    available_bytes: Option<u64>,
    runs: String,
    free_disk_bytes: Option<u64>,
    ffmpeg: Option<String>,
    /// How to install it, if it is not.
    ffmpeg_advice: Option<String>,
}

impl Machine {
    fn look(runs: &Path) -> Self {
        let ffmpeg = Ffmpeg::locate();
        Self {
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            memory_bytes: preflight::machine::installed().map(|bytes| bytes as u64),
            available_bytes: preflight::machine::available().map(|bytes| bytes as u64),
            runs: runs.display().to_string(),
            free_disk_bytes: free_bytes(&absolute(runs)),
            ffmpeg: ffmpeg.as_ref().ok().map(|ffmpeg| ffmpeg.id().version),
            ffmpeg_advice: ffmpeg.err().map(|error| error.to_string()),
        }
    }

    /// Text for people, one fact per line.
    fn lines(&self) -> Vec<String> {
        let size = |bytes: Option<u64>| {
            bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / (1u64 << 30) as f64))
        };
        vec![
            format!("cores     {}", self.cores),
            format!("memory    {}, {} available", size(self.memory_bytes), size(self.available_bytes)),
            format!("disk      {} free for {}", size(self.free_disk_bytes), self.runs),
            match (&self.ffmpeg, &self.ffmpeg_advice) {
                (Some(version), _) => format!("ffmpeg    {version}"),
                (None, advice) => format!("ffmpeg    UNUSABLE: {}", advice.as_deref().unwrap_or("not found")),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe::FoundDevice;
    use smoke::Smoke;

    fn report(devices: usize, smoke: Option<(bool, f64)>, error: Option<&str>) -> BackendReport {
        let device = FoundDevice { name: "a card".into(), software: false };
        BackendReport {
            name: "cuda".into(),
            built_in: true,
            advice: None,
            probe: Probe {
                devices: vec![device; devices],
                smoke: smoke.map(|(ok, difference)| Smoke { ok, seconds: 1.0, difference, bf16: true }),
                error: error.map(String::from),
            },
        }
    }

    #[test]
    fn faults_are_described_and_a_missing_device_is_none() {
        for (report, well, words) in [
            (report(0, None, None), true, "no device found"),
            (report(1, Some((true, 1e-6)), None), true, "a card"),
            (report(1, Some((false, 0.3)), None), false, "WRONG RESULTS"),
            (report(0, None, Some("signal: 11")), false, "FAILS: signal: 11"),
        ] {
            assert!(report.is_well() == well && report.line().contains(words), "{words}");
        }
    }
}
