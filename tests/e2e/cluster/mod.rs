//! The Kubernetes API is the source, pods are found by their UID.

mod churn;
mod enrolment;
mod outage;
mod rollout;
mod status;

use std::time::Duration;

use nodeway_tests::cluster::{Cluster, Endpoint, Running};
use nodeway_tests::kubelet::Driver;
use nodeway_tests::process::Proc;
use nodeway_tests::{Mesh, MeshLabel};

const SOON: Duration = Duration::from_secs(30);

/// A cluster with the Service `web` on the pod `web-1`, and the meshed pod `client`.
struct Scene {
    cluster: Cluster,
    client: Running,
    /// Where `web` is dialled.
    web: std::net::SocketAddr,
    _server: Proc,
}

impl Scene {
    fn with(driver: Driver) -> Option<Self> {
        let cluster = Cluster::with(driver)?;
        let server = cluster.pod("web-1", MeshLabel::Unlabelled);
        let client = cluster.pod("client", MeshLabel::Enabled);
        let web = cluster.service("web");
        cluster.endpoints("web", &[Endpoint::ready(server.pod())]);
        let _server = server.pod().serve("http", "v1", 8080);
        Some(Self { cluster, client, web, _server })
    }

    fn started(driver: Driver) -> Option<Self> {
        let mut scene = Self::with(driver)?;
        scene.cluster.start();
        Some(scene)
    }

    fn who_answers(&self, from: &Running) -> String {
        Mesh::who_answers(from.pod(), &self.web.to_string())
    }
}
