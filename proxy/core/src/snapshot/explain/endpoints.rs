//! A backend's endpoints, each with why it may be chosen or not.
//!
//! Who may serve is decided in `serving`, and who is ejected in `balance`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::EndpointReport;
use crate::balance::{Backend, Endpoint, Millis};
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
    let known = |address: SocketAddr| backend.endpoints().iter().find(|e| e.address == address);
    let all_ejected = backend.endpoints().iter().all(|e| e.ejected(now));
    let candidates = Candidates::collect(store, &service.name, port, |address, _| address);
    let local = service.internal_local && !external;
    let report = |(address, spec, standing): (SocketAddr, &crate::model::EndpointAddress, _)| {
        let live = known(address);
        let (usable, why) = match (live, standing) {
            (Some(endpoint), standing) => serving(endpoint, standing, all_ejected, now),
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
            active: live.map_or(0, |endpoint| endpoint.active()),
        }
    };
    candidates.standings(place, local).into_iter().map(report).collect()
}

fn serving(
    endpoint: &Arc<Endpoint>,
    standing: Result<&'static str, String>,
    all_ejected: bool,
    now: Millis,
) -> (bool, String) {
    match endpoint.ejected_for(now) {
        None => (true, standing.map_or_else(|why| why, ToOwned::to_owned)),
        Some(left) => {
            let seconds = left.div_ceil(1000);
            let why = format!("ejected for {seconds} s more: it failed again and again");
            if all_ejected {
                (true, format!("{why}; used all the same, for all are ejected"))
            } else {
                (false, why)
            }
        }
    }
}
