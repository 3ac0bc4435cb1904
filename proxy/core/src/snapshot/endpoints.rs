//! Which endpoints a Service port has, and the handles that outlive snapshots.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::balance::Endpoint;
use crate::model::{EndpointSlice, ObjectName};

/// Endpoint handles by Service, port name and address.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: HashMap<(ObjectName, Arc<str>, SocketAddr), Arc<Endpoint>>,
    next: HashMap<(ObjectName, Arc<str>, SocketAddr), Arc<Endpoint>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// Ends, but still serves: used only where nobody is ready.
    Leaving,
    Ready,
}

impl Registry {
    /// The endpoints of `service`'s port named `port`: the union of its slices, those that are ready;
    /// if none is, those that end but still serve (KEP-1669, as kube-proxy does). An address that
    /// several slices hold counts once, with its best condition.
    pub(super) fn endpoints<'a>(
        &mut self,
        service: &ObjectName,
        port: &Arc<str>,
        slices: impl Iterator<Item = &'a EndpointSlice>,
    ) -> Vec<Arc<Endpoint>> {
        let mut found: BTreeMap<SocketAddr, (Condition, &'a Option<ObjectName>)> = BTreeMap::new();
        for slice in slices {
            for slice_port in slice.ports.iter().filter(|p| p.name == *port) {
                for endpoint in &slice.endpoints {
                    let condition = match (endpoint.ready, endpoint.serving, endpoint.terminating) {
                        (true, ..) => Condition::Ready,
                        (false, true, true) => Condition::Leaving,
                        _ => continue,
                    };
                    let address = SocketAddr::new(endpoint.address, slice_port.port);
                    let entry = found.entry(address).or_insert((condition, &endpoint.pod));
                    entry.0 = entry.0.max(condition);
                }
            }
        }
        let best = found.values().map(|(condition, _)| *condition).max();
        found
            .into_iter()
            .filter(|(_, (condition, _))| Some(*condition) == best)
            .map(|(address, (_, pod))| self.handle(service, port, address, pod))
            .collect()
    }

    /// Forgets the endpoints that nobody asked for since the last call.
    pub(super) fn turn(&mut self) {
        self.known = std::mem::take(&mut self.next);
    }

    fn handle(
        &mut self,
        service: &ObjectName,
        port: &Arc<str>,
        address: SocketAddr,
        pod: &Option<ObjectName>,
    ) -> Arc<Endpoint> {
        let key = (service.clone(), Arc::clone(port), address);
        // Another pod at the same address is another endpoint: it starts with a clean slate.
        let known = self.next.get(&key).or_else(|| self.known.get(&key)).filter(|e| e.pod == *pod);
        let endpoint =
            known.map_or_else(|| Arc::new(Endpoint::new(address, pod.clone())), Arc::clone);
        self.next.insert(key, Arc::clone(&endpoint));
        endpoint
    }
}
