//! The two nginx servers behind the proxies: one worker each, answers from memory or page cache.
//!
//! Not measured themselves, except by the `direct` rows.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::nginx::opening;
use super::process::{Process, free_address};
use crate::shell;

pub(super) const SMALL_BODY: usize = 128;
pub(super) const LARGE_BODY: usize = 1 << 20;
/// A method of a service of gRPC: any call, once it has been read, is answered with one message of `SMALL_BODY`
/// and, in trailers, status 0. It looks into no message: no server of gRPC, but what clients and proxies see of one.
pub(super) const GRPC_PATH: &str = "/bench.Echo/Call";
/// In the bench's folder: what calls send.
pub(super) const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_REQUEST: usize = 32;

/// One server: the same answers over HTTP/1.1 and, on another port, HTTP/2 without TLS.
pub(super) struct Backend {
    pub(super) http1: SocketAddrV4,
    pub(super) h2c: SocketAddrV4,
    /// Held for its `Drop`.
    _server: Process,
}

pub(super) fn start(folder: &Path) -> Result<Vec<Backend>> {
    let large = folder.join("www");
    std::fs::create_dir_all(&large).context("cannot make the backends' folder")?;
    std::fs::write(large.join("large"), vec![b'x'; LARGE_BODY]).context("cannot write a body")?;
    std::fs::write(folder.join(GRPC_MESSAGE), grpc_message(GRPC_REQUEST, b'y'))
        .context("cannot write a message")?;
    (1..=2).map(|number| Backend::start(number, folder)).collect()
}

impl Backend {
    fn start(number: u32, folder: &Path) -> Result<Self> {
        let (http1, h2c) = (free_address()?, free_address()?);
        let name = format!("nginx-{number}");
        let home = folder.join(&name);
        std::fs::create_dir_all(&home).with_context(|| format!("cannot make {name}'s folder"))?;
        let config = home.join("nginx.conf");
        std::fs::write(&config, configuration(&home, &folder.join("www"), http1, h2c))
            .with_context(|| format!("cannot write {name}'s configuration"))?;
        let nginx = shell::which("nginx").context("nginx is not on PATH")?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(&home).arg("-e").arg(home.join("error.log"));
        command.arg("-c").arg(&config);
        let mut server = Process::start(&command, &name, folder)?;
        server.wait_for(http1)?;
        server.wait_for(h2c)?;
        Ok(Self { http1, h2c, _server: server })
    }
}

/// A message as gRPC frames it (gRPC over HTTP/2, "Length-Prefixed-Message"): not compressed, its length, itself.
fn grpc_message(length: usize, byte: u8) -> Vec<u8> {
    let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &prefix[..], &vec![byte; length]].concat()
}

fn configuration(home: &Path, www: &Path, http1: SocketAddrV4, h2c: SocketAddrV4) -> Vec<u8> {
    let opening = opening(home, 1, 8192);
    let www = www.display();
    let body = "x".repeat(SMALL_BODY);
    let head = format!(
        "{opening}    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    server {{
        listen {http1} backlog=4096;
        listen {h2c} http2 backlog=4096;
        default_type text/plain;
        location / {{ return 200 \"{body}\"; }}
        location = /large {{ root {www}; }}
        # nginx has nothing that reads a POST and answers it by itself: a mirror wants the body first, and who
        # serves no POST may be said to have answered it.
        location = {GRPC_PATH} {{ mirror /nobody; empty_gif; error_page 405 =200 /grpc-answer; }}
        location = /nobody {{ internal; return 204; }}
        location = /grpc-answer {{
            internal;
            default_type application/grpc;
            add_trailer grpc-status 0;
            return 200 \""
    );
    // nginx takes any octets between quotes, and a message begins with some that are no text.
    let message = grpc_message(SMALL_BODY, b'x');
    [head.as_bytes(), &message, b"\";\n        }\n    }\n}\n"].concat()
}
