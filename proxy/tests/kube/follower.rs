//! Who listens to the source: what its events have come to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nodeway::source::{self, Event, Health, KubeSource, Source};
use nodeway_apiserver::{ApiServer, Options};
use nodeway_core::model::{Change, Kind, Object, ObjectName};
use nodeway_core::snapshot::{CompileOptions, Compiler, Snapshot, Store};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

/// The node whose proxy listens.
pub(crate) const NODE: &str = "n1";
const PATIENCE: Duration = Duration::from_secs(45);

/// What is known by now.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) events: usize,
    /// Changes that the first event brought.
    pub(crate) first: Vec<Change>,
    pub(crate) objects: BTreeMap<(Kind, ObjectName), Object>,
    /// Said to be gone, ever.
    pub(crate) deleted: Vec<(Kind, ObjectName)>,
    /// What is wrong now, as people read it.
    pub(crate) problems: Vec<String>,
    pub(crate) snapshot: Arc<Snapshot>,
}

struct Seen {
    known: Mutex<Known>,
    changed: Condvar,
}

/// A running source, and its listener.
pub(crate) struct Follower {
    pub(crate) health: Arc<Health>,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A server, a follower, and a folder for the way from one to the other.
pub(crate) struct World {
    // First, so that it ends before the server does.
    pub(crate) follower: Follower,
    pub(crate) server: ApiServer,
    _folder: TempDir,
}

// === impl World ===

impl World {
    /// After `prepare` has had the server.
    pub(crate) fn make(options: Options, prepare: impl FnOnce(&ApiServer)) -> Self {
        let server = ApiServer::start(options);
        prepare(&server);
        let folder = TempDir::new().unwrap();
        let follower = Follower::start(&server.write_kubeconfig(folder.path()));
        Self { follower, server, _folder: folder }
    }

    /// With an ordinary server.
    pub(crate) fn with(prepare: impl FnOnce(&ApiServer)) -> Self {
        Self::make(Options::default(), prepare)
    }

    pub(crate) fn until(&self, what: &str, found: impl Fn(&Known) -> bool) {
        self.follower.until(what, found);
    }

    /// Waits until the server is as `found` looks for.
    pub(crate) fn until_server(&self, what: &str, found: impl Fn(&ApiServer) -> bool) {
        eventually(what, || found(&self.server));
    }
}

/// Waits until `found`.
pub(crate) fn eventually(what: &str, found: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !found() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

// === impl Follower ===

impl Follower {
    pub(crate) fn start(kubeconfig: &Path) -> Self {
        let (known, changed) = (Mutex::default(), Condvar::new());
        let seen = Arc::new(Seen { known, changed });
        let health = Arc::new(Health::new());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let (seen, health) = (Arc::clone(&seen), Arc::clone(&health));
            let kubeconfig = kubeconfig.to_owned();
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move {
                    tokio::select! {
                        () = follow(kubeconfig, seen, health) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { health, seen, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.seen.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is known is as `found` looks for.
    pub(crate) fn until(&self, what: &str, found: impl Fn(&Known) -> bool) {
        let known = self.known();
        let waited = self.seen.changed.wait_timeout_while(known, PATIENCE, |known| !found(known));
        let (known, waited) = waited.unwrap();
        assert!(
            !waited.timed_out(),
            "in vain: {what}; {} events, {} objects, problems {:?}",
            known.events,
            known.objects.len(),
            known.problems
        );
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself: the test fails for that elsewhere.
            let _ended = stop.send(());
        }
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the source has panicked");
    }
}

async fn follow(kubeconfig: PathBuf, seen: Arc<Seen>, health: Arc<Health>) {
    let config = source::connect(Some(&kubeconfig)).await.unwrap();
    let source = KubeSource { config, node_name: Some(NODE.to_owned()), health };
    let (sender, mut events) = mpsc::channel(16);
    let mut store = Store::default();
    let node_name = Some(NODE.into());
    let mut compiler = Compiler::new(CompileOptions { node_name, ..CompileOptions::default() });
    tokio::task::spawn_local(async move { source.run(sender).await.unwrap() });
    while let Some(event) = events.recv().await {
        let mut known = seen.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.take(event, &mut store);
        if let Some(compiled) = compiler.compile(&mut store) {
            known.snapshot = compiled.snapshot;
        }
        seen.changed.notify_all();
    }
}

// === impl Known ===

impl Known {
    fn take(&mut self, event: Event, store: &mut Store) {
        self.events += 1;
        if self.events == 1 {
            self.first = event.changes.clone();
        }
        if let Some(problems) = event.problems {
            self.problems = problems.iter().map(ToString::to_string).collect();
        }
        for change in event.changes {
            match &change {
                Change::Apply(object) => {
                    let (kind, name) = object.key();
                    self.objects.insert((kind, name.clone()), object.clone());
                }
                Change::Delete(kind, name) => {
                    self.objects.remove(&(*kind, name.clone()));
                    self.deleted.push((*kind, name.clone()));
                }
                Change::Refuse(_) => {}
            }
            store.apply(change);
        }
    }

    pub(crate) fn has(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.objects.contains_key(&(kind, ObjectName::new(namespace, name)))
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.objects.keys().filter(|(of, _)| *of == kind).count()
    }

    /// The cluster IP that a Service has, in the objects.
    pub(crate) fn ip(&self, name: &str) -> Option<String> {
        match self.objects.get(&(Kind::Service, ObjectName::new("shop", name)))? {
            Object::Service(service) => service.cluster_ips.first().map(ToString::to_string),
            _ => None,
        }
    }

    /// The endpoints of a compiled Service's port, in order.
    pub(crate) fn endpoints(&self, name: &str) -> Vec<SocketAddr> {
        let frontend = self.snapshot.service_port(&ObjectName::new("shop", name), 80);
        let endpoints = frontend.map(|frontend| frontend.backend.endpoints());
        endpoints.into_iter().flatten().map(|endpoint| endpoint.address).collect()
    }

    pub(crate) fn told(&self, parts: &[&str]) -> bool {
        self.problems.iter().any(|problem| parts.iter().all(|part| problem.contains(part)))
    }
}
