//! HTTPRoutes with parents of kind Service (Gateway API v1, GEP-1294).

use gateway_api::experimental::httproutes::{
    HttpRoute, HttpRouteRules, HttpRouteRulesBackendRefsFiltersType, HttpRouteRulesFiltersType,
    HttpRouteRulesSessionPersistenceCookieConfigLifetimeType, HttpRouteRulesSessionPersistenceType,
};
use nodeway_core::model::{HttpMatch, HttpRule, PathMatch, Rules};

use super::attempts::{retry, session, timeouts};
use super::http_match::http_match;
use super::route::{backends, filters, finish, parents};
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
    let filters = filters!(spec.filters, HttpRouteRulesFiltersType, field, faults);
    let backends =
        backends!(identity, spec.backend_refs, HttpRouteRulesBackendRefsFiltersType, field, faults);
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
