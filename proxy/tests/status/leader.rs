//! One writer a cluster.

use std::time::{Duration, Instant};

use nodeway::telemetry::StatusWrite;
use serde_json::json;

use crate::world::{HTTP, LEASES, Node, World, eventually, http, parent};

fn written(node: &Node) -> u64 {
    node.counters.writes(StatusWrite::Written)
}

#[test]
fn one_of_two_writes_and_the_other_takes_over_when_it_ends() {
    let world = World::new(&[http("a", parent("web"), "web")]);
    let first = world.node("first");
    eventually("the first leads", || first.leads());
    let second = world.node("second");
    let looks = || world.server.requests("get", LEASES);
    let before = looks();
    eventually("the second looks", || looks() > before + 5);
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    assert!(!second.leads() && written(&second) == 0);
    let holder = world.lease()["spec"]["holderIdentity"].as_str().unwrap().to_owned();
    assert!(holder.starts_with("first_"), "{holder}");
    let begun = Instant::now();
    drop(first);
    eventually("the second leads", || second.leads());
    assert!(begun.elapsed() < Duration::from_secs(12), "it need not wait for the lease's end");
    assert_eq!(world.lease()["spec"]["leaseTransitions"], 1);
    world.edit(HTTP, "a", |route| route["spec"]["parentRefs"] = json!([parent("nobody")]));
    world.await_verdict("a", "NoMatchingParent", "ResolvedRefs", 2);
    eventually("its write is answered", || written(&second) > 0);
}

#[test]
fn a_dead_leaders_lease_runs_out() {
    let world = World::new(&[http("a", parent("web"), "web")]);
    // Its clock is hours fast: that counts for nothing.
    world.server.put(&json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "nodeway-status", "namespace": "default"},
        "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 2, "leaseTransitions": 7,
            "acquireTime": "2999-01-01T00:00:00.000000Z",
            "renewTime": "2999-01-01T00:00:00.000000Z"}}));
    let begun = Instant::now();
    let node = world.node("a");
    eventually("it leads", || node.leads());
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(world.lease()["spec"]["leaseTransitions"], 8);
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
}

#[test]
fn whose_lease_is_taken_writes_no_more() {
    let world = World::new(&[http("a", parent("web"), "web")]);
    let node = world.node("a");
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    let mut lease = world.lease();
    lease["spec"]["holderIdentity"] = json!("somebody");
    lease["spec"]["leaseDurationSeconds"] = json!(3600);
    world.server.put(&lease);
    eventually("it leads no more", || !node.leads());
    world.edit(HTTP, "a", |route| route["spec"]["parentRefs"] = json!([parent("nobody")]));
    let looks = || world.server.requests("get", LEASES);
    let before = looks();
    eventually("it looks", || looks() > before + 10);
    assert_eq!(written(&node), 1);
    assert_eq!(world.verdict(HTTP, "a").unwrap().2, 1);
    eventually("its watches are gone", || world.server.watches(HTTP) == 1);
}

#[test]
fn a_leader_without_the_api_leads_no_more_and_comes_back_with_it() {
    let world = World::new(&[http("a", parent("web"), "web")]);
    let node = world.node("a");
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    let begun = Instant::now();
    world.server.away();
    eventually("it leads no more", || !node.leads());
    assert!(begun.elapsed() < Duration::from_secs(12), "before its lease could be another's");
    world.edit(HTTP, "a", |route| route["spec"]["parentRefs"] = json!([parent("nobody")]));
    world.server.compact();
    world.server.back();
    world.await_verdict("a", "NoMatchingParent", "ResolvedRefs", 2);
    assert!(node.leads());
}
