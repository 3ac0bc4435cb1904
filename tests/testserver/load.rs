//! `load h1|h2|new N ADDR`: N clients that ask without a pause until SIGTERM, each on its own connection
//! (`new`: on a new one for each request). Prints a line of JSON now and then, and the last at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

/// How often progress is printed.
const PROGRESS: Duration = Duration::from_millis(50);
/// So many different failures are told.
const TOLD: usize = 5;
/// A client whose connection cannot be made tries again after this.
const AGAIN: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http1,
    Http2,
    /// HTTP/1.1, a connection for each request.
    New,
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    failed: u64,
    failures: Vec<String>,
    /// Who answered how often.
    pods: BTreeMap<String, u64>,
}

enum Client {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// See the module.
pub(crate) fn load(mut args: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let kind = match args.next().as_deref() {
        Some("h1") => Kind::Http1,
        Some("h2") => Kind::Http2,
        Some("new") => Kind::New,
        other => bail!("h1, h2 or new, not {other:?}"),
    };
    let clients: usize = args.next().context("how many?")?.parse()?;
    let to: SocketAddr = args.next().context("where?")?.parse()?;
    crate::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(kind, clients, to))
}

async fn run(kind: Kind, clients: usize, to: SocketAddr) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    let counts = Rc::new(RefCell::new(Counts::default()));
    let mut asking = JoinSet::new();
    for _ in 0..clients {
        asking.spawn_local(client(kind, to, Rc::clone(&counts), stopped.clone()));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            () = tokio::time::sleep(PROGRESS) => println!("{}", counts.borrow().told()),
        }
    }
    stop.send_replace(true);
    while asking.join_next().await.is_some() {}
    println!("{}", counts.borrow().told());
    Ok(())
}

async fn client(
    kind: Kind,
    to: SocketAddr,
    counts: Rc<RefCell<Counts>>,
    stopped: watch::Receiver<bool>,
) {
    let mut connection = None;
    while !*stopped.borrow() {
        let asked = ask(kind, to, &mut connection).await;
        if asked.is_err() || kind == Kind::New {
            connection = None;
        }
        let failed = asked.is_err();
        counts.borrow_mut().take(asked);
        if failed {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// One request; the pod that answered it.
async fn ask(
    kind: Kind,
    to: SocketAddr,
    connection: &mut Option<Client>,
) -> anyhow::Result<String> {
    // A connection that was closed while nobody asked anything is no failure.
    if let Some(client) = connection
        && !client.is_open().await
    {
        *connection = None;
    }
    let client = match connection {
        Some(client) => client,
        None => connection.insert(Client::connect(kind, to).await?),
    };
    let uri = format!("http://{to}/");
    let request = Request::get(uri).header("host", to.to_string()).body(Empty::new())?;
    let answer = match client {
        Client::Http1(client) => client.send_request(request).await?,
        Client::Http2(client) => client.send_request(request).await?,
    };
    let (status, close) =
        (answer.status(), answer.headers().get("connection").is_some_and(|v| v == "close"));
    let body = answer.into_body().collect().await.context("the body breaks off")?.to_bytes();
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    if close {
        // As it was told; no failure.
        *connection = None;
    }
    let said: serde_json::Value = serde_json::from_slice(&body)?;
    Ok(said["pod"].as_str().unwrap_or_default().to_owned())
}

// === impl Client ===

impl Client {
    async fn connect(kind: Kind, to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await.context("connect")?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        // A connection that ends badly shows in its requests.
        Ok(if kind == Kind::Http2 {
            let (client, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::task::spawn_local(connection);
            Self::Http2(client)
        } else {
            let (client, connection) = http1::handshake(io).await?;
            tokio::task::spawn_local(connection);
            Self::Http1(client)
        })
    }

    async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(client) => client.ready().await.is_ok(),
            Self::Http2(client) => client.ready().await.is_ok(),
        }
    }
}

// === impl Counts ===

impl Counts {
    fn take(&mut self, asked: anyhow::Result<String>) {
        self.requests += 1;
        match asked {
            Ok(pod) => *self.pods.entry(pod).or_default() += 1,
            Err(error) => {
                self.failed += 1;
                let told = format!("{error:#}");
                if self.failures.len() < TOLD && !self.failures.contains(&told) {
                    self.failures.push(told);
                }
            }
        }
    }

    fn told(&self) -> serde_json::Value {
        json!({"requests": self.requests, "failed": self.failed, "failures": self.failures,
            "pods": self.pods})
    }
}
