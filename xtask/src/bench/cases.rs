//! What is asked of the proxies.
//!
//! Not how the answer is read: see `load` and `parse`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;

use super::backends;
use super::proxies::{Proxy, ProxyKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// HTTP/1.1, one connection, as fast as it goes.
    #[value(name = "keep-alive-1")]
    KeepAlive1,
    /// HTTP/1.1, 16 connections.
    #[value(name = "keep-alive-16")]
    KeepAlive16,
    /// HTTP/1.1, 64 connections.
    KeepAlive,
    /// HTTP/1.1, 32 connections, 8 000 requests a second.
    Rate,
    /// HTTP/2 without TLS, 8 connections of 16 streams.
    H2c,
    /// Unary calls of gRPC, messages of 32 B and 128 B, 8 connections of 16 streams.
    Grpc,
    /// HTTP/1.1, 8 connections, bodies of 1 MiB.
    Large,
    /// HTTP/1.1, 16 at a time, each request on a connection of its own.
    Connect,
    /// HTTP/1.1, 2 000 new connections a second, a request on each.
    Storm,
    /// As `keep-alive`, with 10 Services and 10 routes against 10 000 Services and 5 000 routes. Nodeway alone.
    Size,
    /// Not a load: memory at idle, and with 10 000 idle connections.
    Memory,
}

/// The program that makes the load; each says its results in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generator {
    Wrk,
    H2load,
}

const RATE_CONNECTIONS: u32 = 32;
const RATE_EACH: u32 = 250;
/// New connections, every 10 ms.
const STORM_EACH: u64 = 20;

impl Case {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::KeepAlive1 => "HTTP/1.1, 1 connection",
            Self::KeepAlive16 => "HTTP/1.1, 16 connections",
            Self::KeepAlive => "HTTP/1.1, 64 connections",
            Self::Rate => "HTTP/1.1 at 8 000/s",
            Self::H2c => "HTTP/2 (h2c), 8 x 16 streams",
            Self::Grpc => "gRPC unary (h2c), 8 x 16 streams",
            Self::Connect => "new connection per request, 16",
            Self::Storm => "2 000 new connections/s",
            Self::Large => "1 MiB bodies, 8 connections",
            Self::Size => "HTTP/1.1, 64 connections, by size",
            Self::Memory => "memory",
        }
    }

    pub(super) fn is_load(self) -> bool {
        self != Self::Memory
    }

    /// Who is put under this load, of those that are asked for: sizes are compared by Nodeway alone.
    pub(super) fn proxies(self, asked: &[ProxyKind]) -> Vec<ProxyKind> {
        if self != Self::Size {
            return asked.to_vec();
        }
        let ours = asked.contains(&ProxyKind::Nodeway);
        if ours { vec![ProxyKind::Few, ProxyKind::Many] } else { vec![] }
    }

    pub(super) fn generator(self) -> Generator {
        match self {
            Self::Rate | Self::H2c | Self::Grpc | Self::Storm => Generator::H2load,
            _ => Generator::Wrk,
        }
    }

    /// One thread of load: the cores are wanted by the proxy and the backends too. h2load says its
    /// percentiles in a log only.
    pub(super) fn command(self, proxy: &Proxy, load: Duration, folder: &Path) -> Command {
        let seconds = load.as_secs();
        let http1 = format!("http://{}{}", proxy.http1, proxy.path);
        let lasts = ["-D".to_owned(), seconds.to_string()];
        let lasts = lasts.each_ref().map(String::as_str);
        let h2load = |how: &[&str], url: &str| h2load(how, folder, url);
        match self {
            Self::KeepAlive1 => wrk(1, seconds, &[], &http1),
            Self::KeepAlive16 => wrk(16, seconds, &[], &http1),
            Self::KeepAlive | Self::Size | Self::Memory => wrk(64, seconds, &[], &http1),
            Self::Connect => wrk(16, seconds, &["--header", "Connection: close"], &http1),
            Self::Large => wrk(8, seconds, &[], &format!("{http1}large")),
            Self::Rate => {
                let (connections, rate) = (RATE_CONNECTIONS.to_string(), RATE_EACH.to_string());
                let how = [&["--h1", "-c", &connections, "--rps", &rate], &lasts[..]].concat();
                h2load(&how, &http1)
            }
            Self::Storm => {
                // It counts connections, not time.
                let all = (seconds * 100 * STORM_EACH).to_string();
                let each = STORM_EACH.to_string();
                let every = ["-r", &each, "--rate-period", "10ms"];
                h2load(&[&["--h1", "-c", &all, "-n", &all], &every[..]].concat(), &http1)
            }
            Self::H2c => {
                let url = format!("http://{}/", proxy.h2c);
                h2load(&[&["-c", "8", "-m", "16"], &lasts[..]].concat(), &url)
            }
            Self::Grpc => {
                let message = folder.join(backends::GRPC_MESSAGE);
                let message = message.to_string_lossy();
                let headers =
                    ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", &message];
                let url = format!("http://{}{}", proxy.h2c, backends::GRPC_PATH);
                h2load(&[&["-c", "8", "-m", "16"], &headers[..], &lasts].concat(), &url)
            }
        }
    }
}

/// Where h2load writes what each request took.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join("h2load.tsv")
}

pub(super) fn wrk(connections: u32, seconds: u64, more: &[&str], url: &str) -> Command {
    let mut command = Command::new("wrk");
    command.args(["--latency", "--timeout", "5s", "-t1"]);
    command.args([format!("-c{connections}"), format!("-d{seconds}s")]).args(more).arg(url);
    command
}

fn h2load(how: &[&str], folder: &Path, url: &str) -> Command {
    let mut command = Command::new("h2load");
    command.args(["-t", "1"]).args(how);
    command.arg(format!("--log-file={}", log(folder).display())).arg(url);
    command
}
