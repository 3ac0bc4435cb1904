//! Nodeway: two workers behind plain listeners, everything else as it comes. Metrics, balancing, outlier
//! detection, retries' budgets are on.
//!
//! Without eBPF: how connections come to it is another bench.

use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::backends::Backend;
use super::super::process::free_address;
use super::Place;

/// What else it knows: Services that nobody asks, and routes of the one that is asked.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) services: usize,
    pub(super) routes: usize,
}

pub(super) fn command(
    binary: &Path,
    place: &Place,
    backends: &[Backend],
    size: Size,
) -> Result<Command> {
    let manifests = place.folder.join("manifests");
    std::fs::create_dir_all(&manifests).context("cannot make the manifests' folder")?;
    let mut text = [
        service("web", "http", backends.iter().map(|backend| backend.http1)),
        service("web-h2c", "kubernetes.io/h2c", backends.iter().map(|backend| backend.h2c)),
    ]
    .concat();
    for number in 0..size.services {
        // Nobody is there: documentation's own network.
        let octet = u8::try_from(number % 250).unwrap_or_default();
        let nobody = SocketAddrV4::new([192, 0, 2, octet].into(), 8080);
        text += &service(&format!("other-{number}"), "http", std::iter::once(nobody));
    }
    text += &routes(size.routes);
    std::fs::write(manifests.join("bench.yaml"), text).context("cannot write the manifests")?;
    let Place { http1, h2c, .. } = place;
    let mut command = Command::new(binary);
    command
        .args(["run", "--no-ebpf", "--workers", "2", "--node-name", "bench", "--manifests"])
        .arg(manifests)
        .args(["--listen", &format!("{http1}=bench/web:80")])
        .args(["--listen", &format!("{h2c}=bench/web-h2c:80")])
        .args(["--admin", &free_address()?.to_string()])
        .args(["--metrics", &free_address()?.to_string()]);
    Ok(command)
}

/// A Service and its endpoints. A slice has one list of ports for all its endpoints, so endpoints on
/// one address need a slice each.
pub(super) fn service(
    name: &str,
    protocol: &str,
    endpoints: impl Iterator<Item = SocketAddrV4>,
) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata: {{ namespace: bench, name: {name} }}
spec:
  ports:
    - {{ name: web, port: 80, appProtocol: {protocol} }}
---
"
    );
    for (number, endpoint) in endpoints.enumerate() {
        text += &format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: bench
  name: {name}-{number}
  labels: {{ kubernetes.io/service-name: {name} }}
addressType: IPv4
ports:
  - {{ name: web, port: {}, appProtocol: {protocol} }}
endpoints:
  - addresses: [\"{}\"]
    conditions: {{ ready: true }}
---
",
            endpoint.port(),
            endpoint.ip()
        );
    }
    text
}

/// Routes of the Service that is asked, each with a path of its own: all of them in one table.
fn routes(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        // A String takes all that is written to it.
        let _ = writeln!(
            text,
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ namespace: bench, name: team-{number} }}
spec:
  parentRefs: [{{ group: \"\", kind: Service, name: web, port: 80 }}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: /team-{number}/items }} }}]
    backendRefs: [{{ name: web, port: 80 }}]
---"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_a_slice_of_its_own() {
        let endpoints = ["127.0.0.1:1001", "127.0.0.1:1002"].map(|text| text.parse().unwrap());
        let text = service("web", "http", endpoints.into_iter());
        assert_eq!(text.matches("kind: Service\n").count(), 1);
        assert_eq!(text.matches("kind: EndpointSlice\n").count(), 2);
        assert!(text.contains("port: 1001") && text.contains("port: 1002"));
    }

    #[test]
    fn each_route_has_a_path_of_its_own() {
        let text = routes(12);
        assert_eq!(text.matches("kind: HTTPRoute\n").count(), 12);
        assert!(text.contains("value: /team-0/items ") && text.contains("value: /team-11/items "));
    }
}
