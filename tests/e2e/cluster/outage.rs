//! The API server goes away, and comes back with another history.

use std::time::Duration;

use nodeway_tests::cluster::Endpoint;
use nodeway_tests::kubelet::Driver;
use nodeway_tests::{Load, MeshLabel, eventually};

use super::Scene;

/// How long the API is away.
const AWAY: Duration = Duration::from_secs(60);
/// How long it may take to look whether it is back, and to read all anew.
const BACK: Duration = Duration::from_secs(45);

#[test]
fn an_api_server_that_is_away_for_a_minute_costs_no_request() {
    let Some(mut scene) = Scene::with(Driver::Systemd) else { return };
    if scene.cluster.api.ours().is_none() {
        return;
    }
    let other = scene.cluster.pod("web-2", MeshLabel::Unlabelled);
    let _other = other.pod().serve("http", "v1", 8080);
    scene.cluster.start();
    let place = &scene.client.pod().place;
    let loads = [Load::start(place, "h1", 4, scene.web), Load::start(place, "new", 1, scene.web)];
    loads.iter().for_each(|load| load.goes_on(100));
    let api = scene.cluster.api.ours().expect("asked before");
    api.away();
    let age =
        |scene: &mut Scene| scene.cluster.node().metrics().sum("nodeway_source_age_seconds", &[]);
    eventually(AWAY + BACK, "it is away", || age(&mut scene) >= AWAY.as_secs_f64());
    assert_eq!(scene.cluster.node().status("/readyz"), Some(200), "the last state is a good one");
    loads.iter().for_each(|load| load.goes_on(100));
    // Meanwhile: the endpoint is another, a Service is new, one pod has left the mesh.
    scene.cluster.endpoints("web", &[Endpoint::ready(other.pod())]);
    let new = scene.cluster.service("new");
    scene.cluster.endpoints("new", &[Endpoint::ready(other.pod())]);
    let api = scene.cluster.api.ours().expect("asked before");
    api.compact();
    api.back();
    eventually(BACK, "what has changed is in force", || {
        scene.who_answers(&scene.client) == "web-2"
            && nodeway_tests::Mesh::who_answers(scene.client.pod(), &new.to_string()) == "web-2"
    });
    eventually(BACK, "the state is current", || age(&mut scene) < 0.001);
    let reports = loads.map(Load::stop);
    reports.iter().for_each(nodeway_tests::load::Report::assert_none_failed);
    let api = scene.cluster.api.ours().expect("asked before");
    for resource in ["services", "endpointslices.discovery.k8s.io", "pods", "namespaces"] {
        assert_eq!(api.watches(resource), 1, "watches of {resource}");
        assert_eq!(api.most_watches(resource), 1, "watches of {resource} at once");
    }
}
