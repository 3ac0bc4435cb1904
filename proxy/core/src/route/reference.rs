//! The specification's words, read naively, against the router.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use regex::Regex;

use super::router::RouterBuilder;
use super::{RequestHead, Rule};
use crate::model::{
    HeaderMatch, HttpMatch, HttpRule, Kind, ObjectName, PathMatch, QueryMatch, Route, TextMatch,
    Timeouts,
};

type Winner = (usize, usize);
type Held<'a> = (Winner, &'a Route, &'a HttpMatch, usize);

/// All matches that hold, then the ties broken one criterion after the other.
fn naive(routes: &[Route], head: &RequestHead<'_>) -> Option<Winner> {
    let mut left: Vec<Held<'_>> = Vec::new();
    for (r, route) in routes.iter().enumerate() {
        for (u, rule) in route.rules.iter().enumerate() {
            for (m, matched) in rule.matches.iter().enumerate() {
                if holds(matched, head) {
                    left.push(((r, u), route, matched, m));
                }
            }
        }
    }
    let kind = |m: &HttpMatch| match &m.path {
        PathMatch::Exact(_) => 2,
        PathMatch::Regex(_) => 1,
        PathMatch::Prefix(_) => 0,
    };
    let length = |m: &HttpMatch| match &m.path {
        PathMatch::Exact(_) => 0,
        PathMatch::Regex(p) => p.as_str().len(),
        PathMatch::Prefix(p) => p.trim_end_matches('/').len(),
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
    let path = match &matched.path {
        PathMatch::Exact(exact) => head.path == &**exact,
        PathMatch::Prefix(prefix) => {
            let wanted: Vec<_> = prefix.split('/').skip(1).filter(|e| !e.is_empty()).collect();
            let found: Vec<_> = head.path.split('/').skip(1).collect();
            found.starts_with(&wanted)
        }
        PathMatch::Regex(regex) => regex.is_match(head.path),
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
            head.query
                .unwrap_or("")
                .split('&')
                .find_map(|pair| {
                    let (k, v) = pair.split_once('=')?;
                    (k == &*q.name).then_some(v)
                })
                .is_some_and(|v| text(&q.value, v))
        })
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "ab"], 0..3)
        .prop_map(|elements| format!("/{}", elements.join("/")))
}

fn header_name() -> impl Strategy<Value = HeaderName> {
    prop_oneof![Just(HeaderName::from_static("x-a")), Just(HeaderName::from_static("x-b"))]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::GET), Just(Method::POST)]
}

fn http_match() -> impl Strategy<Value = HttpMatch> {
    let path = prop_oneof![
        path().prop_map(|p| PathMatch::Exact(p.into())),
        path().prop_map(|p| PathMatch::Prefix(p.into())),
        path().prop_map(|p| PathMatch::Prefix(format!("{}/", p.trim_end_matches('/')).into())),
        "\\^/(a|b|\\.\\*)(/b)?\\$".prop_map(|p| PathMatch::Regex(Regex::new(&p).unwrap())),
    ];
    let text = || {
        prop_oneof![
            "[12]".prop_map(|v| TextMatch::Exact(v.into())),
            "1,2|2,1".prop_map(|v| TextMatch::Exact(v.into())),
            Just(TextMatch::Regex(Regex::new("^1.*$").unwrap())),
        ]
    };
    let header = (header_name(), text()).prop_map(|(name, value)| HeaderMatch { name, value });
    let query = ("[qr]", text()).prop_map(|(name, value)| QueryMatch { name: name.into(), value });
    (
        path,
        proptest::collection::vec(header, 0..3),
        proptest::collection::vec(query, 0..3),
        proptest::option::of(method()),
    )
        .prop_map(|(path, headers, queries, method)| HttpMatch {
            path,
            headers,
            queries,
            method,
        })
}

fn route() -> impl Strategy<Value = Route> {
    let rule = proptest::collection::vec(http_match(), 1..3).prop_map(|matches| HttpRule {
        name: None,
        matches,
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    });
    (proptest::option::of(0i64..3), proptest::collection::vec(rule, 1..4)).prop_map(
        |(created, rules)| Route {
            kind: Kind::HttpRoute,
            name: ObjectName::new("", ""),
            generation: 0,
            created,
            parents: Vec::new(),
            rules,
        },
    )
}

proptest! {
    #[test]
    fn the_router_reads_the_specification_as_the_reference_does(
        mut routes in proptest::collection::vec(route(), 1..5),
        requests in proptest::collection::vec(
            (method(), path(), proptest::option::of("[qr]=[12](&[qr]=[12])?"),
             proptest::collection::vec((header_name(), "[12]"), 0..3)), 1..20),
    ) {
        for (i, route) in routes.iter_mut().enumerate() {
            route.name = ObjectName::new("ns", format!("r{i}"));
        }
        let mut builder = RouterBuilder::default();
        let mut winners = Vec::new();
        for (r, route) in routes.iter().enumerate() {
            for (u, rule) in route.rules.iter().enumerate() {
                let id = winners.len() as u64;
                winners.push((r, u));
                let compiled = Arc::new(Rule::new(id, route.name.clone(), rule));
                builder.rule(route.created, &route.name, u, &rule.matches, &compiled);
            }
        }
        let router = builder.build();
        for (method, path, query, fields) in &requests {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            let head = RequestHead { method, path, query: query.as_deref(), headers: &headers, client: None };
            let routed = router.route(&head).map(|(rule, _)| winners[usize::try_from(rule.id).unwrap()]);
            prop_assert_eq!(routed, naive(&routes, &head), "{:?}", head);
        }
    }
}
