//! `serve`: a device of this machine for other processes.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;

use super::shared::DeviceArgs;
use crate::device::remote;

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Numeric address and port to listen on; port 0 takes a free one and prints it.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Allow an address that other machines reach. The protocol is not encrypted, and a token is
    /// required: GRU_RCN_TOKEN.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
}

impl ServeArgs {
    pub(super) fn run(&self) -> Result<()> {
        remote::serve(self.device.backend.device()?, self.listen, self.open)
    }
}
