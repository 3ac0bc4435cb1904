//! From objects to a snapshot.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Store;
use super::endpoints::Registry;
use super::rule::{Rule, WeightedBackend};
use super::view::{Backend, Frontend, Snapshot, canonical};
use crate::balance::{Algorithm, Balancer};
use crate::model::{
    AppProtocol, BackendTarget, EndpointSlice, Filter, HttpRoute, Kind, Mesh, Namespace,
    ObjectName, Pod,
};
use crate::route::{Candidate, Router};

/// Which pods are enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enroll {
    /// Those whose own label says so, or their Namespace's if they have none.
    Label,
    /// All but those whose own label, or their Namespace's if they have none, forbids it.
    All,
}

/// What a compiler must know besides the objects.
#[derive(Debug, Clone)]
pub struct CompileOptions {
    /// Which pods are enrolled.
    pub enroll: Enroll,
    /// This node's name: pods of other nodes are not enrolled. Pods without a node are anybody's.
    pub node_name: Option<Arc<str>>,
}

/// Something that objects say of each other and that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind of the object at fault.
    pub kind: Kind,
    /// The object.
    pub object: ObjectName,
    /// The field, as a path from the object's root.
    pub field: String,
    /// What is wrong with it, and what follows.
    pub message: String,
}

/// Compiles snapshots; keeps endpoint handles from one to the next.
#[derive(Debug)]
pub struct Compiler {
    options: CompileOptions,
    registry: Registry,
    next_id: u64,
}

type Backends = HashMap<(ObjectName, u16), Arc<Backend>>;
type Slices<'a> = BTreeMap<&'a ObjectName, Vec<&'a EndpointSlice>>;
type Candidates = HashMap<(ObjectName, u16), Vec<Candidate<Rule>>>;

// === impl Compiler ===

impl Compiler {
    /// A compiler that knows no endpoints yet.
    pub fn new(options: CompileOptions) -> Self {
        Self { options, registry: Registry::default(), next_id: 0 }
    }

    /// Compiles what `store` holds. Endpoints that it no longer names are forgotten.
    pub fn compile(&mut self, store: &Store) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let backends = self.backends(store);
        let mut candidates = self.candidates(store, &backends, &mut snapshot.problems);
        for service in store.services.values() {
            for port in &service.ports {
                let key = (service.name.clone(), port.port);
                let Some(backend) = backends.get(&key) else { continue };
                let frontend = Arc::new(Frontend {
                    id: self.id(),
                    service: service.name.clone(),
                    port: port.port,
                    protocol: port.protocol,
                    backend: Arc::clone(backend),
                    router: candidates.remove(&key).map(Router::new),
                });
                for ip in &service.cluster_ips {
                    let address = canonical(SocketAddr::new(*ip, port.port));
                    snapshot.claim(address, &frontend);
                }
                snapshot.service_ports.insert(key, frontend);
            }
        }
        snapshot.pods = self.pods(store);
        snapshot
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn backends(&mut self, store: &Store) -> Backends {
        let mut slices: Slices<'_> = BTreeMap::new();
        for slice in store.slices.values() {
            slices.entry(&slice.service).or_default().push(slice);
        }
        let mut backends = Backends::new();
        for service in store.services.values() {
            let of_service = slices.get(&service.name).map_or(&[][..], Vec::as_slice);
            for port in &service.ports {
                let endpoints = of_service.iter().copied();
                let endpoints = self.registry.endpoints(&service.name, &port.name, endpoints);
                let algorithm = match port.protocol {
                    AppProtocol::Tcp | AppProtocol::Tls => Algorithm::RoundRobin,
                    _ => Algorithm::LeastRequest,
                };
                let backend = Backend {
                    id: self.id(),
                    service: service.name.clone(),
                    port: port.port,
                    protocol: port.protocol,
                    balancer: Balancer::new(endpoints, algorithm),
                };
                backends.insert((service.name.clone(), port.port), Arc::new(backend));
            }
        }
        self.registry.turn();
        backends
    }

    /// The matches of all routes, by the Service port they attach to.
    fn candidates(
        &mut self,
        store: &Store,
        backends: &Backends,
        problems: &mut Vec<Problem>,
    ) -> Candidates {
        let mut candidates = Candidates::new();
        for route in store.http_routes.values() {
            let rules: Vec<Arc<Rule>> = (0..route.rules.len())
                .map(|index| Arc::new(self.rule(route, index, backends, problems)))
                .collect();
            for (p, parent) in route.parents.iter().enumerate() {
                let ports: Vec<u16> = store
                    .services
                    .get(&parent.service)
                    .into_iter()
                    .flat_map(|service| service.ports.iter().map(|port| port.port))
                    .filter(|port| parent.port.is_none_or(|wanted| wanted == *port))
                    .collect();
                if ports.is_empty() {
                    problems.push(Problem {
                        kind: Kind::HttpRoute,
                        object: route.name.clone(),
                        field: format!("spec.parentRefs[{p}]"),
                        message: format!(
                            "Service {}{} does not exist: the route has no effect there",
                            parent.service,
                            parent.port.map_or_else(String::new, |port| format!(" port {port}")),
                        ),
                    });
                }
                for port in ports {
                    let at = candidates.entry((parent.service.clone(), port)).or_default();
                    for (index, rule) in rules.iter().enumerate() {
                        at.extend(Candidate::of(route, index, rule));
                    }
                }
            }
        }
        candidates
    }

    fn rule(
        &mut self,
        route: &HttpRoute,
        index: usize,
        backends: &Backends,
        problems: &mut Vec<Problem>,
    ) -> Rule {
        let rule = &route.rules[index];
        let mut problem = |field: String, message: String| {
            let object = route.name.clone();
            problems.push(Problem { kind: Kind::HttpRoute, object, field, message });
        };
        for message in invalid_filters(&rule.filters) {
            let field = format!("spec.rules[{index}].filters");
            problem(field, format!("{message}: its requests are answered with 500"));
        }
        let shares = rule.backends.iter().enumerate().map(|(b, backend)| {
            let field = format!("spec.rules[{index}].backendRefs[{b}]");
            for message in invalid_filters(&backend.filters) {
                problem(field.clone(), format!("{message}: its share is answered with 500"));
            }
            let share = match &backend.target {
                BackendTarget::Invalid { message } => {
                    problem(field, format!("{message}: its share is answered with 500"));
                    Err(Arc::clone(message))
                }
                BackendTarget::Service { service, port } => {
                    match backends.get(&(service.clone(), *port)) {
                        Some(found) => WeightedBackend::share(Arc::clone(found), &backend.filters),
                        None => {
                            let message = format!("Service {service} port {port} does not exist");
                            problem(field, format!("{message}: its share is answered with 500"));
                            Err(message.into())
                        }
                    }
                }
            };
            (backend.weight, share)
        });
        let shares = shares.collect();
        Rule::new(self.id(), route.name.clone(), rule.name.clone(), &rule.filters, shares)
    }

    fn pods(&self, store: &Store) -> Vec<Arc<Pod>> {
        let enrolled = |pod: &&Pod| {
            let namespace = ObjectName::new("", Arc::clone(&pod.name.namespace));
            let namespace = store.namespaces.get(&namespace);
            !pod.host_network
                && !pod.ended
                && self.is_here(pod)
                && is_wanted(self.options.enroll, pod, namespace)
        };
        store.pods.values().filter(enrolled).cloned().map(Arc::new).collect()
    }

    fn is_here(&self, pod: &Pod) -> bool {
        match (&self.options.node_name, &pod.node) {
            (Some(here), Some(node)) => here == node,
            _ => true,
        }
    }
}

fn invalid_filters(filters: &[Filter]) -> impl Iterator<Item = &str> {
    filters.iter().filter_map(|filter| match filter {
        Filter::Invalid { message } => Some(&**message),
        _ => None,
    })
}

fn is_wanted(enroll: Enroll, pod: &Pod, namespace: Option<&Namespace>) -> bool {
    match (pod.mesh.or_else(|| namespace.and_then(|n| n.mesh)), enroll) {
        (Some(Mesh::Enabled), _) | (None, Enroll::All) => true,
        (Some(Mesh::Disabled), _) | (None, Enroll::Label) => false,
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Gives `address` to `frontend`, unless another Service has it already: the first by name keeps
    /// it, and says so.
    fn claim(&mut self, address: SocketAddr, frontend: &Arc<Frontend>) {
        if let Some(owner) = self.frontends.get(&address) {
            self.problems.push(Problem {
                kind: Kind::Service,
                object: frontend.service.clone(),
                field: "spec.clusterIPs".to_owned(),
                message: format!("{address} belongs to Service {} already", owner.service),
            });
            return;
        }
        self.frontends.insert(address, Arc::clone(frontend));
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}: {}", self.kind, self.object, self.field, self.message)
    }
}
