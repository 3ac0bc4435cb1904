//! Requests on their whole way through the proxy, on loopback, with nobody's connection in front of them: they
//! can be dropped wherever they stand.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use nodeway_core::model::*;
use nodeway_core::snapshot::{Backend, CompileOptions, Compiler, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::runtime::{Clock, Published, Signal};
use crate::streams::Inbound;
use crate::telemetry::Metrics;

mod again;
mod blame;
mod cancelled;
mod held_up;
mod rest;

const SOON: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// A Service `web`, and what its requests meet.
struct World {
    worker: Rc<Worker>,
    version: Version,
}

/// How `web` is asked.
#[derive(Default)]
struct Setting {
    settings: BackendSettings,
    timeouts: Timeouts,
    retry: Option<Retry>,
    /// Where a Service is that gets copies.
    copies_to: Option<SocketAddr>,
    /// What its endpoint speaks, if it is not what its clients do.
    speaks: Option<Version>,
}

/// A server as tasks of this thread. Its first two answers are 503 where `moody`; `mute`, it has none at all.
#[derive(Default)]
struct Server {
    moody: bool,
    mute: bool,
    /// So many on one connection of HTTP/2; as many as may be if it does not say.
    streams: Option<u32>,
    requests: Cell<usize>,
}

// === impl World ===

impl World {
    fn new(version: Version, at: SocketAddr, setting: Setting) -> Self {
        let Setting { settings, timeouts, retry, copies_to, speaks } = setting;
        let protocol = match speaks {
            None => AppProtocol::Http,
            Some(Version::Http1) => AppProtocol::Http1,
            Some(Version::Http2) => AppProtocol::Http2,
        };
        let mut objects = service("web", protocol, at);
        let copies = |at| service("copies", protocol, at);
        objects.extend(copies_to.into_iter().flat_map(copies));
        let target = |of| BackendTarget::Service { service: name(of), port: 80 };
        let mirror = || Filter::Mirror(Mirror { target: target("copies"), share: (1, 1) });
        let path = PathMatch::Prefix("/".into());
        objects.push(Object::Route(Route {
            kind: Kind::HttpRoute,
            name: name("route"),
            generation: 1,
            created: None,
            parents: vec![ParentRef::new(name("web"))],
            rules: Rules::Http(vec![HttpRule {
                name: None,
                matches: vec![HttpMatch { path, headers: vec![], queries: vec![], method: None }],
                filters: copies_to.map(|_| mirror()).into_iter().collect(),
                backends: vec![BackendRef { weight: 1, target: target("web"), filters: vec![] }],
                timeouts,
                retry,
                persistence: None,
            }]),
        }));
        objects.push(Object::BackendPolicy(BackendPolicy {
            name: name("policy"),
            generation: 1,
            created: None,
            targets: vec![PolicyTarget { service: name("web"), section: None }],
            settings: Ok(settings.into()),
        }));
        let mut store = Store::default();
        for object in objects {
            assert!(store.apply(Change::Apply(object)));
        }
        let mut compiler = Compiler::new(CompileOptions::default());
        let published = Arc::new(Published::new());
        published.publish(compiler.compile(&mut store).unwrap().snapshot);
        let seed = Metrics::new(1).shards().remove(0);
        let worker = Worker::new(Clock::start(), seed.open(), published, false);
        Self { worker: worker.into(), version }
    }

    /// A connection of a client that has made no other.
    fn conn(&self) -> Rc<Conn> {
        let client = Client::new(None, "test".into(), None, Signal::default());
        let target = Target::service_port(name("web"), 80, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (worker, version) = (Rc::clone(&self.worker), self.version);
        Rc::new(Conn { worker, client, target, version })
    }

    /// What is under way with a Service is for `f` to look at.
    fn with<T>(&self, of: &str, f: impl FnOnce(&Backend) -> T) -> Option<T> {
        let view = self.worker.view();
        view.service_port(&name(of), 80).map(|frontend| f(&frontend.backend))
    }

    /// All that is under way, of requests and of connections.
    fn under_way(&self) -> (u32, u32) {
        let count = |backend: &Backend| {
            let all = backend.lasting().under_way();
            let endpoints: u32 = backend.endpoints().iter().map(|e| e.active()).sum();
            (all.active() + all.pending() + all.retries() + endpoints, all.connections())
        };
        let counts = ["web", "copies"].map(|of| self.with(of, count).unwrap_or_default());
        (counts[0].0 + counts[1].0, counts[0].1 + counts[1].1)
    }

    fn pending(&self) -> u32 {
        self.with("web", |web| web.lasting().under_way().pending()).unwrap()
    }

    /// A request without a body.
    fn get(&self) -> Request<Inbound> {
        let request = Request::get(match self.version {
            Version::Http1 => "/",
            Version::Http2 => "http://web/",
        });
        request.header("host", "web").body(Inbound::Empty).unwrap()
    }

    /// A request to leave HTTP, as it is said inside, and what keeps its client from hanging up.
    fn websocket(&self) -> (Request<Inbound>, impl Sized + use<>) {
        let (says, body) = Inbound::later();
        let mut request = self.get();
        let fields = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in fields {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if self.version == Version::Http2 {
            *request.body_mut() = body;
        }
        (request, says)
    }
}

fn name(of: &str) -> ObjectName {
    ObjectName::new("shop", of)
}

fn service(of: &str, protocol: AppProtocol, at: SocketAddr) -> Vec<Object> {
    let port = ServicePort { name: "http".into(), port: 80, protocol };
    vec![
        Object::Service(Service::new(name(of), vec![], vec![port])),
        Object::EndpointSlice(EndpointSlice {
            name: name(of),
            service: name(of),
            ports: vec![EndpointPort { name: "http".into(), port: at.port() }],
            endpoints: vec![EndpointAddress::new(at.ip())],
        }),
    ]
}

/// One connection and no more, with a policy that ejects at the first failure.
fn one_connection() -> BackendSettings {
    let backend = Amounts { connections: NonZeroU32::new(1), ..Amounts::default() };
    let limits = Limits { backend, ..Limits::default() };
    BackendSettings { limits, ..BackendSettings::default() }
}

/// Asks and reads the answer.
async fn ask(conn: Rc<Conn>, request: Request<Inbound>) -> (StatusCode, Option<Bytes>) {
    let response = exchange::handle(conn, request, None).await;
    let status = response.status();
    let body = response.into_body().collect().await;
    (status, body.ok().map(http_body_util::Collected::to_bytes))
}

// === impl Server ===

impl Server {
    async fn start(self, version: Version) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (this, at) = (Rc::new(self), listener.local_addr().unwrap());
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = Rc::clone(&this);
                // Who has gone does not listen.
                match version {
                    Version::Http1 => {
                        tokio::task::spawn_local(async move { drop(server.http1(stream).await) })
                    }
                    Version::Http2 => {
                        tokio::task::spawn_local(async move { drop(server.http2(stream).await) })
                    }
                };
            }
        });
        at
    }

    /// What the next request is answered with; waits for ever where there is no answer.
    async fn status(&self) -> StatusCode {
        let number = self.requests.get();
        self.requests.set(number + 1);
        if self.mute {
            std::future::pending::<()>().await;
        }
        let busy = self.moody && number < 2;
        if busy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }

    async fn http1(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut heard = Vec::new();
        while stream.read_buf(&mut heard).await? > 0 {
            if !heard.ends_with(b"\r\n\r\n") {
                continue;
            }
            let switch = heard.windows(8).any(|word| word.eq_ignore_ascii_case(b"upgrade:"));
            heard.clear();
            let status = self.status().await;
            if switch && status == StatusCode::OK {
                stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n").await?;
                while stream.read_buf(&mut heard).await? > 0 {}
                return Ok(());
            }
            let answer = format!("HTTP/1.1 {} X\r\ncontent-length: 2\r\n\r\nok", status.as_u16());
            stream.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }

    async fn http2(self: Rc<Self>, stream: TcpStream) -> Result<(), h2::Error> {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        if let Some(streams) = self.streams {
            builder.max_concurrent_streams(streams);
        }
        let mut connection = builder.handshake::<_, Bytes>(stream).await?;
        while let Some(asked) = connection.accept().await {
            let (request, mut respond) = asked?;
            let server = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                let response = Response::builder().status(server.status().await);
                let Ok(mut body) = respond.send_response(response.body(()).unwrap(), false) else {
                    return;
                };
                if *request.method() == Method::CONNECT {
                    let mut said = request.into_body();
                    while let Some(Ok(_)) = said.data().await {}
                }
                let _ = body.send_data("ok".into(), true);
            });
        }
        Ok(())
    }
}

/// Runs `test` as requests run on a worker: as a task among others.
fn run(test: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::task::spawn_local(test).await.unwrap() };
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Waits until it is so.
async fn eventually(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(MS).await;
    }
}
