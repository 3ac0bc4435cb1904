//! The same for pods whose connections are caught.

use std::fs;

use nodeway_tests::mesh::VIP4;
use nodeway_tests::{Mesh, binaries};

use super::*;

#[test]
fn a_failing_pod_costs_three_requests_and_comes_back() {
    let Some(mut mesh) = Mesh::new() else { return };
    let pods = ["web-1", "web-2", "web-3"].map(|name| mesh.world.pod(name));
    let mut service = Mesh::web_service();
    for pod in &pods {
        service = service.to(pod.v4(8080));
    }
    mesh.manifests.service(&service);
    mesh.manifests.backend_policy(
        "web",
        "loadBalancing: {algorithm: RoundRobin}\n\
         outlierDetection: {consecutiveGatewayErrors: 3, baseEjectionTime: 5s}",
    );
    let mood = mesh.world.scratch().join("mood");
    fs::write(&mood, "503").unwrap();
    let _servers: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(nth, pod)| {
            let file = if nth == 1 { mood.clone() } else { mood.with_extension("none") };
            let at = pod.v4(8080).to_string();
            let args = ["moody", "--mood", file.to_str().unwrap(), "--listen", &at];
            pod.place.start(binaries::testserver(), &args).until_it_says("listening")
        })
        .collect();
    mesh.start(&[]);
    let client = mesh.client.place.clone();
    let failed = |requests: usize| {
        let url = format!("http://{VIP4}/?[1-{requests}]");
        let args = ["-sS", "-d", "buy!", "-o", "/dev/null", "-w", "%{http_code}\\n", &url];
        let out = client.ok("curl", &args);
        assert_eq!(out.lines().count(), requests);
        out.lines().filter(|line| *line != "200").count()
    };
    assert_eq!(failed(100), 3);
    fs::write(&mood, "well").unwrap();
    assert_eq!(failed(100), 0);
    let usable = [("state", "usable")];
    eventually(SOON, "it is used again", || {
        failed(10) == 0 && mesh.node().metrics().sum("nodeway_endpoints", &usable) > 2.9
    });
}
