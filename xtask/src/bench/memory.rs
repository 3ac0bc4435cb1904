//! What a proxy keeps in memory: when it has done nothing yet, and with thousands of connections that do nothing.
//!
//! Not under load: whoever is measured here is a fresh process and ends afterwards.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::backends::SMALL_BODY;
use super::proxies::{Proxy, ProxyKind, Stage};
use crate::shell::Step;

/// Each has had one answer.
pub(super) const CONNECTIONS: u16 = 10_000;
/// What the last answers leave is given back by then.
const SETTLED: Duration = Duration::from_secs(1);

/// Resident bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) proxy: ProxyKind,
    /// Ready, and asked a few times.
    pub(super) idle: u64,
    /// With idle connections.
    pub(super) connected: u64,
}

pub(super) fn measure(proxies: &[ProxyKind], stage: &Stage<'_>) -> Result<Vec<Memory>> {
    let folder = stage.folder.join("memory");
    std::fs::create_dir_all(&folder).context("cannot make a folder")?;
    let stage = Stage { folder: &folder, ..*stage };
    let mut all = Vec::new();
    let step = Step::start(format!("Memory with {CONNECTIONS} idle connections"));
    for kind in proxies.iter().copied().filter(|kind| *kind != ProxyKind::Direct) {
        let proxy = Proxy::start(kind, &stage)?;
        std::thread::sleep(SETTLED);
        let idle = proxy.rss()?;
        let connections: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|number| {
                asked_once(proxy.http1).with_context(|| {
                    format!("connection {number} to {}\n{}", proxy.name(), proxy.said())
                })
            })
            .collect::<Result<_>>()?;
        std::thread::sleep(SETTLED);
        let connected = proxy.rss()?;
        for connection in &connections {
            still_open(connection)
                .with_context(|| format!("an idle connection to {}", proxy.name()))?;
        }
        let memory = Memory { proxy: kind, idle, connected };
        eprintln!("    {}", memory.progress());
        all.push(memory);
    }
    step.done();
    Ok(all)
}

fn asked_once(address: SocketAddrV4) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(address).context("cannot connect")?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    // A body of x alone, after a head that has none at its end.
    while !answer.ends_with(&[b'x'; SMALL_BODY]) {
        match connection.read(&mut buffer).context("no answer")? {
            0 => bail!("closed after {:?}", String::from_utf8_lossy(&answer)),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(connection)
}

fn still_open(mut connection: &TcpStream) -> Result<()> {
    connection.set_nonblocking(true)?;
    match connection.read(&mut [0; 16]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Ok(0) => bail!("was closed"),
        Ok(_) => bail!("was told something"),
        Err(error) => Err(error.into()),
    }
}

// === impl Memory ===

impl Memory {
    /// Bytes for each idle connection.
    pub(super) fn each(&self) -> u64 {
        self.connected.saturating_sub(self.idle) / u64::from(CONNECTIONS)
    }

    fn progress(&self) -> String {
        format!(
            "{:<8} {:>7} KiB at idle, {:>8} KiB with connections: {} B for each",
            self.proxy.name(),
            self.idle >> 10,
            self.connected >> 10,
            self.each()
        )
    }
}
