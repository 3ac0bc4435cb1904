//! An HTTP/2 endpoint that does as it is told, and a client that sees what comes: on h2, for what
//! hyper hides.
//!
//! Not for broken frames: what is sent here is HTTP/2.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use hyper::http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

/// How long a test's dealings may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an endpoint is to do.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What it announces as `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub max_streams: Option<u32>,
    /// Whether it takes extended CONNECT (RFC 8441).
    pub extended_connect: bool,
    /// So many requests are refused with `REFUSED_STREAM`, their bodies unread.
    pub refuse: usize,
    /// Each call fails with UNAVAILABLE (gRPC), said in a head with nothing behind it.
    pub unavailable: bool,
    /// After so many requests a connection says GOAWAY, in the orderly way, and finishes what it has.
    pub go_away_after: Option<usize>,
}

/// A running endpoint. Its thread ends with the test's process.
#[derive(Debug, Clone, Default)]
pub struct Endpoint(Arc<State>);

#[derive(Debug, Default)]
struct State {
    script: Script,
    connections: AtomicUsize,
    requests: AtomicUsize,
    refused: AtomicUsize,
    open: AtomicUsize,
    most_open_of_one: AtomicUsize,
    released: AtomicBool,
    deaf: AtomicBool,
    listening: AtomicBool,
    taken: AtomicUsize,
}

// === impl Endpoint ===

impl Endpoint {
    /// Starts one at `at`.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn start(at: SocketAddr, script: Script) -> Self {
        let this = Self(Arc::new(State { script, ..State::default() }));
        let state = Arc::clone(&this.0);
        let bind = move || {
            let listener = std::net::TcpListener::bind(at).unwrap_or_else(|e| panic!("{at}: {e}"));
            listener.set_nonblocking(true).expect("a socket");
            listener
        };
        let listener = bind();
        state.listening.store(true, Ordering::SeqCst);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                state.accept(listener).await;
                loop {
                    state.listening.store(false, Ordering::SeqCst);
                    while state.deaf.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    let listener = bind();
                    state.listening.store(true, Ordering::SeqCst);
                    state.accept(listener).await;
                }
            });
        });
        this
    }

    /// Whether it is to refuse new connections; those that it has go on. Returns when it is so.
    pub fn be_deaf(&self, deaf: bool) {
        self.0.deaf.store(deaf, Ordering::SeqCst);
        while self.0.listening.load(Ordering::SeqCst) == deaf {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Connections that it has had.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Requests that it has looked at.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    /// Requests that it has refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.0.refused.load(Ordering::SeqCst)
    }

    /// Requests that it is busy with.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// The most streams that any connection has had at a time.
    #[must_use]
    pub fn most_open_of_one(&self) -> usize {
        self.0.most_open_of_one.load(Ordering::SeqCst)
    }

    /// Octets of bodies that it has read.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::SeqCst)
    }

    /// Lets go of all that are held.
    pub fn release(&self) {
        self.0.released.store(true, Ordering::SeqCst);
    }
}

// === impl State ===

impl State {
    /// Serves who comes to `listener`, until it is to be deaf.
    async fn accept(self: &Arc<Self>, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a listener");
        while !self.deaf.load(Ordering::SeqCst) {
            let soon = Duration::from_millis(2);
            let Ok(accepted) = tokio::time::timeout(soon, listener.accept()).await else {
                continue;
            };
            let (stream, _) = accepted.expect("a connection");
            stream.set_nodelay(true).ok();
            self.connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(connection(stream, Arc::clone(self)));
        }
    }

    async fn released(&self) {
        while !self.released.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 16).max_header_list_size(64 << 10);
    if let Some(most) = state.script.max_streams {
        builder.max_concurrent_streams(most);
    }
    if state.script.extended_connect {
        builder.enable_connect_protocol();
    }
    let Ok(mut connection): Result<Connection<TcpStream, Bytes>, _> =
        builder.handshake(stream).await
    else {
        return;
    };
    let mine = Arc::new(AtomicUsize::new(0));
    let mut had = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let refuse = state.refused.load(Ordering::SeqCst) < state.script.refuse;
        if refuse {
            state.refused.fetch_add(1, Ordering::SeqCst);
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        had += 1;
        state.requests.fetch_add(1, Ordering::SeqCst);
        state.open.fetch_add(1, Ordering::SeqCst);
        let open = mine.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_open_of_one.fetch_max(open, Ordering::SeqCst);
        if state.script.go_away_after == Some(had) {
            connection.graceful_shutdown();
        }
        let (state, mine) = (Arc::clone(&state), Arc::clone(&mine));
        tokio::spawn(async move {
            // What a stream that breaks off means is its client's to say.
            let _ = answer(request, respond, &state).await;
            mine.fetch_sub(1, Ordering::SeqCst);
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// A call that has gone like this.
fn trailers_only(status: &str) -> Response<()> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", status)
        .body(());
    response.expect("a response")
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &State,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let ok = || Response::new(());
    if state.script.unavailable {
        respond.send_response(trailers_only("14"), true)?;
        return Ok(());
    }
    if head.method == Method::CONNECT {
        let out = respond.send_response(ok(), false)?;
        return echo(body, out, None).await;
    }
    match head.uri.path() {
        "/hold" => state.released().await,
        "/early" => {
            for link in ["</a.css>", "</b.js>"] {
                let hint = Response::builder().status(103).header("link", link).body(());
                respond.send_informational(hint.expect("a response"))?;
            }
        }
        "/babble" => {
            for _ in 0..200 {
                let hint =
                    Response::builder().status(103).header("link", "x".repeat(8192)).body(());
                respond.send_informational(hint.expect("a response"))?;
            }
        }
        "/expect" => {
            let mut go_on = ok();
            *go_on.status_mut() = StatusCode::CONTINUE;
            respond.send_informational(go_on)?;
        }
        "/refuse" => {
            let mut no = ok();
            *no.status_mut() = StatusCode::EXPECTATION_FAILED;
            respond.send_response(no, true)?;
            return Ok(());
        }
        "/echo" => {
            let out = respond.send_response(ok(), false)?;
            let mut fields = HeaderMap::new();
            fields.insert("grpc-status", "0".parse().expect("a value"));
            return echo(body, out, Some(fields)).await;
        }
        "/trailers-only" => {
            respond.send_response(trailers_only("5"), true)?;
            return Ok(());
        }
        "/slow" => {
            state.released().await;
        }
        _ => {}
    }
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        length += data.len();
        state.taken.fetch_add(data.len(), Ordering::SeqCst);
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let mut said = format!("{} {}\nbody: {length}\n", head.method, head.uri);
    for (name, value) in head.headers.iter().chain(&trailers) {
        said += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    let mut out = respond.send_response(ok(), false)?;
    out.send_data(said.into(), true)
}

/// Gives all back as it comes, with `trailers` at its end.
async fn echo(
    mut body: RecvStream,
    mut out: SendStream<Bytes>,
    trailers: Option<HeaderMap>,
) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        send(&mut out, data.clone()).await?;
        body.flow_control().release_capacity(data.len())?;
    }
    match trailers {
        Some(fields) => out.send_trailers(fields),
        None => out.send_data(Bytes::new(), true),
    }
}

/// Sends `data` as the receiver has room for it.
///
/// # Errors
/// The stream is gone.
pub async fn send(out: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        out.reserve_capacity(data.len());
        let Some(room) = poll_fn(|cx| out.poll_capacity(cx)).await else {
            return Err(Reason::STREAM_CLOSED.into());
        };
        let piece = data.split_to(room?.min(data.len()));
        out.send_data(piece, false)?;
    }
    Ok(())
}

/// Runs a test's dealings.
///
/// # Panics
/// When they take too long.
pub fn run<T>(dealings: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(PATIENCE, dealings).await.expect("done within half a minute")
    })
}

/// A client's connection to `to`; within `run`.
///
/// # Panics
/// When nobody speaks HTTP/2 there.
pub async fn connect(to: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(to).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 16);
    let (sender, connection) = builder.handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Response<()>,
    /// What came before it.
    pub interim: Vec<Response<()>>,
    /// Its body.
    pub body: Vec<u8>,
    /// What came after.
    pub trailers: HeaderMap,
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads a response to its end.
///
/// # Errors
/// It breaks off.
pub async fn read(mut response: ResponseFuture) -> Result<Answer, h2::Error> {
    let mut interim = Vec::new();
    let head = poll_fn(|cx| {
        while let std::task::Poll::Ready(Some(said)) = response.poll_informational(cx) {
            interim.push(said?);
        }
        std::pin::Pin::new(&mut response).poll(cx)
    });
    let (head, mut incoming) = head.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = incoming.trailers().await?.unwrap_or_default();
    Ok(Answer { head: Response::from_parts(head, ()), interim, body, trailers })
}
