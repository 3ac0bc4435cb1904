//! A Service compiled: where each of its ports sends connections and requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Frontend;
use super::policies::{CompiledPolicies, taken};
use super::registry::Registry;
use super::serving::{Candidates, Chosen, Place};
use super::store::Store;
use crate::balance::{Backend, BackendTls, Endpoint, Lasting, Member};
use crate::model::{
    AppProtocol, BackendSettings, ObjectName, Service, ServiceKind, ServicePort, SessionPersistence,
};

/// A Service, compiled.
#[derive(Debug)]
pub(super) struct CompiledService {
    /// Routes may name and attach to some kinds only.
    kind: ServiceKind,
    /// Its addresses: whether it is an external one, and the address.
    pub(super) addresses: Vec<(bool, IpAddr)>,
    pub(super) ports: Vec<CompiledPort>,
}

/// A Service's port, compiled.
#[derive(Debug)]
pub(super) struct CompiledPort {
    pub(super) port: u16,
    /// By which routes attach to it.
    name: Arc<str>,
    /// The endpoints for its cluster IPs, and for routes that name it.
    pub(super) backend: Arc<Backend>,
    /// The endpoints for its external addresses, if these are others: policy `Local` is for cluster IPs.
    pub(super) external: Option<Arc<Backend>>,
    /// How requests stay with one endpoint, if a policy says so; a route's rule may say otherwise.
    pub(super) session: Option<SessionPersistence>,
    /// What clients see, by cluster IP and by external address.
    pub(super) frontends: Option<(Arc<Frontend>, Option<Arc<Frontend>>)>,
    /// All endpoints that slices name, ready or not: held, so that their state is there when they are.
    _named: Box<[Arc<Endpoint>]>,
}

// === impl CompiledService ===

impl CompiledService {
    /// Compiles `service`; what has not changed since `before` is the same `Arc`.
    pub(super) fn new(
        store: &Store,
        tls: &CompiledPolicies,
        registry: &mut Registry,
        place: &Place,
        service: &Service,
        before: Option<&Self>,
    ) -> Self {
        let port = |port: &ServicePort| {
            let before = before.and_then(|before| before.port(port.port));
            let tls = tls.of(&store.tls, &service.name, &port.name);
            CompiledPort::new(store, tls, registry, place, service, port, before)
        };
        let ports = service.ports.iter().map(port).collect();
        let cluster = service.cluster_ips.iter().map(|ip| (false, ip.to_canonical()));
        let external = service.external_ips.iter().map(|ip| (true, ip.to_canonical()));
        Self { kind: service.kind, addresses: cluster.chain(external).collect(), ports }
    }

    pub(super) fn port(&self, port: u16) -> Option<&CompiledPort> {
        self.ports.iter().find(|known| known.port == port)
    }

    pub(super) fn port_mut(&mut self, port: u16) -> Option<&mut CompiledPort> {
        self.ports.iter_mut().find(|known| known.port == port)
    }

    /// Whether nobody can tell the difference.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.addresses == other.addresses
            && self.ports.len() == other.ports.len()
            && self.ports.iter().zip(&other.ports).all(|(a, b)| {
                let same_external = match (&a.external, &b.external) {
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    (a, b) => a.is_none() && b.is_none(),
                };
                (a.port, &a.name, &a.session) == (b.port, &b.name, &b.session)
                    && Arc::ptr_eq(&a.backend, &b.backend)
                    && same_external
            })
    }

    /// What it answers at: each address with each port, and whether the address is an external one.
    pub(super) fn places(&self) -> impl Iterator<Item = (bool, (IpAddr, u16))> {
        self.addresses
            .iter()
            .flat_map(|(external, ip)| self.ports.iter().map(|p| (*external, (*ip, p.port))))
    }
}

// === impl CompiledPort ===

impl CompiledPort {
    fn new(
        store: &Store,
        tls: Option<Arc<BackendTls>>,
        registry: &mut Registry,
        place: &Place,
        service: &Service,
        port: &ServicePort,
        before: Option<&Self>,
    ) -> Self {
        let key = (service.name.clone(), port.port);
        let candidates = Candidates::collect(store, &service.name, port, |address, pod| {
            registry.endpoint(&key, address, pod)
        });
        let protocol = taken(port.protocol, tls.is_some());
        let known = before.map(|before| before.backend.settings());
        let settings = store.backends.settings(&service.name, &port.name, known);
        let terms =
            Terms { protocol, affinity: service.affinity, tls: tls.as_ref(), settings: &settings };
        let mut backend = |chosen: Box<[Chosen<'_, _>]>, before, beside| {
            let member = |chosen: Chosen<'_, _>| Member {
                endpoint: chosen.endpoint,
                near: chosen.near,
                weight: settings.balancing.weight(chosen.spec),
            };
            let members = chosen.into_iter().map(member).collect();
            backend(registry, &key, &terms, members, before, beside)
        };
        let cluster = candidates.cluster(place);
        let before_external = before.and_then(|before| before.external.as_ref());
        let before_internal = before.map(|before| &before.backend);
        let (internal, external) = if service.internal_local {
            let internal = backend(candidates.local(place), before_internal, None);
            let external = (!service.external_ips.is_empty())
                .then(|| backend(cluster, before_external, Some(&internal)));
            (internal, external)
        } else {
            (backend(cluster, before_internal, None), None)
        };
        Self {
            port: port.port,
            name: Arc::clone(&port.name),
            backend: internal,
            external,
            session: store.backends.session(service, &port.name).cloned(),
            frontends: before.and_then(|before| before.frontends.clone()),
            _named: candidates.named(),
        }
    }
}

/// What holds at a backend, whatever its endpoints are.
struct Terms<'a> {
    protocol: AppProtocol,
    affinity: Option<Duration>,
    tls: Option<&'a Arc<BackendTls>>,
    settings: &'a Arc<BackendSettings>,
}

/// A backend; the one from before if it is no other. `beside`: the other one of the same port.
fn backend(
    registry: &mut Registry,
    key: &(ObjectName, u16),
    terms: &Terms<'_>,
    members: Box<[Member]>,
    before: Option<&Arc<Backend>>,
    beside: Option<&Arc<Backend>>,
) -> Arc<Backend> {
    let lasting = match before {
        Some(before) if terms.are_of(before) && before.has(&members) => {
            return Arc::clone(before);
        }
        Some(before) => {
            join(&members, before);
            Arc::clone(before.lasting())
        }
        None => match beside {
            Some(beside) => beside.lasting().beside(registry.next_id()),
            None => Lasting::new(registry.next_id()),
        },
    };
    let made = Backend::new(lasting, key.clone(), terms.protocol, terms.affinity, members);
    Arc::new(made.with_settings(Arc::clone(terms.settings)).with_tls(terms.tls.cloned()))
}

/// Tells those of `endpoints` that come to others which serve already, for they start slowly if the policy
/// says so: new ones, and such as were named but not ready.
fn join(members: &[Member], before: &Backend) {
    let new = |e: &&Arc<Endpoint>| before.at(e.address).is_none_or(|known| known.id != e.id);
    if !before.endpoints().is_empty() {
        members.iter().map(|member| &member.endpoint).filter(new).for_each(|e| e.joins());
    }
}

// === impl Terms ===

impl Terms<'_> {
    fn are_of(&self, backend: &Backend) -> bool {
        backend.protocol == self.protocol
            && backend.affinity() == self.affinity
            && backend.tls().map(|tls| tls.id) == self.tls.map(|tls| tls.id)
            && Arc::ptr_eq(backend.settings(), self.settings)
    }
}
