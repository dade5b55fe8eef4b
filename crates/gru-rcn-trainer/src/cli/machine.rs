//! Arguments of the verbs about the machine itself.

#[cfg(feature = "remote")]
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{DeviceArgs, parse_backend};
use crate::backend::Backend;
use crate::verbs::{compare_backends, doctor};

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Look, but compute nothing.
    #[arg(long)]
    pub quick: bool,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
    /// What `doctor` starts for each backend.
    #[arg(long, hide = true, value_parser = parse_backend)]
    pub probe: Option<Backend>,
}

impl DoctorArgs {
    /// The backend that Burn's hidden defaults are to mean.
    pub(super) fn backend(&self) -> Backend {
        self.probe.unwrap_or(self.device.backend)
    }

    pub(super) fn run(&self) -> Result<()> {
        if let Some(backend) = self.probe {
            return doctor::answer(backend, self.quick);
        }
        let options =
            doctor::Options { needed: self.device.backend, runs: &self.runs, quick: self.quick, json: self.json };
        doctor::run(&options)
    }
}

/// Arguments of `compare-backends`.
#[derive(Args, Debug)]
pub struct CompareBackendsArgs {
    /// Which ones, several devices joined by `+` sharing each batch, such as `wgpu,cuda:0+cuda:1`; without it, all that are
    /// built in and have a device.
    #[arg(long, value_delimiter = ',')]
    pub backends: Vec<compare_backends::Devices>,
    /// Start so many servers of this machine's processor, in processes of their own, and compare the first alone and all
    /// together.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub serve: usize,
    /// Steps of training.
    #[arg(long, default_value_t = 20)]
    pub steps: usize,
    /// Largest relative difference of a loss from that of cpu.
    #[arg(long, default_value_t = compare_backends::TOLERANCE)]
    pub tolerance: f64,
    /// Keep the runs in this folder, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl CompareBackendsArgs {
    pub(super) fn run(&self) -> Result<()> {
        compare_backends::run(&compare_backends::Options {
            backends: &self.backends,
            serve: self.serve,
            steps: self.steps,
            tolerance: self.tolerance,
            keep: self.keep.as_deref(),
            json: self.json,
        })
    }
}

/// Arguments of `serve`.
#[cfg(feature = "remote")]
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Numeric address and port to listen on; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Allow an address that other machines reach. The protocol is not encrypted, and a token is asked for: GRU_RCN_TOKEN.
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub device: DeviceArgs,
}

#[cfg(feature = "remote")]
impl ServeArgs {
    pub(super) fn run(&self) -> Result<()> {
        crate::remote::serve(self.device.backend.device()?, self.listen, self.open)
    }
}
