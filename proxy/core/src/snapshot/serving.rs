//! Which endpoints of a Service serve a port, for clients on this node: as kube-proxy decides it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Store;
use crate::balance::Endpoint;
use crate::model::{EndpointAddress, ObjectName, ServicePort};

/// Where this node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: Option<Arc<str>>,
    pub(super) zone: Option<Arc<str>>,
}

/// The endpoints that a Service's slices name for one of its ports, by address, each as an `E`.
pub(super) struct Candidates<'a, E = Arc<Endpoint>> {
    found: BTreeMap<SocketAddr, Candidate<'a, E>>,
}

struct Candidate<'a, E> {
    state: State,
    spec: &'a EndpointAddress,
    endpoint: E,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Not to be used.
    No,
    /// It terminates and still serves.
    Draining,
    Ready,
}

/// One that may serve.
pub(super) struct Chosen<'a, E> {
    pub(super) endpoint: E,
    pub(super) spec: &'a EndpointAddress,
    /// Topology prefers it to others.
    pub(super) near: bool,
}

/// Which of the ready endpoints topology prefers.
enum Prefer<'a> {
    Anyone,
    /// Those whose hints name this node.
    Node(&'a Arc<str>),
    /// Those whose hints name this zone.
    Zone(&'a Arc<str>),
}

// === impl Candidates ===

impl<'a, E: Clone> Candidates<'a, E> {
    /// All slices merged. An address that is named several times (a pod moves from one slice to
    /// another; its address is given to a new pod while the old one terminates) counts as what serves
    /// best.
    pub(super) fn collect(
        store: &'a Store,
        service: &ObjectName,
        port: &ServicePort,
        mut endpoint: impl FnMut(SocketAddr, Option<&ObjectName>) -> E,
    ) -> Self {
        let mut found: BTreeMap<SocketAddr, Candidate<'a, E>> = BTreeMap::new();
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
                    let endpoint = endpoint(address, spec.pod.as_ref());
                    found.insert(address, Candidate { state, spec, endpoint });
                }
            }
        }
        Self { found }
    }

    /// All of them, ready or not: whoever holds them keeps their state.
    pub(super) fn named(&self) -> Box<[E]> {
        self.found.values().map(|c| c.endpoint.clone()).collect()
    }

    /// Those for traffic policy `Cluster`: the ready ones, those near that topology prefers, if it prefers
    /// any; if none is ready, those that still serve while they terminate (KEP-1669), whatever topology
    /// says.
    pub(super) fn cluster(&self, place: &Place) -> Box<[Chosen<'a, E>]> {
        let prefer = self.preference(place);
        self.best(|spec| Some(prefer.is(spec)))
    }

    /// Those for traffic policy `Local`: of this node only.
    pub(super) fn local(&self, place: &Place) -> Box<[Chosen<'a, E>]> {
        self.best(|spec| (spec.node.is_some() && spec.node == place.node).then_some(false))
    }

    /// Those that `near` says something of.
    fn best(&self, near: impl Fn(&EndpointAddress) -> Option<bool>) -> Box<[Chosen<'a, E>]> {
        for wanted in [State::Ready, State::Draining] {
            let chosen: Box<[_]> = self
                .found
                .values()
                .filter(|c| c.state == wanted)
                .filter_map(|c| {
                    let near = near(c.spec)?;
                    Some(Chosen { endpoint: c.endpoint.clone(), spec: c.spec, near })
                })
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

// === impl Prefer ===

impl Prefer<'_> {
    fn is(&self, spec: &EndpointAddress) -> bool {
        match self {
            Self::Anyone => false,
            Self::Node(node) => spec.for_nodes.contains(*node),
            Self::Zone(zone) => spec.for_zones.contains(*zone),
        }
    }
}

// === impl Candidates, in words ===

impl<'a> Candidates<'a, SocketAddr> {
    /// All of them, each with why it is among those that serve clients of `place`, or why it is not; by
    /// traffic policy `Local` or `Cluster`, and with an eye on what is near or without.
    pub(super) fn standings(
        &self,
        place: &Place,
        local: bool,
        zone_aware: bool,
    ) -> Vec<(SocketAddr, &'a EndpointAddress, Result<String, String>)> {
        let chosen = if local { self.local(place) } else { self.cluster(place) };
        let any_near = zone_aware && chosen.iter().any(|chosen| chosen.near);
        let standing = |(address, candidate): (&SocketAddr, &Candidate<'a, SocketAddr>)| {
            let chosen = chosen.iter().find(|chosen| chosen.endpoint == *address);
            let told = match (candidate.state, chosen) {
                (State::Ready, Some(chosen)) if any_near && !chosen.near => {
                    let why = self.elsewhere(candidate.spec, place, local);
                    Ok(format!(
                        "ready, but {why}: used if those that are meant for here do not suffice"
                    ))
                }
                (State::Ready, Some(_)) => Ok("ready".to_owned()),
                (State::Draining, Some(_)) => {
                    Ok("terminating, and used while none is ready".to_owned())
                }
                (State::Ready, None) => Err(self.elsewhere(candidate.spec, place, local)),
                (State::Draining, None) => Err("terminating".to_owned()),
                (State::No, _) if candidate.spec.terminating => Err("terminating".to_owned()),
                (State::No, _) => Err("not ready".to_owned()),
            };
            (*address, candidate.spec, told)
        };
        self.found.iter().map(standing).collect()
    }

    /// Why topology prefers others to this endpoint, or leaves it out.
    fn elsewhere(&self, spec: &EndpointAddress, place: &Place, local: bool) -> String {
        if local {
            let node = spec.node.as_deref().unwrap_or("an unknown node");
            return format!("on {node}, and internalTrafficPolicy is Local");
        }
        match self.preference(place) {
            Prefer::Anyone => "not chosen".to_owned(),
            Prefer::Node(node) => format!("its hints do not name node {node}"),
            Prefer::Zone(zone) => {
                format!("its hints name zone {}, not {zone}", spec.for_zones.join(", "))
            }
        }
    }
}
