//! Objects in, snapshot out: only what a change touches is made anew.
//!
//! The same objects give the same snapshot, whatever way led there, but for the numbers of things. What
//! depends on what: a backend on its Service and slices; a rule on the backends it names; a port's
//! router on the routes attached to it; a frontend on its port's backend and router.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::claims::{Claim, Claims, Place};
use super::contest::{Contest, audience};
use super::frontend::{Collected, OwnSession, Routes};
use super::policies::CompiledPolicies;
use super::registry::Registry;
use super::routes::{CompiledRoute, Contests, Services};
use super::services::CompiledService;
use super::store::Dirty;
use super::{
    Enroll, Frontend, PortKey, Problem, RouteKey, Snapshot, Store, enrol, leaving, serving,
};
use crate::balance::EndpointId;
use crate::model::{Kind, ObjectName, Rules};
use crate::route::{Plan, RouterBuilder, ServerNames, Session, WeightedBackend};

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
    /// Nothing has been compiled yet.
    fresh: bool,
    /// Where this node is.
    here: serving::Place,
    tls: CompiledPolicies,
    services: Services,
    routes: BTreeMap<RouteKey, CompiledRoute>,
    /// The routes that name a Service, as parent or backend.
    named_by: BTreeMap<ObjectName, BTreeSet<RouteKey>>,
    /// The routes that are attached to a port.
    attached: HashMap<PortKey, BTreeSet<RouteKey>, RandomState>,
    /// What has come of it where several are.
    contests: Contests,
    claims: Claims,
    problems: BTreeMap<(Kind, ObjectName), Vec<Problem>>,
    /// The last one made.
    snapshot: Snapshot,
}

/// A snapshot, and how it differs from the one before.
#[derive(Debug)]
pub struct Compiled {
    /// The whole.
    pub snapshot: Arc<Snapshot>,
    /// What is dialled at these addresses was not there before, or is gone.
    pub frontends: Vec<SocketAddr>,
    /// What is dialled at these addresses may be other than before: those, and others.
    pub touched: Vec<SocketAddr>,
    /// Whether the pods to enrol are others.
    pub pods: bool,
    /// Whether its problems are others.
    pub problems: bool,
    /// Connections to these endpoints are not to be kept: they serve no longer, are spoken to in another
    /// way, or have got a limit on connections.
    pub left: Vec<EndpointId>,
}

/// What has been found to be different, while one compilation is under way.
#[derive(Default)]
struct Touched {
    /// Services whose ports, addresses or endpoints are different.
    services: BTreeSet<ObjectName>,
    /// Ports whose routes are different.
    ports: BTreeSet<PortKey>,
    /// Addresses that somebody claims no longer, or claims now.
    places: BTreeSet<Place>,
    /// Services whose claims have to be judged again.
    claimants: BTreeSet<ObjectName>,
    /// Policies of any kind that have to be judged again.
    policies: BTreeSet<(Kind, ObjectName)>,
    problems: bool,
    statuses: bool,
    /// Endpoints to which connections are not to be kept.
    left: Vec<EndpointId>,
}

// === impl Compiler ===

impl Compiler {
    /// A compiler that knows no endpoint yet.
    pub fn new(options: CompileOptions) -> Self {
        let here = serving::Place { node: options.node_name.clone(), zone: None };
        Self {
            options,
            registry: Registry::default(),
            fresh: true,
            here,
            tls: CompiledPolicies::default(),
            services: Services::default(),
            routes: BTreeMap::new(),
            named_by: BTreeMap::new(),
            attached: HashMap::default(),
            contests: Contests::default(),
            claims: Claims::default(),
            problems: BTreeMap::new(),
            snapshot: Snapshot::empty(),
        }
    }

    /// Compiles what has changed in `store` since this compiler's last time: a store is for one
    /// compiler. None if nobody can tell the difference. Endpoints that no slice of a Service names any
    /// more are forgotten; the others keep their state, ready or not.
    pub fn compile(&mut self, store: &mut Store) -> Option<Compiled> {
        let first = std::mem::take(&mut self.fresh);
        let mut dirty = store.take_dirty();
        if first {
            dirty = store.everything();
        }
        let pods = dirty.pods;
        let mut touched = Touched::default();
        self.locate(store, &mut dirty);
        touched.policies = std::mem::take(&mut dirty.policies);
        self.tls.compile(&store.tls, &mut self.registry, &touched.policies);
        self.compile_services(store, &mut dirty, &mut touched);
        self.judge_policies(store, &mut touched);
        self.grants(&mut dirty);
        self.compile_routes(store, &dirty, &mut touched);
        self.judge_routes(store, dirty.routes, &mut touched);
        self.frontends(store, &touched);
        let frontends = self.settle(&mut touched);
        self.judge(store, &mut touched);
        let pods = pods && self.enrol(store, &mut touched);
        if touched.problems {
            self.snapshot.problems = self.problems.values().flatten().cloned().collect();
        }
        self.snapshot.nodes = store.named_nodes();
        let any = !touched.services.is_empty() || !touched.ports.is_empty() || touched.statuses;
        (any || touched.problems || pods || first).then(|| Compiled {
            snapshot: Arc::new(self.snapshot.clone()),
            frontends,
            touched: touched.places.iter().map(|place| SocketAddr::new(place.0, place.1)).collect(),
            pods: pods || first,
            problems: touched.problems,
            left: touched.left,
        })
    }

    /// A node that changes its zone sees all endpoints in another light.
    fn locate(&mut self, store: &Store, dirty: &mut Dirty) {
        let Some(node) = self.options.node_name.clone().filter(|n| dirty.nodes.contains(n)) else {
            return;
        };
        let zone = store.node(&node).and_then(|node| node.zone.clone());
        let here = serving::Place { node: Some(node), zone };
        if self.here != here {
            self.here = here;
            dirty.services.extend(store.services().map(|service| service.name.clone()));
        }
    }

    fn compile_services(&mut self, store: &Store, dirty: &mut Dirty, touched: &mut Touched) {
        for name in std::mem::take(&mut dirty.services) {
            let before = self.services.remove(&name);
            let now = store.service(&name).map(|service| {
                CompiledService::new(
                    store,
                    &self.tls,
                    &mut self.registry,
                    &self.here,
                    service,
                    before.as_ref(),
                )
            });
            touched.policies.extend(store.policies_of(&name));
            let same = match (&before, &now) {
                (Some(before), Some(now)) => before.is_like(now),
                (None, None) => true,
                _ => false,
            };
            if !same {
                leaving::note(before.as_ref(), now.as_ref(), &mut touched.left);
                for (external, place) in before.iter().flat_map(CompiledService::places) {
                    touched.places.insert(place);
                    self.claims.remove(&place, &(external, name.clone()));
                }
                for (external, place) in now.iter().flat_map(CompiledService::places) {
                    touched.places.insert(place);
                    self.claims.add(place, (external, name.clone()));
                }
                dirty.routes.extend(self.named_by.get(&name).into_iter().flatten().cloned());
                touched.claimants.insert(name.clone());
                touched.services.insert(name.clone());
            }
            if let Some(now) = now {
                self.services.insert(name, now);
            }
        }
    }

    /// A changed grant is for the routes of other namespaces that name a Service there.
    fn grants(&self, dirty: &mut Dirty) {
        for namespace in &dirty.grants {
            let first = ObjectName::new(Arc::clone(namespace), "");
            let there = self.named_by.range(first..).take_while(|(s, _)| s.namespace == *namespace);
            let foreign = there.flat_map(|(_, routes)| routes);
            dirty.routes.extend(foreign.filter(|(_, r)| r.namespace != *namespace).cloned());
        }
    }

    fn compile_routes(&mut self, store: &Store, dirty: &Dirty, touched: &mut Touched) {
        for key in &dirty.routes {
            let before = self.routes.remove(key);
            let (services, registry) = (&self.services, &mut self.registry);
            let now = CompiledRoute::new(store, services, registry, key, before.as_ref());
            if let Some(before) = &before {
                for port in &before.ports {
                    forget(&mut self.attached, port, key);
                }
                for service in &before.named {
                    if let Some(routes) = self.named_by.get_mut(service) {
                        routes.remove(key);
                        if routes.is_empty() {
                            self.named_by.remove(service);
                        }
                    }
                }
                touched.ports.extend(before.ports.iter().cloned());
            }
            if let Some(now) = now {
                for port in &now.ports {
                    self.attached.entry(port.clone()).or_default().insert(key.clone());
                }
                for service in &now.named {
                    self.named_by.entry(service.clone()).or_default().insert(key.clone());
                }
                touched.ports.extend(now.ports.iter().cloned());
                self.routes.insert(key.clone(), now);
            }
        }
    }

    /// Holds the contests at ports whose routes are different, and says anew what became of the `changed`
    /// routes, and of others if somebody came before them, or left.
    fn judge_routes(&mut self, store: &Store, changed: BTreeSet<RouteKey>, touched: &mut Touched) {
        let mut routes = changed;
        for port in &touched.ports {
            let attached = self.attached.get(port).into_iter().flatten();
            let contest = Contest::new(store, &port.0, attached.clone());
            if self.contests.get(port) != Some(&contest) {
                routes.extend(attached.cloned());
            }
            if self.attached.contains_key(port) {
                self.contests.insert(port.clone(), contest);
            } else {
                self.contests.remove(port);
            }
        }
        for key in routes {
            let mut problems = Vec::new();
            let mut status = None;
            if let Some(route) = self.routes.get_mut(&key) {
                route.judge(store, &key, &self.contests);
                problems.clone_from(&route.problems);
                status = Some(Arc::clone(&route.status));
            }
            touched.statuses |= self.snapshot.set_status(&key, status.as_ref());
            touched.problems |= self.tell(key, problems);
        }
    }

    /// Makes the frontends anew whose backend or routes are different.
    fn frontends(&mut self, store: &Store, touched: &Touched) {
        let whose = touched.ports.iter().map(|(service, _)| service);
        let services: BTreeSet<&ObjectName> = touched.services.iter().chain(whose).collect();
        for name in services {
            let Some(service) = self.services.get(name) else {
                self.snapshot.services.remove(name);
                continue;
            };
            let numbers: Vec<u16> = service.ports.iter().map(|p| p.port).collect();
            for number in numbers {
                let key = (name.clone(), number);
                let routes = touched.ports.contains(&key).then(|| self.router(store, &key));
                self.frontend(&key, routes);
            }
            let frontends = self.services.get(name).into_iter().flat_map(|s| &s.ports);
            let frontends = frontends.filter_map(|p| Some(Arc::clone(&p.frontends.as_ref()?.0)));
            self.snapshot.services.insert(name.clone(), frontends.collect());
        }
    }

    /// `routes`: if these are others than before.
    fn frontend(&mut self, key: &PortKey, routes: Option<Routes>) {
        let Some(port) = self.services.get_mut(&key.0).and_then(|s| s.port_mut(key.1)) else {
            return;
        };
        let before = port.frontends.take();
        let routes = match (routes, &before) {
            (Some(routes), _) => Arc::new(routes),
            (None, Some((before, _))) => Arc::clone(&before.routes),
            (None, None) => Arc::default(),
        };
        let registry = &mut self.registry;
        let session = port.session.as_ref();
        let mut frontend = |backend: &Arc<_>, external, before: Option<&Arc<Frontend>>| {
            let session = session.and_then(|spec| Session::of_service(key, spec));
            let own = session.map(|session| {
                let backend =
                    WeightedBackend { backend: Arc::clone(backend), filters: Plan::default() };
                Arc::new(OwnSession { session, backend })
            });
            Arc::new(Frontend {
                id: before.map_or_else(|| registry.next_id(), |before| before.id),
                service: key.0.clone(),
                port: key.1,
                protocol: port.backend.protocol,
                backend: Arc::clone(backend),
                external,
                routes: Arc::clone(&routes),
                own,
            })
        };
        let internal = before.as_ref().map(|(internal, _)| internal);
        let internal = frontend(&port.backend, port.external.clone(), internal);
        let before = before.as_ref().and_then(|(_, external)| external.as_ref());
        let external = port.external.as_ref().map(|backend| frontend(backend, None, before));
        port.frontends = Some((internal, external));
    }

    /// The routes attached to a port, laid out for look-up.
    fn router(&self, store: &Store, key: &PortKey) -> Routes {
        let mut collected: BTreeMap<Arc<str>, Collected> = BTreeMap::new();
        let Some(contest) = self.contests.get(key) else { return Routes::default() };
        for attached in self.attached.get(key).into_iter().flatten() {
            let (Some(route), Some(compiled)) = (store.route(attached), self.routes.get(attached))
            else {
                continue;
            };
            if contest.lost_to(&key.0, route).is_some() {
                continue;
            }
            let whose = collected.entry(audience(&route.name, &key.0));
            match (&route.rules, &*compiled.rules) {
                (Rules::Http(specs), rules) => {
                    let new = || Collected::Http(RouterBuilder::default());
                    let Collected::Http(builder) = whose.or_insert_with(new) else { continue };
                    for (place, (spec, rule)) in specs.iter().zip(rules).enumerate() {
                        builder.rule(route.created, &route.name, place, &spec.matches, rule);
                    }
                }
                (Rules::Tls { hostnames, .. }, [rule, ..]) => {
                    let new = || Collected::Tls(ServerNames::default());
                    let Collected::Tls(names) = whose.or_insert_with(new) else { continue };
                    for name in hostnames.iter().filter(|name| contest.has(&key.0, route, name)) {
                        names.insert(name, rule);
                    }
                }
                (Rules::Tcp(_), [rule, ..]) => {
                    whose.or_insert_with(|| Collected::Tcp(Arc::clone(rule)));
                }
                (Rules::Tls { .. } | Rules::Tcp(_), []) => {}
            }
        }
        let port = self.services.get(&key.0).and_then(|service| service.port(key.1));
        let before = port.and_then(|port| Some(&*port.frontends.as_ref()?.0.routes));
        Routes::new(collected, before)
    }

    /// Gives each address that is in question to whom it belongs; those that have come or gone.
    fn settle(&mut self, touched: &mut Touched) -> Vec<SocketAddr> {
        let routed = touched.ports.iter().map(|(service, _)| service);
        let routed: BTreeSet<&ObjectName> = routed.collect();
        let routed = routed.into_iter().filter_map(|name| self.services.get(name));
        touched.places.extend(routed.flat_map(CompiledService::places).map(|(_, place)| place));
        let mut moved = Vec::new();
        for place in &touched.places {
            let holder = self.claims.holder(place);
            let frontend = holder.and_then(|holder| answering(&self.services, place, holder));
            let had = match frontend {
                Some(frontend) => self.snapshot.frontends.insert(*place, frontend).is_some(),
                None => self.snapshot.frontends.remove(place).is_some(),
            };
            if had != holder.is_some() {
                moved.push(SocketAddr::new(place.0, place.1));
            }
            let losers = self.claims.losers(place).map(|(_, service)| service);
            touched.claimants.extend(losers.cloned());
        }
        // Who lost to somebody who is gone has lost no longer.
        touched.claimants.extend(
            self.problems.keys().filter(|(kind, _)| *kind == Kind::Service).map(|(_, s)| s.clone()),
        );
        moved
    }

    /// What the status of policies says.
    fn judge_policies(&mut self, store: &Store, touched: &mut Touched) {
        for policy in std::mem::take(&mut touched.policies) {
            let service = |name: &ObjectName| store.service(name);
            let status = match policy.0 {
                Kind::BackendTlsPolicy => store.tls.status(&policy.1, service),
                _ => store.backends.status(&policy, service),
            };
            let problems = status.as_ref().map(|status| status.problems(&policy));
            touched.problems |= self.tell(policy.clone(), problems.unwrap_or_default());
            touched.statuses |= self.snapshot.set_policy(policy, status);
        }
    }

    /// Tells the Services that claim what others have.
    fn judge(&mut self, store: &Store, touched: &mut Touched) {
        for name in std::mem::take(&mut touched.claimants) {
            let mut problems = Vec::new();
            for (external, place) in self.services.get(&name).into_iter().flat_map(|s| s.places()) {
                let Some((_, holder)) = self.claims.holder(&place).filter(|(_, s)| *s != name)
                else {
                    continue;
                };
                let at = store.service(&name).and_then(|service| {
                    service.cluster_ips.iter().position(|ip| ip.to_canonical() == place.0)
                });
                let field = match at.filter(|_| !external) {
                    Some(i) => format!("spec.clusterIPs[{i}]"),
                    None => "spec.externalIPs or status.loadBalancer.ingress".to_owned(),
                };
                let (address, port) = (SocketAddr::new(place.0, place.1), place.1);
                let message =
                    format!("{address} is port {port} of Service {holder} already, which keeps it");
                problems.push(Problem {
                    kind: Kind::Service,
                    object: name.clone(),
                    field,
                    message,
                });
            }
            problems.sort();
            touched.problems |= self.tell((Kind::Service, name), problems);
        }
    }

    /// Whether these are others than before.
    fn tell(&mut self, object: (Kind, ObjectName), problems: Vec<Problem>) -> bool {
        if problems.is_empty() {
            return self.problems.remove(&object).is_some();
        }
        if self.problems.get(&object) == Some(&problems) {
            return false;
        }
        self.problems.insert(object, problems);
        true
    }

    /// Whether the pods to enrol are others than before.
    fn enrol(&mut self, store: &Store, touched: &mut Touched) -> bool {
        let (pods, doubtful) =
            enrol::pods(store, self.options.enroll, self.options.node_name.as_deref());
        let known: Vec<ObjectName> = self
            .problems
            .keys()
            .filter(|(kind, _)| *kind == Kind::Pod)
            .map(|(_, n)| n.clone())
            .collect();
        for name in known.iter().filter(|name| !doubtful.contains(name)) {
            touched.problems |= self.tell((Kind::Pod, name.clone()), Vec::new());
        }
        for object in doubtful {
            let problem = Problem {
                kind: Kind::Pod,
                object: object.clone(),
                field: "metadata.annotations[kubernetes.io/config.hash]".to_owned(),
                message: "another Pod has this UID too: it is not enrolled".to_owned(),
            };
            touched.problems |= self.tell((Kind::Pod, object), vec![problem]);
        }
        let same = *self.snapshot.pods == *pods;
        if !same {
            self.snapshot.pods = pods.into();
        }
        !same
    }
}

fn forget(
    attached: &mut HashMap<PortKey, BTreeSet<RouteKey>, RandomState>,
    port: &PortKey,
    route: &RouteKey,
) {
    if let Some(routes) = attached.get_mut(port) {
        routes.remove(route);
        if routes.is_empty() {
            attached.remove(port);
        }
    }
}

/// What clients of `place` see, if `holder` has it.
fn answering(
    services: &Services,
    place: &Place,
    (external, holder): &Claim,
) -> Option<Arc<Frontend>> {
    let (internal, other) = services.get(holder)?.port(place.1)?.frontends.as_ref()?;
    Some(Arc::clone(if *external { other.as_ref().unwrap_or(internal) } else { internal }))
}
