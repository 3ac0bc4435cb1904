//! The server: its door, its keys, and what a test does with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Body, Refusal, nowhere};
use crate::body::Cut;
use crate::discovery;
use crate::faults::Faults;
use crate::keys::Keys;
use crate::kinds::Resource;
use crate::store::{Key, Store};
use crate::target::Target;
use crate::verbs;

/// The user that requests come from, in messages.
const USER: &str = "system:serviceaccount:nodeway-system:nodeway";

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 for any.
    pub address: SocketAddr,
    /// Whether the Gateway API is served from the beginning.
    pub gateway_api: bool,
    /// Changes that are kept: who asks for older ones is told 410.
    pub history: usize,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    keys: Keys,
    token: String,
    door: watch::Sender<Door>,
    opened: watch::Receiver<Option<SocketAddr>>,
    thread: Option<JoinHandle<()>>,
}

/// Whether it can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// The number of times that all connections were cut.
    Open(u64),
    Shut,
    /// It ends.
    Gone,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    /// The version of the last change.
    pub(crate) version: watch::Sender<u64>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { address, gateway_api: true, history: 100_000 }
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// Starts it, on a thread of its own.
    pub fn start(options: Options) -> Self {
        let mut resources = Resource::builtin();
        if options.gateway_api {
            resources.extend(Resource::gateway_api());
            resources.push(Resource::backend_policies());
        }
        let token = format!("token-{:016x}", fastrand::u64(..));
        let store = Store::new(resources, options.history);
        let shared = Arc::new(Shared {
            version: watch::Sender::new(store.version()),
            store: Mutex::new(store),
            faults: Mutex::new(Faults::none(&token)),
        });
        let keys = Keys::made();
        let tls = TlsAcceptor::from(keys.server());
        let (door, doors) = watch::channel(Door::Open(0));
        let (opening, mut opened) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("apiserver".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .expect("a runtime")
                        .block_on(serve(options.address, shared, tls, doors, opening));
                }
            })
            .expect("a thread");
        let address = wait_for(&mut opened, |address| *address);
        Self { shared, address, keys, token, door, opened, thread: Some(thread) }
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that is valid from the beginning.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate of its authority, in PEM.
    pub fn authority(&self) -> &str {
        self.keys.authority()
    }

    /// A kubeconfig with the token in it.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_with(&json!({"token": self.token}))
    }

    /// A kubeconfig that reads the token from this file.
    pub fn kubeconfig_with_token_file(&self, path: &Path) -> String {
        self.kubeconfig_with(&json!({"tokenFile": path}))
    }

    fn kubeconfig_with(&self, user: &Value) -> String {
        use base64::Engine;
        let authority = base64::engine::general_purpose::STANDARD.encode(self.authority());
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": self.url(), "certificate-authority-data": authority}}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        })
        .to_string()
    }

    /// Writes a kubeconfig into `folder`; its path.
    pub fn write_kubeconfig(&self, folder: &Path) -> PathBuf {
        let path = folder.join("kubeconfig");
        std::fs::write(&path, self.kubeconfig()).expect("a kubeconfig");
        path
    }

    /// Changes what goes wrong.
    pub fn faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.shared.faults())
    }

    /// Puts this object in place as it is, with its status: new, or changed.
    pub fn put(&self, object: &Value) {
        self.put_all(std::slice::from_ref(object));
    }

    /// Puts these in place at once.
    pub fn put_all(&self, objects: &[Value]) {
        let mut store = self.shared.store();
        for object in objects {
            let resource = store.resource_of(object);
            let resource = resource.unwrap_or_else(|| panic!("not served: {object}"));
            let mut object = object.clone();
            let key = key_of(&resource, &mut object);
            let before = store.get(&resource.qualified(), &key);
            let metadata = &mut object["metadata"];
            if metadata["uid"].is_null() {
                let was = before.map(|before| before.value["metadata"]["uid"].clone());
                metadata["uid"] = was.unwrap_or_else(|| json!(verbs::uid()));
            }
            if metadata["generation"].is_null() {
                metadata["generation"] = json!(1);
            }
            store.put(&resource, key, object);
        }
        drop(store);
        self.shared.moved();
    }

    /// Takes an object away: `qualified` is the resource, `services` or `leases.coordination.k8s.io`.
    pub fn delete(&self, qualified: &str, namespace: &str, name: &str) {
        let mut store = self.shared.store();
        let resource = store.resources.iter().find(|r| r.qualified() == qualified).cloned();
        let resource = resource.unwrap_or_else(|| panic!("not served: {qualified}"));
        store.remove(&resource, &(namespace.to_owned(), name.to_owned()));
        drop(store);
        self.shared.moved();
    }

    /// The object as it is now.
    pub fn get(&self, qualified: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.shared.store();
        let stored = store.get(qualified, &(namespace.to_owned(), name.to_owned()))?;
        Some(Value::clone(&stored.value))
    }

    /// All objects of a resource.
    pub fn all(&self, qualified: &str) -> Vec<Value> {
        let store = self.shared.store();
        store.all(qualified).map(|(_, stored)| Value::clone(&stored.value)).collect()
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.shared.store().version()
    }

    /// Forgets the history: who has not seen all is told 410.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Serves these from now on.
    pub fn install(&self, resources: Vec<Resource>) {
        self.shared.store().resources.extend(resources);
    }

    /// Serves the group no longer; its objects are gone.
    pub fn withdraw(&self, group: &str) {
        let mut store = self.shared.store();
        let gone: Vec<Resource> =
            store.resources.iter().filter(|r| r.group == group).cloned().collect();
        for resource in gone {
            store.withdraw(&resource);
        }
        drop(store);
        self.shared.moved();
    }

    /// Cuts all connections; new ones are welcome.
    pub fn cut(&self) {
        self.door.send_modify(|door| {
            if let Door::Open(cuts) = door {
                *cuts += 1;
            }
        });
    }

    /// Goes away: all connections are cut, new ones refused.
    pub fn away(&self) {
        self.door.send_replace(Door::Shut);
        wait_for(&mut self.opened.clone(), |address| address.is_none().then_some(()));
    }

    /// Comes back, where it was.
    pub fn back(&self) {
        self.door.send_replace(Door::Open(0));
        wait_for(&mut self.opened.clone(), |address| address.map(drop));
    }

    /// Requests so far with this verb for this resource.
    pub fn requests(&self, verb: &str, qualified: &str) -> usize {
        let whose = (verb.to_owned(), qualified.to_owned());
        self.shared.faults().asked.get(&whose).copied().unwrap_or(0)
    }

    /// Requests so far, by verb and resource.
    pub fn all_requests(&self) -> BTreeMap<(String, String), usize> {
        self.shared.faults().asked.clone()
    }

    /// Requests so far whose token was not valid.
    pub fn refused_tokens(&self) -> usize {
        self.shared.faults().refused_tokens
    }

    /// Bookmarks said so far to watches of this resource.
    pub fn bookmarks(&self, qualified: &str) -> usize {
        self.shared.faults().bookmarked.get(qualified).copied().unwrap_or(0)
    }

    /// Watches that are open now.
    pub fn watches(&self, qualified: &str) -> usize {
        self.shared.faults().watches.get(qualified).copied().unwrap_or(0)
    }

    /// The most that were open at once.
    pub fn most_watches(&self, qualified: &str) -> usize {
        self.shared.faults().most_watches.get(qualified).copied().unwrap_or(0)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.door.send_replace(Door::Gone);
        if let Some(thread) = self.thread.take() {
            // It has panicked: the test has failed for that.
            let _ended = thread.join();
        }
    }
}

/// Where the object belongs; its namespace is said, if it was not.
fn key_of(resource: &Resource, object: &mut Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = text(&object["metadata"]["name"]);
    if !resource.namespaced {
        return (String::new(), name);
    }
    if object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!("default");
    }
    (text(&object["metadata"]["namespace"]), name)
}

/// Waits until `value` is what is looked for; a server that cannot do that in time is broken.
fn wait_for<T: Clone, R>(value: &mut watch::Receiver<T>, found: impl Fn(&T) -> Option<R>) -> R {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = found(&value.borrow_and_update()) {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "the API server does not answer");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watches of what has happened.
    pub(crate) fn moved(&self) {
        let version = self.store().version();
        self.version.send_if_modified(|known| {
            let moved = *known != version;
            *known = version;
            moved
        });
    }
}

async fn serve(
    address: SocketAddr,
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    mut door: watch::Receiver<Door>,
    opening: watch::Sender<Option<SocketAddr>>,
) {
    let mut address = address;
    loop {
        let now = *door.borrow_and_update();
        match now {
            Door::Gone => return,
            Door::Shut => {
                opening.send_replace(None);
                if door.changed().await.is_err() {
                    return;
                }
            }
            Door::Open(_) => {
                let listener = TcpListener::bind(address).await.expect("the address");
                address = listener.local_addr().expect("an address");
                opening.send_replace(Some(address));
                listen(&listener, &shared, &tls, &mut door).await;
            }
        }
    }
}

async fn listen(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    tls: &TlsAcceptor,
    door: &mut watch::Receiver<Door>,
) {
    loop {
        tokio::select! {
            changed = door.changed() => {
                if changed.is_err() || !matches!(*door.borrow_and_update(), Door::Open(_)) {
                    return;
                }
            }
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let mut cut = door.clone();
                    cut.mark_unchanged();
                    let connection = connection(stream, Arc::clone(shared), tls.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection => {}
                            _ = cut.changed() => {}
                        }
                    });
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, tls: TlsAcceptor) {
    // Small events must not wait for more.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // A client that goes away in the middle is none of our business.
    let _ended = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    match try_answer(shared, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(),
    }
}

async fn try_answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let latency = shared.faults().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let (head, body) = request.into_parts();
    let token = head.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let valid = shared.faults().tokens.contains(token);
    if !valid {
        shared.faults().refused_tokens += 1;
        return Err(Refusal::new(401, "Unauthorized", "Unauthorized"));
    }
    let resources = shared.store().resources.clone();
    if let Some(told) = discovery::answer(head.uri.path(), &resources) {
        return Ok(told);
    }
    let Some(target) = Target::of(&head.uri, &resources) else { return Ok(nowhere()) };
    let verb = verbs::verb(&head.method, &target);
    let asked = asked(&target);
    permit(&mut shared.faults(), verb, &target, &asked)?;
    let body = body.collect().await.map_err(|error| Refusal::bad(error.to_string()))?;
    let answer = verbs::answer(shared, verb, target, &head.headers, &body.to_bytes())?;
    let cut = shared.faults().cut.take_if(|(of, whose, _)| *of == verb && *whose == asked);
    Ok(match cut {
        Some((_, _, octets)) => answer.map(|body| Cut::after(octets, body).boxed()),
        None => answer,
    })
}

/// What is asked for, as RBAC names it.
fn asked(target: &Target) -> String {
    let part = target.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
    match target.resource.group.as_str() {
        "" => format!("{}{part}", target.resource.plural),
        group => format!("{}{part}.{group}", target.resource.plural),
    }
}

/// Counts the request, and refuses it if it is to be.
fn permit(faults: &mut Faults, verb: &str, target: &Target, asked: &str) -> Result<(), Refusal> {
    let resource = &target.resource;
    let part = target.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
    faults.note(verb, asked);
    if faults.refuse.0 > 0 {
        faults.refuse.0 -= 1;
        let refusal = Refusal::new(faults.refuse.1, "InternalError", "refused on demand");
        return Err(Refusal { retry_after: faults.retry_after, ..refusal });
    }
    if !faults.forbidden.contains(&(verb.to_owned(), asked.to_owned())) {
        return Ok(());
    }
    let place = match &target.namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    let name = target.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    Err(Refusal::new(
        403,
        "Forbidden",
        format!(
            "{}{name} is forbidden: User \"{USER}\" cannot {verb} resource \"{}{part}\" in API group \"{}\" {place}",
            resource.qualified(),
            resource.plural,
            resource.group
        ),
    ))
}
