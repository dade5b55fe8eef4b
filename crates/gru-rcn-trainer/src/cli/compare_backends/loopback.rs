//! Servers of this machine's processor in child processes, for the duration of a comparison.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest time until a server listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `gru-rcn serve` on a free port of the loopback interface. Dropping it ends the process.
pub(super) struct Server {
    process: Child,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn start(log: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut process = command.spawn().context("cannot start a server")?;
        let started = Instant::now();
        loop {
            let output = fs::read_to_string(log).unwrap_or_default();
            if let Some(address) = address(&output) {
                return Ok(Self { process, address });
            }
            if let Some(status) = process.try_wait()? {
                bail!("serve: {status}\n{output}");
            }
            if started.elapsed() > PATIENCE {
                process.kill().ok();
                process.wait().ok();
                bail!("serve prints no address after {} s:\n{output}", PATIENCE.as_secs());
            }
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

    #[test]
    fn the_address_is_known_once_its_line_is_whole() {
        assert_eq!(address("serving on 127.0.0.1:30"), None);
        let output = "serving on 127.0.0.1:3000; use it by --backend remote:127.0.0.1:3000; Ctrl-C ends it\n";
        assert_eq!(address(output), Some("127.0.0.1:3000".parse().unwrap()));
    }
}
