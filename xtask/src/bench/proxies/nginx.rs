//! nginx: two workers with a listener each, connections to backends kept.
//!
//! It speaks HTTP/1.1 to backends, whatever its clients speak: it has no other way, but for gRPC.

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::backends::{Backend, GRPC_PATH};
use super::super::nginx::opening;
use super::Place;
use crate::shell;

pub(super) fn command(place: &Place, backends: &[Backend]) -> Result<Command> {
    let home = &place.folder;
    let config = home.join("nginx.conf");
    std::fs::write(&config, configuration(place, backends))
        .context("cannot write nginx's configuration")?;
    let mut command = Command::new(shell::which("nginx").context("nginx is not on PATH")?);
    command.arg("-p").arg(home).arg("-e").arg(home.join("error.log")).arg("-c").arg(&config);
    Ok(command)
}

fn configuration(Place { folder, http1, h2c }: &Place, backends: &[Backend]) -> String {
    let opening = opening(folder, 2, 12000);
    let servers = |address: fn(&Backend) -> SocketAddrV4| {
        backends.iter().map(|b| format!("        server {};\n", address(b))).collect::<String>()
    };
    let (http1_servers, h2c_servers) = (servers(|b| b.http1), servers(|b| b.h2c));
    format!(
        "{opening}    tcp_nodelay on;
    upstream http1 {{
        zone http1 64k;
        random two least_conn;
{http1_servers}        keepalive 128;
        keepalive_requests 100000000;
    }}
    upstream h2c {{
        zone h2c 64k;
        random two least_conn;
{h2c_servers}        keepalive 128;
        keepalive_requests 100000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $host;
    # A large body goes through memory, not through a file.
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0;
    server {{
        listen {http1} reuseport backlog=4096;
        listen {h2c} http2 reuseport backlog=4096;
        location / {{ proxy_pass http://http1; }}
        location = {GRPC_PATH} {{ grpc_pass grpc://h2c; }}
    }}
}}
"
    )
}
