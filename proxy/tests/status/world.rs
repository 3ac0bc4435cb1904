//! An API server, and nodes that learn from it and write to it: all but the data plane.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nodeway::source::{Health, KubeSource, Source, connect};
use nodeway::status::{Notices, Pace, Settings, Status, Timing};
use nodeway::telemetry::StatusCounters;
use nodeway_apiserver::{ApiServer, Options};
use nodeway_core::snapshot::{CompileOptions, Compiler, Enroll, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// Everything that is waited for happens within so long, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

pub(crate) const HTTP: &str = "httproutes.gateway.networking.k8s.io";
pub(crate) const GRPC: &str = "grpcroutes.gateway.networking.k8s.io";
pub(crate) const HTTP_STATUS: &str = "httproutes/status.gateway.networking.k8s.io";
pub(crate) const GRPC_STATUS: &str = "grpcroutes/status.gateway.networking.k8s.io";
pub(crate) const LEASES: &str = "leases.coordination.k8s.io";
pub(crate) const MESHES: &str = "xmeshes.gateway.networking.x-k8s.io";
pub(crate) const MESHES_STATUS: &str = "xmeshes/status.gateway.networking.x-k8s.io";
pub(crate) const CONTROLLER: &str = "nodeway.dev/mesh-controller";

pub(crate) struct World {
    pub(crate) server: ApiServer,
    folder: TempDir,
}

/// A node's control flow; it ends in order when it is dropped.
pub(crate) struct Node {
    pub(crate) counters: Arc<StatusCounters>,
    pub(crate) notices: Notices,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A Service of the namespace `shop` with an HTTP port.
pub(crate) fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})
}

/// A reference to a Service, as a parent.
pub(crate) fn parent(service: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": service})
}

/// A route of the namespace `shop`: to this Service, from this parent.
pub(crate) fn route(kind: &str, name: &str, parent: Value, backend: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"parentRefs": [parent],
            "rules": [{"backendRefs": [{"name": backend, "port": 80}]}]}})
}

pub(crate) fn http(name: &str, parent: Value, backend: &str) -> Value {
    route("HTTPRoute", name, parent, backend)
}

// === impl World ===

impl World {
    /// A server with these objects, besides the Service `shop/web`.
    pub(crate) fn new(objects: &[Value]) -> Self {
        Self::with(Options::default(), objects)
    }

    pub(crate) fn with(options: Options, objects: &[Value]) -> Self {
        let server = ApiServer::start(options);
        server.put(&service("web", "10.96.0.1"));
        server.put_all(objects);
        let folder = TempDir::new().unwrap();
        server.write_kubeconfig(folder.path());
        Self { server, folder }
    }

    /// A node, with times that tests have the patience for.
    pub(crate) fn node(&self, name: &str) -> Node {
        self.node_with(name, Pace::default())
    }

    pub(crate) fn node_with(&self, name: &str, pace: Pace) -> Node {
        let timing = Timing {
            lease: Duration::from_secs(12),
            deadline: Duration::from_secs(8),
            retry: Duration::from_millis(100),
            look: Duration::from_millis(200),
        };
        let kubeconfig = self.folder.path().join("kubeconfig");
        let node = name.to_owned();
        let settings = Settings { kubeconfig: Some(kubeconfig.clone()), node, timing, pace };
        let counters = Arc::new(StatusCounters::default());
        let status = Status::start(settings, Arc::clone(&counters)).unwrap();
        let notices = status.notices();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let config = connect(Some(&kubeconfig)).await.unwrap();
                tokio::select! {
                    () = control(config, status) => {}
                    _ = ended => {}
                }
            });
        });
        Node { counters, notices, end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn parents(&self, resource: &str, name: &str) -> Vec<Value> {
        let route = self.server.get(resource, "shop", name).unwrap();
        route["status"]["parents"].as_array().cloned().unwrap_or_default()
    }

    /// The reasons of our conditions on an HTTPRoute, and the generation they are about.
    pub(crate) fn verdict(&self, resource: &str, name: &str) -> Option<(String, String, i64)> {
        let parents = self.parents(resource, name);
        let ours = parents.iter().find(|entry| entry["controllerName"] == CONTROLLER)?;
        let condition = |kind: &str| {
            let mut all = ours["conditions"].as_array()?.iter();
            all.find(|condition| condition["type"] == kind).cloned()
        };
        let (accepted, resolved) = (condition("Accepted")?, condition("ResolvedRefs")?);
        let reason = |condition: &Value| condition["reason"].as_str().unwrap().to_owned();
        let generation = accepted["observedGeneration"].as_i64()?;
        Some((reason(&accepted), reason(&resolved), generation))
    }

    #[track_caller]
    pub(crate) fn await_verdict(
        &self,
        name: &str,
        accepted: &str,
        resolved: &str,
        generation: i64,
    ) {
        let expected = Some((accepted.to_owned(), resolved.to_owned(), generation));
        eventually(&format!("{name}: {expected:?}"), || self.verdict(HTTP, name) == expected);
    }

    /// Changes an object as its user would: the next generation.
    pub(crate) fn edit(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.server.get(resource, "shop", name).unwrap();
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        change(&mut object);
        object["metadata"]["generation"] = json!(generation + 1);
        self.server.put(&object);
    }

    /// An XMesh.
    pub(crate) fn mesh(&self, name: &str) -> Value {
        self.server.get(MESHES, "", name).unwrap()
    }

    pub(crate) fn writes(&self) -> usize {
        ["patch", "update"]
            .iter()
            .flat_map(|verb| {
                [HTTP_STATUS, GRPC_STATUS].map(|part| self.server.requests(verb, part))
            })
            .sum()
    }

    /// Lets the leader renew so often.
    #[track_caller]
    pub(crate) fn renewals(&self, more: usize) {
        let before = self.server.requests("update", LEASES);
        eventually("the leader renews", || self.server.requests("update", LEASES) >= before + more);
    }

    pub(crate) fn lease(&self) -> Value {
        self.server.get(LEASES, "default", "nodeway-status").unwrap_or_default()
    }

    /// The Events about an object.
    pub(crate) fn events(&self, kind: &str, name: &str) -> Vec<Value> {
        let mut all = self.server.all("events");
        all.retain(|event| {
            let about = &event["involvedObject"];
            about["kind"] == kind && about["name"] == name
        });
        all
    }
}

/// What `run` does, in short.
async fn control(config: kube::Config, status: Status) {
    let (events, mut source) = mpsc::channel(64);
    let health = Arc::new(Health::new());
    let running =
        tokio::task::spawn_local(KubeSource { config, node_name: None, health }.run(events));
    let mut store = Store::default();
    let options = CompileOptions { enroll: Enroll::Label, node_name: None };
    let mut compiler = Compiler::new(options);
    while let Some(event) = source.recv().await {
        for change in event.changes {
            store.apply(change);
        }
        if let Some(compiled) = compiler.compile(&mut store) {
            status.know(&compiled.snapshot);
        }
        if let Some(problems) = event.problems {
            status.problems(problems.into_iter());
        }
    }
    panic!("the source has ended: {:?}", running.await);
}

// === impl Node ===

impl Node {
    pub(crate) fn leads(&self) -> bool {
        self.counters.leads()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end.take();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the node has panicked");
        }
    }
}
