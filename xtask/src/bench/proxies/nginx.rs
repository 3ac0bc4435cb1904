//! nginx: two workers with a listener each, connections to backends kept.
//!
//! It speaks HTTP/1.1 to backends, whatever its clients speak: it has no other way, but for gRPC.

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::backends::{Backend, GRPC_PATH};
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
    let home = folder.display();
    // Root's nginx would serve as `nobody`, who may not see a private temporary folder.
    let user = if shell::is_root() { "user root;" } else { "" };
    let servers = |address: fn(&Backend) -> SocketAddrV4| {
        backends.iter().map(|b| format!("        server {};\n", address(b))).collect::<String>()
    };
    let (http1_servers, h2c_servers) = (servers(|b| b.http1), servers(|b| b.h2c));
    format!(
        "daemon off;
{user}
worker_processes 2;
worker_rlimit_nofile 16384;
pid {home}/nginx.pid;
error_log {home}/error.log error;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    tcp_nodelay on;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
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
