//! Which endpoints of a Service serve a port, for clients on this node: as kube-proxy decides it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Store;
use super::registry::Registry;
use crate::balance::Endpoint;
use crate::model::{EndpointAddress, ObjectName, ServicePort};

/// Where this node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: Option<Arc<str>>,
    pub(super) zone: Option<Arc<str>>,
}

/// The endpoints that a Service's slices name for one of its ports, by address.
pub(super) struct Candidates<'a> {
    found: BTreeMap<SocketAddr, Candidate<'a>>,
}

struct Candidate<'a> {
    state: State,
    spec: &'a EndpointAddress,
    endpoint: Arc<Endpoint>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Not to be used.
    No,
    /// It terminates and still serves.
    Draining,
    Ready,
}

/// What topology leaves of the ready endpoints.
enum Prefer<'a> {
    Anyone,
    /// Those whose hints name this node.
    Node(&'a Arc<str>),
    /// Those whose hints name this zone.
    Zone(&'a Arc<str>),
}

// === impl Candidates ===

impl<'a> Candidates<'a> {
    /// All slices merged. An address that is named several times (a pod moves from one slice to
    /// another; its address is given to a new pod while the old one terminates) counts as what serves
    /// best.
    pub(super) fn collect(
        store: &'a Store,
        registry: &mut Registry,
        service: &ObjectName,
        port: &ServicePort,
    ) -> Self {
        let mut found: BTreeMap<SocketAddr, Candidate<'a>> = BTreeMap::new();
        for slice in store.slices(service) {
            for target in slice.ports.iter().filter(|p| p.name == port.name) {
                for spec in &slice.endpoints {
                    let state = match (spec.ready, spec.serving && spec.terminating) {
                        (true, _) => State::Ready,
                        (false, true) => State::Draining,
                        (false, false) => State::No,
                    };
                    let address = SocketAddr::new(spec.address.to_canonical(), target.port);
                    if found.get(&address).is_some_and(|known| known.state >= state) {
                        continue;
                    }
                    let endpoint = registry.endpoint(address, spec.pod.as_ref());
                    found.insert(address, Candidate { state, spec, endpoint });
                }
            }
        }
        Self { found }
    }

    /// All of them, ready or not: whoever holds them keeps their state.
    pub(super) fn named(&self) -> Box<[Arc<Endpoint>]> {
        self.found.values().map(|c| Arc::clone(&c.endpoint)).collect()
    }

    /// Those for traffic policy `Cluster`: the ready ones, or if topology prefers some, these; if none
    /// is ready, those that still serve while they terminate (KEP-1669), whatever topology says.
    pub(super) fn cluster(&self, place: &Place) -> Box<[Arc<Endpoint>]> {
        let prefer = self.preference(place);
        self.best(|spec| match prefer {
            Prefer::Anyone => true,
            Prefer::Node(node) => spec.for_nodes.contains(node),
            Prefer::Zone(zone) => spec.for_zones.contains(zone),
        })
    }

    /// Those for traffic policy `Local`: of this node only.
    pub(super) fn local(&self, place: &Place) -> Box<[Arc<Endpoint>]> {
        self.best(|spec| spec.node.is_some() && spec.node == place.node)
    }

    fn best(&self, allowed: impl Fn(&EndpointAddress) -> bool) -> Box<[Arc<Endpoint>]> {
        for wanted in [State::Ready, State::Draining] {
            let chosen: Box<[_]> = self
                .found
                .values()
                .filter(|c| c.state == wanted && allowed(c.spec))
                .map(|c| Arc::clone(&c.endpoint))
                .collect();
            if !chosen.is_empty() {
                return chosen;
            }
        }
        Box::default()
    }

    /// Hints count only if every ready endpoint has them and one of them names this place (KEP-2433,
    /// KEP-3015): half a set of hints would overload a few.
    fn preference<'p>(&self, place: &'p Place) -> Prefer<'p> {
        let ready = || self.found.values().filter(|c| c.state == State::Ready).map(|c| c.spec);
        if ready().next().is_none() {
            return Prefer::Anyone;
        }
        if let Some(node) = &place.node
            && ready().all(|spec| !spec.for_nodes.is_empty())
            && ready().any(|spec| spec.for_nodes.contains(node))
        {
            return Prefer::Node(node);
        }
        if let Some(zone) = &place.zone
            && ready().all(|spec| !spec.for_zones.is_empty())
            && ready().any(|spec| spec.for_zones.contains(zone))
        {
            return Prefer::Zone(zone);
        }
        Prefer::Anyone
    }
}
