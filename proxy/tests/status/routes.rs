//! Conditions on routes.

use nodeway::status::Pace;
use nodeway::telemetry::StatusWrite;
use nodeway_apiserver::{Options, Resource};
use serde_json::json;

use crate::world::{
    CONTROLLER, GRPC, GRPC_STATUS, HTTP, HTTP_STATUS, World, eventually, http, parent, route,
    service,
};

#[test]
fn each_route_is_told_what_becomes_of_it() {
    let mut elsewhere = http("elsewhere", parent("web"), "account");
    elsewhere["spec"]["rules"][0]["backendRefs"][0]["namespace"] = json!("bank");
    let mut refused = http("refused", parent("web"), "web");
    refused["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(-1);
    let mut named = parent("web");
    named["group"] = json!("core");
    named["namespace"] = json!("shop");
    named["port"] = json!(80);
    named["sectionName"] = json!("http");
    let gateway = json!({"name": "gateway"});
    let mut kind = http("kind", parent("web"), "bucket");
    kind["spec"]["rules"][0]["backendRefs"][0]["kind"] = json!("Bucket");
    let world = World::new(&[
        http("good", named.clone(), "web"),
        http("lost", parent("nobody"), "web"),
        http("half", parent("web"), "nobody"),
        elsewhere,
        refused,
        kind,
        http("others", gateway, "web"),
        service("rpc", "10.96.0.3"),
        route("GRPCRoute", "grpc", parent("rpc"), "web"),
        http("beside", parent("rpc"), "web"),
    ]);
    let _node = world.node("a");
    for (name, accepted, resolved) in [
        ("good", "Accepted", "ResolvedRefs"),
        ("lost", "NoMatchingParent", "ResolvedRefs"),
        ("half", "Accepted", "BackendNotFound"),
        ("elsewhere", "Accepted", "RefNotPermitted"),
        ("kind", "Accepted", "InvalidKind"),
        ("refused", "UnsupportedValue", "ResolvedRefs"),
        ("beside", "Conflicted", "ResolvedRefs"),
    ] {
        world.await_verdict(name, accepted, resolved, 1);
    }
    eventually("the GRPCRoute", || {
        world.verdict(GRPC, "grpc").is_some_and(|(accepted, ..)| accepted == "Accepted")
    });
    assert_eq!(world.parents(HTTP, "good")[0]["parentRef"], named, "as the spec gives it");
    let refused = &world.parents(HTTP, "refused")[0]["conditions"][0];
    assert_eq!(refused["status"], "False");
    assert!(refused["message"].as_str().unwrap().contains("weight"), "{refused}");
    assert!(world.parents(HTTP, "others").is_empty());
}

#[test]
fn a_mended_route_is_told_so_and_times_move_with_the_status_alone() {
    let world = World::new(&[http("a", parent("web"), "v1"), http("b", parent("v1"), "web")]);
    let _node = world.node("a");
    world.await_verdict("a", "Accepted", "BackendNotFound", 1);
    world.await_verdict("b", "NoMatchingParent", "ResolvedRefs", 1);
    // As if it had been written long ago.
    const BEFORE: &str = "2020-01-01T00:00:00Z";
    let mut route = world.server.get(HTTP, "shop", "a").unwrap();
    for condition in route["status"]["parents"][0]["conditions"].as_array_mut().unwrap() {
        condition["lastTransitionTime"] = json!(BEFORE);
    }
    world.server.put(&route);
    world.server.put(&service("v1", "10.96.0.2"));
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    world.await_verdict("b", "Accepted", "ResolvedRefs", 1);
    let conditions = &world.parents(HTTP, "a")[0]["conditions"];
    assert_eq!(conditions[0]["lastTransitionTime"], BEFORE);
    assert_ne!(conditions[1]["lastTransitionTime"], BEFORE);
    world.edit(HTTP, "a", |route| route["spec"]["rules"][0]["name"] = json!("first"));
    world.await_verdict("a", "Accepted", "ResolvedRefs", 2);
}

#[test]
fn what_other_controllers_say_is_kept_and_what_we_said_of_a_former_parent_is_not() {
    let other = json!({"controllerName": "example.com/gateway", "parentRef": {"name": "g"},
        "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z", "odd": [null, 1.5]}]});
    let mut route = http("a", parent("web"), "web");
    route["status"] = json!({"parents": [other]});
    let world = World::new(&[route]);
    let _node = world.node("a");
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    assert_eq!(world.parents(HTTP, "a")[0], other);
    world.edit(HTTP, "a", |route| {
        route["spec"]["parentRefs"] = json!([{"name": "g"}, parent("nobody")]);
    });
    world.await_verdict("a", "NoMatchingParent", "ResolvedRefs", 2);
    let parents = world.parents(HTTP, "a");
    assert_eq!((parents.len(), &parents[0]), (2, &other));
    assert_eq!(parents[1]["parentRef"], parent("nobody"));
    world.edit(HTTP, "a", |route| route["spec"]["parentRefs"] = json!([{"name": "g"}]));
    eventually("nothing of ours is left", || world.parents(HTTP, "a") == [other.clone()]);
}

#[test]
fn a_route_that_changes_under_the_write_is_written_all_the_same() {
    let world = World::new(&[http("a", parent("web"), "web")]);
    let node = world.node("a");
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    // A write is under way for long enough that somebody else comes in between.
    world.server.faults(|faults| faults.latency = std::time::Duration::from_millis(100));
    let mut n = 1;
    eventually("a conflict", || {
        n += 1;
        world.edit(HTTP, "a", |route| {
            route["metadata"]["labels"] = json!({"n": n.to_string()});
        });
        node.counters.writes(StatusWrite::Conflict) > 0
    });
    world.server.faults(|faults| faults.latency = std::time::Duration::ZERO);
    world.await_verdict("a", "Accepted", "ResolvedRefs", n);
    let route = world.server.get(HTTP, "shop", "a").unwrap();
    assert_eq!(route["metadata"]["labels"]["n"], n.to_string(), "what the other wrote stays");
}

#[test]
fn who_takes_our_word_out_again_and_again_gets_no_storm() {
    let world = World::new(&[http("a", parent("web"), "web"), http("b", parent("web"), "web")]);
    let _node = world.node("a");
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    let begun = std::time::Instant::now();
    eventually("it is written twice more", || {
        let mut route = world.server.get(HTTP, "shop", "a").unwrap();
        if route["status"]["parents"].as_array().is_some_and(|parents| !parents.is_empty()) {
            route["status"]["parents"] = json!([]);
            world.server.put(&route);
        }
        // Of others' routes nothing is held back.
        world.verdict(HTTP, "b").is_some() && world.server.requests("patch", HTTP_STATUS) >= 4
    });
    assert!(begun.elapsed() >= std::time::Duration::from_secs(5), "2 s and 4 s");
}

#[test]
fn where_nothing_happens_nothing_is_written() {
    let routes: Vec<_> = (0..20).map(|i| http(&format!("r{i}"), parent("web"), "web")).collect();
    let world = World::new(&routes);
    let _node = world.node("a");
    for i in 0..20 {
        world.await_verdict(&format!("r{i}"), "Accepted", "ResolvedRefs", 1);
    }
    assert_eq!(world.writes(), 20, "each once");
    // Things happen, but none that a route's status would tell of.
    for i in 0..20 {
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "web-1", "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [format!("10.0.0.{}", i + 1)]}]});
        world.server.put(&slice);
        let mut route = world.server.get(HTTP, "shop", &format!("r{i}")).unwrap();
        route["metadata"]["annotations"] = json!({"seen": i.to_string()});
        world.server.put(&route);
        world.renewals(1);
    }
    // A listing anew is no news either.
    world.server.compact();
    world.server.cut();
    world.renewals(10);
    assert_eq!(world.writes(), 20);
}

#[test]
fn thousands_of_routes_are_written_at_a_pace_and_nothing_waits_for_them() {
    const ROUTES: usize = 5000;
    let routes: Vec<_> =
        (0..ROUTES).map(|i| http(&format!("r{i}"), parent("web"), "web")).collect();
    let world = World::new(&routes);
    let pace = Pace { burst: 20, per_second: 400.0 };
    let node = world.node_with("a", pace);
    eventually("the first write", || world.writes() > 0);
    let (begun, before) = (std::time::Instant::now(), world.writes());
    let mut late = false;
    eventually("all are written", || {
        let written = world.writes();
        let since = begun.elapsed().as_secs_f64();
        let most = (written - before) as f64;
        assert!(most <= 20.0 + 400.0 * (since + 0.1), "{most} after {since} s");
        if written > 1000 && !late {
            late = true;
            world.server.put(&route("GRPCRoute", "late", parent("rpc"), "web"));
        }
        node.counters.writes(StatusWrite::Written) > ROUTES as u64
    });
    assert!(world.verdict(GRPC, "late").is_some());
    assert!((0..ROUTES).all(|i| world.verdict(HTTP, &format!("r{i}")).is_some()));
    assert_eq!(world.lease()["spec"]["leaseTransitions"], 0, "it led all the time");
    assert_eq!(world.writes(), ROUTES + 1);
}

#[test]
fn what_is_forbidden_is_not_asked_for_again_and_again_and_the_rest_is_written() {
    let mut objects: Vec<_> =
        (0..30).map(|i| http(&format!("r{i}"), parent("web"), "web")).collect();
    objects.push(route("GRPCRoute", "grpc", parent("web"), "web"));
    let world = World::new(&objects);
    world.server.faults(|faults| faults.forbid("patch", HTTP_STATUS));
    let node = world.node("a");
    eventually("the other kind is written", || world.verdict(GRPC, "grpc").is_some());
    eventually("it is refused", || node.counters.writes(StatusWrite::Forbidden) > 0);
    world.renewals(30);
    let asked = world.server.requests("patch", HTTP_STATUS);
    // The first one alone is no sign that all are refused, and gives its place to another.
    assert!((1..=9).contains(&asked), "{asked}: no more than are under way at once");
    assert_eq!(world.server.requests("patch", GRPC_STATUS), 1);
}

#[test]
fn routes_whose_kind_is_installed_later_are_written_then() {
    let world = World::with(Options { gateway_api: false, ..Options::default() }, &[]);
    let node = world.node("a");
    eventually("it leads", || node.leads());
    world.renewals(3);
    let resource = |plural: &str, kind: &str| Resource {
        group: "gateway.networking.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: plural.to_owned(),
        kind: kind.to_owned(),
        short: Vec::new(),
        namespaced: true,
        status: true,
    };
    world.server.install(vec![resource("httproutes", "HTTPRoute")]);
    world.server.put(&http("a", parent("web"), "web"));
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    assert_eq!(world.parents(HTTP, "a")[0]["controllerName"], CONTROLLER);
}
