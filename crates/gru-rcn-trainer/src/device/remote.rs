//! Devices of other processes or machines, by Burn's own protocol over WebSocket.
//!
//! A server (`gru-rcn serve`) executes tensor operations for clients. The training loop and the
//! checkpoints stay on the client; only the arithmetic is done on the server. The protocol is not
//! encrypted: a token keeps strangers out, but anyone who can read the traffic can read the token
//! and the data. Therefore servers listen on their own machine by default, and clients on other
//! machines use a tunnel, such as `ssh -L 3000:127.0.0.1:3000 machine`.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, bail, ensure};
use burn::remote::RemoteHost;
use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
use burn::tensor::Device;

use crate::output::note;

/// The environment variable with the token that a client presents and a server requires.
pub(crate) const TOKEN_VARIABLE: &str = "GRU_RCN_TOKEN";

/// Smallest number of characters of a token.
const LEAST_TOKEN: usize = 16;

/// The token in the environment, if there is one.
fn token() -> Result<Option<String>> {
    let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()) else { return Ok(None) };
    ensure!(
        token.len() >= LEAST_TOKEN,
        "{TOKEN_VARIABLE} has {} characters; take {LEAST_TOKEN} or more, such as those of `openssl rand -hex 16`",
        token.len()
    );
    Ok(Some(token))
}

/// The first device of the server at an address.
pub(crate) fn connect(address: SocketAddr) -> Result<Device> {
    let mut host = RemoteHost::websocket(&format!("ws://{address}"));
    if let Some(token) = token()? {
        host = host.with_credential(token.as_str());
    }
    match Device::remote_options(&host).init() {
        Ok(device) => Ok(device),
        Err(error) => bail!(
            "no device at remote:{address}: {error}; is `gru-rcn serve` running there, and is {TOKEN_VARIABLE} the same \
             on both sides?"
        ),
    }
}

/// Serves a device until Ctrl-C or SIGTERM.
pub(crate) fn serve(device: Device, address: SocketAddr, open: bool) -> Result<()> {
    let token = token()?;
    check(address, open, token.is_some())?;
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let server = RemoteServer::new([device]);
    let server = match token {
        Some(token) => server.with_authorizer(TokenAuthorizer::new(token.as_str())?),
        None => server,
    };
    note!("serving on {bound}; use it by --backend remote:{bound}; Ctrl-C ends it");
    server.serve(WebSocketTransport::from_listener(listener)).context("serving ended")
}

fn check(address: SocketAddr, open: bool, token: bool) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    ensure!(
        open,
        "{address} is reached by other machines, and the protocol is not encrypted; listen on 127.0.0.1 and use a tunnel \
         (ssh -L), or add --open on a network that you trust"
    );
    ensure!(token, "--open needs a token: set {TOKEN_VARIABLE} here and for the clients");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_need_open_and_a_token() {
        let (home, world) = ("127.0.0.1:0".parse().unwrap(), "0.0.0.0:3000".parse().unwrap());
        check(home, false, false).unwrap();
        assert!(check(world, false, true).unwrap_err().to_string().contains("--open"));
        assert!(check(world, true, false).unwrap_err().to_string().contains(TOKEN_VARIABLE));
        check(world, true, true).unwrap();
    }
}
