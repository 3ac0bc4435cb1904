//! Endpoints are replaced under load.

use std::time::Duration;

use nodeway_tests::cluster::{Cluster, Endpoint, Running};
use nodeway_tests::process::Proc;
use nodeway_tests::{Load, MeshLabel, eventually};

const SOON: Duration = Duration::from_secs(30);
const REPLICAS: usize = 3;
const REPLACEMENTS: usize = 12;

/// A pod of a Deployment, and the server in it.
struct Replica {
    name: String,
    running: Running,
    server: Proc,
}

impl Replica {
    fn start(cluster: &Cluster, n: usize) -> Self {
        let name = format!("web-{n}");
        let running = cluster.pod(&name, MeshLabel::Unlabelled);
        let server = running.pod().serve("http", "v1", 8080);
        Self { name, running, server }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::ready(self.running.pod())
    }
}

#[test]
fn rolling_a_deployment_under_64_connections_of_http1_costs_no_request() {
    roll("h1");
}

#[test]
fn rolling_a_deployment_under_64_connections_of_http2_costs_no_request() {
    roll("h2");
}

/// As a rolling update with maxSurge 1 and maxUnavailable 0 goes: a new one is ready, then an old one
/// terminates, all at once: it is told to clients as terminating in the moment in which it is killed.
fn roll(kind: &str) {
    let Some(mut cluster) = Cluster::new() else { return };
    let client = cluster.pod("client", MeshLabel::Enabled);
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(|n| Replica::start(&cluster, n)).collect();
    let web = cluster.service("web");
    let ready = |replicas: &[Replica]| replicas.iter().map(Replica::endpoint).collect::<Vec<_>>();
    cluster.endpoints("web", &ready(&replicas));
    cluster.start();
    let load = Load::start(&client.pod().place, kind, 64, web);
    load.goes_on(500);
    for n in REPLICAS..REPLICAS + REPLACEMENTS {
        replicas.push(Replica::start(&cluster, n));
        cluster.endpoints("web", &ready(&replicas));
        load.goes_on(100);
        let mut old = replicas.remove(0);
        let mut endpoints = ready(&replicas);
        endpoints.push(old.endpoint().terminating());
        cluster.endpoints("web", &endpoints);
        old.server.kill();
        load.goes_on(100);
        cluster.endpoints("web", &ready(&replicas));
        cluster.remove(&old.name, old.running);
    }
    load.goes_on(500);
    let report = load.stop();
    report.assert_none_failed();
    // Each replacement has had its share.
    for n in 1..REPLICAS + REPLACEMENTS {
        assert!(
            report.told.contains(&format!("\"web-{n}\"")),
            "web-{n} was not asked: {}",
            report.told
        );
    }
    eventually(SOON, "nobody holds what is gone", || cluster.pods("enrolled") == 1);
}
