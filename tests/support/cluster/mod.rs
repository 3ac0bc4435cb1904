//! A node of a cluster: the Kubernetes API is the source, pods are found by their UID.
//!
//! The API is a test server of our own, or the cluster that KUBECONFIG names, with
//! NODEWAY_E2E_CLUSTER=1. The node, its kubelet and its pods are made here in either case: in a real
//! cluster they are objects that nobody else runs.

pub mod api;
pub mod objects;

use std::ffi::OsString;
use std::net::SocketAddr;

use serde_json::Value;

pub use self::api::Api;
pub use self::objects::Endpoint;

use crate::kubelet::{Driver, Kubelet, Sandbox};
use crate::manifests::Mesh as Label;
use crate::nodeway::Nodeway;
use crate::world::{Pod, World};

/// The cluster as a test sees it: one namespace, one node.
#[derive(Debug)]
pub struct Cluster {
    // Fields go in this order: first Nodeway, then what it stands on.
    running: Option<Nodeway>,
    /// The API.
    pub api: Api,
    /// The node's kubelet.
    pub kubelet: Kubelet,
    /// The node's name.
    pub node_name: String,
    /// Where it all stands.
    pub world: World,
}

/// A pod of the API that runs on this node.
#[derive(Debug)]
pub struct Running {
    /// Its sandbox and the pod.
    pub sandbox: Sandbox,
    /// `metadata.uid`.
    pub uid: String,
}

impl Cluster {
    /// A cluster without pods and Services; none (and SKIPPED) where it cannot be made.
    #[must_use]
    pub fn new() -> Option<Self> {
        Self::with(Driver::Systemd)
    }

    /// As `new`, with a kubelet of this kind.
    #[must_use]
    pub fn with(driver: Driver) -> Option<Self> {
        let world = World::new()?;
        let api = Api::for_test(&world);
        let kubelet = Kubelet::new(&world, driver);
        let node_name = format!("node-of-{}", api.namespace());
        api.put(&objects::node(&node_name));
        Some(Self { running: None, api, kubelet, node_name, world })
    }

    /// A pod that runs on this node: as an object, and in fact.
    #[must_use]
    pub fn pod(&self, name: &str, label: Label) -> Running {
        self.pod_of(name, &self.pod_object(name, label))
    }

    /// What the API says of a pod of this node.
    #[must_use]
    pub fn pod_object(&self, name: &str, label: Label) -> Value {
        objects::pod(self.api.namespace(), name, &self.node_name, label)
    }

    /// A pod that runs on this node, of which the API says this.
    #[must_use]
    pub fn pod_of(&self, name: &str, object: &Value) -> Running {
        let uid = self.api.create(object);
        let pod = self.world.pod(name);
        let sandbox = self.kubelet.run(&pod, &uid);
        self.api.put_pod_status(name, &objects::pod_status(&pod));
        Running { sandbox, uid }
    }

    /// Ends a pod and takes it away.
    pub fn remove(&self, name: &str, running: Running) {
        let Running { mut sandbox, uid } = running;
        self.api.delete("pods", name);
        sandbox.kill();
        self.kubelet.forget(&uid);
        self.world.remove(&sandbox.pod);
    }

    /// The Service `name`, HTTP on port 80; where clients dial it.
    #[must_use]
    pub fn service(&self, name: &str) -> SocketAddr {
        self.api.put(&objects::service(self.api.namespace(), name));
        let service = self.api.get("services", name).expect("the Service just made");
        let ip = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
        SocketAddr::new(ip.expect("a cluster IP"), 80)
    }

    /// What the EndpointSlice of the Service `name` says now.
    pub fn endpoints(&self, name: &str, endpoints: &[Endpoint]) {
        self.api.put(&objects::slice(self.api.namespace(), name, endpoints));
    }

    /// What `nodeway run` needs to know of this cluster.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let source = ["--kubeconfig".into(), self.api.kubeconfig().into()];
        let node = ["--node-name".into(), self.node_name.clone().into()];
        source.into_iter().chain(node).chain(self.world.args()).collect()
    }

    /// Starts Nodeway and waits until it is ready.
    pub fn start(&mut self) {
        self.running = Some(Nodeway::start(&self.world.node(), &self.args()));
    }

    /// The running Nodeway.
    ///
    /// # Panics
    /// Before `start`.
    pub fn node(&mut self) -> &mut Nodeway {
        self.running.as_mut().expect("Cluster::start comes first")
    }

    /// The pods in this state (`enrolled`, `starting`, `failed`).
    pub fn pods(&mut self, state: &str) -> usize {
        let count = self.node().metrics().sum("nodeway_pods", &[("state", state)]);
        // A small whole number.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of pods"
        )]
        let count = count as usize;
        count
    }
}

impl Running {
    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Pod {
        &self.sandbox.pod
    }
}
