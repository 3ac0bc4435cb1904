//! The proxies under test, each set up as those who know it best would, all doing the same: two
//! workers, keep-alive to the backends, the better of two random endpoints, no access log.
//!
//! Not for what is asked of them: see `cases`. A file a proxy says how it is configured.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::backends::{self, Backend};
use super::process::{self, Process, free_address};
use crate::shell;

pub(super) mod envoy;
mod haproxy;
mod nginx;
mod nodeway;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ProxyKind {
    Nodeway,
    Haproxy,
    Nginx,
    Envoy,
    /// No proxy: the first backend itself.
    Direct,
    /// Nodeway with 10 Services and 10 routes.
    #[value(skip)]
    Few,
    /// Nodeway with 10 000 Services and 5 000 routes.
    #[value(skip)]
    Many,
}

/// What proxies are started with.
pub(super) struct Stage<'a> {
    pub(super) folder: &'a Path,
    pub(super) backends: &'a [Backend],
    /// The binary, if there is one to measure.
    pub(super) nodeway: Option<&'a Path>,
    pub(super) envoy: Option<&'a Path>,
}

/// A proxy that runs, or the backend in its stead.
pub(super) struct Proxy {
    kind: ProxyKind,
    process: Option<Process>,
    pub(super) http1: SocketAddrV4,
    pub(super) h2c: SocketAddrV4,
    /// What is asked for where it does not matter.
    pub(super) path: &'static str,
}

/// A Service with one endpoint, for Nodeway.
pub(super) fn service(name: &str, protocol: &str, endpoint: SocketAddrV4) -> String {
    nodeway::service(name, protocol, std::iter::once(endpoint))
}

/// Where a proxy is to listen, and its own folder.
struct Place {
    folder: PathBuf,
    http1: SocketAddrV4,
    h2c: SocketAddrV4,
}

impl Proxy {
    pub(super) fn start(kind: ProxyKind, stage: &Stage<'_>) -> Result<Self> {
        let (path, backends) = (kind.path(), stage.backends);
        if kind == ProxyKind::Direct {
            let first = backends.first().context("there is no backend")?;
            return Ok(Self { kind, process: None, http1: first.http1, h2c: first.h2c, path });
        }
        let folder = stage.folder.join(kind.slug());
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}'s folder", kind.name()))?;
        let place = Place { folder, http1: free_address()?, h2c: free_address()? };
        let command = match kind {
            ProxyKind::Haproxy => haproxy::command(&place, backends)?,
            ProxyKind::Nginx => nginx::command(&place, backends)?,
            ProxyKind::Envoy => {
                let binary = stage.envoy.context("there is no Envoy")?;
                envoy::command(binary, &place, backends)?
            }
            _ => {
                let binary = stage.nodeway.context("there is no nodeway binary")?;
                nodeway::command(binary, &place, backends, kind.size())?
            }
        };
        let mut process = Process::start(&command, kind.slug(), &place.folder)?;
        let Place { http1, h2c, .. } = place;
        process.wait_for(http1)?;
        process.wait_for(h2c)?;
        let proxy = Self { kind, process: Some(process), http1, h2c, path };
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

    /// Good answers on each port before anything is measured: its endpoints may still be on
    /// their way from the manifests.
    fn answers(&self) -> Result<()> {
        let curl = |version: &str, url: &str| {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", version])
                .args(["--output", "/dev/null", "--max-time", "20"])
                // Until nodeway's first state is in force its connections are closed: that is no error yet.
                .args(["--retry", "100", "--retry-delay", "1", "--retry-max-time", "30"])
                .arg("--retry-all-errors")
                .arg(url);
            curl
        };
        let http1 = curl("--http1.1", &format!("http://{}{}", self.http1, self.path));
        let h2c = curl("--http2-prior-knowledge", &format!("http://{}/", self.h2c));
        let url = format!("http://{}{}", self.h2c, backends::GRPC_PATH);
        let mut grpc = curl("--http2-prior-knowledge", &url);
        grpc.args(["--header", "content-type: application/grpc", "--header", "te: trailers"])
            .args(["--data-binary", "any"]);
        for mut curl in [http1, h2c, grpc] {
            shell::output(&mut curl).with_context(|| {
                format!("{} does not answer as it should:\n{}", self.name(), self.said())
            })?;
        }
        Ok(())
    }
}

// === impl ProxyKind ===

impl ProxyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nodeway => "nodeway",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Direct => "direct",
            Self::Few => "nodeway, 10 Services, 10 routes",
            Self::Many => "nodeway, 10 000 Services, 5 000 routes",
        }
    }

    /// For names of files.
    fn slug(self) -> &'static str {
        match self {
            Self::Few => "nodeway-few",
            Self::Many => "nodeway-many",
            other => other.name(),
        }
    }

    /// Services and routes that Nodeway knows besides what the other cases need.
    fn size(self) -> nodeway::Size {
        match self {
            Self::Few => nodeway::Size { services: 10, routes: 10 },
            Self::Many => nodeway::Size { services: 10_000, routes: 5_000 },
            _ => nodeway::Size { services: 0, routes: 0 },
        }
    }

    fn path(self) -> &'static str {
        match self {
            // One that a route in the midst of them matches.
            Self::Few => "/team-5/items/",
            Self::Many => "/team-2500/items/",
            _ => "/",
        }
    }
}
