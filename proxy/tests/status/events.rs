//! Events for users.

use nodeway::status::{Notice, Subject, Tone};
use nodeway::telemetry::EventResult;
use nodeway_core::model::{Kind, ObjectName};
use serde_json::{Value, json};

use crate::world::{HTTP, World, eventually, http, parent, service};

fn told(events: &[Value]) -> Vec<(&str, &str)> {
    let mut told: Vec<_> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["reason"].as_str().unwrap()))
        .collect();
    assert!(events.iter().all(|event| event["message"].as_str().is_some_and(|m| !m.is_empty())));
    told.sort_unstable();
    told
}

#[test]
fn a_route_without_effect_has_an_event_and_another_when_it_is_mended() {
    let world = World::new(&[http("a", parent("v1"), "web"), http("good", parent("web"), "web")]);
    let _node = world.node("node-1");
    eventually("it is told", || !world.events("HTTPRoute", "a").is_empty());
    let events = world.events("HTTPRoute", "a");
    let event = &events[0];
    let route = world.server.get(HTTP, "shop", "a").unwrap();
    assert_eq!(told(&events), [("Warning", "NoMatchingParent")]);
    // What `kubectl describe` looks for, and what it shows.
    assert_eq!(
        event["involvedObject"],
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "name": "a",
            "namespace": "shop", "uid": route["metadata"]["uid"]})
    );
    assert_eq!(event["metadata"]["namespace"], "shop");
    assert_eq!(event["count"], 1);
    assert_eq!(event["source"], json!({"component": "nodeway", "host": "node-1"}));
    assert_eq!(event["reportingComponent"], "nodeway");
    assert_eq!(event["reportingInstance"], "node-1");
    assert_eq!(event["message"], "Service shop/v1 does not exist");
    world.server.put(&service("v1", "10.96.0.2"));
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    eventually("its end is told", || world.events("HTTPRoute", "a").len() == 2);
    assert_eq!(
        told(&world.events("HTTPRoute", "a")),
        [("Normal", "Accepted"), ("Warning", "NoMatchingParent")]
    );
    assert!(world.events("HTTPRoute", "good").is_empty(), "what is good is no news");
}

#[test]
fn a_new_leader_does_not_repeat_what_the_routes_status_says() {
    let world = World::new(&[http("a", parent("v1"), "web")]);
    let first = world.node("first");
    eventually("it is told", || !world.events("HTTPRoute", "a").is_empty());
    drop(first);
    let second = world.node("second");
    world.edit(HTTP, "a", |route| route["spec"]["rules"][0]["name"] = json!("x"));
    world.await_verdict("a", "NoMatchingParent", "ResolvedRefs", 2);
    world.renewals(5);
    assert!(second.leads());
    assert_eq!(world.events("HTTPRoute", "a").len(), 1);
}

#[test]
fn services_that_want_the_same_address_are_told() {
    let world = World::new(&[service("zebra", "10.96.0.1")]);
    let _node = world.node("a");
    eventually("it is told", || !world.events("Service", "zebra").is_empty());
    let events = world.events("Service", "zebra");
    assert_eq!(told(&events), [("Warning", "AddressConflict")]);
    let uid = &world.server.get("services", "shop", "zebra").unwrap()["metadata"]["uid"];
    assert_eq!(&events[0]["involvedObject"]["uid"], uid, "asked for: else nobody would find it");
    world.server.put(&service("zebra", "10.96.0.9"));
    eventually("its end is told", || world.events("Service", "zebra").len() == 2);
    assert_eq!(
        told(&world.events("Service", "zebra")),
        [("Normal", "Resolved"), ("Warning", "AddressConflict")]
    );
    assert!(world.events("Service", "web").is_empty());
}

#[test]
fn an_object_that_cannot_be_read_is_told() {
    let mut bad = service("bad", "10.96.0.7");
    bad["spec"]["ports"][0]["port"] = json!(0);
    let mut refused = http("refused", parent("web"), "web");
    refused["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(-1);
    let world = World::new(&[bad, refused]);
    let _node = world.node("a");
    eventually("it is told", || !world.events("Service", "bad").is_empty());
    let events = world.events("Service", "bad");
    assert_eq!(told(&events), [("Warning", "Invalid")]);
    let message = events[0]["message"].as_str().unwrap();
    assert!(message.starts_with("spec.ports[0].port: "), "{message}");
    world.await_verdict("refused", "UnsupportedValue", "ResolvedRefs", 1);
    eventually("it is told", || !world.events("HTTPRoute", "refused").is_empty());
    world.renewals(5);
    let events = world.events("HTTPRoute", "refused");
    assert_eq!(told(&events), [("Warning", "UnsupportedValue")], "and not twice");
}

#[test]
fn an_object_of_an_older_version_of_the_api_is_found() {
    // The test server, as most clusters, serves these in v1beta1 alone.
    let grant = json!({"apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant", "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"from": "nobody", "to": []}});
    let world = World::new(&[grant]);
    let _node = world.node("a");
    eventually("it is told", || !world.events("ReferenceGrant", "g").is_empty());
    let about = &world.events("ReferenceGrant", "g")[0]["involvedObject"];
    assert_eq!(about["apiVersion"], "gateway.networking.k8s.io/v1beta1");
    assert!(about["uid"].is_string());
}

#[test]
fn each_node_tells_of_its_own_pods_whether_it_leads_or_not() {
    let world = World::new(&[]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop", "uid": "u-1"}, "spec": {}});
    world.server.put(&pod);
    let (first, second) = (world.node("first"), world.node("second"));
    eventually("one leads", || first.leads() || second.leads());
    let follower = if first.leads() { &second } else { &first };
    let about =
        || Subject { kind: Kind::Pod, name: ObjectName::new("shop", "p"), uid: Some("u-1".into()) };
    let tell = |tone, reason, message: &str| {
        follower.notices.tell(Notice { about: about(), tone, reason, message: message.to_owned() });
    };
    tell(Tone::Recovered, "Enrolled", "The pod is in the mesh.");
    for _ in 0..10 {
        tell(Tone::Warning, "NotEnrolled", "no network namespace");
    }
    eventually("it is told", || !world.events("Pod", "p").is_empty());
    for _ in 0..10 {
        tell(Tone::Recovered, "Enrolled", "The pod is in the mesh.");
    }
    eventually("its end is told", || world.events("Pod", "p").len() == 2);
    assert_eq!(
        told(&world.events("Pod", "p")),
        [("Normal", "Enrolled"), ("Warning", "NotEnrolled")]
    );
    // They are counted when the answer is there, which may be after others can see them.
    let posted = || follower.counters.events(EventResult::Posted);
    eventually("both are counted", || posted() >= 2);
    assert_eq!(posted(), 2, "ten times the same is one");
}

#[test]
fn where_events_are_forbidden_status_is_written_all_the_same() {
    let world = World::new(&[http("a", parent("v1"), "web")]);
    world.server.faults(|faults| faults.forbid("create", "events"));
    let node = world.node("a");
    world.await_verdict("a", "NoMatchingParent", "ResolvedRefs", 1);
    eventually("it is refused", || node.counters.events(EventResult::Forbidden) == 1);
    world.renewals(20);
    assert_eq!(world.server.requests("create", "events"), 1, "asked for once");
}
