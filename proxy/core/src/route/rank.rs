//! Which of several matches wins.

use std::cmp::Reverse;

use crate::model::{HttpMatch, HttpRoute, ObjectName, PathMatch};

/// A match's precedence; the greatest wins. The fields stand in the order of the Gateway API's
/// `HTTPRouteRule.matches`: path, method, headers, queries, then the age of the route, then its
/// name, then the order in the route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    path: PathRank,
    method: bool,
    headers: usize,
    queries: usize,
    /// Older wins; a route without a time is the newest.
    created: Reverse<i64>,
    name: Reverse<ObjectName>,
    rule: Reverse<usize>,
    index: Reverse<usize>,
}

/// Exact before regular expression before prefix, the longer first. The specification leaves the
/// place of regular expressions open; here they are where Envoy Gateway puts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Prefix(usize),
    Regex(usize),
    Exact,
}

impl Rank {
    /// The rank of match `index` of rule `rule` of `route`.
    pub(super) fn of(route: &HttpRoute, rule: usize, index: usize, matched: &HttpMatch) -> Self {
        Self {
            path: match &matched.path {
                PathMatch::Exact(_) => PathRank::Exact,
                PathMatch::Regex(regex) => PathRank::Regex(regex.as_str().len()),
                PathMatch::Prefix(prefix) => PathRank::Prefix(prefix.trim_end_matches('/').len()),
            },
            method: matched.method.is_some(),
            headers: matched.headers.len(),
            queries: matched.queries.len(),
            created: Reverse(route.created.unwrap_or(i64::MAX)),
            name: Reverse(route.name.clone()),
            rule: Reverse(rule),
            index: Reverse(index),
        }
    }
}
