//! All matches of a Service's port, laid out so that a request meets the first that holds.
//!
//! Exact paths and prefixes are looked up by hash, so that a request pays for the matches of its own
//! path only; patterns are tried one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use regex::Regex;

use super::rank::Rank;
use super::request::{Conditions, RequestHead};
use super::rule::Rule;
use crate::model::{HttpMatch, ObjectName, PathMatch};

/// The rules of a Service's port, of all routes attached to it; see `rank` for their order.
#[derive(Debug, Default)]
pub struct Router {
    exact: HashMap<Arc<str>, Vec<Candidate>, RandomState>,
    regex: Vec<(Regex, Candidate)>,
    /// By the prefix without a trailing slash: `/` is the empty one.
    prefix: HashMap<Arc<str>, Vec<Candidate>, RandomState>,
    /// The lengths of all prefixes, octets, the longest first: so no path, however many slashes it
    /// has, costs more look-ups than there are lengths.
    prefix_lengths: Vec<usize>,
}

/// Collects matches in any order.
#[derive(Debug, Default)]
pub struct RouterBuilder {
    matches: Vec<(Rank, HttpMatch, Arc<Rule>)>,
}

/// How a request met a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// Which of the rule's matches it was, counted from 0.
    pub place: usize,
    /// How many octets of the path a prefix match names, without a trailing slash: 0 for `/`. None if
    /// the match is of another kind.
    pub prefix_len: Option<usize>,
}

/// Within its path, asked in order of rank.
#[derive(Debug)]
struct Candidate {
    conditions: Conditions,
    rule: Arc<Rule>,
    matched: Matched,
}

// === impl RouterBuilder ===

impl RouterBuilder {
    /// Adds a rule, `place` being where it stands in its route, `created` the route's age.
    pub fn rule(
        &mut self,
        created: Option<i64>,
        route: &ObjectName,
        place: usize,
        matches: &[HttpMatch],
        rule: &Arc<Rule>,
    ) {
        for (i, wanted) in matches.iter().enumerate() {
            let wanted = tidy(wanted);
            let rank = Rank::new(&wanted, created, route, (place, i));
            self.matches.push((rank, wanted, Arc::clone(rule)));
        }
    }

    /// The router.
    pub fn build(mut self) -> Router {
        self.matches.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut router = Router::default();
        for (rank, HttpMatch { path, headers, queries, method }, rule) in self.matches {
            let conditions =
                Conditions { method, headers: headers.into(), queries: queries.into() };
            let prefix_len = match &path {
                PathMatch::Prefix(path) => Some(path.len()),
                PathMatch::Exact(_) | PathMatch::Regex(_) => None,
            };
            let matched = Matched { place: rank.place_in_rule(), prefix_len };
            let candidate = Candidate { conditions, rule, matched };
            match path {
                PathMatch::Exact(path) => router.exact.entry(path).or_default().push(candidate),
                PathMatch::Regex(pattern) => router.regex.push((pattern, candidate)),
                PathMatch::Prefix(path) => {
                    // Sorted by rank, equal lengths come one after the other.
                    if router.prefix_lengths.last() != Some(&path.len()) {
                        router.prefix_lengths.push(path.len());
                    }
                    router.prefix.entry(path).or_default().push(candidate);
                }
            }
        }
        router
    }
}

/// Of headers or query parameters named twice the first counts (Gateway API: `HTTPHeaderMatch.name`,
/// `HTTPQueryParamMatch.name`), and a prefix's trailing slash is ignored (`PathMatchPathPrefix`).
fn tidy(wanted: &HttpMatch) -> HttpMatch {
    let mut wanted = wanted.clone();
    if let PathMatch::Prefix(path) = &wanted.path
        && path.ends_with('/')
    {
        wanted.path = PathMatch::Prefix(path.trim_end_matches('/').into());
    }
    let mut names = Vec::new();
    wanted.headers.retain(|h| {
        let new = !names.contains(&h.name);
        names.push(h.name.clone());
        new
    });
    let mut names = Vec::new();
    wanted.queries.retain(|q| {
        let new = !names.contains(&q.name);
        names.push(Arc::clone(&q.name));
        new
    });
    wanted
}

// === impl Router ===

impl Router {
    /// The rule that this request meets, and how.
    #[inline]
    pub fn route(&self, head: &RequestHead<'_>) -> Option<(&Rule, Matched)> {
        self.exact(head).or_else(|| self.regex(head)).or_else(|| self.prefix(head))
    }

    fn exact(&self, head: &RequestHead<'_>) -> Option<(&Rule, Matched)> {
        if self.exact.is_empty() {
            return None;
        }
        first(self.exact.get(head.path)?, head)
    }

    fn regex(&self, head: &RequestHead<'_>) -> Option<(&Rule, Matched)> {
        let mut candidates = self.regex.iter();
        candidates
            .find(|(pattern, c)| c.conditions.hold(head) && pattern.is_match(head.path))
            .map(|(_, c)| (&*c.rule, c.matched))
    }

    fn prefix(&self, head: &RequestHead<'_>) -> Option<(&Rule, Matched)> {
        self.prefix_lengths.iter().find_map(|&length| {
            let whole_elements =
                matches!(head.path.as_bytes().get(length..), Some([] | [b'/', ..]));
            if !whole_elements {
                return None;
            }
            first(self.prefix.get(head.path.get(..length)?)?, head)
        })
    }
}

fn first<'a>(candidates: &'a [Candidate], head: &RequestHead<'_>) -> Option<(&'a Rule, Matched)> {
    candidates.iter().find(|c| c.conditions.hold(head)).map(|c| (&*c.rule, c.matched))
}
