//! A pair of sidecars: Envoy beside the client and Envoy beside the server, with iptables that lead connections into
//! them, as Istio lays them out.
//!
//! Nothing more than that: no TLS between them, no access log, no inspectors, no telemetry filter.

use std::fs;
use std::net::SocketAddr;

use nodeway_tests::{Pod, Proc};

use crate::scenes::PORT;

/// The variable that names Envoy.
pub(crate) const BINARY: &str = "ENVOY_BIN";
/// Istio's ports.
const OUTBOUND: u16 = 15001;
const INBOUND: u16 = 15006;

/// Both of them, and the rules.
pub(crate) fn start(client: &Pod, server: &Pod, service: SocketAddr) -> [Proc; 2] {
    let (ip, port) = (service.ip().to_string(), service.port().to_string());
    redirect(client, "OUTPUT", &["-d", &ip, "--dport", &port], OUTBOUND);
    redirect(server, "PREROUTING", &["--dport", &PORT.to_string()], INBOUND);
    let outbound = format!(
        "{}  - name: web\n    bind_to_port: false\n    address: {}\n{}",
        // Takes what is led to it and gives it to the listener of the address that was dialled.
        format_args!(
            "  - name: outbound\n    use_original_dst: true\n    address: {}\n    filter_chains:\n    - filters:\n{}",
            address(SocketAddr::from(([127, 0, 0, 1], OUTBOUND))),
            NOBODY
        ),
        address(service),
        http("outbound")
    );
    let inbound = format!(
        "  - name: inbound\n    address: {}\n    listener_filters:\n    - name: envoy.filters.listener.original_dst\n      \
         typed_config:\n        \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst\n{}",
        address(SocketAddr::from(([0, 0, 0, 0], INBOUND))),
        http("inbound")
    );
    let to = server.v4(PORT);
    [envoy(client, &outbound, "outbound", to), envoy(server, &inbound, "inbound", to)]
}

fn redirect(pod: &Pod, chain: &str, of: &[&str], to: u16) {
    let (begin, to) = (["-t", "nat", "-A", chain, "-p", "tcp"], to.to_string());
    pod.place.ok("iptables", &[&begin[..], of, &["-j", "REDIRECT", "--to-ports", &to]].concat());
}

fn envoy(pod: &Pod, listeners: &str, cluster: &str, to: SocketAddr) -> Proc {
    let text = format!(
        "static_resources:
  listeners:
{listeners}  clusters:
  - name: {cluster}
    type: STATIC
    lb_policy: LEAST_REQUEST
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: 1000000, max_pending_requests: 1000000, max_requests: 1000000 }}
    load_assignment:
      cluster_name: {cluster}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {} }}
",
        address(to)
    );
    let file = pod.place.logs.join(format!("envoy-{cluster}.yaml"));
    fs::write(&file, text).expect("Envoy's configuration");
    let binary = std::env::var_os(BINARY).expect("Envoy, which was asked for");
    let file = file.display().to_string();
    let how = ["--concurrency", "2", "--disable-hot-restart", "--log-level", "error", "-c", &file];
    pod.place.start(binary, &how)
}

fn address(of: SocketAddr) -> String {
    format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", of.ip(), of.port())
}

/// For what was dialled to an address that has no listener.
const NOBODY: &str = "      - name: envoy.filters.network.tcp_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: nobody
          cluster: outbound
";

/// The filters that Istio has in both: CORS and faults, that no route asks for, and the router.
fn http(cluster: &str) -> String {
    const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";
    const MANAGER: &str =
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3";
    format!(
        "    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": {MANAGER}.HttpConnectionManager
          stat_prefix: {cluster}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}]
          http_filters:
          - name: envoy.filters.http.fault
            typed_config: {{ \"@type\": {FILTERS}.fault.v3.HTTPFault }}
          - name: envoy.filters.http.cors
            typed_config: {{ \"@type\": {FILTERS}.cors.v3.Cors }}
          - name: envoy.filters.http.router
            typed_config: {{ \"@type\": {FILTERS}.router.v3.Router }}
"
    )
}
