//! The router: the match that it gives holds and is the first of those that do, and if it gives none, none holds.
//!
//! Read naively, as the property test in `nodeway_core::route` does, of paths and values that only a fuzzer finds.
#![no_main]

use std::cmp::Reverse;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use nodeway_core::model::{
    HeaderMatch, HttpMatch, HttpRule, Kind, ObjectName, PathMatch, QueryMatch, TextMatch, Timeouts,
};
use nodeway_core::route::{Plan, RequestHead, RouterBuilder, Rule, normalised};
use regex::Regex;

const ELEMENTS: [&str; 8] = ["a", "b", "ab", "%61", "", "..", "%2f", "a.b"];
const VALUES: [&str; 4] = ["", "x", "xy", "x,y"];
const NAMES: [&str; 2] = ["x-a", "x-b"];
const PATTERNS: [&str; 4] = ["^(?:/a.*)$", "^(?:.*b)$", "^(?:x+y?)$", "^(?:)$"];

/// A match, and where it stands: its route's name, its rule's place, its own.
#[derive(Debug)]
struct One {
    wanted: HttpMatch,
    place: (&'static str, usize, usize),
}

/// Choices, made by the fuzzer's octets; the first one when there are no more.
struct Choices<'a>(&'a [u8]);

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes);
    let mut builder = RouterBuilder::default();
    let mut all: Vec<One> = Vec::new();
    for place in 0..choices.upto(6) {
        let matches: Vec<HttpMatch> =
            (0..=choices.upto(2)).map(|_| a_match(&mut choices)).collect();
        let name = ["one", "two"][choices.upto(2)];
        let ones = (0..).zip(matches.iter().cloned());
        all.extend(ones.map(|(nth, wanted)| One { wanted, place: (name, place, nth) }));
        let spec = HttpRule {
            name: None,
            matches,
            filters: vec![],
            backends: vec![],
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        };
        let route = ObjectName::new("default", name);
        let key = (Kind::HttpRoute, route.clone());
        let rule = Arc::new(Rule::new(place as u64, key, &spec, Plan::default()));
        builder.rule(None, &route, place, &spec.matches, &rule);
    }
    let router = builder.build(None);
    let path = path(&mut choices);
    let path = normalised(&path);
    let query = ["", "q=x", "q=%78", "r=x&q=xy", "q"][choices.upto(5)];
    let mut headers = HeaderMap::new();
    for _ in 0..choices.upto(3) {
        let name = HeaderName::from_static(NAMES[choices.upto(2)]);
        headers.append(name, HeaderValue::from_static(VALUES[choices.upto(4)]));
    }
    let method = [Method::GET, Method::POST][choices.upto(2)].clone();
    let head = RequestHead {
        method: &method,
        path: &path,
        query: (!query.is_empty()).then_some(query),
        headers: &headers,
        client: None,
    };
    let those = all.iter().filter(|one| holds(&one.wanted, &head));
    let first = those.min_by_key(|one| (rank(&one.wanted), one.place));
    let first = first.map(|one| (one.place.1 as u64, one.place.2));
    let met = router.route(&head).map(|(rule, matched)| (rule.id, matched.place));
    assert_eq!(met, first, "{head:?} of {all:?}");
});

fn a_match(choices: &mut Choices<'_>) -> HttpMatch {
    let path = match choices.upto(3) {
        0 => PathMatch::Prefix(prefix(choices).into()),
        1 => PathMatch::Exact(normalised(&path(choices)).into()),
        _ => PathMatch::Regex(pattern(choices)),
    };
    let headers = (0..choices.upto(4)).map(|_| HeaderMatch {
        name: HeaderName::from_static(NAMES[choices.upto(2)]),
        value: text(choices),
    });
    let headers = headers.collect();
    let queries =
        (0..choices.upto(3)).map(|_| QueryMatch { name: "q".into(), value: text(choices) });
    let queries = queries.collect();
    let method = (choices.upto(2) == 1).then_some(Method::POST);
    HttpMatch { path, headers, queries, method }
}

fn path(choices: &mut Choices<'_>) -> String {
    let elements: Vec<&str> = (0..choices.upto(5)).map(|_| ELEMENTS[choices.upto(8)]).collect();
    format!("/{}", elements.join("/"))
}

/// As translation leaves it: no trailing slash but for `/` itself.
fn prefix(choices: &mut Choices<'_>) -> String {
    let path = path(choices);
    let path = normalised(&path);
    let bare = path.trim_end_matches('/');
    if bare.is_empty() { "/".to_owned() } else { bare.to_owned() }
}

fn text(choices: &mut Choices<'_>) -> TextMatch {
    match choices.upto(2) {
        0 => TextMatch::Exact(VALUES[choices.upto(4)].into()),
        _ => TextMatch::Regex(pattern(choices)),
    }
}

fn pattern(choices: &mut Choices<'_>) -> Regex {
    static COMPILED: LazyLock<[Regex; 4]> =
        LazyLock::new(|| PATTERNS.map(|pattern| Regex::new(pattern).unwrap()));
    COMPILED[choices.upto(4)].clone()
}

/// What goes before: the smaller. Of conditions of one name the first counts.
fn rank(wanted: &HttpMatch) -> impl Ord {
    let path = match &wanted.path {
        PathMatch::Exact(_) => (0, Reverse(0)),
        PathMatch::Regex(regex) => (1, Reverse(regex.as_str().len())),
        PathMatch::Prefix(prefix) => (2, Reverse(prefix.trim_end_matches('/').len())),
        PathMatch::GrpcMethod(_) => unreachable!(),
    };
    let headers =
        NAMES.iter().filter(|name| wanted.headers.iter().any(|h| h.name.as_str() == **name));
    let queries = usize::from(!wanted.queries.is_empty());
    (path, Reverse(wanted.method.is_some()), Reverse(headers.count()), Reverse(queries))
}

fn holds(wanted: &HttpMatch, head: &RequestHead<'_>) -> bool {
    let path = match &wanted.path {
        PathMatch::Exact(exact) => head.path == &**exact,
        PathMatch::Prefix(prefix) => match head.path.strip_prefix(prefix.trim_end_matches('/')) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        },
        PathMatch::Regex(regex) => regex.is_match(head.path),
        PathMatch::GrpcMethod(_) => unreachable!(),
    };
    let meets = |wanted: &TextMatch, value: &str| match wanted {
        TextMatch::Exact(exact) => value == &**exact,
        TextMatch::Regex(regex) => regex.is_match(value),
    };
    // Of several conditions on one name the first counts.
    let first_header =
        |i: usize| wanted.headers[..i].iter().all(|h| h.name != wanted.headers[i].name);
    let headers = wanted.headers.iter().enumerate().all(|(i, one)| {
        let values: Vec<&str> =
            head.headers.get_all(&one.name).iter().map(|v| v.to_str().unwrap()).collect();
        !first_header(i) || (!values.is_empty() && meets(&one.value, &values.join(",")))
    });
    let value = match head.query {
        Some("q=x" | "q=%78") => Some("x"),
        Some("r=x&q=xy") => Some("xy"),
        Some("q") => Some(""),
        _ => None,
    };
    let queries = wanted.queries.first().is_none_or(|q| value.is_some_and(|v| meets(&q.value, v)));
    path && headers && queries && wanted.method.as_ref().is_none_or(|m| m == head.method)
}

// === impl Choices ===

impl Choices<'_> {
    /// A number below `end`.
    fn upto(&mut self, end: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % end
    }
}
