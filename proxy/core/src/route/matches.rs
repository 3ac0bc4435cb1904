//! Whether a request meets one match.

use http::Method;
use http::header::{HeaderMap, HeaderName};

use super::query;
use crate::model::{HttpMatch, PathMatch, TextMatch};

/// What of a request routes can see.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as received, without the query.
    pub path: &'a str,
    /// The query as received, without the question mark.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl HttpMatch {
    /// Whether all of this match holds for `head`; the cheapest and most telling part first.
    pub fn matches(&self, head: &RequestHead<'_>) -> bool {
        self.path.matches(head.path)
            && self.method.as_ref().is_none_or(|method| method == head.method)
            && self.headers.iter().all(|h| header_matches(head.headers, &h.name, &h.value))
            && self.queries.iter().all(|q| {
                query::first_value(head.query.unwrap_or_default(), &q.name)
                    .is_some_and(|value| q.value.matches(&value))
            })
    }
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => has_prefix(path, prefix),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

impl TextMatch {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => value == &**exact,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// Element by element: `/a` is a prefix of `/a` and `/a/b`, not of `/ab`; a trailing slash of the
/// prefix says nothing.
fn has_prefix(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn header_matches(headers: &HeaderMap, name: &HeaderName, value: &TextMatch) -> bool {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next().and_then(|v| v.to_str().ok()) else { return false };
    let Some(second) = values.next() else { return value.matches(first) };
    // RFC 9110, 5.3: several fields of one name mean their values joined by commas. Rare enough to
    // afford the allocation.
    let mut joined = first.to_owned();
    for next in std::iter::once(second).chain(values) {
        let Ok(next) = next.to_str() else { return false };
        joined.push(',');
        joined.push_str(next);
    }
    value.matches(&joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_an_element() {
        for (path, prefix, expected) in [
            ("/a", "/a", true),
            ("/a/", "/a", true),
            ("/a/b", "/a/", true),
            ("/a", "/a/", true),
            ("/ab", "/a", false),
            ("/", "/", true),
            ("/x", "/", true),
            ("*", "/", false),
            ("/b/a", "/a", false),
        ] {
            assert_eq!(has_prefix(path, prefix), expected, "{path} {prefix}");
        }
    }
}
