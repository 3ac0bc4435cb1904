//! A backend's endpoints, each with why it may be chosen or not.
//!
//! Who may serve is decided in `serving`, and who is ejected in `balance`.

use std::net::SocketAddr;

use super::EndpointReport;
use crate::balance::{Backend, Endpoint, Family, Millis};
use crate::snapshot::Store;
use crate::snapshot::serving::{Candidates, Place};

/// All endpoints of `backend`, which serves an external address if `external` says so.
pub(super) fn reports(
    store: &Store,
    place: &Place,
    backend: &Backend,
    external: bool,
    now: Millis,
) -> Vec<EndpointReport> {
    let Some(service) = store.service(&backend.service) else { return Vec::new() };
    let Some(port) = service.ports.iter().find(|p| p.port == backend.port) else {
        return Vec::new();
    };
    let known = |address: SocketAddr| {
        let place = backend.endpoints().iter().position(|e| e.address == address)?;
        Some((place, &backend.endpoints()[place]))
    };
    let candidates = Candidates::collect(store, &service.name, port, |address, _| address);
    let local = service.internal_local && !external;
    let report = |(address, spec, standing): (SocketAddr, &crate::model::EndpointAddress, _)| {
        let live = known(address);
        let (usable, why) = match (live, standing) {
            (Some((_, endpoint)), standing) => serving(backend, endpoint, standing, now),
            (None, Err(why)) => (false, why),
            (None, Ok(_)) => (false, "not in force yet".to_owned()),
        };
        EndpointReport {
            address: address.to_string(),
            pod: spec.pod.as_ref().map(ToString::to_string),
            node: spec.node.as_ref().map(ToString::to_string),
            zones: spec.for_zones.iter().map(ToString::to_string).collect(),
            usable,
            why,
            active: live.map_or(0, |(_, endpoint)| endpoint.active()),
            weight: live.map(|(place, _)| backend.weight(place).get()),
            near: live.is_some_and(|(place, _)| backend.is_near(place)),
            latency_ms: live.and_then(|(_, endpoint)| endpoint.latency_us(now)).map(millis),
        }
    };
    candidates
        .standings(place, local, backend.settings().balancing.zone_aware)
        .into_iter()
        .map(report)
        .collect()
}

fn serving(
    backend: &Backend,
    endpoint: &Endpoint,
    standing: Result<String, String>,
    now: Millis,
) -> (bool, String) {
    let ejected = endpoint.ejected_for(now).map(|left| {
        let seconds = left.div_ceil(1000);
        format!("ejected for {seconds} s more: it failed again and again")
    });
    let ill = endpoint.ill().then(|| "health checks find it ill".to_owned());
    let Some(why) = ill.or(ejected) else {
        return (true, standing.unwrap_or_else(|why| why));
    };
    // Pods get what is of the family that they have dialled.
    if backend.panics_for(Some(Family::of(endpoint.address.ip())), now) {
        (true, format!("{why}; used all the same, for too few are well"))
    } else {
        (false, why)
    }
}

/// To the microsecond.
fn millis(micros: f32) -> f64 {
    f64::from(micros).round() / 1000.0
}
