//! What is said of a BackendTLSPolicy, at each Service that it is for.

use serde_json::{Value, json};

use crate::world::{CONTROLLER, World, eventually};

const POLICIES: &str = "backendtlspolicies.gateway.networking.k8s.io";

/// For the Service `web`; believes the ConfigMap of this name.
pub(crate) fn policy(name: &str, created: &str, bundle: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "creationTimestamp": created},
        "spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "web"}], "validation": {
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": bundle}],
            "hostname": "web.example.com"}}})
}

fn ancestors(world: &World, name: &str) -> Vec<Value> {
    let policy = world.server.get(POLICIES, "shop", name).unwrap();
    policy["status"]["ancestors"].as_array().cloned().unwrap_or_default()
}

/// The reasons of our conditions, and the generation that they are about.
fn verdict(world: &World, name: &str) -> Option<(String, String, i64)> {
    let ancestors = ancestors(world, name);
    let ours = ancestors.iter().find(|entry| entry["controllerName"] == CONTROLLER)?;
    let condition = |kind: &str| {
        let mut all = ours["conditions"].as_array()?.iter();
        all.find(|condition| condition["type"] == kind).cloned()
    };
    let (accepted, resolved) = (condition("Accepted")?, condition("ResolvedRefs")?);
    let reason = |condition: &Value| condition["reason"].as_str().unwrap().to_owned();
    Some((reason(&accepted), reason(&resolved), accepted["observedGeneration"].as_i64()?))
}

#[track_caller]
fn await_verdict(world: &World, name: &str, accepted: &str, resolved: &str, generation: i64) {
    let expected = Some((accepted.to_owned(), resolved.to_owned(), generation));
    eventually(&format!("{name}: {expected:?}"), || verdict(world, name) == expected);
}

#[test]
fn a_policys_status_says_what_it_has_come_to_at_its_service() {
    let other = json!({"controllerName": "example.com/gateway",
        "ancestorRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"},
        "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
    let mut first = policy("first", "2020-01-01T00:00:00Z", "ca");
    first["status"] = json!({"ancestors": [other]});
    let world = World::new(&[first, policy("second", "2021-01-01T00:00:00Z", "ca")]);
    let node = world.node("a");
    await_verdict(&world, "first", "NoValidCACertificate", "InvalidCACertificateRef", 1);
    await_verdict(&world, "second", "Conflicted", "InvalidCACertificateRef", 1);
    let there = ancestors(&world, "first");
    assert_eq!((there.len(), &there[0]), (2, &other), "what others say is kept");
    assert_eq!(
        there[1]["ancestorRef"],
        json!({"group": "", "kind": "Service", "namespace": "shop", "name": "web"})
    );
    eventually("users hear of it", || !world.events("BackendTLSPolicy", "first").is_empty());

    let ca = include_str!("../../src/translate/tests/authority.pem");
    world.server.put(&json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "shop"}, "data": {"ca.crt": ca}}));
    await_verdict(&world, "first", "Accepted", "ResolvedRefs", 1);
    await_verdict(&world, "second", "Conflicted", "ResolvedRefs", 1);
    world.edit(POLICIES, "first", |policy| {
        policy["spec"]["validation"]["caCertificateRefs"][0]["kind"] = json!("Secret");
    });
    await_verdict(&world, "first", "NoValidCACertificate", "InvalidKind", 2);
    world.edit(POLICIES, "first", |policy| {
        policy["spec"]["validation"]["hostname"] = json!("*");
    });
    await_verdict(&world, "first", "Invalid", "ResolvedRefs", 3);
    world.edit(POLICIES, "first", |policy| {
        policy["spec"]["targetRefs"][0]["name"] = json!("nobody");
    });
    await_verdict(&world, "first", "TargetNotFound", "ResolvedRefs", 4);
    await_verdict(&world, "second", "Accepted", "ResolvedRefs", 1);
    world.edit(POLICIES, "first", |policy| {
        policy["spec"]["targetRefs"][0]["kind"] = json!("ExternalThing");
    });
    eventually("nothing of ours is left", || ancestors(&world, "first") == [other.clone()]);
    drop(node);
}
