//! What is asked of the proxies.
//!
//! Not how the answer is read: see `load` and `parse`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;

use super::proxies::Proxy;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// HTTP/1.1, 64 connections, as fast as they go.
    KeepAlive,
    /// HTTP/1.1, 32 connections, 8 000 requests a second.
    Rate,
    /// HTTP/2 without TLS, 8 connections of 16 streams.
    H2c,
    /// HTTP/1.1, 16 at a time, each request on a connection of its own.
    Connect,
    /// HTTP/1.1, 8 connections, bodies of 1 MiB.
    Large,
}

/// The program that makes the load; each says its results in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generator {
    Wrk,
    H2load,
}

const RATE_CONNECTIONS: u32 = 32;
const RATE_EACH: u32 = 250;

impl Case {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::KeepAlive => "HTTP/1.1, 64 connections",
            Self::Rate => "HTTP/1.1 at 8 000/s",
            Self::H2c => "HTTP/2 (h2c), 8 x 16 streams",
            Self::Connect => "new connection per request, 16",
            Self::Large => "1 MiB bodies, 8 connections",
        }
    }

    pub(super) fn generator(self) -> Generator {
        match self {
            Self::KeepAlive | Self::Connect | Self::Large => Generator::Wrk,
            Self::Rate | Self::H2c => Generator::H2load,
        }
    }

    /// One thread of load: the cores are wanted by the proxy and the backends too. h2load says its
    /// percentiles in a log only.
    pub(super) fn command(self, proxy: &Proxy, load: Duration, log: &Path) -> Command {
        let seconds = load.as_secs();
        let http1 = format!("http://{}/", proxy.http1);
        match self {
            Self::KeepAlive => wrk(64, seconds, &[], &http1),
            Self::Connect => wrk(16, seconds, &["--header", "Connection: close"], &http1),
            Self::Large => wrk(8, seconds, &[], &format!("{http1}large")),
            Self::Rate => {
                let (connections, rate) = (RATE_CONNECTIONS.to_string(), RATE_EACH.to_string());
                h2load(&["--h1", "-c", &connections, "--rps", &rate], seconds, log, &http1)
            }
            Self::H2c => {
                let url = format!("http://{}/", proxy.h2c);
                h2load(&["-c", "8", "-m", "16"], seconds, log, &url)
            }
        }
    }
}

fn wrk(connections: u32, seconds: u64, more: &[&str], url: &str) -> Command {
    let mut command = Command::new("wrk");
    command.args(["--latency", "--timeout", "5s", "-t1"]);
    command.args([format!("-c{connections}"), format!("-d{seconds}s")]).args(more).arg(url);
    command
}

fn h2load(how: &[&str], seconds: u64, log: &Path, url: &str) -> Command {
    let mut command = Command::new("h2load");
    command.args(["-t", "1", "-D", &seconds.to_string()]).args(how);
    command.arg(format!("--log-file={}", log.display())).arg(url);
    command
}
