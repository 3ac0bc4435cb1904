//! GRPCRoutes with parents of kind Service (Gateway API v1, GEP-1016): a method is the path
//! `/SERVICE/METHOD` of a POST (gRPC over HTTP/2).

use gateway_api::experimental::grpcroutes::{
    GrpcRoute, GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeadersType,
    GrpcRouteRulesMatchesMethodType, GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType,
    GrpcRouteRulesSessionPersistenceType,
};
use nodeway_core::model::{HttpMatch, HttpRule, PathMatch, Rules, Timeouts};

use super::attempts::session;
use super::filter::filters;
use super::http_match::{HeaderSpec, header_matches, whole};
use super::route::{backends, finish, parents};
use super::{Faults, Identity, Translated};

/// Faults count as those of an HTTPRoute do.
pub(super) fn grpc_route(identity: &Identity, route: &GrpcRoute) -> Translated {
    let mut faults = Faults::default();
    let parents = parents!(identity, route.spec.parent_refs, &mut faults);
    if parents.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    let rules = route.spec.rules.iter().flatten().enumerate();
    let rules = rules
        .map(|(i, spec)| rule(identity, spec, &format!("spec.rules[{i}]"), &mut faults))
        .collect();
    finish(identity, &route.metadata, parents, Rules::Http(rules), faults)
}

fn rule(identity: &Identity, spec: &GrpcRouteRules, field: &str, faults: &mut Faults) -> HttpRule {
    let mut matches: Vec<HttpMatch> = Vec::new();
    for (i, spec) in spec.matches.iter().flatten().enumerate() {
        matches.extend(grpc_match(spec, &format!("{field}.matches[{i}]"), faults));
    }
    if spec.matches.as_ref().is_none_or(Vec::is_empty) {
        let path = PathMatch::Prefix("/".into());
        matches.push(HttpMatch { path, headers: Vec::new(), queries: Vec::new(), method: None });
    }
    let filters = filters(identity, spec.filters.as_ref(), field, faults);
    let backends = backends!(identity, spec.backend_refs, field, faults);
    HttpRule {
        name: spec.name.as_deref().map(Into::into),
        matches,
        filters,
        backends,
        timeouts: Timeouts::default(),
        retry: None,
        persistence: session!(
            spec.session_persistence,
            GrpcRouteRulesSessionPersistenceType,
            GrpcRouteRulesSessionPersistenceCookieConfigLifetimeType,
            field,
            faults
        ),
    }
}

fn grpc_match(spec: &GrpcRouteRulesMatches, field: &str, faults: &mut Faults) -> Option<HttpMatch> {
    let path = path(spec, &format!("{field}.method"), faults);
    let headers = spec.headers.iter().flatten().map(|header| HeaderSpec {
        name: &header.name,
        value: &header.value,
        regex: header.r#type == Some(GrpcRouteRulesMatchesHeadersType::RegularExpression),
    });
    let headers = header_matches(headers, field, faults)?;
    Some(HttpMatch { path: path?, headers, queries: Vec::new(), method: None })
}

fn path(spec: &GrpcRouteRulesMatches, field: &str, faults: &mut Faults) -> Option<PathMatch> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (service, method, regex) = match &spec.method {
        None => (None, None, false),
        Some(spec) => (
            given(&spec.service),
            given(&spec.method),
            spec.r#type == Some(GrpcRouteRulesMatchesMethodType::RegularExpression),
        ),
    };
    if regex {
        let service = service.unwrap_or_else(|| "[^/]+".to_owned());
        let method = method.unwrap_or_else(|| "[^/]+".to_owned());
        // Each by itself, so that a slip in one does not become valid by the other.
        for (name, expression) in [("service", &service), ("method", &method)] {
            faults.check(format!("{field}.{name}"), expression, whole(expression))?;
        }
        let expression = format!("/(?:{service})/(?:{method})");
        return faults.check(field, &expression, whole(&expression)).map(PathMatch::Regex);
    }
    for (name, text) in [("service", &service), ("method", &method)] {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
        if let Some(text) = text.as_ref().filter(|text| !text.chars().all(allowed)) {
            let message = format!("{text:?}: must have letters, digits, \".\" and \"_\" only");
            faults.add(format!("{field}.{name}"), message);
            return None;
        }
    }
    Some(match (service, method) {
        (None, None) => PathMatch::Prefix("/".into()),
        (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}").into()),
        (Some(service), None) => PathMatch::Prefix(format!("/{service}").into()),
        (None, Some(method)) => PathMatch::GrpcMethod(method.into()),
    })
}
