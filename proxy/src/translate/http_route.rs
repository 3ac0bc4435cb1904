//! HTTPRoutes with parents of kind Service (Gateway API v1, GEP-1294).

use gateway_api::httproutes::{
    HttpRoute, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesBackendRefsFiltersType,
    HttpRouteRulesFiltersType,
};
use nodeway_core::model::{
    self, BackendRef, BackendTarget, Filter, HttpMatch, HttpRule, Object, ObjectName, ParentRef,
    PathMatch,
};

use super::header_modifier::modifier;
use super::http_match::http_match;
use super::meta::port;
use super::{Faults, Identity, Translated};

/// The filters of a rule or a backend: the generated types are alike but not the same.
macro_rules! filters {
    ($filters:expr, $type:ident, $field:expr, $faults:expr) => {{
        let mut filters = Vec::new();
        for (i, spec) in $filters.iter().flatten().enumerate() {
            let field = format!("{}.filters[{i}]", $field);
            let requests = spec.request_header_modifier.as_ref();
            let responses = spec.response_header_modifier.as_ref();
            filters.push(match (&spec.r#type, requests, responses) {
                ($type::RequestHeaderModifier, Some(spec), _) => {
                    let field = format!("{field}.requestHeaderModifier");
                    Filter::RequestHeaders(modifier!(spec, &field, $faults))
                }
                ($type::ResponseHeaderModifier, _, Some(spec)) => {
                    let field = format!("{field}.responseHeaderModifier");
                    Filter::ResponseHeaders(modifier!(spec, &field, $faults))
                }
                (other, ..) => {
                    let message =
                        format!("{field}: filter {other:?} is not supported or incomplete");
                    Filter::Invalid { message: message.into() }
                }
            });
        }
        filters
    }};
}

/// A fault in a match or a filter's fields refuses the route: a rule that is left out would send its
/// requests to the next one. A filter that we do not have, or a backend that is no usable reference,
/// makes its share of the traffic invalid (500) and no more, as the Gateway API asks. A parent that
/// cannot be taken as it is meant, and what we do not do yet, is told, and the rest counts.
pub(super) fn http_route(identity: &Identity, route: &HttpRoute) -> Translated {
    let mut faults = Faults::default();
    let parents = parents(identity, route, &mut faults);
    if parents.is_empty() {
        // A route of somebody's Gateway, or one without a parent that can be taken.
        return Translated { object: None, faults: faults.list };
    }
    let rules = route.spec.rules.iter().flatten().enumerate();
    let rules = rules
        .map(|(i, spec)| rule(identity, spec, &format!("spec.rules[{i}]"), &mut faults))
        .collect();
    let created = route.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    let object = model::HttpRoute { name: identity.name.clone(), created, parents, rules };
    faults.with(Object::HttpRoute(object))
}

fn parents(identity: &Identity, route: &HttpRoute, faults: &mut Faults) -> Vec<ParentRef> {
    let mut parents = Vec::new();
    for (i, parent) in route.spec.parent_refs.iter().flatten().enumerate() {
        let group = parent.group.as_deref().unwrap_or("gateway.networking.k8s.io");
        if !matches!(group, "" | "core") || parent.kind.as_deref() != Some("Service") {
            continue;
        }
        let field = format!("spec.parentRefs[{i}]");
        let port =
            parent.port.map(|number| faults.check(format!("{field}.port"), number, port(number)));
        if port == Some(None) {
            continue;
        }
        let namespace = parent.namespace.as_deref().unwrap_or(&identity.name.namespace);
        // Taken for all ports, the route would get traffic that is not its own.
        if let Some(section) = &parent.section_name {
            let message = format!("{section:?}: not supported, name the port by `port`; left out");
            faults.note(format!("{field}.sectionName"), message);
            continue;
        }
        let service = ObjectName::new(namespace, parent.name.as_str());
        parents.push(ParentRef { service, port: port.flatten() });
    }
    parents
}

fn rule(identity: &Identity, spec: &HttpRouteRules, field: &str, faults: &mut Faults) -> HttpRule {
    let mut matches: Vec<HttpMatch> = Vec::new();
    for (i, spec) in spec.matches.iter().flatten().enumerate() {
        matches.extend(http_match(spec, &format!("{field}.matches[{i}]"), faults));
    }
    if spec.matches.as_ref().is_none_or(Vec::is_empty) {
        let path = PathMatch::Prefix("/".into());
        matches.push(HttpMatch { path, headers: Vec::new(), queries: Vec::new(), method: None });
    }
    if spec.timeouts.is_some() {
        faults.note(format!("{field}.timeouts"), "not supported: no timeout is in force");
    }
    let filters = filters!(spec.filters, HttpRouteRulesFiltersType, field, faults);
    let backends = spec.backend_refs.iter().flatten().enumerate();
    let backends = backends
        .map(|(i, spec)| backend(identity, spec, &format!("{field}.backendRefs[{i}]"), faults))
        .collect();
    HttpRule { name: spec.name.as_deref().map(Into::into), matches, filters, backends }
}

fn backend(
    identity: &Identity,
    spec: &HttpRouteRulesBackendRefs,
    field: &str,
    faults: &mut Faults,
) -> BackendRef {
    let filters = filters!(spec.filters, HttpRouteRulesBackendRefsFiltersType, field, faults);
    let weight = u32::try_from(spec.weight.unwrap_or(1)).ok().filter(|weight| *weight <= 1_000_000);
    if weight.is_none() {
        let message = format!("{}: must be from 0 to 1000000", spec.weight.unwrap_or_default());
        faults.add(format!("{field}.weight"), message);
    }
    BackendRef { weight: weight.unwrap_or_default(), target: target(identity, spec), filters }
}

fn target(identity: &Identity, spec: &HttpRouteRulesBackendRefs) -> BackendTarget {
    let invalid = |message: String| BackendTarget::Invalid { message: message.into() };
    let (group, kind) = (spec.group.as_deref().unwrap_or(""), spec.kind.as_deref());
    if !matches!(group, "" | "core") || kind.is_some_and(|kind| kind != "Service") {
        let kind = kind.unwrap_or("Service");
        let group = if group.is_empty() { "core" } else { group };
        return invalid(format!("a backend of kind {kind} ({group}) is not known, only a Service"));
    }
    let namespace = spec.namespace.as_deref().unwrap_or(&identity.name.namespace);
    if namespace != &*identity.name.namespace {
        return invalid(format!("a backend in namespace {namespace} needs a ReferenceGrant there"));
    }
    match spec.port.map(port) {
        Some(Ok(port)) => {
            BackendTarget::Service { service: ObjectName::new(namespace, spec.name.as_str()), port }
        }
        Some(Err(message)) => invalid(format!("port {:?} {message}", spec.port)),
        None => invalid(format!("Service {}: a port is required", spec.name)),
    }
}
