//! What users are told through the API.

use nodeway_tests::cluster::{Api, objects};
use nodeway_tests::kubelet::Driver;
use nodeway_tests::{MeshLabel, eventually};
use serde_json::{Value, json};

use super::{SOON, Scene};

const ROUTES: &str = "httproutes.gateway.networking.k8s.io";

/// The condition of this type in our entry: its status and reason.
fn condition(api: &Api, route: &str, kind: &str) -> Option<(String, String)> {
    let route = api.get(ROUTES, route)?;
    let ours = |entry: &&Value| entry["controllerName"] == "nodeway.dev/mesh-controller";
    let entry = route["status"]["parents"].as_array()?.iter().find(ours)?;
    let condition = entry["conditions"].as_array()?.iter().find(|c| c["type"] == kind)?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

#[test]
fn a_routes_status_follows_what_is_in_force() {
    let Some(mut scene) = Scene::with(Driver::Systemd) else { return };
    let api = &scene.cluster.api;
    let is = |kind: &str, status: &str, reason: &str| {
        condition(api, "web", kind) == Some((status.to_owned(), reason.to_owned()))
    };
    api.put(&objects::route(api.namespace(), "web", "web", "nobody"));
    let running = nodeway_tests::Nodeway::start(&scene.cluster.world.node(), &scene.cluster.args());
    eventually(SOON, "the route is accepted, its backend missed", || {
        is("Accepted", "True", "Accepted") && is("ResolvedRefs", "False", "BackendNotFound")
    });
    api.put(&objects::route(api.namespace(), "web", "web", "web"));
    eventually(SOON, "the mended route is told", || is("ResolvedRefs", "True", "ResolvedRefs"));
    assert_eq!(scene.who_answers(&scene.client), "web-1");
    drop(running);
    scene.cluster.start();
    assert!(condition(&scene.cluster.api, "web", "Accepted").is_some(), "it stays without us");
}

#[test]
fn users_are_told_of_a_pod_that_cannot_be_enrolled() {
    let Some(mut scene) = Scene::with(Driver::Systemd) else { return };
    let Some(api) = scene.cluster.api.ours() else { return };
    // Its "sandbox" is in the namespace of another one.
    let object = scene.cluster.pod_object("twin", MeshLabel::Enabled);
    let uid = scene.cluster.api.create(&object);
    let _twin = scene.cluster.kubelet.run(scene.client.pod(), &uid);
    let told = || {
        let events = api.all("events");
        let ours = |event: &&Value| event["reason"] == "NotEnrolled" && event["type"] == "Warning";
        events.iter().find(ours).map(|event| event["involvedObject"].clone())
    };
    let args = scene.cluster.args();
    let running = nodeway_tests::Nodeway::start(&scene.cluster.world.node(), &args);
    eventually(SOON, "an Event about the pod", || told().is_some());
    let about = told().unwrap_or_default();
    // Whichever of the two comes second.
    let expected = if about["name"] == "twin" { &uid } else { &scene.client.uid };
    assert_eq!(about["uid"].as_str(), Some(&**expected), "{about}");
    assert_eq!(about["kind"], json!("Pod"));
    drop(running);
    scene.cluster.start();
    assert_eq!(scene.cluster.pods("failed"), 1);
}
