//! All matches of a Service's port, laid out so that a request meets the first that holds.
//!
//! Numbered by rank, so that of two that hold the smaller number wins. A request walks its own path once
//! (`radix`), which gives the exact path and the longest prefix; each prefix knows the next shorter one.
//! Patterns are one automaton (`patterns`), and the matches of one path are laid out by their other
//! conditions (`group`): what a request pays does not grow with the number of rules, but with the number
//! of shorter prefixes that it falls back to. Nothing is allocated, but for a pattern on a value of more
//! than 1 KiB that was encoded or sent in several fields.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use regex::Regex;

use super::group::Group;
use super::path::grpc_method;
use super::patterns::Patterns;
use super::radix::{Found, Radix};
use super::rank::Rank;
use super::request::{Conditions, RequestHead};
use super::rule::Rule;
use crate::model::{HttpMatch, ObjectName, PathMatch};

/// The rules of a Service's port, of all routes attached to it; see `rank` for their order.
#[derive(Debug, Default)]
pub struct Router {
    /// In order of rank.
    candidates: Box<[Candidate]>,
    /// Exact paths and prefixes but `/`: places in `literals`.
    paths: Radix,
    literals: Box<[Literal]>,
    patterns: Arc<Patterns>,
    /// By the pattern's place.
    by_pattern: Box<[Group]>,
    /// gRPC methods of any service.
    methods: HashMap<Arc<str>, Group, RandomState>,
    /// The prefix `/`.
    root: Option<Group>,
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

/// One match of a rule.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) path: PathMatch,
    pub(super) conditions: Conditions,
    pub(super) rule: Arc<Rule>,
    pub(super) matched: Matched,
}

/// The matches of one exact path, or of one prefix.
#[derive(Debug)]
struct Literal {
    group: Group,
    /// The longest prefix that covers this one.
    shorter: Option<u32>,
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

    /// The router. What it has in common with the one `before` it need not be made again.
    pub fn build(mut self, before: Option<&Router>) -> Router {
        self.matches.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let candidates = self.matches.into_iter().map(|(rank, wanted, rule)| {
            let HttpMatch { path, headers, queries, method } = wanted;
            let prefix_len = match &path {
                PathMatch::Prefix(path) => Some(path.len()),
                PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::GrpcMethod(_) => None,
            };
            let matched = Matched { place: rank.place_in_rule(), prefix_len };
            let conditions =
                Conditions { method, headers: headers.into(), queries: queries.into() };
            Candidate { rank, path, conditions, rule, matched }
        });
        Router::new(candidates.collect(), before)
    }
}

/// Of headers or query parameters named twice the first counts (Gateway API: `HTTPHeaderMatch.name`,
/// `HTTPQueryParamMatch.name`).
fn tidy(wanted: &HttpMatch) -> HttpMatch {
    let mut wanted = wanted.clone();
    wanted.path = wanted.path.tidy();
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
    fn new(candidates: Box<[Candidate]>, before: Option<&Self>) -> Self {
        let conditions: Vec<&Conditions> = candidates.iter().map(|c| &c.conditions).collect();
        let group = |numbers: &[u32]| Group::new(numbers, &conditions);
        let (mut exact, mut prefix) = (BTreeMap::new(), BTreeMap::new());
        let (mut regex, mut methods) = (BTreeMap::new(), BTreeMap::new());
        let mut root: Vec<u32> = Vec::new();
        for (number, candidate) in (0..).zip(&candidates) {
            let numbers: &mut Vec<u32> = match &candidate.path {
                PathMatch::Exact(path) => exact.entry(&**path).or_default(),
                PathMatch::Prefix(path) if path.is_empty() => &mut root,
                PathMatch::Prefix(path) => prefix.entry(&**path).or_default(),
                PathMatch::Regex(pattern) => {
                    let (_, numbers) =
                        regex.entry(pattern.as_str()).or_insert((pattern, Vec::new()));
                    numbers
                }
                PathMatch::GrpcMethod(method) => methods.entry(method).or_default(),
            };
            numbers.push(number);
        }

        let mut entries: BTreeMap<&str, Found> = BTreeMap::new();
        for ((path, _), place) in prefix.iter().zip(0..) {
            entries.entry(path).or_default().prefix = Some(place);
        }
        let prefixes = u32::try_from(prefix.len()).unwrap_or(u32::MAX);
        for ((path, _), place) in exact.iter().zip(prefixes..) {
            entries.entry(path).or_default().exact = Some(place);
        }
        let paths = Radix::new(entries);
        // What covers a prefix covers it up to one of its slashes.
        let shorter = |path: &str| paths.find(&path[..path.rfind('/')?]).prefix;
        let prefix = prefix
            .iter()
            .map(|(path, numbers)| Literal { group: group(numbers), shorter: shorter(path) });
        let exact = exact.values().map(|n| Literal { group: group(n), shorter: None });
        let literals = prefix.chain(exact).collect();

        let patterns: Vec<Regex> = regex.values().map(|(pattern, _)| (*pattern).clone()).collect();
        let patterns = match before {
            Some(before) if before.patterns.are(&patterns) => Arc::clone(&before.patterns),
            _ => Arc::new(Patterns::new(patterns)),
        };
        let by_pattern = regex.values().map(|(_, numbers)| group(numbers)).collect();
        let methods = methods.iter().map(|(m, n)| (Arc::clone(m), group(n))).collect();
        let root = (!root.is_empty()).then(|| group(&root));
        Self { paths, literals, patterns, by_pattern, methods, root, candidates }
    }

    /// The rule that this request meets, and how.
    #[inline]
    pub fn route(&self, head: &RequestHead<'_>) -> Option<(&Rule, Matched)> {
        let candidate = self.candidates.get(self.number(head)? as usize)?;
        Some((&candidate.rule, candidate.matched))
    }

    #[inline]
    fn number(&self, head: &RequestHead<'_>) -> Option<u32> {
        let literal = |place: u32| self.literals.get(place as usize);
        let found = self.paths.find(head.path);
        let exact = || self.first(&literal(found.exact?)?.group, head);
        let prefix = || {
            let longest = found.prefix.and_then(literal);
            let mut each = std::iter::successors(longest, |p| literal(p.shorter?));
            each.find_map(|prefix| self.first(&prefix.group, head))
        };
        exact()
            .or_else(|| self.pattern(head))
            .or_else(prefix)
            .or_else(|| self.method(head))
            .or_else(|| self.first(self.root.as_ref().filter(|_| in_root(head.path))?, head))
    }

    /// Of the patterns that the path meets the best may be any, so all of them are asked.
    fn pattern(&self, head: &RequestHead<'_>) -> Option<u32> {
        if self.by_pattern.is_empty() {
            return None;
        }
        let mut best = u32::MAX;
        self.patterns.each(head.path, |place| {
            if let Some(group) = self.by_pattern.get(place) {
                group.improve(head, &mut best, &|number| self.holds(number, head));
            }
        });
        (best < u32::MAX).then_some(best)
    }

    fn method(&self, head: &RequestHead<'_>) -> Option<u32> {
        if self.methods.is_empty() {
            return None;
        }
        self.first(self.methods.get(grpc_method(head.path)?)?, head)
    }

    #[inline]
    fn first(&self, group: &Group, head: &RequestHead<'_>) -> Option<u32> {
        group.find(head, u32::MAX, &|number| self.holds(number, head))
    }

    #[inline]
    fn holds(&self, number: u32, head: &RequestHead<'_>) -> bool {
        self.candidates.get(number as usize).is_some_and(|c| c.conditions.hold(head))
    }

    /// All matches, the best first.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

/// Whether the prefix `/` covers this path: not an authority, nor `*`.
fn in_root(path: &str) -> bool {
    path.is_empty() || path.starts_with('/')
}
