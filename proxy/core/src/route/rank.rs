//! Which of several matches wins: an ordered value.

use std::cmp::Reverse;

use crate::model::{HttpMatch, ObjectName, PathMatch};

/// Where a match stands among all matches of a Service's port; the smallest is asked first.
///
/// The order of the fields is that of Gateway API (`HTTPRouteRule.matches`): exact path, longest
/// prefix, method, most headers, most query parameters; then the oldest route, its namespace and
/// name, and the place of the rule in it. Where a pattern stands is left to the implementation: here
/// after exact paths and before prefixes, the longer pattern first, as in Envoy Gateway. A pattern is
/// written to make an exception from a prefix, so it would be dead behind the prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    path: PathRank,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    queries: Reverse<usize>,
    age: Age,
    route: ObjectName,
    /// The rule's place in its route, then the match's in its rule.
    place: (usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Regex {
        length: Reverse<usize>,
    },
    Prefix {
        length: Reverse<usize>,
    },
    /// A method of any service is behind a method or service that is named, and before all methods of
    /// all services (`GRPCRouteRule.matches`).
    GrpcMethod,
    Root,
}

/// Seconds since the epoch; a route that does not say when it was made counts as the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    Created(i64),
    Unknown,
}

// === impl Rank ===

impl Rank {
    /// `wanted` has the first of each name only in its headers and queries, and a trimmed prefix.
    pub(super) fn new(
        wanted: &HttpMatch,
        created: Option<i64>,
        route: &ObjectName,
        place: (usize, usize),
    ) -> Self {
        Self {
            path: match &wanted.path {
                PathMatch::Exact(_) => PathRank::Exact,
                PathMatch::Regex(p) => PathRank::Regex { length: Reverse(p.as_str().len()) },
                PathMatch::Prefix(p) if p.is_empty() => PathRank::Root,
                PathMatch::Prefix(p) => PathRank::Prefix { length: Reverse(p.len()) },
                PathMatch::GrpcMethod(_) => PathRank::GrpcMethod,
            },
            method: Reverse(wanted.method.is_some()),
            headers: Reverse(wanted.headers.len()),
            queries: Reverse(wanted.queries.len()),
            age: created.map_or(Age::Unknown, Age::Created),
            route: route.clone(),
            place,
        }
    }

    /// By what a smaller one, `better`, goes before this one.
    pub(super) fn behind(&self, better: &Self) -> &'static str {
        match (better.path, self.path) {
            (a, b) if a == b => {}
            (PathRank::Exact, _) => return "it has the exact path",
            (PathRank::Regex { .. }, PathRank::Regex { .. }) => return "its path pattern is longer",
            (PathRank::Regex { .. }, _) => return "a path pattern goes before prefixes",
            (PathRank::Prefix { .. }, PathRank::GrpcMethod) => return "it names the service",
            (PathRank::GrpcMethod, _) => return "it names the method",
            _ => return "its path prefix is longer",
        }
        if better.method != self.method {
            "it names a method"
        } else if better.headers != self.headers {
            "it names more headers"
        } else if better.queries != self.queries {
            "it names more query parameters"
        } else if better.age != self.age {
            "its route is older"
        } else if better.route != self.route {
            "its route comes first by name"
        } else {
            "it comes first in the route"
        }
    }

    /// Where the rule stands in its route.
    pub(super) fn place_of_rule(&self) -> usize {
        self.place.0
    }

    /// Which of its rule's matches it is.
    pub(super) fn place_in_rule(&self) -> usize {
        self.place.1
    }
}
