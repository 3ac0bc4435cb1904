//! What a route looks at in a request, and whether a match's conditions hold for it.

use http::{HeaderMap, Method};

use super::query;
use super::scratch::with_joined;
use crate::model::{HeaderMatch, QueryMatch, TextMatch};

/// A request's head as far as routes look at it.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method; case-sensitive.
    pub method: &'a Method,
    /// The path without the query, as [`normalised`](super::normalised) has it.
    pub path: &'a str,
    /// The query as received, without the `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The namespace of the pod that asks, if it is known: routes of another namespace than their
    /// Service's apply to requests from that namespace alone.
    pub client: Option<&'a str>,
}

/// What must hold of a request besides its path.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) method: Option<Method>,
    pub(super) headers: Box<[HeaderMatch]>,
    pub(super) queries: Box<[QueryMatch]>,
}

// === impl Conditions ===

impl Conditions {
    #[inline]
    pub(super) fn hold(&self, head: &RequestHead<'_>) -> bool {
        self.method.as_ref().is_none_or(|m| m == head.method)
            && self.headers.iter().all(|h| header_matches(h, head.headers))
            && self.queries.iter().all(|q| query_matches(q, head.query))
    }
}

/// Several fields of one name count as one, joined by `,` (RFC 9110, 5.3); a value that is not UTF-8
/// meets no pattern.
pub(super) fn header_matches(wanted: &HeaderMatch, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&wanted.name).iter().map(|v| v.as_bytes());
    let Some(first) = values.next() else { return false };
    match &wanted.value {
        TextMatch::Exact(text) => {
            let Some(mut rest) = text.as_bytes().strip_prefix(first) else { return false };
            for value in values {
                let after = rest.strip_prefix(b",").and_then(|r| r.strip_prefix(value));
                let Some(after) = after else { return false };
                rest = after;
            }
            rest.is_empty()
        }
        TextMatch::Regex(pattern) => {
            let meets = |text: &[u8]| str::from_utf8(text).is_ok_and(|v| pattern.is_match(v));
            let all = || headers.get_all(&wanted.name).iter().map(|v| v.as_bytes());
            if values.next().is_none() {
                return meets(first);
            }
            let joined = with_joined(all(), meets);
            joined.unwrap_or_else(|| meets(&all().collect::<Vec<_>>().join(&b","[..])))
        }
    }
}

/// A value that is not UTF-8 when it is decoded meets no pattern.
pub(super) fn query_matches(wanted: &QueryMatch, query: Option<&str>) -> bool {
    let Some(value) = query.and_then(|q| query::first(q, &wanted.name)) else { return false };
    match &wanted.value {
        TextMatch::Exact(text) => query::decodes_to(value, text),
        TextMatch::Regex(pattern) => {
            let meets = |text: &[u8]| str::from_utf8(text).is_ok_and(|v| pattern.is_match(v));
            query::with_decoded(value, meets).unwrap_or_else(|| meets(&query::decode(value)))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use regex::Regex;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append("x-a", HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn exact(text: &str) -> HeaderMatch {
        HeaderMatch { name: HeaderName::from_static("x-a"), value: TextMatch::Exact(text.into()) }
    }

    #[test]
    fn a_header_matches_by_its_exact_value() {
        assert!(header_matches(&exact("one"), &headers(&["one"])));
        assert!(!header_matches(&exact("one"), &headers(&["One"])));
        assert!(!header_matches(&exact("one"), &headers(&["onetwo"])));
        assert!(!header_matches(&exact("one"), &headers(&[])));
        assert!(header_matches(&exact(""), &headers(&[""])));
    }

    #[test]
    fn several_fields_of_one_name_count_as_one() {
        assert!(header_matches(&exact("one,two"), &headers(&["one", "two"])));
        assert!(!header_matches(&exact("one"), &headers(&["one", "two"])));
        assert!(!header_matches(&exact("onetwo"), &headers(&["one", "two"])));
        assert!(!header_matches(&exact("one,two,"), &headers(&["one", "two"])));
        let pattern = HeaderMatch {
            name: HeaderName::from_static("x-a"),
            value: TextMatch::Regex(Regex::new("^one,two,t.*$").unwrap()),
        };
        assert!(header_matches(&pattern, &headers(&["one", "two", "three"])));
        assert!(!header_matches(&pattern, &headers(&["one"])));
    }
}
