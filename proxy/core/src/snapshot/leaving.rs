//! To which endpoints connections are not to be kept any more, after a change of their Service.
//!
//! Not what becomes of those connections: that is the data plane's to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::services::{CompiledPort, CompiledService};
use crate::balance::{Backend, Endpoint, EndpointId};

/// Marks the endpoints that serve no longer, and those that do now, and adds to `left` whoever is gone, is to
/// be spoken to in another way, or may now have only so many connections. This looks at the ports that have changed, not at all that there is.
pub(super) fn note(
    before: Option<&CompiledService>,
    now: Option<&CompiledService>,
    left: &mut Vec<EndpointId>,
) {
    let mut ports: BTreeMap<u16, [Option<&CompiledPort>; 2]> = BTreeMap::new();
    for (at, service) in [before, now].into_iter().enumerate() {
        for port in service.iter().flat_map(|service| &service.ports) {
            ports.entry(port.port).or_default()[at] = Some(port);
        }
    }
    for [before, now] in ports.into_values() {
        let same = |(a, b): (&CompiledPort, &CompiledPort)| {
            Arc::ptr_eq(&a.backend, &b.backend) && a.external.is_none() && b.external.is_none()
        };
        if before.zip(now).is_some_and(same) {
            continue;
        }
        let (had, has) = (serving(before), serving(now));
        let manner = |port: Option<&CompiledPort>| port.map(|port| manner(&port.backend));
        // Those that were made without a limit could not be closed for who waits under one.
        let limited = is_limited(now) && !is_limited(before);
        let otherwise = limited || manner(before) != manner(now);
        for (id, endpoint) in &had {
            if !has.contains_key(id) {
                endpoint.retire();
                left.push(*id);
            } else if otherwise {
                left.push(*id);
            }
        }
        for (_, endpoint) in has.iter().filter(|(id, _)| !had.contains_key(id)) {
            endpoint.reinstate();
        }
    }
}

/// Who serves a port, from wherever it is asked.
fn serving(port: Option<&CompiledPort>) -> BTreeMap<EndpointId, &Arc<Endpoint>> {
    let backends = port.into_iter().flat_map(|port| [Some(&port.backend), port.external.as_ref()]);
    backends.flatten().flat_map(|backend| backend.endpoints()).map(|e| (e.id, e)).collect()
}

fn is_limited(port: Option<&CompiledPort>) -> bool {
    port.is_some_and(|port| port.backend.settings().limits.has_connections())
}

/// How endpoints are spoken to: under which policy, and in what.
fn manner(backend: &Backend) -> (Option<u64>, crate::model::AppProtocol) {
    (backend.tls().map(|tls| tls.id), backend.protocol)
}
