//! The specification's words, read naively, against the router.

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use regex::Regex;

use super::router::RouterBuilder;
use super::{RequestHead, Rule, Trial, Verdict, normalised};
use crate::model::{
    HeaderMatch, HttpMatch, HttpRule, Kind, ObjectName, PathMatch, QueryMatch, Route, Rules,
    TextMatch, Timeouts,
};

type Winner = (usize, usize);
type Held<'a> = (Winner, &'a Route, &'a HttpMatch, usize);

/// All matches that hold, then the ties broken one criterion after the other.
fn naive(routes: &[Route], head: &RequestHead<'_>) -> Option<Winner> {
    let mut left: Vec<Held<'_>> = Vec::new();
    for (r, route) in routes.iter().enumerate() {
        for (u, rule) in route.rules.http().iter().enumerate() {
            for (m, matched) in rule.matches.iter().enumerate() {
                if holds(matched, head) {
                    left.push(((r, u), route, matched, m));
                }
            }
        }
    }
    let kind = |m: &HttpMatch| match &m.path {
        PathMatch::Exact(_) => 4,
        PathMatch::Regex(_) => 3,
        // Of gRPC: who names a service goes before who names a method only, and that before who names
        // neither.
        PathMatch::Prefix(p) if p.trim_end_matches('/').is_empty() => 0,
        PathMatch::Prefix(_) => 2,
        PathMatch::GrpcMethod(_) => 1,
    };
    let length = |m: &HttpMatch| match &m.path {
        PathMatch::Exact(_) | PathMatch::GrpcMethod(_) => 0,
        PathMatch::Regex(p) => p.as_str().len(),
        PathMatch::Prefix(p) => normalised(p).trim_end_matches('/').len(),
    };
    let keep_best = |left: &mut Vec<Held<'_>>, score: &dyn Fn(&Held<'_>) -> i128| {
        if let Some(best) = left.iter().map(score).max() {
            left.retain(|candidate| score(candidate) == best);
        }
    };
    keep_best(&mut left, &|c| kind(c.2));
    keep_best(&mut left, &|c| length(c.2) as i128);
    keep_best(&mut left, &|c| i128::from(c.2.method.is_some()));
    keep_best(&mut left, &|c| headers_of(c.2).len() as i128);
    keep_best(&mut left, &|c| queries_of(c.2).len() as i128);
    keep_best(&mut left, &|c| -i128::from(c.1.created.unwrap_or(i64::MAX)));
    left.sort_by(|a, b| (&a.1.name, a.0.1, a.3).cmp(&(&b.1.name, b.0.1, b.3)));
    left.first().map(|candidate| candidate.0)
}

/// Of several of one name the first counts.
fn headers_of(matched: &HttpMatch) -> Vec<&HeaderMatch> {
    let all = &matched.headers;
    let first = |i: usize| all[..i].iter().all(|earlier| earlier.name != all[i].name);
    (0..all.len()).filter(|i| first(*i)).map(|i| &all[i]).collect()
}

fn queries_of(matched: &HttpMatch) -> Vec<&QueryMatch> {
    let all = &matched.queries;
    let first = |i: usize| all[..i].iter().all(|earlier| earlier.name != all[i].name);
    (0..all.len()).filter(|i| first(*i)).map(|i| &all[i]).collect()
}

fn holds(matched: &HttpMatch, head: &RequestHead<'_>) -> bool {
    let elements = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let path = match &matched.path {
        PathMatch::Exact(exact) => head.path == normalised(exact),
        PathMatch::Prefix(prefix) => {
            let wanted = normalised(prefix).trim_end_matches('/').to_owned();
            elements(head.path).starts_with(&elements(&wanted))
        }
        PathMatch::Regex(regex) => regex.is_match(head.path),
        PathMatch::GrpcMethod(method) => match &elements(head.path)[..] {
            [empty, service, called] => {
                empty.is_empty() && !service.is_empty() && **method == **called
            }
            _ => false,
        },
    };
    let text = |m: &TextMatch, value: &str| match m {
        TextMatch::Exact(exact) => value == &**exact,
        TextMatch::Regex(regex) => regex.is_match(value),
    };
    path && matched.method.as_ref().is_none_or(|m| m == head.method)
        && headers_of(matched).iter().all(|h| {
            let all: Vec<_> =
                head.headers.get_all(&h.name).iter().map(|v| v.to_str().unwrap()).collect();
            !all.is_empty() && text(&h.value, &all.join(","))
        })
        && queries_of(matched).iter().all(|q| {
            let pairs = head.query.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
            let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let found = pairs.find(|(name, _)| decoded(name) == *q.name);
            found.is_some_and(|(_, value)| text(&q.value, &decoded(value)))
        })
}

/// As a form's field is.
fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let pair = after.get(..2).and_then(|pair| str::from_utf8(pair).ok());
        let octet = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        (rest, octets) = match octet.filter(|_| *first == b'%') {
            Some(octet) => (&after[2..], [octets, vec![octet]].concat()),
            None => (after, [octets, vec![*first]].concat()),
        };
    }
    String::from_utf8(octets).unwrap()
}

/// Of a rule: what the API lets through.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&["a", "b", "ab", "%61", "a%C3%bc"]), 0..3)
        .prop_map(|elements| format!("/{}", elements.join("/")))
}

/// Of a request: anything.
fn any_path() -> impl Strategy<Value = String> {
    let element = prop_oneof![
        4 => Just("a"), 3 => Just("b"), 2 => Just("ab"), 1 => Just("%61"), 1 => Just("a%c3%BC"),
        1 => Just(""), 1 => Just("."), 1 => Just(".."), 1 => Just("%2e%2E"), 1 => Just("a%2fb"),
    ];
    let path = proptest::collection::vec(element, 0..5)
        .prop_map(|elements| format!("/{}", elements.join("/")));
    prop_oneof![20 => path, 1 => Just("*".to_owned()), 1 => Just(String::new())]
}

fn header_name() -> impl Strategy<Value = HeaderName> {
    proptest::sample::select(&["x-a", "x-b", "x-c", "accept"]).prop_map(HeaderName::from_static)
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::GET), Just(Method::POST), Just(Method::PUT)]
}

/// Compiled once: it takes most of a test's time.
fn pattern(which: usize) -> Regex {
    static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let all = [
            "^/(a|b)$",
            "^/(.*)(/b)?$",
            "^/([ab]+)/b$",
            "^/a.*$",
            "^/a(/b)?$",
            "^.*b$",
            "^1.*$",
            "^$",
        ];
        all.iter().map(|pattern| Regex::new(pattern).unwrap()).collect()
    });
    PATTERNS[which].clone()
}

fn text() -> impl Strategy<Value = TextMatch> {
    let exact = |values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(|v| TextMatch::Exact(v.into()))
    };
    prop_oneof![
        4 => exact(&["1", "2"]),
        1 => exact(&["1,2", "2,1", "1 2", ""]),
        1 => (6usize..8).prop_map(|which| TextMatch::Regex(pattern(which))),
    ]
}

fn http_match() -> impl Strategy<Value = HttpMatch> {
    // Half of all are about one path, so that many wait there for other things.
    let path = prop_oneof![
        4 => Just(PathMatch::Prefix("/a".into())),
        1 => path().prop_map(|p| PathMatch::Exact(p.into())),
        2 => path().prop_map(|p| PathMatch::Prefix(p.into())),
        1 => path().prop_map(|p| PathMatch::Prefix(format!("{}/", p.trim_end_matches('/')).into())),
        2 => (0usize..6).prop_map(|which| PathMatch::Regex(pattern(which))),
        1 => proptest::sample::select(&["a", "b"]).prop_map(|m| PathMatch::GrpcMethod(m.into())),
    ];
    let header = (header_name(), text()).prop_map(|(name, value)| HeaderMatch { name, value });
    let query = (proptest::sample::select(&["q", "r", "s", "t", " ", "u"]), text())
        .prop_map(|(name, value)| QueryMatch { name: name.into(), value });
    (
        path,
        proptest::collection::vec(header, 0..3),
        proptest::collection::vec(query, 0..4),
        proptest::option::of(method()),
    )
        .prop_map(|(path, headers, queries, method)| HttpMatch {
            path,
            headers,
            queries,
            method,
        })
}

fn query() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(&["q", "r", "s", "t", "u", "%71", "%72", "+", "%20"]);
    let value = ["=1", "=2", "=%31", "=%32", "=", "", "=1%2c2", "=1,2", "=1+2", "=%", "=1%20.*"];
    let value = proptest::sample::select(value.to_vec());
    // Some of them several times.
    let pair = (name, value, prop_oneof![9 => Just(1), 1 => 2..5_usize]);
    proptest::collection::vec(pair, 0..7).prop_map(|pairs| {
        let pairs = pairs.iter().flat_map(|(name, value, times)| vec![(name, value); *times]);
        pairs.map(|(name, value)| format!("{name}{value}")).collect::<Vec<_>>().join("&")
    })
}

fn route() -> impl Strategy<Value = Route> {
    let rule = proptest::collection::vec(http_match(), 1..4).prop_map(|matches| HttpRule {
        name: None,
        matches,
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    });
    (proptest::option::of(0i64..3), proptest::collection::vec(rule, 1..6)).prop_map(
        |(created, rules)| Route {
            kind: Kind::HttpRoute,
            name: ObjectName::new("", ""),
            generation: 0,
            created,
            parents: Vec::new(),
            rules: Rules::Http(rules),
        },
    )
}

proptest! {
    #[test]
    fn the_router_reads_the_specification_as_the_reference_does(
        mut routes in proptest::collection::vec(route(), 1..7),
        requests in proptest::collection::vec(
            (method(), any_path(), proptest::option::of(query()), proptest::collection::vec(
                (header_name(), proptest::sample::select(&["1", "2", ""])), 0..5)), 1..20),
    ) {
        for (i, route) in routes.iter_mut().enumerate() {
            route.name = ObjectName::new("ns", format!("r{i}"));
        }
        let mut builder = RouterBuilder::default();
        let mut winners = Vec::new();
        for (r, route) in routes.iter().enumerate() {
            for (u, rule) in route.rules.http().iter().enumerate() {
                let id = winners.len() as u64;
                winners.push((r, u));
                let compiled = Arc::new(Rule::new(id, (route.kind, route.name.clone()), rule, super::Plan::default()));
                builder.rule(route.created, &route.name, u, &rule.matches, &compiled);
            }
        }
        let router = builder.build(None);
        for (method, path, query, fields) in &requests {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            let path = &normalised(path);
            let query = query.as_deref();
            let head = RequestHead { method, path, query, headers: &headers, client: None };
            let routed = router.route(&head).map(|(rule, _)| winners[usize::try_from(rule.id).unwrap()]);
            prop_assert_eq!(routed, naive(&routes, &head), "{:?}", head);
            let trials = router.explain(&head);
            let won = |trial: &&Trial<'_>| trial.verdict == Verdict::Won;
            let told = trials.iter().find(won).map(|trial| (trial.rule.id, trial.matched));
            let met = router.route(&head).map(|(rule, matched)| (rule.id, matched));
            prop_assert_eq!(told, met, "explained otherwise than routed: {:?}", head);
            prop_assert!(trials.iter().filter(won).count() <= 1);
        }
    }
}
