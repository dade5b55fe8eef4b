//! `doctor`: the abilities of this program on this machine, and whether its backends compute
//! correctly.

mod machine;
mod probe;
mod smoke;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::shared::{DeviceArgs, print_json};
use crate::device::backend::Backend;
use crate::run::card::BURN;
use crate::signals::Faults;
use machine::Machine;
use probe::Probe;

const NO_DEVICE: &str = "built in, no device found; is a driver installed?";

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// List the devices, but compute nothing.
    #[arg(long)]
    quick: bool,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Probes one backend; `doctor` starts this in a child process for each.
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
            println!("gru-rcn {} on Burn {}\n", report.program, report.burn);
            println!("{}\n", report.machine.lines().join("\n"));
            report.backends.iter().for_each(|backend| println!("{}", backend.line()));
        }
        let sick: Vec<&str> =
            report.backends.iter().filter(|backend| !backend.is_well()).map(|backend| backend.name.as_str()).collect();
        match sick.is_empty() {
            true => Ok(()),
            false => bail!(Faults(format!("not in order: {}", sick.join(", ")))),
        }
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
    fn a_missing_device_is_no_fault() {
        assert!(report(0, None, None).is_well());
        assert!(report(1, Some((true, 1e-6)), None).is_well());
        assert!(!report(1, Some((false, 0.3)), None).is_well());
        assert!(!report(0, None, Some("signal: 11")).is_well());
    }

    #[test]
    fn lines_describe_devices_and_faults() {
        assert!(report(0, None, None).line().contains("no device found"));
        assert!(report(1, Some((false, 0.3)), None).line().contains("WRONG RESULTS"));
        assert!(report(1, Some((true, 1e-6)), None).line().contains("a card"));
        assert!(report(0, None, Some("signal: 11")).line().contains("FAILS: signal: 11"));
    }
}
