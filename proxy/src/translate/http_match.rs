//! The matches of an HTTPRoute's rule.

use gateway_api::experimental::httproutes::{
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesMethod,
    HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType,
};
use http::{HeaderName, Method};
use nodeway_core::model::{HeaderMatch, HttpMatch, PathMatch, QueryMatch, TextMatch};
use regex::{Regex, RegexBuilder};

use super::Faults;
use super::meta::{MAX_PATH, is_of_path};

/// A compiled expression beyond this many octets is refused: one route must not eat the node.
const MAX_REGEX: usize = 1 << 20;

/// One match; a fault anywhere in it is a fault of the route.
pub(super) fn http_match(
    spec: &HttpRouteRulesMatches,
    field: &str,
    faults: &mut Faults,
) -> Option<HttpMatch> {
    let path = match &spec.path {
        None => Some(PathMatch::Prefix("/".into())),
        Some(path) => path_match(path, &format!("{field}.path.value"), faults),
    };
    let headers = spec.headers.iter().flatten().map(|header| HeaderSpec {
        name: &header.name,
        value: &header.value,
        regex: header.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression),
    });
    let headers = header_matches(headers, field, faults)?;
    let mut queries: Vec<QueryMatch> = Vec::new();
    for (i, query) in spec.query_params.iter().flatten().enumerate() {
        let regex = query.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression);
        let field = format!("{field}.queryParams[{i}].value");
        let value = text_match(&query.value, regex, &field, faults)?;
        if queries.iter().all(|known| *known.name != *query.name) {
            queries.push(QueryMatch { name: query.name.as_str().into(), value });
        }
    }
    Some(HttpMatch { path: path?, headers, queries, method: spec.method.as_ref().map(method) })
}

/// A header's match, as an HTTPRoute or a GRPCRoute gives it.
pub(super) struct HeaderSpec<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    /// A regular expression, or the value itself.
    pub(super) regex: bool,
}

/// All headers of the match at `field`.
pub(super) fn header_matches<'a>(
    specs: impl Iterator<Item = HeaderSpec<'a>>,
    field: &str,
    faults: &mut Faults,
) -> Option<Vec<HeaderMatch>> {
    let mut headers: Vec<HeaderMatch> = Vec::new();
    for (i, header) in specs.enumerate() {
        let field = format!("{field}.headers[{i}]");
        let name = header.name.parse::<HeaderName>();
        let name = faults.check(format!("{field}.name"), header.name, name)?;
        let value = text_match(header.value, header.regex, &format!("{field}.value"), faults)?;
        // Of several entries of one name the first counts (Gateway API, HTTPHeaderMatch.name).
        if headers.iter().all(|known| known.name != name) {
            headers.push(HeaderMatch { name, value });
        }
    }
    Some(headers)
}

fn path_match(
    spec: &HttpRouteRulesMatchesPath,
    field: &str,
    faults: &mut Faults,
) -> Option<PathMatch> {
    let value = spec.value.as_deref().unwrap_or("/");
    if spec.r#type == Some(HttpRouteRulesMatchesPathType::RegularExpression) {
        return faults.check(field, value, whole(value)).map(PathMatch::Regex);
    }
    faults.check(field, value, literal_path(value))?;
    Some(match spec.r#type {
        Some(HttpRouteRulesMatchesPathType::Exact) => PathMatch::Exact(value.into()),
        _ => PathMatch::Prefix(value.into()),
    })
}

/// What the Gateway API's schema asks of a path that is matched as it stands. An API server has seen to
/// it; a folder of manifests has nobody else.
fn literal_path(value: &str) -> Result<(), &'static str> {
    if !value.starts_with('/') {
        Err("must begin with \"/\"")
    } else if value.len() > MAX_PATH {
        Err("longer than 1024 octets")
    } else if value.contains(['?', '#']) {
        Err("a path has no query and no fragment")
    } else if value.contains("//") || value.split('/').any(|element| matches!(element, "." | ".."))
    {
        Err("must not have the elements \"\", \".\" and \"..\"")
    } else if value.to_ascii_lowercase().contains("%2f") {
        Err("must not have an encoded slash")
    } else if !value.chars().all(is_of_path) {
        Err("has characters that must be percent-encoded in a path")
    } else {
        Ok(())
    }
}

fn text_match(value: &str, regex: bool, field: &str, faults: &mut Faults) -> Option<TextMatch> {
    if regex {
        faults.check(field, value, whole(value)).map(TextMatch::Regex)
    } else {
        Some(TextMatch::Exact(value.into()))
    }
}

/// An expression that must match all of a text.
pub(super) fn whole(expression: &str) -> Result<Regex, regex::Error> {
    // First by itself: "a)(b" must not become valid by what is put around it.
    let compile = |text: &str| RegexBuilder::new(text).size_limit(MAX_REGEX).build();
    compile(expression)?;
    compile(&format!("^(?:{expression})$"))
}

fn method(method: &HttpRouteRulesMatchesMethod) -> Method {
    use HttpRouteRulesMatchesMethod as M;
    match method {
        M::Get => Method::GET,
        M::Head => Method::HEAD,
        M::Post => Method::POST,
        M::Put => Method::PUT,
        M::Delete => Method::DELETE,
        M::Connect => Method::CONNECT,
        M::Options => Method::OPTIONS,
        M::Trace => Method::TRACE,
        M::Patch => Method::PATCH,
    }
}
