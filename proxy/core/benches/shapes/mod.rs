//! Sets of rules of many shapes, in any number, with a request that one in their middle is for.
//!
//! Neither a bench nor a test: what both ask the router.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use nodeway_core::model::{
    HeaderMatch, HttpMatch, HttpRule, Kind, ObjectName, PathMatch, QueryMatch, TextMatch, Timeouts,
};
use nodeway_core::route::{Plan, RequestHead, Router, RouterBuilder, Rule};
use regex::Regex;

/// A set of rules and a request.
pub(crate) struct Case {
    /// What the rules differ in.
    pub(crate) name: &'static str,
    /// The rules.
    pub(crate) router: Router,
    /// Which of them the request is for.
    pub(crate) wanted: u64,
    method: Method,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

/// A request as a rule sees it: what to change of a plain one.
#[derive(Default)]
struct Asked {
    method: Option<Method>,
    path: Option<String>,
    query: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// All shapes, with so many rules each.
pub(crate) fn cases(rules: usize) -> Vec<Case> {
    let middle = rules / 2;
    // Longest first in rank, but not first in the manifest.
    let filler = |i: usize| "abcdefghij".chars().cycle().take(i % 250).collect::<String>();
    let long = |i: usize| format!("/api/v{i}/{}", filler(i));
    let nested = |i: usize| (0..=i % 10).fold(format!("/t{}", i / 10), |p, e| format!("{p}/{e}"));
    let methods = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
    let of = |i: usize| methods[i % methods.len()].clone();
    let path = |path: String| Asked { path: Some(path), ..Asked::default() };
    vec![
        case("prefixes", rules, middle, path(format!("/api/v{middle}/items/7")), |i| {
            prefix(&format!("/api/v{i}/items"))
        }),
        case("prefixes of many lengths", rules, 5, path(format!("{}/x", long(5))), |i| {
            prefix(&long(i))
        }),
        case("nested prefixes", rules, 7, path(format!("{}/x", nested(7))), |i| prefix(&nested(i))),
        case("exact paths", rules, middle, path(format!("/api/{middle}/items")), |i| HttpMatch {
            path: PathMatch::Exact(format!("/api/{i}/items").into()),
            ..prefix("/")
        }),
        case("one path, a header's value", rules, middle, header("x-tenant", middle), |i| {
            with_header(prefix("/api"), "x-tenant".parse().unwrap(), i)
        }),
        case(
            "one path, two headers",
            rules,
            middle,
            Asked {
                headers: vec![
                    ("x-a", format!("{}", middle % 32)),
                    ("x-b", format!("{}", middle / 32)),
                ],
                ..Asked::default()
            },
            |i| {
                let first = with_header(prefix("/api"), "x-a".parse().unwrap(), i % 32);
                with_header(first, "x-b".parse().unwrap(), i / 32)
            },
        ),
        case("one path, headers of many names", rules, 7, header("x-flag-7", 1), |i| {
            with_header(prefix("/api"), format!("x-flag-{i}").parse().unwrap(), 1)
        }),
        case(
            "one path, a query's value",
            rules,
            middle,
            query(format!("a=b&id=%3{middle}")),
            |i| with_query(prefix("/api"), "id", i),
        ),
        case("one path, queries of many names", rules, 7, query("a=b&id-7=1".to_owned()), |i| {
            with_query(prefix("/api"), &format!("id-{i}"), 1)
        }),
        case(
            "one path, a method",
            rules,
            3,
            Asked { method: Some(of(3)), ..Asked::default() },
            |i| HttpMatch { method: Some(of(i)), ..prefix("/api") },
        ),
        case("path patterns", rules, middle, path(format!("/api/v{middle}/77/items")), |i| {
            HttpMatch { path: pattern(&format!("/api/v{i}/[0-9]+/items")), ..prefix("/") }
        }),
        case(
            "path patterns that begin with anything",
            rules,
            middle,
            path(format!("/api/77/x{middle}")),
            |i| HttpMatch { path: pattern(&format!("/.*/x{i}")), ..prefix("/") },
        ),
        case(
            "gRPC methods",
            rules,
            middle,
            Asked {
                method: Some(Method::POST),
                path: Some(format!("/shop.v1.Service{}/Method{}", middle / 10, middle % 10)),
                ..Asked::default()
            },
            |i| HttpMatch {
                path: PathMatch::Exact(
                    format!("/shop.v1.Service{}/Method{}", i / 10, i % 10).into(),
                ),
                ..prefix("/")
            },
        ),
        case(
            "gRPC methods of any service",
            rules,
            middle,
            path(format!("/shop.v1.X/M{middle}")),
            |i| HttpMatch { path: PathMatch::GrpcMethod(format!("M{i}").into()), ..prefix("/") },
        ),
    ]
}

/// The builder of a router of these matches, a rule each.
pub(crate) fn builder(matches: impl Iterator<Item = HttpMatch>) -> RouterBuilder {
    let mut builder = RouterBuilder::default();
    let name = ObjectName::new("shop", "web");
    for (i, wanted) in matches.enumerate() {
        let spec = HttpRule {
            name: None,
            matches: vec![wanted],
            filters: vec![],
            backends: vec![],
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        };
        let rule =
            Arc::new(Rule::new(i as u64, (Kind::HttpRoute, name.clone()), &spec, Plan::default()));
        builder.rule(Some(0), &name, i, &spec.matches, &rule);
    }
    builder
}

/// A match of this prefix.
pub(crate) fn prefix(path: &str) -> HttpMatch {
    let path = PathMatch::Prefix(path.into());
    HttpMatch { path, headers: vec![], queries: vec![], method: None }
}

/// A path pattern.
pub(crate) fn pattern(pattern: &str) -> PathMatch {
    PathMatch::Regex(Regex::new(&format!("^(?:{pattern})$")).unwrap())
}

fn case(
    name: &'static str,
    rules: usize,
    wanted: usize,
    asked: Asked,
    wants: impl Fn(usize) -> HttpMatch,
) -> Case {
    let mut headers = HeaderMap::new();
    for header in ["host", "user-agent", "accept", "traceparent", "x-request-id"] {
        headers.insert(header, HeaderValue::from_static("some value of a usual length"));
    }
    for (name, value) in asked.headers {
        headers.insert(name, value.parse().unwrap());
    }
    Case {
        name,
        router: builder((0..rules).map(wants)).build(None),
        wanted: wanted as u64,
        method: asked.method.unwrap_or(Method::GET),
        path: asked.path.unwrap_or_else(|| "/api/items/7".to_owned()),
        query: asked.query,
        headers,
    }
}

fn header(name: &'static str, value: usize) -> Asked {
    Asked { headers: vec![(name, value.to_string())], ..Asked::default() }
}

fn query(query: String) -> Asked {
    Asked { query: Some(query), ..Asked::default() }
}

fn with_header(mut wanted: HttpMatch, name: HeaderName, value: usize) -> HttpMatch {
    wanted.headers.push(HeaderMatch { name, value: TextMatch::Exact(value.to_string().into()) });
    wanted
}

fn with_query(mut wanted: HttpMatch, name: &str, value: usize) -> HttpMatch {
    let value = TextMatch::Exact(value.to_string().into());
    wanted.queries.push(QueryMatch { name: name.into(), value });
    wanted
}

// === impl Case ===

impl Case {
    /// The request.
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            client: Some("shop"),
        }
    }

    /// Routes the request; the rule's number.
    pub(crate) fn route(&self) -> Option<u64> {
        self.router.route(&self.head()).map(|(rule, _)| rule.id)
    }
}
