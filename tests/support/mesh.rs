//! The usual scene: a client pod in the mesh, a Nodeway that watches, Services as the test needs.

use std::ffi::OsString;

use crate::manifests::{Manifests, Mesh as Label, Service};
use crate::nodeway::Nodeway;
use crate::process::Proc;
use crate::world::{Pod, World};

/// The IPv4 ClusterIP of the Service `web`.
pub const VIP4: &str = "10.96.0.10";
/// Its IPv6 ClusterIP.
pub const VIP6: &str = "fd00:96::10";

/// A world with the pod `client` (enrolled) and, when started, a Nodeway.
#[derive(Debug)]
pub struct Mesh {
    // Fields go in this order: first Nodeway, then what it stands on.
    running: Option<Nodeway>,
    /// The enrolled pod that tests talk from.
    pub client: Pod,
    /// What Nodeway reads.
    pub manifests: Manifests,
    /// Where it all stands.
    pub world: World,
}

impl Mesh {
    /// The scene without Nodeway; none (and SKIPPED) where it cannot be made.
    #[must_use]
    pub fn new() -> Option<Self> {
        let world = World::new()?;
        let (client, manifests) = (world.pod("client"), world.manifests());
        manifests.pod(&client, Label::Enabled);
        Some(Self { running: None, client, manifests, world })
    }

    /// The scene with the Service `web` (HTTP, both families) on one pod, and Nodeway running.
    #[must_use]
    pub fn with_web() -> Option<(Self, Proc)> {
        let mut mesh = Self::new()?;
        let server = mesh.web();
        mesh.start(&[]);
        Some((mesh, server))
    }

    /// Makes the pod `web-1` with the HTTP test server, and the Service `web` that leads to it.
    #[must_use]
    pub fn web(&self) -> Proc {
        let pod = self.world.pod("web-1");
        self.manifests.service(&Self::web_service().to_pod(&pod));
        pod.serve("http", "v1", 8080)
    }

    /// The Service `web` on both ClusterIPs, HTTP on port 80 to 8080, with no endpoint yet.
    #[must_use]
    pub fn web_service() -> Service {
        Service::new("web").ip(VIP4).ip(VIP6).http()
    }

    /// What `nodeway run` needs to know of this world.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let source = ["--manifests".into(), self.manifests.dir().into()];
        source.into_iter().chain(self.world.args()).collect()
    }

    /// The same, but for a cluster whose API cannot be reached: it never gets ready.
    ///
    /// # Panics
    /// When a kubeconfig cannot be written.
    #[must_use]
    pub fn args_without_api(&self) -> Vec<OsString> {
        let kubeconfig = self.manifests.dir().with_file_name("kubeconfig");
        // Nobody listens there.
        let config = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [], "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}]});
        std::fs::write(&kubeconfig, config.to_string()).expect("a kubeconfig");
        let mut args = self.args();
        args.splice(0..2, ["--kubeconfig".into(), kubeconfig.into()]);
        args
    }

    /// Starts Nodeway with `extra` arguments and waits until it is ready.
    pub fn start(&mut self, extra: &[&str]) {
        let mut args = self.args();
        args.extend(extra.iter().map(OsString::from));
        self.running = Some(Nodeway::start(&self.world.node(), &args));
    }

    /// The running Nodeway.
    ///
    /// # Panics
    /// Before `start`.
    pub fn node(&mut self) -> &mut Nodeway {
        self.running.as_mut().expect("Mesh::start comes first")
    }

    /// Which pod answers the client's plain GET of `http://<host>/`, or "" if none does.
    #[must_use]
    pub fn who_answers(from: &Pod, host: &str) -> String {
        let url = format!("http://{host}/");
        let ran = from.place.run("curl", &["-s", "--max-time", "5", &url]);
        let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_default();
        answer["pod"].as_str().unwrap_or_default().to_owned()
    }
}
