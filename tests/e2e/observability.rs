//! What happens can be seen, under the names that are promised.

use std::time::Duration;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, Nodeway, eventually};

#[test]
fn requests_are_counted_by_parent_route_backend_and_workload() {
    let Some(mut mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    mesh.manifests.route("web", "web", "- backendRefs: [{name: web, port: 80}]");
    mesh.start(&[]);
    mesh.client
        .curl(&[&format!("http://{VIP4}/status/404"), &format!("http://{VIP4}/user-secret")]);
    let metrics = mesh.node().metrics();
    let common = [
        ("parent_namespace", "default"),
        ("parent_name", "web"),
        ("route_namespace", "default"),
        ("route_name", "web"),
        ("backend_namespace", "default"),
        ("backend_name", "web"),
        ("source_workload", "client"),
        ("response_flags", "-"),
    ];
    for code in ["200", "404"] {
        let labels = [&common[..], &[("response_code", code)]].concat();
        let count = metrics.sum("nodeway_requests_total", &labels);
        assert!((count - 1.0).abs() < f64::EPSILON, "{code}: {count}\n{}", metrics.text());
    }
    let timed = metrics.sum("nodeway_request_duration_seconds_count", &common[..7]);
    assert!((timed - 2.0).abs() < f64::EPSILON, "{timed}");
    assert!(!metrics.text().contains("user-secret"), "a label from what a user sent");
}

#[test]
fn every_metric_has_its_prefix_its_help_and_its_type() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let metrics = mesh.node().metrics();
    for line in metrics.text().lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(name.starts_with("nodeway_") || name.starts_with("process_"), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let described = |name: &str| {
            metrics.text().contains(&format!("# HELP {name} "))
                && metrics.text().contains(&format!("# TYPE {name} "))
        };
        assert!(described(name) || family.is_some_and(described), "{name} is not described");
    }
}

#[test]
fn health_endpoints_tell_alive_and_ready() {
    let Some(mesh) = Mesh::new() else { return };
    let _server = mesh.web();
    let mut early = Nodeway::launch(&mesh.world.node(), &mesh.args());
    // Ready means ready: the first request after it goes through the proxy.
    eventually(Duration::from_secs(30), "ready", || early.status("/readyz") == Some(200));
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    assert_eq!(early.status("/livez"), Some(200));
    assert_eq!(early.status("/nothing-here"), Some(404));
    let snapshot = nodeway_tests::http::get(early.admin_at, "/snapshot").unwrap();
    assert_eq!(snapshot.status, 200);
    assert!(snapshot.text().contains("\"generation\""), "{}", snapshot.text());
    let (status, log) = early.stop();
    assert!(status.success(), "{status}\n{log}");
}
