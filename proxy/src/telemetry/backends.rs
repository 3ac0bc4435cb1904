//! How the endpoints of backends are, as one sees it when one looks.
//!
//! Nothing is counted for this, and there is no series of an endpoint: there may be thousands, and new ones
//! all day.

use nodeway_core::balance::{Backend, Millis};
use nodeway_core::snapshot::Snapshot;

use super::render::{Text, Type};
use super::shard::Used;

/// What an endpoint is, in the order of [`STATES`].
const STATES: [&str; 3] = ["usable", "ejected", "ill"];

/// Adds those of the backends that are used.
pub fn render_backends(text: &mut Text, used: &Used, snapshot: &Snapshot, now: Millis) {
    let used = used.backends();
    let ports = used.iter().flat_map(|service| snapshot.ports(service));
    let backends: Vec<(String, &Backend)> =
        ports.map(|frontend| (frontend.port.to_string(), &*frontend.backend)).collect();
    let name = "nodeway_endpoints";
    text.family(
        name,
        Type::Gauge,
        "Ready endpoints of the backends in use, by whether they are used.",
    );
    for (port, backend) in &backends {
        let mut counts = [0_u32; STATES.len()];
        for endpoint in backend.endpoints() {
            let state = match (endpoint.ill(), endpoint.ejected(now)) {
                (true, _) => 2,
                (false, true) => 1,
                (false, false) => 0,
            };
            counts[state] += 1;
        }
        let [namespace, service, port] = labels(port, backend);
        for (state, count) in STATES.into_iter().zip(counts) {
            text.sample(name, &[namespace, service, port, ("state", state)], count);
        }
    }
    let name = "nodeway_backend_panics";
    let help = "1 while so few endpoints are usable that all are used, whatever their health.";
    text.family(name, Type::Gauge, help);
    for (port, backend) in &backends {
        text.sample(name, &labels(port, backend), u8::from(backend.panicking_at(now)));
    }
}

fn labels<'a>(port: &'a str, backend: &'a Backend) -> [(&'static str, &'a str); 3] {
    let service = &backend.service;
    [
        ("backend_namespace", &service.namespace),
        ("backend_name", &service.name),
        ("backend_port", port),
    ]
}
