//! The filters of HTTPRoutes and GRPCRoutes, on rules and on backends.
//!
//! Their fields are held to what the Gateway API's schema and its rules in CEL say. An API server has
//! seen to that; a folder of manifests has nobody else.

mod cors;
mod mirror;
mod url;

use gateway_api::experimental::httproutes::{HttpRouteRulesFilters, HttpRouteRulesFiltersType};
use nodeway_core::model::{Filter, PathModifier, RefFault};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::header_modifier::modifier;
use super::{Faults, Identity};

/// Gateway API, `HTTPRouteRule.filters` and its like.
const MOST_FILTERS: usize = 16;

/// The filters at `field`, of which each is of one of four generated types that say the same.
pub(super) fn filters<T: Serialize>(
    identity: &Identity,
    specs: Option<&Vec<T>>,
    field: &str,
    faults: &mut Faults,
) -> Vec<Filter> {
    let specs: &[T] = specs.map_or(&[], Vec::as_slice);
    let list = format!("{field}.filters");
    if specs.len() > MOST_FILTERS {
        faults.add(&list, format!("{} filters: at most {MOST_FILTERS}", specs.len()));
    }
    let mut kinds = Vec::with_capacity(specs.len());
    let mut filters = Vec::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        let field = format!("{list}[{i}]");
        let Some(spec) = faults.check(&field, "filter", alike::<_, HttpRouteRulesFilters>(spec))
        else {
            continue;
        };
        if once(&spec.r#type) && kinds.contains(&spec.r#type) {
            let message = format!("a second {}: there can be one", name(&spec.r#type));
            faults.add(format!("{field}.type"), message);
        }
        filters.extend(filter(identity, &spec, &field, faults));
        kinds.push(spec.r#type);
    }
    let has = |kind| kinds.contains(&kind);
    if has(HttpRouteRulesFiltersType::RequestRedirect) && has(HttpRouteRulesFiltersType::UrlRewrite)
    {
        faults.add(list, "RequestRedirect and URLRewrite exclude each other");
    }
    filters
}

/// Whether one of `filters` replaces the prefix that a match names.
pub(super) fn replaces_prefix(filters: &[Filter]) -> bool {
    filters.iter().any(|filter| {
        let path = match filter {
            Filter::Redirect(redirect) => redirect.path.as_ref(),
            Filter::Rewrite(rewrite) => rewrite.path.as_ref(),
            _ => None,
        };
        matches!(path, Some(PathModifier::Prefix(_)))
    })
}

/// The same in another of the generated types.
fn alike<T: Serialize, U: DeserializeOwned>(spec: &T) -> Result<U, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(spec)?)
}

fn filter(
    identity: &Identity,
    spec: &HttpRouteRulesFilters,
    field: &str,
    faults: &mut Faults,
) -> Option<Filter> {
    use HttpRouteRulesFiltersType as Type;
    if let Some(other) = given(spec).find(|(kind, _)| *kind != spec.r#type) {
        let message = format!("given with type {}: it has no effect there", name(&spec.r#type));
        faults.add(format!("{field}.{}", other.1), message);
        return None;
    }
    let Some((_, section)) = given(spec).find(|(kind, _)| *kind == spec.r#type) else {
        let message = format!("missing for type {}", name(&spec.r#type));
        faults.add(format!("{field}.{}", section(&spec.r#type)), message);
        return None;
    };
    let field = format!("{field}.{section}");
    match spec.r#type {
        Type::RequestHeaderModifier => {
            let spec = spec.request_header_modifier.as_ref()?;
            Some(Filter::RequestHeaders(modifier!(spec, &field, faults)))
        }
        Type::ResponseHeaderModifier => {
            let spec = spec.response_header_modifier.as_ref()?;
            Some(Filter::ResponseHeaders(modifier!(spec, &field, faults)))
        }
        Type::RequestRedirect => {
            url::redirect(spec.request_redirect.as_ref()?, &field, faults).map(Filter::Redirect)
        }
        Type::UrlRewrite => {
            url::rewrite(spec.url_rewrite.as_ref()?, &field, faults).map(Filter::Rewrite)
        }
        Type::RequestMirror => {
            let spec = spec.request_mirror.as_ref()?;
            mirror::mirror(identity, spec, &field, faults).map(Filter::Mirror)
        }
        Type::Cors => cors::cors(spec.cors.as_ref()?, &field, faults).map(Filter::Cors),
        Type::ExtensionRef => {
            let spec = spec.extension_ref.as_ref()?;
            let group = if spec.group.is_empty() { "core" } else { &spec.group };
            let message =
                format!("no filter of kind {} ({group}) is known: {}", spec.kind, spec.name);
            Some(Filter::Invalid { message: message.into(), fault: Some(RefFault::InvalidKind) })
        }
        Type::ExternalAuth => {
            let message = "filter ExternalAuth is not supported".into();
            Some(Filter::Invalid { message, fault: None })
        }
    }
}

/// The sections that are there, with the types that they are for.
fn given(
    spec: &HttpRouteRulesFilters,
) -> impl Iterator<Item = (HttpRouteRulesFiltersType, &'static str)> {
    use HttpRouteRulesFiltersType as Type;
    [
        (spec.request_header_modifier.is_some(), Type::RequestHeaderModifier),
        (spec.response_header_modifier.is_some(), Type::ResponseHeaderModifier),
        (spec.request_redirect.is_some(), Type::RequestRedirect),
        (spec.url_rewrite.is_some(), Type::UrlRewrite),
        (spec.request_mirror.is_some(), Type::RequestMirror),
        (spec.cors.is_some(), Type::Cors),
        (spec.extension_ref.is_some(), Type::ExtensionRef),
        (spec.external_auth.is_some(), Type::ExternalAuth),
    ]
    .into_iter()
    .filter(|(there, _)| *there)
    .map(|(_, kind)| {
        let section = section(&kind);
        (kind, section)
    })
}

fn section(kind: &HttpRouteRulesFiltersType) -> &'static str {
    use HttpRouteRulesFiltersType as Type;
    match kind {
        Type::RequestHeaderModifier => "requestHeaderModifier",
        Type::ResponseHeaderModifier => "responseHeaderModifier",
        Type::RequestMirror => "requestMirror",
        Type::RequestRedirect => "requestRedirect",
        Type::UrlRewrite => "urlRewrite",
        Type::ExtensionRef => "extensionRef",
        Type::Cors => "cors",
        Type::ExternalAuth => "externalAuth",
    }
}

/// As manifests call it.
fn name(kind: &HttpRouteRulesFiltersType) -> String {
    match kind {
        HttpRouteRulesFiltersType::UrlRewrite => "URLRewrite".to_owned(),
        HttpRouteRulesFiltersType::Cors => "CORS".to_owned(),
        kind => format!("{kind:?}"),
    }
}

/// Whether a list can have one of this kind only.
fn once(kind: &HttpRouteRulesFiltersType) -> bool {
    !matches!(
        kind,
        HttpRouteRulesFiltersType::RequestMirror
            | HttpRouteRulesFiltersType::ExtensionRef
            | HttpRouteRulesFiltersType::ExternalAuth
    )
}
