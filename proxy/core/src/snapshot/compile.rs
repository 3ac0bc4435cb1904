//! Objects in, snapshot out.
//!
//! Pure but for the [`Registry`]: the same objects give the same snapshot.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::frontend::Routes;
use super::registry::{PortKey, Registry};
use super::{Enroll, Frontend, Problem, Snapshot, Store, enrol};
use crate::balance::{Algorithm, Backend, Endpoint};
use crate::model::{
    AppProtocol, BackendTarget, Filter, Kind, ObjectName, ParentRef, Route, Service, ServicePort,
};
use crate::route::{Router, RouterBuilder, Rule};

/// What a compilation depends on besides the objects.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// Which pods are in the mesh.
    pub enroll: Enroll,
    /// This node's name, if it is known; pods of other nodes are left out.
    pub node_name: Option<Arc<str>>,
}

/// Makes snapshots, one after the other, and keeps what outlives them.
#[derive(Debug)]
pub struct Compiler {
    options: CompileOptions,
    registry: Registry,
}

/// One compilation under way.
struct Compilation<'a> {
    store: &'a Store,
    registry: &'a mut Registry,
    backends: HashMap<PortKey, Arc<Backend>, RandomState>,
    problems: Vec<Problem>,
}

/// The routes of a port while they are collected: by the namespace of the client they are for, the
/// empty name being everyone.
type Collected = HashMap<PortKey, BTreeMap<Arc<str>, RouterBuilder>, RandomState>;

// === impl Compiler ===

impl Compiler {
    /// A compiler that knows no endpoint yet.
    pub fn new(options: CompileOptions) -> Self {
        Self { options, registry: Registry::default() }
    }

    /// Compiles the objects. Endpoints that no slice names any more are forgotten; the others keep
    /// their state, ready or not.
    pub fn compile(&mut self, store: &Store) -> Snapshot {
        let mut compilation = Compilation {
            store,
            registry: &mut self.registry,
            backends: HashMap::default(),
            problems: Vec::new(),
        };
        compilation.backends();
        let routes = compilation.routes();
        let mut snapshot = compilation.frontends(routes);
        self.registry.sweep();
        snapshot.problems.sort();
        snapshot.problems.dedup();
        snapshot.pods = enrol::pods(store, self.options.enroll, self.options.node_name.as_deref());
        snapshot
    }
}

// === impl Compilation ===

impl Compilation<'_> {
    fn problem(&mut self, kind: Kind, object: &ObjectName, field: String, message: String) {
        self.problems.push(Problem { kind, object: object.clone(), field, message });
    }

    /// Every port of every Service, as a place to send requests to.
    fn backends(&mut self) {
        let store = self.store;
        for service in store.services() {
            for port in &service.ports {
                let key = (service.name.clone(), port.port);
                let endpoints = self.endpoints(service, port);
                let (id, turn) = self.registry.backend(key.clone());
                let algorithm = Algorithm::for_protocol(port.protocol);
                let backend =
                    Backend::new(id, key.clone(), port.protocol, algorithm, endpoints, turn);
                self.backends.insert(key, Arc::new(backend));
            }
        }
    }

    /// The endpoints that may serve a port now, by address: the ready ones of all slices; if there
    /// is none, those that still serve while they terminate (as kube-proxy does: KEP-1669).
    fn endpoints(&mut self, service: &Service, port: &ServicePort) -> Vec<Arc<Endpoint>> {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum State {
            No,
            Draining,
            Ready,
        }
        let mut found: BTreeMap<SocketAddr, (State, Arc<Endpoint>)> = BTreeMap::new();
        for slice in self.store.slices(&service.name) {
            for target in slice.ports.iter().filter(|p| p.name == port.name) {
                for endpoint in &slice.endpoints {
                    let state = match (endpoint.ready, endpoint.serving && endpoint.terminating) {
                        (true, _) => State::Ready,
                        (false, true) => State::Draining,
                        (false, false) => State::No,
                    };
                    let address = SocketAddr::new(endpoint.address.to_canonical(), target.port);
                    // Named even if it is not ready, so that its state is there when it is.
                    let handle = self.registry.endpoint(address, endpoint.pod.as_ref());
                    match found.get(&address) {
                        Some((known, _)) if *known >= state => {}
                        _ => {
                            found.insert(address, (state, handle));
                        }
                    }
                }
            }
        }
        let best = found.values().map(|(state, _)| *state).max().unwrap_or(State::No);
        found
            .into_values()
            .filter(|(state, _)| *state == best && best != State::No)
            .map(|(_, endpoint)| endpoint)
            .collect()
    }

    /// The rules of every route, filed under each port they attach to.
    fn routes(&mut self) -> Collected {
        let store = self.store;
        let mut collected = Collected::default();
        for route in store.routes() {
            let ports = self.parents(route);
            for (place, rule) in self.rules(route).iter().enumerate() {
                let Some(matches) = route.rules.get(place).map(|r| &r.matches) else { continue };
                for key in &ports {
                    let whose = if route.name.namespace == key.0.namespace {
                        Arc::default()
                    } else {
                        Arc::clone(&route.name.namespace)
                    };
                    let builder = collected.entry(key.clone()).or_default().entry(whose);
                    builder.or_default().rule(route.created, &route.name, place, matches, rule);
                }
            }
        }
        collected
    }

    /// The ports that a route attaches to, each once.
    fn parents(&mut self, route: &Route) -> Vec<PortKey> {
        let store = self.store;
        let mut ports = Vec::new();
        for (i, ParentRef { service: name, port: wanted, .. }) in route.parents.iter().enumerate() {
            let mut complain = |message| {
                self.problem(route.kind, &route.name, format!("spec.parentRefs[{i}]"), message);
            };
            let Some(service) = store.service(name) else {
                complain(format!("Service {name} does not exist: the route has no effect there"));
                continue;
            };
            let attached = |p: &&ServicePort| wanted.is_none_or(|w| w == p.port);
            let mut any = false;
            for port in service.ports.iter().filter(attached) {
                any = true;
                if wanted.is_some() && matches!(port.protocol, AppProtocol::Tcp | AppProtocol::Tls)
                {
                    complain(format!(
                        "port {} of Service {name} is not declared to speak HTTP: what it relays is not routed",
                        port.port
                    ));
                }
                let key = (name.clone(), port.port);
                if !ports.contains(&key) {
                    ports.push(key);
                }
            }
            if !any {
                let port = wanted.map_or_else(|| "TCP port".into(), |p| format!("port {p}"));
                complain(format!("Service {name} has no {port}: the route has no effect there"));
            }
        }
        ports
    }

    /// A route's rules, compiled once for all its parents.
    fn rules(&mut self, route: &Route) -> Vec<Arc<Rule>> {
        let mut rules = Vec::with_capacity(route.rules.len());
        for (place, rule) in route.rules.iter().enumerate() {
            let id = self.registry.rule(&route.name, place, rule.name.as_ref());
            self.filters(route, &rule.filters, &format!("spec.rules[{place}]"), "the rule");
            let mut compiled = Rule::new(id, route.name.clone(), rule.name.clone(), &rule.filters);
            for (i, backend) in rule.backends.iter().enumerate() {
                let field = format!("spec.rules[{place}].backendRefs[{i}]");
                self.filters(route, &backend.filters, &field, "its share");
                let target = self.target(&backend.target).inspect_err(|why| {
                    let message = format!("{why}: its share is answered with 500");
                    self.problem(route.kind, &route.name, field, message);
                });
                compiled = compiled.with_backend(backend.weight, target, &backend.filters);
            }
            rules.push(Arc::new(compiled));
        }
        rules
    }

    fn filters(&mut self, route: &Route, filters: &[Filter], field: &str, whose: &str) {
        for (i, filter) in filters.iter().enumerate() {
            if let Filter::Invalid { message } = filter {
                let message = format!("{message}: {whose} is answered with 500");
                let field = format!("{field}.filters[{i}]");
                self.problem(route.kind, &route.name, field, message);
            }
        }
    }

    fn target(&self, target: &BackendTarget) -> Result<Arc<Backend>, Arc<str>> {
        match target {
            BackendTarget::Invalid { message, .. } => Err(Arc::clone(message)),
            BackendTarget::Service { service, port } => {
                if let Some(backend) = self.backends.get(&(service.clone(), *port)) {
                    return Ok(Arc::clone(backend));
                }
                Err(match self.store.service(service) {
                    None => format!("Service {service} does not exist").into(),
                    Some(_) => format!("Service {service} has no TCP port {port}").into(),
                })
            }
        }
    }

    /// Everything put together. Of Services that claim one address and port the first by name has it.
    fn frontends(mut self, mut routes: Collected) -> Snapshot {
        let store = self.store;
        let mut snapshot = Snapshot::empty();
        for service in store.services() {
            let mut ports = Vec::with_capacity(service.ports.len());
            for port in &service.ports {
                let key = (service.name.clone(), port.port);
                let Some(backend) = self.backends.get(&key).cloned() else { continue };
                let frontend = Arc::new(Frontend {
                    id: self.registry.frontend(key.clone()),
                    service: service.name.clone(),
                    port: port.port,
                    protocol: port.protocol,
                    backend,
                    routes: routes.remove(&key).map(attach).unwrap_or_default(),
                });
                for (i, ip) in service.cluster_ips.iter().enumerate() {
                    let place = (ip.to_canonical(), port.port);
                    let holder =
                        snapshot.frontends.entry(place).or_insert_with(|| Arc::clone(&frontend));
                    if holder.service != service.name {
                        let message = format!(
                            "{} is port {} of Service {} already, which keeps it",
                            SocketAddr::new(place.0, place.1),
                            port.port,
                            holder.service
                        );
                        self.problem(
                            Kind::Service,
                            &service.name,
                            format!("spec.clusterIPs[{i}]"),
                            message,
                        );
                    }
                }
                ports.push(frontend);
            }
            snapshot.services.insert(service.name.clone(), ports);
        }
        snapshot.problems = self.problems;
        snapshot
    }
}

fn attach(collected: BTreeMap<Arc<str>, RouterBuilder>) -> Routes {
    let mut routes = Routes::default();
    for (whose, builder) in collected {
        let router: Router = builder.build();
        if whose.is_empty() {
            routes.producer = Some(router);
        } else {
            routes.consumers.insert(whose, router);
        }
    }
    routes
}
