//! What is said of BackendPolicies and XBackendTrafficPolicies, at each Service that they are for.

use serde_json::{Value, json};

use crate::world::{CONTROLLER, World, eventually};

pub(crate) const BACKEND_POLICIES: &str = "backendpolicies.nodeway.dev";
pub(crate) const TRAFFIC_POLICIES: &str = "xbackendtrafficpolicies.gateway.networking.x-k8s.io";

/// For the Service `of`.
pub(crate) fn backend_policy(name: &str, created: &str, of: &str) -> Value {
    json!({"apiVersion": "nodeway.dev/v1alpha1", "kind": "BackendPolicy",
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "creationTimestamp": created},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": of}],
            "circuitBreaker": {"maxRequests": 10}}})
}

/// For the Service `of`.
pub(crate) fn traffic_policy(name: &str, of: &str) -> Value {
    json!({"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy",
        "metadata": {"name": name, "namespace": "shop", "generation": 1,
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": of}],
            "retryConstraint": {"budget": {"percent": 30, "interval": "10s"}}}})
}

/// Our entry in its status.
fn ours(world: &World, resource: &str, name: &str) -> Option<Value> {
    let policy = world.server.get(resource, "shop", name)?;
    let ancestors = policy["status"]["ancestors"].as_array()?.clone();
    ancestors.into_iter().find(|entry| entry["controllerName"] == CONTROLLER)
}

/// Waits for the reason of `Accepted`, which is the one condition, and the generation that it is about.
#[track_caller]
pub(crate) fn await_accepted(
    world: &World,
    resource: &str,
    name: &str,
    reason: &str,
    generation: i64,
) {
    eventually(&format!("{name}: {reason} of {generation}"), || {
        let Some(ours) = ours(world, resource, name) else { return false };
        let conditions = ours["conditions"].as_array().unwrap();
        assert_eq!((conditions.len(), &conditions[0]["type"]), (1, &json!("Accepted")));
        conditions[0]["reason"] == reason && conditions[0]["observedGeneration"] == generation
    });
}

#[test]
fn a_policys_status_says_what_it_has_come_to_at_its_service() {
    let world = World::new(&[
        backend_policy("first", "2020-01-01T00:00:00Z", "web"),
        backend_policy("second", "2021-01-01T00:00:00Z", "web"),
        traffic_policy("retries", "web"),
    ]);
    let node = world.node("a");
    await_accepted(&world, BACKEND_POLICIES, "first", "Accepted", 1);
    await_accepted(&world, BACKEND_POLICIES, "second", "Conflicted", 1);
    await_accepted(&world, TRAFFIC_POLICIES, "retries", "Accepted", 1);
    let entry = ours(&world, BACKEND_POLICIES, "first").unwrap();
    assert_eq!(
        entry["ancestorRef"],
        json!({"group": "", "kind": "Service", "namespace": "shop", "name": "web"})
    );
    world.edit(BACKEND_POLICIES, "first", |policy| {
        policy["spec"]["circuitBreaker"]["maxRequests"] = json!(-1);
    });
    await_accepted(&world, BACKEND_POLICIES, "first", "Invalid", 2);
    let entry = ours(&world, BACKEND_POLICIES, "first").unwrap();
    let message = entry["conditions"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("spec.circuitBreaker.maxRequests: -1: must be "), "{message}");
    assert!(message.ends_with("(its last valid version stays in force)"), "{message}");
    eventually("users hear of it", || !world.events("BackendPolicy", "first").is_empty());
    world.edit(BACKEND_POLICIES, "first", |policy| {
        policy["spec"]["targetRefs"][0]["name"] = json!("nobody");
    });
    await_accepted(&world, BACKEND_POLICIES, "first", "TargetNotFound", 3);
    world.edit(BACKEND_POLICIES, "first", |policy| {
        policy["spec"]["circuitBreaker"]["maxRequests"] = json!(1);
    });
    await_accepted(&world, BACKEND_POLICIES, "first", "TargetNotFound", 4);
    await_accepted(&world, BACKEND_POLICIES, "second", "Accepted", 1);
    drop(node);
}
