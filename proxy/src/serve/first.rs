//! Who speaks first on a connection, and what.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nodeway_core::balance::{Connected, Endpoint, Report};
use nodeway_core::detect::{Hello, Verdict, first_bytes, server_name};
use nodeway_core::snapshot::{Backend, Caller};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{LAST_CALL, tcp};
use crate::runtime::Worker;
use crate::upstream::Client;

/// How long a client that has begun to speak may take to say enough.
const PATIENCE: Duration = Duration::from_secs(30);
/// Read before anything is decided: enough for most request heads, so that they are read once.
const FIRST_READ: usize = 4096;

/// What is known before a connection is served.
#[derive(Debug)]
pub(super) struct First {
    /// What is spoken; none if the client left or never finished its first word.
    pub verdict: Option<Verdict>,
    /// What the client has said so far.
    pub bytes: Bytes,
    /// The connection to an endpoint, if one has been opened to hear whether it speaks first.
    pub upstream: Option<Opened>,
}

/// A connection to an endpoint that nothing has been sent over yet.
#[derive(Debug)]
pub(super) struct Opened {
    /// Whose.
    pub endpoint: Arc<Endpoint>,
    /// The connection.
    pub stream: TcpStream,
    /// Counts it.
    pub connected: Connected,
    /// How long it took to be made.
    pub after: Duration,
}

// === impl First ===

impl First {
    /// Known not to be HTTP: nothing is read but what has been.
    pub(super) fn opaque(bytes: Bytes) -> Self {
        Self { verdict: Some(Verdict::Opaque), bytes, upstream: None }
    }

    fn said(verdict: Option<Verdict>, bytes: BytesMut, upstream: Option<Opened>) -> Self {
        Self { verdict, bytes: bytes.freeze(), upstream }
    }
}

// === impl Opened ===

impl Opened {
    /// What is told of its endpoint once it is relayed.
    pub(super) fn report(&self) -> Report {
        Report::Connected { latency: self.after }
    }
}

/// What the client says first on a port where clients are known to speak first.
pub(super) async fn client(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    stream: &mut TcpStream,
) -> First {
    let Some(mut bytes) = more(worker, client, stream).await else {
        return First::said(None, BytesMut::new(), None);
    };
    let verdict = classify(stream, &mut bytes).await.ok().flatten();
    First::said(verdict, bytes, None)
}

/// What the client says on a connection on which nothing is under way; none if it leaves, or has to.
pub(super) async fn more(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    stream: &mut TcpStream,
) -> Option<BytesMut> {
    tokio::select! {
        biased;
        read = first_read(stream) => read.ok().filter(|read| !read.is_empty()),
        () = closing(worker, client) => None,
    }
}

/// What comes first; nothing at the end. Who waits has no buffer: most connections wait.
async fn first_read(stream: &mut TcpStream) -> io::Result<BytesMut> {
    poll_fn(|cx| {
        let mut bytes = BytesMut::with_capacity(FIRST_READ);
        let read = pin!(stream.read_buf(&mut bytes)).poll(cx);
        read.map_ok(|_| bytes)
    })
    .await
}

/// Ends when the worker or the client is closing, and it is too late to say anything.
async fn closing(worker: &Worker, client: &Client) {
    tokio::select! {
        () = worker.closing.wait() => {}
        () = client.closing.wait() => {}
    }
    tokio::time::sleep(LAST_CALL).await;
}

/// What is said first, by whichever side, on a port that declares nothing. A connection to an
/// endpoint is opened at once, unless the client has spoken already: no protocol in which the
/// server speaks first is ever kept waiting.
pub(super) async fn either(
    worker: &Rc<Worker>,
    client_of: &Rc<Client>,
    backend: &Backend,
    caller: Caller,
    stream: &mut TcpStream,
) -> First {
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    match read_now(stream, &mut bytes) {
        Ok(Some(0)) | Err(_) => return First::said(None, bytes, None),
        Ok(Some(_)) => {
            let verdict = classify(stream, &mut bytes).await.ok().flatten();
            return First::said(verdict, bytes, None);
        }
        Ok(None) => {}
    }
    // It is not under way before it is known what it is for.
    let opened = tokio::select! {
        biased;
        _ = stream.readable() => None,
        opened = tcp::open_ahead(worker, client_of, backend, caller) => opened,
    };
    let Some(opened) = opened else { return client(worker, client_of, stream).await };
    tokio::select! {
        biased;
        _ = stream.readable() => {
            let verdict = classify(stream, &mut bytes).await.ok().flatten();
            First::said(verdict, bytes, Some(opened))
        }
        () = closing(worker, client_of) => First::said(None, bytes, None),
        // Data, or its end: either way the server has moved first.
        _ = opened.stream.readable() => First::said(Some(Verdict::Opaque), bytes, Some(opened)),
    }
}

/// The ClientHello of a client that is to speak TLS, and all that it has said; none if it left or never
/// finished it.
pub(super) async fn hello(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    stream: &mut TcpStream,
) -> Option<(Hello, Bytes)> {
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    let decide = |bytes: &[u8]| match server_name(bytes) {
        Hello::NeedMore => None,
        hello => Some(hello),
    };
    tokio::select! {
        biased;
        heard = hear(stream, &mut bytes, decide) => match heard {
            Ok(Heard::Known(hello)) => Some((hello, bytes.freeze())),
            Ok(Heard::End | Heard::Late) | Err(_) => None,
        },
        // Whoever has not said whom it wants by then has nothing under way.
        () = closing(worker, client) => None,
    }
}

/// Reads until what is spoken is known. A client that never finishes its first word is told by
/// HTTP's own timeout when it began like HTTP, else relayed as it is.
async fn classify(stream: &mut TcpStream, bytes: &mut BytesMut) -> io::Result<Option<Verdict>> {
    let decide = |bytes: &[u8]| match first_bytes(bytes) {
        Verdict::NeedMore => None,
        verdict => Some(verdict),
    };
    Ok(match hear(stream, bytes, decide).await? {
        Heard::Known(verdict) => Some(verdict),
        // In the middle of a word.
        Heard::End => (!bytes.is_empty()).then_some(Verdict::NeedMore),
        Heard::Late => None,
    })
}

/// What a client's first word has come to.
enum Heard<T> {
    Known(T),
    /// It has finished before.
    End,
    /// It has taken too long.
    Late,
}

/// Reads until `decide` knows what the octets mean.
async fn hear<T>(
    stream: &mut TcpStream,
    bytes: &mut BytesMut,
    decide: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Heard<T>> {
    if bytes.is_empty() && stream.read_buf(bytes).await? == 0 {
        return Ok(Heard::End);
    }
    // Mostly one read is enough, and there is nothing to wait for.
    if let Some(known) = decide(bytes) {
        return Ok(Heard::Known(known));
    }
    let reading = async {
        loop {
            if stream.read_buf(bytes).await? == 0 {
                return Ok(Heard::End);
            }
            if let Some(known) = decide(bytes) {
                return Ok(Heard::Known(known));
            }
        }
    };
    Box::pin(tokio::time::timeout(PATIENCE, reading)).await.unwrap_or(Ok(Heard::Late))
}

/// Reads what has come: `None` if nothing has, `Some(0)` at the end.
fn read_now(stream: &TcpStream, bytes: &mut BytesMut) -> io::Result<Option<usize>> {
    match stream.try_read_buf(bytes) {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
