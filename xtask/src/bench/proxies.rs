//! The proxies under test, each set up as those who know it best would, all doing the same: two
//! workers, keep-alive to the backends, the better of two random endpoints, no access log.
//!
//! Not for what is asked of them: see `cases`.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::backends::Backend;
use super::process::{self, Process, free_address};
use crate::shell;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProxyKind {
    Nodeway,
    Haproxy,
    /// No proxy: the first backend itself.
    Direct,
}

/// A proxy that runs, or the backend in its stead.
pub(super) struct Proxy {
    kind: ProxyKind,
    process: Option<Process>,
    pub(super) http1: SocketAddrV4,
    pub(super) h2c: SocketAddrV4,
}

impl Proxy {
    pub(super) fn start(
        kind: ProxyKind,
        folder: &Path,
        backends: &[Backend],
        nodeway: Option<&Path>,
    ) -> Result<Self> {
        if kind == ProxyKind::Direct {
            let first = backends.first().context("there is no backend")?;
            return Ok(Self { kind, process: None, http1: first.http1, h2c: first.h2c });
        }
        let (http1, h2c) = (free_address()?, free_address()?);
        let command = match kind {
            ProxyKind::Haproxy => haproxy(folder, backends, http1, h2c)?,
            _ => nodeway_command(
                nodeway.context("there is no nodeway binary")?,
                folder,
                backends,
                http1,
                h2c,
            )?,
        };
        let mut process = Process::start(&command, kind.name(), folder)?;
        process.wait_for(http1)?;
        process.wait_for(h2c)?;
        let proxy = Self { kind, process: Some(process), http1, h2c };
        proxy.answers()?;
        Ok(proxy)
    }

    pub(super) fn kind(&self) -> ProxyKind {
        self.kind
    }

    pub(super) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// CPU time so far; none where there is no proxy.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.process.as_ref().map_or(Ok(Duration::ZERO), |process| process::cpu(process.id()))
    }

    pub(super) fn rss(&self) -> Result<u64> {
        self.process.as_ref().map_or(Ok(0), |process| process::rss(process.id()))
    }

    /// What it said so far, for an error.
    pub(super) fn said(&self) -> String {
        self.process.as_ref().map(Process::said).unwrap_or_default()
    }

    /// One good answer on each port before anything is measured: its endpoints may still be on
    /// their way from the manifests.
    fn answers(&self) -> Result<()> {
        for (address, version) in [(self.http1, "--http1.1"), (self.h2c, "--http2-prior-knowledge")]
        {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", version])
                .args(["--output", "/dev/null", "--max-time", "20"])
                // Until nodeway's first state is in force its connections are closed: that is no error yet.
                .args(["--retry", "50", "--retry-delay", "1", "--retry-max-time", "10"])
                .arg("--retry-all-errors")
                .arg(format!("http://{address}/"));
            shell::output(&mut curl).with_context(|| {
                format!("{} does not answer as it should:\n{}", self.name(), self.said())
            })?;
        }
        Ok(())
    }
}

impl ProxyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nodeway => "nodeway",
            Self::Haproxy => "haproxy",
            Self::Direct => "direct",
        }
    }
}

fn haproxy(
    folder: &Path,
    backends: &[Backend],
    http1: SocketAddrV4,
    h2c: SocketAddrV4,
) -> Result<Command> {
    let config = folder.join("haproxy.cfg");
    std::fs::write(&config, haproxy_configuration(backends, http1, h2c))
        .context("cannot write HAProxy's configuration")?;
    let mut command = Command::new(shell::which("haproxy").context("haproxy is not on PATH")?);
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

fn haproxy_configuration(backends: &[Backend], http1: SocketAddrV4, h2c: SocketAddrV4) -> String {
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
    maxconn 4000

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

fn nodeway_command(
    binary: &Path,
    folder: &Path,
    backends: &[Backend],
    http1: SocketAddrV4,
    h2c: SocketAddrV4,
) -> Result<Command> {
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests).context("cannot make the manifests' folder")?;
    let text = [
        service("web", "http", backends.iter().map(|backend| backend.http1)),
        service("web-h2c", "kubernetes.io/h2c", backends.iter().map(|backend| backend.h2c)),
    ];
    std::fs::write(manifests.join("bench.yaml"), text.concat())
        .context("cannot write the manifests")?;
    let mut command = Command::new(binary);
    command
        .args(["run", "--no-ebpf", "--workers", "2", "--node-name", "bench", "--manifests"])
        .arg(manifests)
        .args(["--listen", &format!("{http1}=bench/web:80")])
        .args(["--listen", &format!("{h2c}=bench/web-h2c:80")])
        .args(["--admin", &free_address()?.to_string()])
        .args(["--metrics", &free_address()?.to_string()]);
    Ok(command)
}

/// A Service and its endpoints. A slice has one list of ports for all its endpoints, so endpoints on
/// one address need a slice each.
fn service(name: &str, protocol: &str, endpoints: impl Iterator<Item = SocketAddrV4>) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{ namespace: bench, name: {name} }}
spec:
  ports:
    - {{ name: web, port: 80, appProtocol: {protocol} }}
---
"
    );
    for (number, endpoint) in endpoints.enumerate() {
        text += &format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: bench
  name: {name}-{number}
  labels: {{ kubernetes.io/service-name: {name} }}
addressType: IPv4
ports:
  - {{ name: web, port: {}, appProtocol: {protocol} }}
endpoints:
  - addresses: [\"{}\"]
    conditions: {{ ready: true }}
---
",
            endpoint.port(),
            endpoint.ip()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_a_slice_of_its_own() {
        let endpoints = ["127.0.0.1:1001", "127.0.0.1:1002"].map(|text| text.parse().unwrap());
        let text = service("web", "http", endpoints.into_iter());
        assert_eq!(text.matches("kind: Service\n").count(), 1);
        assert_eq!(text.matches("kind: EndpointSlice\n").count(), 2);
        assert!(text.contains("port: 1001") && text.contains("port: 1002"));
    }
}
