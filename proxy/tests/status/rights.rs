//! What is asked of the API is what the ClusterRole and the Role in deploy/ allow.

use std::collections::BTreeSet;

use nodeway::status::{Notice, Subject, Tone};
use nodeway_core::model::{Kind, ObjectName};
use serde_json::{Value, json};

use crate::backend_policies::{
    BACKEND_POLICIES, TRAFFIC_POLICIES, await_accepted, backend_policy, traffic_policy,
};
use crate::policies::policy;
use crate::world::{CONTROLLER, GRPC, HTTP, World, eventually, http, parent, route, service};

/// A verb, and a resource as RBAC names it, with its group.
type Right = (String, String);

/// Every right that deploy/kustomize grants.
fn granted() -> BTreeSet<Right> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/rbac.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let roles: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let rules = roles.iter().filter_map(|role| role["rules"].as_array()).flatten();
    let mut granted = BTreeSet::new();
    for rule in rules {
        let texts = |field: &str| {
            let list = rule[field].as_array().unwrap().clone();
            list.into_iter().map(|text| text.as_str().unwrap().to_owned())
        };
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                let resource =
                    if group.is_empty() { resource } else { format!("{resource}.{group}") };
                granted.extend(texts("verbs").map(|verb| (verb, resource.clone())));
            }
        }
    }
    granted
}

/// A route of another kind, whose status is written as well.
fn l4(kind: &str, version: &str, name: &str) -> Value {
    let mut route = route(kind, name, parent("nobody"), "web");
    route["apiVersion"] = json!(format!("gateway.networking.k8s.io/{version}"));
    route["spec"]["hostnames"] = json!(["a.test"]);
    route
}

#[test]
fn what_is_asked_for_is_granted_and_every_right_to_write_is_used() {
    let world = World::new(&[
        http("a", parent("web"), "web"),
        http("lost", parent("nobody"), "web"),
        route("GRPCRoute", "grpc", parent("nobody"), "web"),
        l4("TLSRoute", "v1", "tls"),
        l4("TCPRoute", "v1alpha2", "tcp"),
        json!({"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XMesh",
            "metadata": {"name": "mesh"}, "spec": {"controllerName": CONTROLLER}}),
        policy("tls", "2020-01-01T00:00:00Z", "ca"),
        backend_policy("limits", "2020-01-01T00:00:00Z", "web"),
        traffic_policy("retries", "web"),
        // Its uid is looked for.
        service("zebra", "10.96.0.1"),
        json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
            "metadata": {"name": "bad", "namespace": "shop"}, "spec": {"from": "nobody", "to": []}}),
    ]);
    let node = world.node("a");
    world.await_verdict("a", "Accepted", "ResolvedRefs", 1);
    eventually("the policy is told", || !world.events("BackendTLSPolicy", "tls").is_empty());
    for (resource, name) in [(BACKEND_POLICIES, "limits"), (TRAFFIC_POLICIES, "retries")] {
        await_accepted(&world, resource, name, "Accepted", 1);
    }
    eventually("the GRPCRoute is told", || world.verdict(GRPC, "grpc").is_some());
    for (plural, name) in [("tlsroutes", "tls"), ("tcproutes", "tcp")] {
        let resource = format!("{plural}.gateway.networking.k8s.io");
        eventually(name, || world.verdict(&resource, name).is_some());
    }
    eventually("the mesh", || !world.mesh("mesh")["status"].is_null());
    for (kind, name) in [("HTTPRoute", "lost"), ("Service", "zebra"), ("ReferenceGrant", "bad")] {
        eventually(name, || !world.events(kind, name).is_empty());
    }
    // The same again: the Event counts.
    eventually("an Event that counts", || {
        let name = ObjectName::new("shop", "p");
        let about = Subject { kind: Kind::Pod, name, uid: Some("u-1".into()) };
        let message = "no network namespace".to_owned();
        let reason = "NotEnrolled";
        node.notices.tell(Notice { about, tone: Tone::Warning, reason, message });
        world.server.requests("patch", "events") > 0
    });
    world.renewals(1);
    assert_eq!(world.parents(HTTP, "lost").len(), 1);
    let asked: BTreeSet<Right> = world.server.all_requests().into_keys().collect();
    let granted = granted();
    let forbidden: Vec<_> = asked.difference(&granted).collect();
    assert!(forbidden.is_empty(), "asked for, and not in rbac.yaml: {forbidden:?}");
    let is_write = |(verb, _): &&Right| !["list", "watch"].contains(&&**verb);
    let unused: Vec<_> = granted.difference(&asked).filter(is_write).collect();
    assert!(unused.is_empty(), "in rbac.yaml, and never asked for: {unused:?}");
}
