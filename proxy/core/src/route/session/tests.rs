//! Sessions on a made clock.

use std::net::SocketAddr;

use http::header::COOKIE;
use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::balance::{EndpointId, Lasting};
use crate::model::{AppProtocol, HttpMatch, Kind, Timeouts};
use crate::route::{Choice, Plan, Rule};

const NOW: Millis = Millis(0);
/// Some day, milliseconds.
const DAY: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

fn address(place: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, place], 8080))
}

/// A Service whose endpoints end in these octets; `generation` is told in the pods' names.
fn service(name: &str, generation: u32, places: impl IntoIterator<Item = u8>) -> Arc<Backend> {
    let endpoint = |place: u8| {
        let pod = ObjectName::new("shop", format!("pod-{place}-{generation}"));
        Arc::new(Endpoint::new(EndpointId(u64::from(place) + 1), address(place), Some(pod)))
    };
    let endpoints: Vec<_> = places.into_iter().map(endpoint).collect();
    let name = (ObjectName::new("shop", name), 80);
    Arc::new(Backend::new(Lasting::new(7), name, AppProtocol::Http, None, endpoints))
}

fn persistence(carrier: SessionCarrier) -> SessionPersistence {
    let secret = "f3b1c2".into();
    SessionPersistence { name: None, carrier, absolute_timeout: None, idle_timeout: None, secret }
}

fn at(path: PathMatch) -> HttpMatch {
    HttpMatch { path, headers: Vec::new(), queries: Vec::new(), method: None }
}

fn spec(persistence: SessionPersistence) -> HttpRule {
    HttpRule {
        name: None,
        matches: vec![at(PathMatch::Prefix("/api".into()))],
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: Some(persistence),
    }
}

/// The rule at `place`, with these backends and weights.
fn compiled(spec: &HttpRule, place: usize, backends: &[(u32, &Arc<Backend>)]) -> Rule {
    let route = ObjectName::new("shop", "web");
    let session = Session::of(Kind::HttpRoute, &route, place, spec, None);
    assert!(session.is_some());
    let rule = Rule::new(1, (Kind::HttpRoute, route), spec, Plan::default()).with_session(session);
    backends.iter().fold(rule, |rule, (weight, backend)| {
        rule.with_backend(*weight, Ok(Arc::clone(backend)), Plan::default())
    })
}

/// The request headers of a client that has had this response field.
fn back((name, value): (HeaderName, HeaderValue)) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if name == SET_COOKIE {
        let pair = value.to_str().unwrap().split(';').next().unwrap();
        headers.insert(COOKIE, HeaderValue::from_str(&format!("a=b; {pair}")).unwrap());
    } else {
        headers.insert(name, value);
    }
    headers
}

/// A first request at `wall` that the endpoint at `place` of the backend has answered.
fn begin(rule: &Rule, backend: &Arc<Backend>, place: u8, wall: u64) -> (HeaderName, HeaderValue) {
    let endpoint = backend.at(address(place)).unwrap();
    rule.session().unwrap().field(None, 0, backend, endpoint, wall).unwrap()
}

fn found(rule: &Rule, headers: &HeaderMap, wall: u64) -> Option<SocketAddr> {
    rule.brought(headers, None, (wall, NOW)).map(|brought| brought.endpoint.address)
}

#[test]
fn a_session_finds_its_endpoint_on_any_node() {
    for carrier in [SessionCarrier::SessionCookie, SessionCarrier::Header] {
        let spec = spec(persistence(carrier));
        let web = service("web", 0, 1..=5);
        let headers = back(begin(&compiled(&spec, 0, &[(1, &web)]), &web, 3, DAY));
        // Another process, which knows more endpoints, and under other ids.
        let more = service("web", 0, 0..=200);
        let there = compiled(&spec, 0, &[(1, &more)]);
        assert_eq!(found(&there, &headers, DAY + MINUTE), Some(address(3)));
        assert_eq!(found(&there, &HeaderMap::new(), DAY), None, "no token, no session");
    }
}

#[test]
fn an_endpoint_that_is_gone_replaced_or_left_out_ends_the_session() {
    let spec = spec(persistence(SessionCarrier::SessionCookie));
    let web = service("web", 0, 1..=2);
    let rule = compiled(&spec, 0, &[(1, &web)]);
    let field = begin(&rule, &web, 2, DAY);
    let headers = back(field);
    let with = |web: &Arc<Backend>| found(&compiled(&spec, 0, &[(1, web)]), &headers, DAY);
    assert_eq!(with(&service("web", 0, 1..=1)), None, "gone");
    assert_eq!(with(&service("web", 1, 1..=2)), None, "another pod has its address");
    assert_eq!(with(&service("other", 0, 1..=2)), None, "another Service's");
    let endpoint = web.at(address(2)).unwrap();
    endpoint.leave_out(Millis(NOW.0 + 1));
    assert_eq!(found(&rule, &headers, DAY), None, "left out for failing");
}

#[test]
fn if_too_few_are_well_sessions_stay_where_they_are() {
    let spec = spec(persistence(SessionCarrier::SessionCookie));
    let web = service("web", 0, 1..=3);
    let rule = compiled(&spec, 0, &[(1, &web)]);
    let headers = back(begin(&rule, &web, 2, DAY));
    let out = |place| {
        web.at(address(place)).unwrap().leave_out(Millis(NOW.0 + 1_000));
        web.refresh();
    };
    out(2);
    assert_eq!(found(&rule, &headers, DAY), None, "the two others are well");
    (1..=3).for_each(out);
    let later = |ms| {
        let brought = rule.brought(&headers, None, (DAY, Millis(ms)))?;
        Some(brought.endpoint.address)
    };
    assert_eq!(later(500), Some(address(2)), "nobody is well: all are used");
    assert_eq!(later(1_000), Some(address(2)));
}

#[test]
fn rules_and_routes_do_not_share_sessions() {
    let mut spec = spec(persistence(SessionCarrier::Header));
    spec.persistence.as_mut().unwrap().name = Some("x-session".into());
    let web = service("web", 0, 1..=2);
    let headers = back(begin(&compiled(&spec, 0, &[(1, &web)]), &web, 1, DAY));
    assert_eq!(found(&compiled(&spec, 0, &[(1, &web)]), &headers, DAY), Some(address(1)));
    assert_eq!(found(&compiled(&spec, 1, &[(1, &web)]), &headers, DAY), None, "another rule's");
    spec.persistence.as_mut().unwrap().secret = "another uid".into();
    assert_eq!(found(&compiled(&spec, 0, &[(1, &web)]), &headers, DAY), None, "another route's");
}

#[test]
fn a_named_rule_keeps_its_sessions_when_rules_change_places() {
    let mut spec = spec(persistence(SessionCarrier::SessionCookie));
    spec.name = Some("checkout".into());
    let web = service("web", 0, 1..=2);
    let headers = back(begin(&compiled(&spec, 0, &[(1, &web)]), &web, 1, DAY));
    assert_eq!(found(&compiled(&spec, 5, &[(1, &web)]), &headers, DAY), Some(address(1)));
}

#[test]
fn a_session_keeps_its_backend_whatever_the_weights() {
    let spec = spec(persistence(SessionCarrier::SessionCookie));
    let (old, new) = (service("old", 0, 1..=3), service("new", 0, 11..=13));
    let before = compiled(&spec, 0, &[(1, &old), (1, &new)]);
    let headers = back(begin(&before, &old, 2, DAY));
    let after = compiled(&spec, 0, &[(0, &old), (9, &new)]);
    let brought = after.brought(&headers, None, (DAY, NOW)).unwrap();
    assert_eq!(
        (&*brought.backend.backend.service.name, brought.endpoint.address),
        ("old", address(2))
    );
    // Who comes anew is split by weight, and nobody is sent where the weight is 0.
    for random in [0, u64::MAX / 2, u64::MAX] {
        let Choice::Backend(chosen) = after.backend(random) else { panic!() };
        assert_eq!(&*chosen.backend.service.name, "new");
    }
}

#[test]
fn a_session_ends_by_its_age_and_by_idleness() {
    let mut persistence = persistence(SessionCarrier::SessionCookie);
    persistence.absolute_timeout = Some(Duration::from_mins(10));
    persistence.idle_timeout = Some(Duration::from_mins(2));
    let spec = spec(persistence);
    let web = service("web", 0, 1..=2);
    let rule = compiled(&spec, 0, &[(1, &web)]);
    let endpoint = web.at(address(1)).unwrap();
    let first = back(begin(&rule, &web, 1, DAY));
    assert!(found(&rule, &first, DAY + 2 * MINUTE - 1).is_some());
    assert!(found(&rule, &first, DAY + 2 * MINUTE).is_none(), "idle");
    assert!(found(&rule, &first, DAY - MINUTE).is_some(), "a node whose clock is late");
    // Used every minute, it lasts until it is too old.
    let mut headers = first;
    for minute in 1..10 {
        let wall = DAY + minute * MINUTE;
        let brought = rule.brought(&headers, None, (wall, NOW));
        assert!(brought.is_some(), "after {minute} min");
        headers = back(rule.session().unwrap().field(brought, 0, &web, endpoint, wall).unwrap());
    }
    assert!(found(&rule, &headers, DAY + 10 * MINUTE - 1).is_some());
    assert!(found(&rule, &headers, DAY + 10 * MINUTE).is_none(), "too old");
}

#[test]
fn a_client_is_told_when_there_is_something_new() {
    let web = service("web", 0, 1..=2);
    for (carrier, again) in [(SessionCarrier::SessionCookie, false), (SessionCarrier::Header, true)]
    {
        let rule = compiled(&spec(persistence(carrier)), 0, &[(1, &web)]);
        let field = begin(&rule, &web, 1, DAY);
        let headers = back(field.clone());
        let brought = rule.brought(&headers, None, (DAY + MINUTE, NOW));
        let field_for = |place| {
            let endpoint = web.at(address(place)).unwrap();
            rule.session().unwrap().field(brought, 0, &web, endpoint, DAY + MINUTE)
        };
        assert_eq!(
            field_for(1),
            again.then_some(field),
            "{carrier:?}: the same endpoint, the same token"
        );
        let moved = back(field_for(2).unwrap());
        assert_eq!(
            found(&rule, &moved, DAY + MINUTE),
            Some(address(2)),
            "{carrier:?}: it has moved"
        );
    }
}

#[test]
fn cookies_say_what_they_are() {
    let web = service("web", 0, 1..=2);
    let cookie = |persistence: SessionPersistence, wall: u64| {
        let rule = compiled(&spec(persistence), 0, &[(1, &web)]);
        let (name, value) = begin(&rule, &web, 1, wall);
        assert_eq!(name, SET_COOKIE);
        let value = value.to_str().unwrap().to_owned();
        let (pair, attributes) = value.split_once("; ").unwrap();
        let (name, _) = pair.split_once('=').unwrap();
        (name.to_owned(), attributes.to_owned())
    };
    let (name, attributes) = cookie(persistence(SessionCarrier::SessionCookie), DAY);
    assert!(name.starts_with("nodeway-session-"), "{name}");
    assert_eq!(attributes, "Path=/api; HttpOnly; SameSite=Strict");
    let mut permanent = persistence(SessionCarrier::PermanentCookie);
    permanent.absolute_timeout = Some(Duration::from_millis(300_001));
    permanent.name = Some("JSESSIONID".into());
    let (name, attributes) = cookie(permanent, DAY);
    assert_eq!(name, "JSESSIONID");
    assert_eq!(attributes, "Path=/api; HttpOnly; SameSite=Strict; Max-Age=301");
}

#[test]
fn one_of_several_cookies_of_a_name_counts() {
    let mut persistence = persistence(SessionCarrier::SessionCookie);
    persistence.name = Some("sid".into());
    let spec = spec(persistence);
    let web = service("web", 0, 1..=2);
    let rule = compiled(&spec, 0, &[(1, &web)]);
    let other = compiled(&spec, 1, &[(1, &web)]);
    let value = |field: (HeaderName, HeaderValue)| {
        field.1.to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let (theirs, ours) = (value(begin(&other, &web, 1, DAY)), value(begin(&rule, &web, 2, DAY)));
    let mut headers = HeaderMap::new();
    let field = format!("sid=of-the-app; {theirs}; {ours}");
    headers.insert(COOKIE, HeaderValue::from_str(&field).unwrap());
    assert_eq!(found(&rule, &headers, DAY), Some(address(2)));
    assert_eq!(found(&other, &headers, DAY), Some(address(1)));
}

#[test]
fn a_cookie_is_for_the_paths_of_its_match() {
    let regex = |pattern: &str| PathMatch::Regex(Regex::new(&format!("^(?:{pattern})$")).unwrap());
    for (path, expected) in [
        (PathMatch::Prefix("/".into()), "/"),
        (PathMatch::Prefix("/api/".into()), "/api"),
        (PathMatch::Exact("/shop.Cart/Add".into()), "/shop.Cart/Add"),
        (PathMatch::Exact("/a;b=c/d".into()), "/"),
        (PathMatch::Exact("/a/b;c".into()), "/a"),
        (regex("/p1/p2/[^/]+/p3"), "/p1/p2"),
        (regex("/p1/p2x*"), "/p1"),
        (regex("/p1/p2/?"), "/p1/p2"),
        (regex("/items/[0-9]+|/other"), "/"),
        (regex("(/a)?/b"), "/"),
        (regex(".*"), "/"),
    ] {
        assert_eq!(cookie_path(&path), expected, "{path:?}");
    }
}

proptest! {
    #[test]
    fn whoever_is_named_is_found(places in prop::collection::btree_set(0..250_u8, 1..40), pick: prop::sample::Index, v4: bool) {
        let places: Vec<u8> = places.into_iter().collect();
        let chosen = places[pick.index(places.len())];
        let carrier = if v4 { SessionCarrier::Header } else { SessionCarrier::SessionCookie };
        let web = service("web", 0, places);
        let rule = compiled(&spec(persistence(carrier)), 0, &[(1, &web)]);
        let headers = back(begin(&rule, &web, chosen, DAY));
        prop_assert_eq!(found(&rule, &headers, DAY), Some(address(chosen)));
    }
}
