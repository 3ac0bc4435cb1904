//! A route compiled: its rules, the ports that it attaches to, and what its status says.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::policies::taken;
use super::registry::Registry;
use super::services::CompiledService;
use super::status::{NotAccepted, ParentStatus, RouteStatus};
use super::store::Store;
use super::{PortKey, Problem, RouteKey};
use crate::balance::Backend;
use crate::model::{
    AppProtocol, BackendTarget, Filter, ObjectName, ParentRef, RefFault, Route, Service,
    ServiceKind, ServicePort,
};
use crate::route::Rule;

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
    pub(super) status: Arc<RouteStatus>,
    pub(super) problems: Vec<Problem>,
}

type Verdict<Fault> = Result<(), (Fault, Arc<str>)>;

/// One route under way.
struct Compilation<'a> {
    store: &'a Store,
    services: &'a Services,
    route: &'a Route,
    /// The first reference that is not usable.
    resolved: Verdict<RefFault>,
    problems: Vec<Problem>,
}

// === impl CompiledRoute ===

impl CompiledRoute {
    /// Compiles the route `key`; none if there is none. A rule keeps the number it had `before`. Of a
    /// route that is refused as it is now, the last good version is in force, and its status tells.
    pub(super) fn new(
        store: &Store,
        services: &Services,
        registry: &mut Registry,
        key: &RouteKey,
        before: Option<&Self>,
    ) -> Option<Self> {
        let mut compiled =
            store.route(key).map(|route| Self::of(store, services, registry, route, before));
        if let Some(refused) = store.refused(key) {
            let why = (NotAccepted::UnsupportedValue, Arc::clone(&refused.message));
            let parents = refused.parents.iter().map(|parent| ParentStatus {
                parent: parent.clone(),
                accepted: Err(why.clone()),
                resolved_refs: Ok(()),
            });
            let status = RouteStatus { generation: refused.generation, parents: parents.collect() };
            let compiled = compiled.get_or_insert_with(|| Self {
                rules: Vec::new(),
                ports: Vec::new(),
                named: Vec::new(),
                status: Arc::default(),
                problems: Vec::new(),
            });
            compiled.status = Arc::new(status);
        }
        let mut compiled = compiled?;
        if let Some(before) = before.filter(|before| before.status == compiled.status) {
            compiled.status = Arc::clone(&before.status);
        }
        Some(compiled)
    }

    fn of(
        store: &Store,
        services: &Services,
        registry: &mut Registry,
        route: &Route,
        before: Option<&Self>,
    ) -> Self {
        let mut compilation =
            Compilation { store, services, route, resolved: Ok(()), problems: Vec::new() };
        let rules = compilation.rules(registry, before);
        let mut ports = Vec::new();
        let verdicts: Vec<_> =
            route.parents.iter().map(|parent| compilation.parent(parent, &mut ports)).collect();
        let Compilation { resolved, mut problems, .. } = compilation;
        problems.sort();
        problems.dedup();
        let parents = route.parents.iter().zip(verdicts).map(|(parent, accepted)| ParentStatus {
            parent: parent.clone(),
            accepted,
            resolved_refs: resolved.clone(),
        });
        let status =
            Arc::new(RouteStatus { generation: route.generation, parents: parents.collect() });
        Self { rules, ports, named: named(route), status, problems }
    }
}

fn named(route: &Route) -> Vec<ObjectName> {
    let backends = route.rules.iter().flat_map(|rule| &rule.backends);
    let backends = backends.filter_map(|backend| match &backend.target {
        BackendTarget::Service { service, .. } => Some(service),
        BackendTarget::Invalid { .. } => None,
    });
    let parents = route.parents.iter().map(|parent| &parent.service);
    let mut named: Vec<ObjectName> = parents.chain(backends).cloned().collect();
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

    /// Adds the ports of `parent` that the route attaches to.
    fn parent(&mut self, parent: &ParentRef, ports: &mut Vec<PortKey>) -> Verdict<NotAccepted> {
        let found = match self.store.service(&parent.service) {
            None => Err(format!("Service {} does not exist", parent.service)),
            Some(service) => attached(self.store, service, parent),
        };
        found
            .map(|numbers| {
                for number in numbers {
                    let key = (parent.service.clone(), number);
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
        let mut rules = Vec::with_capacity(route.rules.len());
        for (place, rule) in route.rules.iter().enumerate() {
            let former = before.and_then(|before| before.rules.get(place));
            let id = former
                .filter(|former| former.name == rule.name)
                .map_or_else(|| registry.next_id(), |former| former.id);
            self.filters(&rule.filters, &format!("spec.rules[{place}]"), "the rule");
            let mut compiled = Rule::new(id, route.name.clone(), rule);
            for (i, backend) in rule.backends.iter().enumerate() {
                let field = format!("spec.rules[{place}].backendRefs[{i}]");
                self.filters(&backend.filters, &field, "its share");
                let target = self.target(&backend.target).map_err(|(fault, why)| {
                    self.problem(field.clone(), format!("{why}: its share is answered with 500"));
                    if self.resolved.is_ok() {
                        self.resolved = Err((fault, format!("{field}: {why}").into()));
                    }
                    why
                });
                compiled = compiled.with_backend(backend.weight, target, &backend.filters);
            }
            rules.push(Arc::new(compiled));
        }
        rules
    }

    fn filters(&mut self, filters: &[Filter], field: &str, whose: &str) {
        for (i, filter) in filters.iter().enumerate() {
            if let Filter::Invalid { message } = filter {
                let message = format!("{message}: {whose} is answered with 500");
                self.problem(format!("{field}.filters[{i}]"), message);
            }
        }
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

/// The ports of `service` that a route with this parent attaches to, or why to none.
fn attached(store: &Store, service: &Service, parent: &ParentRef) -> Result<Vec<u16>, String> {
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
    let tls = |p: &ServicePort| store.tls.obeyed(name, &p.name).is_some();
    let taken = |p: &ServicePort| taken(p.protocol, tls(p));
    let http = |p: &&ServicePort| !matches!(taken(p), AppProtocol::Tcp | AppProtocol::Tls);
    let numbers: Vec<u16> = ports.iter().copied().filter(http).map(|p| p.port).collect();
    if numbers.is_empty() {
        let numbers: Vec<String> = ports.iter().map(|p| p.port.to_string()).collect();
        let numbers = numbers.join(", ");
        return Err(format!(
            "port {numbers} of Service {name} is not declared to speak HTTP: what it relays is not routed"
        ));
    }
    Ok(numbers)
}
