//! Which pods are caught, from when and until when.

use std::time::Duration;

use nodeway_tests::kubelet::Driver;
use nodeway_tests::wait::over;
use nodeway_tests::{Mesh, MeshLabel, eventually};
use serde_json::json;

use super::{SOON, Scene};

/// Enrolled pods are looked at every 5 s.
const TWO_LOOKS: Duration = Duration::from_secs(11);

#[test]
fn a_pod_is_found_by_its_uid_whatever_the_cgroup_driver() {
    for driver in [Driver::Systemd, Driver::Cgroupfs, Driver::Nested] {
        let Some(mut scene) = Scene::started(driver) else { return };
        assert_eq!(scene.who_answers(&scene.client), "web-1", "{driver:?}");
        let metrics = scene.cluster.node().metrics();
        let took = metrics.sum("nodeway_pod_enrolment_duration_seconds_count", &[]);
        assert!((took - 1.0).abs() < f64::EPSILON, "{driver:?}: {took}");
    }
}

#[test]
fn a_pod_that_starts_later_is_caught_from_its_first_moments() {
    let Some(mut scene) = Scene::started(Driver::Systemd) else { return };
    // The object first, as the scheduler binds it; then, a while later, the sandbox.
    let uid = scene.cluster.api.create(&scene.cluster.pod_object("late", MeshLabel::Enabled));
    eventually(SOON, "it is waited for", || scene.cluster.pods("starting") == 1);
    let pod = scene.cluster.world.pod("late");
    let sandbox = scene.cluster.kubelet.run(&pod, &uid);
    eventually(SOON, "it is enrolled", || scene.cluster.pods("enrolled") == 2);
    assert_eq!(Mesh::who_answers(&sandbox.pod, &scene.web.to_string()), "web-1");
    let metrics = scene.cluster.node().metrics();
    let bucket = "nodeway_pod_enrolment_duration_seconds_bucket";
    // Between two tries lies a second at most; the rest is for a busy machine.
    let quick = metrics.sum(bucket, &[("le", "5")]);
    assert!(quick >= 2.0, "{}", metrics.text());
}

#[test]
fn labels_are_obeyed_at_once() {
    let Some(mut scene) = Scene::with(Driver::Systemd) else { return };
    let _direct = scene.cluster.world.direct(scene.web);
    let other = scene.cluster.pod("other", MeshLabel::Unlabelled);
    let mut object = scene.cluster.pod_object("host", MeshLabel::Enabled);
    object["spec"]["hostNetwork"] = json!(true);
    let host = scene.cluster.pod_of("host", &object);
    scene.cluster.start();
    assert_eq!(scene.who_answers(&scene.client), "web-1");
    assert_eq!(scene.who_answers(&other), "direct", "nobody has asked for it");
    assert_eq!(scene.who_answers(&host), "direct", "it shares the host's network, as the API says");
    for (label, expected) in [(MeshLabel::Disabled, "direct"), (MeshLabel::Enabled, "web-1")] {
        let mut object = scene.cluster.pod_object("client", label);
        object["metadata"]["uid"] = json!(scene.client.uid);
        scene.cluster.api.put(&object);
        eventually(SOON, "a label set at run time counts", || {
            scene.who_answers(&scene.client) == expected
        });
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": scene.cluster.api.namespace(), "labels": {"nodeway.dev/mesh": "enabled"}}});
    scene.cluster.api.put(&namespace);
    eventually(SOON, "the Namespace's label counts for all its pods", || {
        scene.who_answers(&other) == "web-1"
    });
    assert_eq!(scene.who_answers(&host), "direct");
}

#[test]
fn containers_come_and_go_while_the_sandbox_stays() {
    let Some(mut scene) = Scene::started(Driver::Systemd) else { return };
    for _ in 0..3 {
        let mut container = scene.client.pod().place.start("sleep", &["infinity"]);
        container.kill();
        assert_eq!(scene.who_answers(&scene.client), "web-1");
    }
    // The namespace's first process ends; others are still in it.
    let _container = scene.client.pod().place.start("sleep", &["infinity"]);
    scene.client.sandbox.kill();
    let (_, log) = over(TWO_LOOKS, || scene.cluster.node().log());
    assert!(!log.contains("no longer enrolled"), "{log}");
    assert_eq!(scene.who_answers(&scene.client), "web-1");
}

#[test]
fn another_sandbox_of_the_same_pod_is_caught_anew() {
    let Some(mut scene) = Scene::started(Driver::Systemd) else { return };
    let pod = scene.cluster.world.pod("client-again");
    scene.client.sandbox.kill();
    let sandbox = scene.cluster.kubelet.run(&pod, &scene.client.uid);
    let status = nodeway_tests::cluster::objects::pod_status(&pod);
    scene.cluster.api.put_pod_status("client", &status);
    eventually(SOON, "the new sandbox is caught", || {
        Mesh::who_answers(&sandbox.pod, &scene.web.to_string()) == "web-1"
    });
    eventually(SOON, "nobody listens in the old one", || scene.client.pod().listeners().is_empty());
}

#[test]
fn a_pod_made_anew_under_its_name_is_another_one() {
    let Some(mut scene) = Scene::started(Driver::Systemd) else { return };
    let old = scene.client.pod().clone();
    scene.cluster.api.delete("pods", "client");
    eventually(SOON, "the old one is let go", || scene.cluster.pods("enrolled") == 0);
    eventually(SOON, "nobody listens in the old one", || old.listeners().is_empty());
    let uid = scene.cluster.api.create(&scene.cluster.pod_object("client", MeshLabel::Enabled));
    assert_ne!(uid, scene.client.uid);
    let sandbox = scene.cluster.kubelet.run(&scene.cluster.world.pod("client-2"), &uid);
    eventually(SOON, "the new one is caught", || {
        Mesh::who_answers(&sandbox.pod, &scene.web.to_string()) == "web-1"
    });
}

#[test]
fn a_static_pod_is_found_by_the_uid_its_mirror_tells() {
    let Some(mut scene) = Scene::started(Driver::Systemd) else { return };
    let hash = "9d0c8e5a7b6f4d3c2b1a09f8e7d6c5b4";
    let mut object = scene.cluster.pod_object("static", MeshLabel::Enabled);
    object["metadata"]["annotations"] =
        json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash});
    let _uid = scene.cluster.api.create(&object);
    let sandbox = scene.cluster.kubelet.run(&scene.cluster.world.pod("static"), hash);
    eventually(SOON, "it is caught", || scene.cluster.pods("enrolled") == 2);
    assert_eq!(Mesh::who_answers(&sandbox.pod, &scene.web.to_string()), "web-1");
}

#[test]
fn a_pod_can_claim_neither_a_namespace_nor_another_pods_uid() {
    let Some(mut scene) = Scene::with(Driver::Systemd) else { return };
    let _direct = scene.cluster.world.direct(scene.web);
    let victim = scene.cluster.pod("victim", MeshLabel::Unlabelled);
    let netns = victim.pod().netns_path().to_owned();
    let mut by_path = scene.cluster.pod_object("by-path", MeshLabel::Enabled);
    by_path["metadata"]["annotations"] = json!({ "nodeway.dev/netns": netns });
    let mut by_uid = scene.cluster.pod_object("by-uid", MeshLabel::Enabled);
    let uid = &victim.uid;
    by_uid["metadata"]["annotations"] =
        json!({"kubernetes.io/config.hash": uid, "kubernetes.io/config.mirror": uid});
    for object in [by_path, by_uid] {
        let _uid = scene.cluster.api.create(&object);
    }
    scene.cluster.start();
    eventually(SOON, "the one without a sandbox waits", || scene.cluster.pods("starting") == 1);
    assert_eq!(scene.cluster.pods("enrolled"), 1);
    assert_eq!(scene.who_answers(&victim), "direct");
}

#[test]
fn traffic_from_the_node_is_not_touched() {
    let Some(mut scene) = Scene::started(Driver::Systemd) else { return };
    let probed = scene.client.pod().serve("http", "v1", 8080);
    // As a kubelet probes: from outside of the pod, to its address.
    let server = scene.cluster.world.pod("kubelet");
    let address = scene.client.pod().v4(8080).to_string();
    assert_eq!(Mesh::who_answers(&server, &address), "client");
    let metrics = scene.cluster.node().metrics();
    assert!(metrics.sum("nodeway_requests_total", &[]) < 1.0, "{}", metrics.text());
    drop(probed);
}

#[test]
fn nobody_is_caught_before_all_is_known() {
    let Some(scene) = Scene::with(Driver::Systemd) else { return };
    let Some(api) = scene.cluster.api.ours() else { return };
    api.away();
    let _direct = scene.cluster.world.direct(scene.web);
    let args = scene.cluster.args();
    let mut node = nodeway_tests::Nodeway::launch(&scene.cluster.world.node(), &args);
    eventually(SOON, "it says what is missing", || {
        node.log().contains("cannot be reached") && node.status("/livez") == Some(200)
    });
    assert_eq!(node.status("/readyz"), Some(503));
    assert_eq!(scene.who_answers(&scene.client), "direct");
    api.back();
    node.wait_ready();
    assert_eq!(scene.who_answers(&scene.client), "web-1");
}
