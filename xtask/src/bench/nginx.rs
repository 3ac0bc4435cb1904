//! What all nginx configurations of the bench begin with, be it a server or a proxy that is measured.

use std::path::Path;

use crate::shell;

/// The configuration of an nginx that keeps everything in `home`, up to the middle of its `http` block.
pub(super) fn opening(home: &Path, workers: u32, connections: u32) -> String {
    let home = home.display();
    // Root's nginx would serve as `nobody`, who may not see a private temporary folder.
    let user = if shell::is_root() { "user root;" } else { "" };
    format!(
        "daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {home}/nginx.pid;
error_log {home}/error.log error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    # Pools should not churn while they are measured.
    keepalive_requests 100000000;
    keepalive_timeout 300s;
"
    )
}
