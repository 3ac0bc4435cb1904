//! HAProxy: two threads, idle connections to servers shared by all requests.
//!
//! Not another balancing than the others have: the better of two random servers.

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::backends::Backend;
use super::Place;
use crate::shell;

pub(super) fn command(place: &Place, backends: &[Backend]) -> Result<Command> {
    let config = place.folder.join("haproxy.cfg");
    std::fs::write(&config, configuration(place, backends))
        .context("cannot write HAProxy's configuration")?;
    let mut command = Command::new(shell::which("haproxy").context("haproxy is not on PATH")?);
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

fn configuration(Place { http1, h2c, .. }: &Place, backends: &[Backend]) -> String {
    let servers = |address: fn(&Backend) -> SocketAddrV4, protocol: &str| {
        let lines = backends.iter().enumerate();
        lines
            .map(|(i, backend)| format!("    server s{i} {} {protocol}\n", address(backend)))
            .collect::<String>()
    };
    let http1_servers = servers(|backend| backend.http1, "");
    let h2c_servers = servers(|backend| backend.h2c, "proto h2");
    format!(
        "global
    nbthread 2
    # More than any case opens. It wants two files for each; if that is more than it may have, let it start.
    maxconn 12000
    no strict-limits

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    balance random(2)

frontend http1
    bind {http1}
    default_backend http1

frontend h2c
    bind {h2c} proto h2
    default_backend h2c

backend http1
{http1_servers}
backend h2c
{h2c_servers}"
    )
}
