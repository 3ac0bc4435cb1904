//! A route compiled: its rules, the ports that it attaches to, and what its status says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::contest::Contest;
use super::policies::taken;
use super::registry::Registry;
use super::services::CompiledService;
use super::sessions;
use super::status::{NotAccepted, ParentStatus, RouteStatus};
use super::store::Store;
use super::{PortKey, Problem, RouteKey};
use crate::balance::Backend;
use crate::model::{
    AppProtocol, BackendRef, BackendTarget, Filter, Kind, L4Rule, ObjectName, ParentRef, RefFault,
    Route, Rules, Service, ServiceKind, ServicePort, SessionPersistence,
};
use crate::route::{Plan, Rule, Session};

/// Compiled Services by name.
pub(super) type Services = HashMap<ObjectName, CompiledService, RandomState>;

/// A route, compiled.
#[derive(Debug)]
pub(super) struct CompiledRoute {
    /// In the order of the route.
    pub(super) rules: Vec<Arc<Rule>>,
    /// What it attaches to, each once.
    pub(super) ports: Vec<PortKey>,
    /// The Services that it names: if one changes, the route does.
    pub(super) named: Vec<ObjectName>,
    /// As [`CompiledRoute::judge`] said last.
    pub(super) status: Arc<RouteStatus>,
    /// As [`CompiledRoute::judge`] said last.
    pub(super) problems: Vec<Problem>,
    /// By parent: the ports of that Service that it attaches to, or why to none.
    parents: Vec<Verdict<NotAccepted, Vec<u16>>>,
    resolved: Verdict<RefFault>,
    supported: Verdict<NotAccepted>,
    /// What is wrong whatever other routes there are.
    own: Vec<Problem>,
}

/// Contests by port.
pub(super) type Contests = HashMap<PortKey, Contest, RandomState>;

type Verdict<Fault, Good = ()> = Result<Good, (Fault, Arc<str>)>;

/// One route under way.
struct Compilation<'a> {
    store: &'a Store,
    services: &'a Services,
    route: &'a Route,
    /// The first reference that is not usable.
    resolved: Verdict<RefFault>,
    /// The first value that we do not know; what is said elsewhere is in force.
    supported: Verdict<NotAccepted>,
    problems: Vec<Problem>,
}

// === impl CompiledRoute ===

impl CompiledRoute {
    /// Compiles the route `key`; none if there is none. A rule keeps the number it had `before`. Of a
    /// route that is refused as it is now, the last good version is in force. Its status is that from
    /// before until it is judged.
    pub(super) fn new(
        store: &Store,
        services: &Services,
        registry: &mut Registry,
        key: &RouteKey,
        before: Option<&Self>,
    ) -> Option<Self> {
        let mut compiled = match store.route(key) {
            Some(route) => Self::of(store, services, registry, route, before),
            None => {
                store.refused(key)?;
                Self::nothing()
            }
        };
        if let Some(before) = before {
            compiled.status = Arc::clone(&before.status);
            compiled.problems.clone_from(&before.problems);
        }
        Some(compiled)
    }

    /// Of a route that has never been good.
    fn nothing() -> Self {
        Self {
            rules: Vec::new(),
            ports: Vec::new(),
            named: Vec::new(),
            status: Arc::default(),
            problems: Vec::new(),
            parents: Vec::new(),
            resolved: Ok(()),
            supported: Ok(()),
            own: Vec::new(),
        }
    }

    fn of(
        store: &Store,
        services: &Services,
        registry: &mut Registry,
        route: &Route,
        before: Option<&Self>,
    ) -> Self {
        let mut compilation = Compilation {
            store,
            services,
            route,
            resolved: Ok(()),
            supported: Ok(()),
            problems: Vec::new(),
        };
        let rules = compilation.rules(registry, before);
        let mut ports = Vec::new();
        let mut verdicts: Vec<_> =
            route.parents.iter().map(|parent| compilation.parent(parent, &mut ports)).collect();
        let usable = |target: &BackendTarget| compilation.target(target).is_ok();
        if let Some((field, message)) = sessions::clash(store, route, usable) {
            ports.clear();
            let why = (NotAccepted::UnsupportedValue, format!("{field}: {message}").into());
            verdicts.fill(Err(why));
            compilation.problem(field, format!("{message}: the route has no effect"));
        }
        let Compilation { resolved, supported, problems: own, .. } = compilation;
        let named = named(route);
        Self { rules, ports, named, parents: verdicts, resolved, supported, own, ..Self::nothing() }
    }

    /// Says anew what its status and its problems are, by what has come of the contests at its ports.
    /// What is as before is the same `Arc`.
    pub(super) fn judge(&mut self, store: &Store, key: &RouteKey, contests: &Contests) {
        let mut problems = self.own.clone();
        let status = if let Some(refused) = store.refused(key) {
            let why = (NotAccepted::UnsupportedValue, Arc::clone(&refused.message));
            let parents = refused.parents.iter().map(|parent| ParentStatus {
                parent: parent.clone(),
                accepted: Err(why.clone()),
                // Of the version that is in force: nobody has looked at this one's references.
                resolved_refs: self.resolved.clone(),
            });
            RouteStatus { generation: refused.generation, parents: parents.collect() }
        } else if let Some(route) = store.route(key) {
            let parents = route.parents.iter().zip(&self.parents).map(|(parent, found)| {
                let accepted = match found {
                    Ok(numbers) => standing(route, parent, numbers, contests, &mut problems),
                    Err(why) => Err(why.clone()),
                };
                let accepted = accepted.and_then(|()| self.supported.clone());
                let resolved_refs = self.resolved.clone();
                ParentStatus { parent: parent.clone(), accepted, resolved_refs }
            });
            RouteStatus { generation: route.generation, parents: parents.collect() }
        } else {
            return;
        };
        problems.sort();
        problems.dedup();
        self.problems = problems;
        if *self.status != status {
            self.status = Arc::new(status);
        }
    }
}

/// Whether the route applies at any of these ports of a parent. Where it does not, that is a problem.
fn standing(
    route: &Route,
    parent: &ParentRef,
    numbers: &[u16],
    contests: &Contests,
    problems: &mut Vec<Problem>,
) -> Verdict<NotAccepted> {
    let service = &parent.service;
    let mut lost: BTreeMap<&RouteKey, Vec<String>> = BTreeMap::new();
    for number in numbers {
        let contest = contests.get(&(service.clone(), *number));
        if let Some(winner) = contest.and_then(|contest| contest.lost_to(service, route)) {
            lost.entry(winner).or_default().push(number.to_string());
        }
    }
    let everywhere = lost.values().map(Vec::len).sum::<usize>() == numbers.len();
    let told: Vec<String> = lost
        .into_iter()
        .map(|((kind, name), numbers)| {
            let numbers = numbers.join(", ");
            let why = match (kind, &route.rules) {
                (kind, _) if *kind != route.kind => {
                    format!("of routes of several kinds only {kind}s apply")
                }
                (_, Rules::Tls { .. }) => "it is older, and has the hostnames".to_owned(),
                _ => "it is older".to_owned(),
            };
            format!("{kind} {name} has port {numbers} of Service {service}: {why}")
        })
        .collect();
    for message in &told {
        problems.push(Problem {
            kind: route.kind,
            object: route.name.clone(),
            field: format!("spec.parentRefs[{}]", parent.place),
            message: format!("{message}: the route has no effect there"),
        });
    }
    if everywhere && !told.is_empty() {
        return Err((NotAccepted::Conflicted, told.join("; ").into()));
    }
    Ok(())
}

fn named(route: &Route) -> Vec<ObjectName> {
    let filters = route.rules.http().iter().flat_map(|rule| &rule.filters);
    let filters = filters.chain(route.rules.backends().flat_map(|backend| &backend.filters));
    let mirrors = filters.filter_map(|filter| match filter {
        Filter::Mirror(mirror) => Some(&mirror.target),
        _ => None,
    });
    let targets = route.rules.backends().map(|backend| &backend.target).chain(mirrors);
    let services = targets.filter_map(|target| match target {
        BackendTarget::Service { service, .. } => Some(service),
        BackendTarget::Invalid { .. } => None,
    });
    let parents = route.parents.iter().map(|parent| &parent.service);
    let mut named: Vec<ObjectName> = parents.chain(services).cloned().collect();
    named.sort();
    named.dedup();
    named
}

// === impl Compilation ===

impl Compilation<'_> {
    fn problem(&mut self, field: String, message: String) {
        let (kind, object) = (self.route.kind, self.route.name.clone());
        self.problems.push(Problem { kind, object, field, message });
    }

    /// The ports of `parent` that the route attaches to; they are added to `ports`.
    fn parent(
        &mut self,
        parent: &ParentRef,
        ports: &mut Vec<PortKey>,
    ) -> Verdict<NotAccepted, Vec<u16>> {
        let found = match self.store.service(&parent.service) {
            None => Err(format!("Service {} does not exist", parent.service)),
            Some(service) => attached(self.store, self.route.kind, service, parent),
        };
        found
            .inspect(|numbers| {
                for number in numbers {
                    let key = (parent.service.clone(), *number);
                    if !ports.contains(&key) {
                        ports.push(key);
                    }
                }
            })
            .map_err(|why| {
                let field = format!("spec.parentRefs[{}]", parent.place);
                self.problem(field, format!("{why}: the route has no effect there"));
                (NotAccepted::NoMatchingParent, why.into())
            })
    }

    /// The rules, compiled once for all parents.
    fn rules(&mut self, registry: &mut Registry, before: Option<&CompiledRoute>) -> Vec<Arc<Rule>> {
        let route = self.route;
        if let [first, ..] = route.rules.l4() {
            return vec![self.l4_rule(registry, first, before)];
        }
        let mut rules = Vec::with_capacity(route.rules.http().len());
        for (place, rule) in route.rules.http().iter().enumerate() {
            let id = rule_id(registry, before, place, rule.name.as_ref());
            let plan = self.plan(&rule.filters, &format!("spec.rules[{place}]"), "the rule");
            let given = rule.backends.iter().find_map(|backend| self.session(&backend.target));
            let session = Session::of(route.kind, &route.name, place, rule, given);
            let mut compiled = Rule::new(id, (route.kind, route.name.clone()), rule, plan);
            compiled.persistence = compiled.persistence.or_else(|| given.cloned());
            let mut compiled = compiled.with_session(session);
            for (i, backend) in rule.backends.iter().enumerate() {
                let field = format!("spec.rules[{place}].backendRefs[{i}]");
                let plan = self.plan(&backend.filters, &field, "its share");
                let target = self.resolved(backend, &field, "its share is answered with 500");
                compiled = compiled.with_backend(backend.weight, target, plan);
            }
            rules.push(Arc::new(compiled));
        }
        rules
    }

    /// The one rule that counts of a TCPRoute or a TLSRoute.
    fn l4_rule(
        &mut self,
        registry: &mut Registry,
        rule: &L4Rule,
        before: Option<&CompiledRoute>,
    ) -> Arc<Rule> {
        let id = rule_id(registry, before, 0, rule.name.as_ref());
        let mut compiled =
            Rule::relayed(id, (self.route.kind, self.route.name.clone()), rule.name.clone());
        for (i, backend) in rule.backends.iter().enumerate() {
            let field = format!("spec.rules[0].backendRefs[{i}]");
            let target = self.resolved(backend, &field, "connections of its share are reset");
            compiled = compiled.with_backend(backend.weight, target, Plan::default());
        }
        Arc::new(compiled)
    }

    /// The backend, or why its share is lost; that is told as a problem.
    fn resolved(
        &mut self,
        backend: &BackendRef,
        field: &str,
        outcome: &str,
    ) -> Result<Arc<Backend>, Arc<str>> {
        self.target(&backend.target).map_err(|(fault, why)| {
            self.unresolved(fault, field, &why, outcome);
            why
        })
    }

    /// The filters of a rule or a reference, at `field`.
    fn plan(&mut self, filters: &[Filter], field: &str, whose: &str) -> Plan {
        for (i, filter) in filters.iter().enumerate() {
            let field = format!("{field}.filters[{i}]");
            match filter {
                Filter::Invalid { message, fault } => {
                    let meaning = format!("{whose} is answered with 500");
                    match fault {
                        Some(fault) => self.unresolved(*fault, &field, message, &meaning),
                        None => self.unsupported(&field, message, &meaning),
                    }
                }
                Filter::Mirror(mirror) => {
                    if let Err((fault, why)) = self.target(&mirror.target) {
                        let field = format!("{field}.requestMirror.backendRef");
                        self.unresolved(fault, &field, &why, "no copy is sent there");
                    }
                }
                _ => {}
            }
        }
        Plan::new(filters, |target| self.target(target).map_err(|(_, why)| why))
    }

    /// A reference that is not usable, and what that means for traffic.
    fn unresolved(&mut self, fault: RefFault, field: &str, why: &str, meaning: &str) {
        self.problem(field.to_owned(), format!("{why}: {meaning}"));
        if self.resolved.is_ok() {
            self.resolved = Err((fault, format!("{field}: {why}").into()));
        }
    }

    /// A value that we do not know, and what that means for traffic.
    fn unsupported(&mut self, field: &str, why: &str, meaning: &str) {
        self.problem(field.to_owned(), format!("{why}: {meaning}"));
        if self.supported.is_ok() {
            let why = format!("{field}: {why}: {meaning}");
            self.supported = Err((NotAccepted::UnsupportedValue, why.into()));
        }
    }

    /// How requests stay with one endpoint of the target, if a policy for its Service says so.
    fn session(&self, target: &BackendTarget) -> Option<&SessionPersistence> {
        let BackendTarget::Service { service, port } = target else { return None };
        let service = Some(service).filter(|service| self.may_name(service))?;
        self.services.get(service)?.port(*port)?.session.as_ref()
    }

    fn target(&self, target: &BackendTarget) -> Result<Arc<Backend>, (RefFault, Arc<str>)> {
        let (service, port) = match target {
            BackendTarget::Invalid { fault, message } => {
                return Err((*fault, Arc::clone(message)));
            }
            BackendTarget::Service { service, port } => (service, *port),
        };
        if !self.may_name(service) {
            let message = format!(
                "Service {service} is in another namespace, and no ReferenceGrant there allows {} of namespace {} to name it",
                self.route.kind, self.route.name.namespace
            );
            return Err((RefFault::RefNotPermitted, message.into()));
        }
        let kind = self.store.service(service).map(|service| service.kind);
        if kind == Some(ServiceKind::ExternalName) {
            // It may lead anywhere (CVE-2021-25740).
            let message = format!("Service {service} is an ExternalName, which is no backend");
            return Err((RefFault::InvalidKind, message.into()));
        }
        let Some(compiled) = self.services.get(service) else {
            let message = format!("Service {service} does not exist");
            return Err((RefFault::BackendNotFound, message.into()));
        };
        let port = compiled.port(port).ok_or_else(|| {
            let message = format!("Service {service} has no TCP port {port}");
            (RefFault::BackendNotFound, message.into())
        })?;
        Ok(Arc::clone(&port.backend))
    }

    /// Whether the route may name this Service (Gateway API, ReferenceGrant).
    fn may_name(&self, service: &ObjectName) -> bool {
        let route = self.route;
        let granted = || {
            self.store.grants(&service.namespace).any(|grant| {
                grant.from.iter().any(|(kind, namespace)| {
                    *kind == route.kind && *namespace == route.name.namespace
                }) && grant.to.iter().any(|to| to.as_ref().is_none_or(|to| *to == service.name))
            })
        };
        service.namespace == route.name.namespace || granted()
    }
}

/// The same rule has the same number as before.
fn rule_id(
    registry: &mut Registry,
    before: Option<&CompiledRoute>,
    place: usize,
    name: Option<&Arc<str>>,
) -> u64 {
    let former = before.and_then(|before| before.rules.get(place));
    let former = former.filter(|former| former.name.as_ref() == name);
    former.map_or_else(|| registry.next_id(), |former| former.id)
}

/// Whether a route of this kind can do anything for connections to a port that is declared so.
fn suits(kind: Kind, protocol: AppProtocol) -> bool {
    let http = matches!(protocol, AppProtocol::Http | AppProtocol::Http1 | AppProtocol::Http2);
    match kind {
        Kind::TcpRoute => true,
        Kind::TlsRoute => !http,
        _ => http || protocol == AppProtocol::Detect,
    }
}

/// The ports of `service` that a route of this kind with this parent attaches to, or why to none.
fn attached(
    store: &Store,
    kind: Kind,
    service: &Service,
    parent: &ParentRef,
) -> Result<Vec<u16>, String> {
    let name = &service.name;
    match service.kind {
        ServiceKind::ClusterIp => {}
        ServiceKind::Headless => return Err(format!("Service {name} is headless")),
        ServiceKind::ExternalName => return Err(format!("Service {name} is an ExternalName")),
    }
    let meant = |p: &&ServicePort| {
        parent.port.is_none_or(|port| port == p.port)
            && parent.section.as_ref().is_none_or(|section| *section == p.name)
    };
    let ports: Vec<&ServicePort> = service.ports.iter().filter(meant).collect();
    if ports.is_empty() {
        let port = parent.port.map(|port| format!(" {port}")).unwrap_or_default();
        let section = parent.section.as_ref().map(|s| format!(" named {s:?}")).unwrap_or_default();
        return Err(format!("Service {name} has no TCP port{port}{section}"));
    }
    let tls = |p: &ServicePort| store.tls.cover(name, &p.name);
    let suited = ports.iter().filter(|p| suits(kind, taken(p.protocol, tls(p))));
    let numbers: Vec<u16> = suited.map(|p| p.port).collect();
    if numbers.is_empty() {
        let numbers: Vec<String> = ports.iter().map(|p| p.port.to_string()).collect();
        let numbers = numbers.join(", ");
        return Err(match kind {
            Kind::TlsRoute => {
                format!("port {numbers} of Service {name} is declared to speak HTTP, not TLS")
            }
            _ => format!(
                "port {numbers} of Service {name} is not declared to speak HTTP: what it relays is not routed"
            ),
        });
    }
    Ok(numbers)
}
