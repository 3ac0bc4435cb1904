//! A rule's timeouts, retry and session.

use std::time::Duration;

use nodeway_core::model::{HttpRule, Retry, SessionCarrier, SessionPersistence, Timeouts};
use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn route(kind: &str, rule: Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
        "metadata": {"name": "r", "namespace": "shop", "uid": "uid-of-r"}, "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [{}, rule]}})
}

/// The rule of a route with which nothing is wrong.
#[track_caller]
fn rule(kind: &str, rule: Value) -> HttpRule {
    let translated = read(route(kind, rule));
    assert!(translated.faults.is_empty(), "{:?}", translated.faults);
    let Some(Object::Route(route)) = translated.object else { panic!() };
    route.rules.http()[1].clone()
}

#[test]
fn timeouts_are_durations_and_zero_is_none() {
    let timeouts = |request: Option<&str>, backend: Option<&str>| {
        let timeouts = json!({"request": request, "backendRequest": backend});
        rule("HTTPRoute", json!({"timeouts": timeouts})).timeouts
    };
    let (request, backend_request) = (Some(90 * SECOND), Some(SECOND / 2));
    assert_eq!(timeouts(Some("1m30s"), Some("500ms")), Timeouts { request, backend_request });
    assert_eq!(timeouts(Some("0s"), Some("500ms")), Timeouts { request: None, backend_request });
    assert_eq!(timeouts(None, Some("0ms")), Timeouts::default());
    assert_eq!(timeouts(Some("1s"), Some("1s")).backend_request, Some(SECOND));
}

#[test]
fn a_retry_is_read_whole() {
    let spec = json!({"retry": {"codes": [500, 503, 500], "attempts": 0, "backoff": "100ms"}});
    let codes =
        vec![http::StatusCode::INTERNAL_SERVER_ERROR, http::StatusCode::SERVICE_UNAVAILABLE];
    let expected = Retry { codes, attempts: Some(0), backoff: Some(SECOND / 10) };
    assert_eq!(rule("HTTPRoute", spec).retry, Some(expected));
    assert_eq!(rule("HTTPRoute", json!({"retry": {}})).retry, Some(Retry::default()));
    assert_eq!(rule("HTTPRoute", json!({})).retry, None);
}

#[test]
fn retries_without_end_or_without_a_pause_are_bounded_and_that_is_told() {
    let retry = json!({"codes": [503], "attempts": 2_147_483_647_u32, "backoff": "0ms"});
    let translated = read(route("HTTPRoute", json!({"retry": retry})));
    let Some(Object::Route(bounded)) = translated.object else { panic!() };
    let retry = bounded.rules.http()[1].retry.clone().unwrap();
    assert_eq!((retry.attempts, retry.backoff), (Some(10), Some(SECOND / 200)));
    let faults: Vec<String> = translated.faults.iter().map(ToString::to_string).collect();
    let expected = [
        "spec.rules[1].retry.attempts: 2147483647: taken as 10, the most there are",
        "spec.rules[1].retry.backoff: \"0ms\": taken as 5ms, the least there is",
    ];
    assert_eq!(faults, expected);
    let most = rule("HTTPRoute", json!({"retry": {"attempts": 10, "backoff": "5ms"}}));
    assert_eq!(most.retry.and_then(|retry| retry.attempts), Some(10));
}

#[test]
fn a_session_is_read_of_either_kind_of_route() {
    for kind in ["HTTPRoute", "GRPCRoute"] {
        let session = |spec: Value| rule(kind, json!({"sessionPersistence": spec})).persistence;
        let of = |name: Option<&str>, carrier, absolute_timeout, idle_timeout| {
            let (name, secret) = (name.map(Into::into), "uid-of-r".into());
            Some(SessionPersistence { name, carrier, absolute_timeout, idle_timeout, secret })
        };
        let cookie = SessionCarrier::SessionCookie;
        assert_eq!(session(json!({})), of(None, cookie, None, None));
        assert_eq!(
            session(json!({"type": "Cookie", "sessionName": "JSESSIONID", "idleTimeout": "1s",
                "absoluteTimeout": "10s", "cookieConfig": {"lifetimeType": "Session"}})),
            of(Some("JSESSIONID"), cookie, Some(10 * SECOND), Some(SECOND))
        );
        assert_eq!(
            session(
                json!({"absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}})
            ),
            of(None, SessionCarrier::PermanentCookie, Some(3600 * SECOND), None)
        );
        assert_eq!(
            session(json!({"type": "Header", "sessionName": "x-session", "idleTimeout": "0s"})),
            of(Some("x-session"), SessionCarrier::Header, None, None)
        );
    }
}

#[test]
fn what_cannot_be_meant_refuses_the_route_by_field() {
    for (bad, reason) in [
        (
            json!({"timeouts": {"request": "1.5s"}}),
            "timeouts.request: \"1.5s\": must be one to four",
        ),
        (
            json!({"timeouts": {"backendRequest": "10"}}),
            "timeouts.backendRequest: \"10\": must be one",
        ),
        (
            json!({"timeouts": {"request": "1s", "backendRequest": "1001ms"}}),
            "timeouts.backendRequest: \"1001ms\": must not be longer than the request's own timeout, \"1s\"",
        ),
        (json!({"retry": {"codes": [500, 399]}}), "retry.codes[1]: 399: must be from 400 to 599"),
        (json!({"retry": {"codes": [600]}}), "retry.codes[0]: 600: must be"),
        (json!({"retry": {"attempts": -1}}), "retry.attempts: -1: must be 0 or more"),
        (json!({"retry": {"backoff": "soon"}}), "retry.backoff: \"soon\": must be"),
        (
            json!({"sessionPersistence": {"sessionName": "a b"}}),
            "sessionPersistence.sessionName: \"a b\": must have the characters",
        ),
        (
            json!({"sessionPersistence": {"sessionName": "a".repeat(129)}}),
            "sessionPersistence.sessionName: \"aaa",
        ),
        (
            json!({"sessionPersistence": {"type": "Header", "sessionName": "Host"}}),
            "sessionPersistence.sessionName: \"Host\": must not be a header",
        ),
        (
            json!({"sessionPersistence": {"cookieConfig": {"lifetimeType": "Permanent"}}}),
            "sessionPersistence.absoluteTimeout: must be given",
        ),
        (
            json!({"sessionPersistence": {"type": "Header", "cookieConfig": {}}}),
            "sessionPersistence.cookieConfig: must not stand beside type Header",
        ),
        (
            json!({"sessionPersistence": {"idleTimeout": "1d"}}),
            "sessionPersistence.idleTimeout: \"1d\": must be one",
        ),
    ] {
        refused(route("HTTPRoute", bad), &format!("spec.rules[1].{reason}"));
    }
}
