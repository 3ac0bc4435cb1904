//! HTTPRoutes with parents of kind Service (Gateway API v1, GEP-1294).

use gateway_api::experimental::httproutes::{
    HttpRoute, HttpRouteRules, HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType,
    HttpRouteRulesSessionPersistenceCookieConfigLifetimeType, HttpRouteRulesSessionPersistenceType,
};
use nodeway_core::model::{BackendRef, Filter, HttpMatch, HttpRule, PathMatch, Rules};

use super::attempts::{retry, session, timeouts};
use super::filter::{filters, replaces_prefix};
use super::http_match::http_match;
use super::route::{backends, finish, parents};
use super::{Faults, Identity, Translated};

/// Nothing if it is not for us: somebody's Gateway's, or without a parent that can be taken.
///
/// A fault in a match or a filter's fields refuses the route: a rule that is left out would send its
/// requests to the next one. A filter that we do not have, or a backend that is no usable reference,
/// makes its share of the traffic invalid (500) and no more, as the Gateway API asks. A parent that
/// cannot be taken as it is meant, and what we do not do yet, is told, and the rest counts.
pub(super) fn http_route(identity: &Identity, route: &HttpRoute) -> Translated {
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

fn rule(identity: &Identity, spec: &HttpRouteRules, field: &str, faults: &mut Faults) -> HttpRule {
    let mut matches: Vec<HttpMatch> = Vec::new();
    for (i, spec) in spec.matches.iter().flatten().enumerate() {
        matches.extend(http_match(spec, &format!("{field}.matches[{i}]"), faults));
    }
    if spec.matches.as_ref().is_none_or(Vec::is_empty) {
        let path = PathMatch::Prefix("/".into());
        matches.push(HttpMatch { path, headers: Vec::new(), queries: Vec::new(), method: None });
    }
    let filters = filters(identity, spec.filters.as_ref(), field, faults);
    let backends = backends!(identity, spec.backend_refs, field, faults);
    check_filters(spec, &filters, &backends, field, faults);
    HttpRule {
        name: spec.name.as_deref().map(Into::into),
        matches,
        filters,
        backends,
        timeouts: timeouts(spec.timeouts.as_ref(), field, faults),
        retry: retry(spec.retry.as_ref(), field, faults),
        persistence: session!(
            spec.session_persistence,
            HttpRouteRulesSessionPersistenceType,
            HttpRouteRulesSessionPersistenceCookieConfigLifetimeType,
            field,
            faults
        ),
    }
}

/// What a rule's filters, matches and backends ask of each other.
fn check_filters(
    spec: &HttpRouteRules,
    filters: &[Filter],
    backends: &[BackendRef],
    field: &str,
    faults: &mut Faults,
) {
    let redirects = filters.iter().any(|filter| matches!(filter, Filter::Redirect(_)));
    if redirects && !backends.is_empty() {
        let message = "given with a RequestRedirect: no request would come here";
        faults.add(format!("{field}.backendRefs"), message);
    }
    let prefix = |path: &HttpRouteRulesMatchesPath| {
        matches!(path.r#type, None | Some(HttpRouteRulesMatchesPathType::PathPrefix))
    };
    let matches = spec.matches.as_deref().unwrap_or_default();
    let one_prefix =
        matches.len() <= 1 && matches.iter().all(|one| one.path.as_ref().is_none_or(prefix));
    let all = [filters].into_iter().chain(backends.iter().map(|backend| &backend.filters[..]));
    if !one_prefix && all.into_iter().any(replaces_prefix) {
        let message =
            "a filter of type ReplacePrefixMatch needs exactly one match, of a PathPrefix";
        faults.add(format!("{field}.matches"), message);
    }
}
