//! One HTTP request to one endpoint.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use h2::ext::Protocol;
use http::uri::Scheme;
use http::{Request, Response};
use nodeway_core::balance::{Backend, Connected, Endpoint, Millis, Overflow};
use tokio::net::TcpStream;

use super::body::HeldUpBy;
use super::http1::{self, Failure};
use super::http2::{Connection, OpenStream};
use super::link::{Age, Http1, Link};
use super::obtain::{NoConnection, Obtained, first, obtain};
use super::pool::keep_swept;
use super::prewarm::prewarm;
use super::shared::{NoHttp2, Shared};
use super::tls::{Offer, secure};
use super::transport::{Counted, Upgraded};
use super::{Client, RequestBody, Transport, connect};
use crate::runtime::{SignalListener, Worker, fired};
use crate::streams::{BodyError, Inbound};

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Which idle connections of HTTP/1 may carry a request: the end of any may be on its way (RFC 9112, 9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// All: if one has ended, the request can be sent again.
    Any,
    /// Those that have not ended as far as can be known: if its connection ends before the response, the request
    /// is lost.
    Alive,
    /// None: it has been lost on one already, and is not to be lost again for the same reason.
    Never,
}

/// To whom a request is sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// To whom.
    pub endpoint: &'a Arc<Endpoint>,
    /// Whose endpoint it is: what its policies say of TLS and of connections holds.
    pub backend: &'a Backend,
    /// What is spoken.
    pub version: Version,
    /// Whether a server that can choose (over TLS) may choose the other version.
    pub choice: bool,
    /// Whether the caller can make the request again by himself: it need not be kept for him.
    pub spared: bool,
    /// Which idle connections of HTTP/1 may carry it.
    pub reuse: Reuse,
    /// When.
    pub now: Millis,
}

/// A request that got no response.
#[derive(Debug)]
pub enum SendError {
    /// No connection could be made; nothing was sent.
    Connect {
        /// The request, whole.
        request: Box<Request<RequestBody>>,
        /// Why.
        error: io::Error,
    },
    /// The connection was closed before the request was written, or the endpoint has said that it has not
    /// looked at it (RFC 9113, 8.7).
    Unsent {
        /// The request, whole; none if the caller can make it again.
        request: Option<Box<Request<RequestBody>>>,
        /// Whether a connection was closed that had never carried a response: others may be closed for
        /// having been idle, which is nobody's fault.
        fresh: bool,
    },
    /// The server has chosen to speak another version than the one that was meant; nothing was sent.
    OtherVersion {
        /// The request, whole.
        request: Box<Request<RequestBody>>,
        /// What it speaks.
        version: Version,
    },
    /// The connection ended, or made no sense, before the response's head.
    Lost {
        /// Why.
        error: BodyError,
        /// The request, over HTTP/1, if it has no body.
        request: Option<Box<Request<RequestBody>>>,
    },
    /// As many connections are open, and as many requests wait for one, as may; nothing was sent.
    Full {
        /// The request, whole.
        request: Box<Request<RequestBody>>,
        /// What is full.
        overflow: Overflow,
    },
    /// The request's body broke off on the client's side, or was wrong: the endpoint is not to blame.
    Abandoned,
    /// The endpoint is gone, and the time is over that policy gives to what is under way with it.
    Cut,
}

/// The connection that a response comes over. To be given back when the response's body has ended;
/// dropped before that, an HTTP/1 connection is closed.
#[derive(Debug)]
pub struct Lease {
    carrier: Carrier,
    link: Rc<Link>,
    latency: Option<Duration>,
}

#[derive(Debug)]
enum Carrier {
    Http1(Http1),
    Http2(OpenStream),
    /// It has left HTTP, and somebody else has it.
    Upgraded,
}

/// What is under way with an endpoint, and may have to end with it.
#[derive(Debug)]
pub struct UnderWay {
    /// Whoever is told looks for links that somebody holds.
    _link: Rc<Link>,
    cut: SignalListener,
}

/// Sends `request` over an idle connection of `client` to the endpoint, or a new one.
///
/// # Errors
/// See [`SendError`]: those that hand the request back have sent none of it.
pub async fn send(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    request: Box<Request<RequestBody>>,
) -> Result<(Response<Inbound>, Lease), SendError> {
    let link = client.link(worker, &to);
    if to.choice
        && link.tls().is_some()
        && let Some(version) = link.chosen()
        && version != to.version
    {
        return Err(SendError::OtherVersion { request, version });
    }
    let mut cut = link.cut();
    let mut sending = pin!(async move {
        match to.version {
            Version::Http1 => send_http1(worker, client, to, link, request).await,
            Version::Http2 => send_http2(worker, client, to, link, request).await,
        }
    });
    poll_fn(|cx| match (sending.as_mut().poll(cx), &mut cut) {
        (Poll::Pending, Some(cut)) => cut.poll_fired(cx).map(|()| Err(SendError::Cut)),
        (sent, _) => sent,
    })
    .await
}

async fn send_http1(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    link: Rc<Link>,
    mut request: Box<Request<RequestBody>>,
) -> Result<(Response<Inbound>, Lease), SendError> {
    let mut pooled = if link.has_waiting() { None } else { link.take_http1(to.now) };
    if pooled.is_some() {
        match to.reuse {
            Reuse::Any => {}
            Reuse::Alive => pooled = Box::pin(alive(&link, pooled, to.now)).await,
            // The new one has its place.
            Reuse::Never => pooled = None,
        }
    }
    let connection = match pooled {
        Some(connection) => connection,
        // Apart: what a new connection needs would make every request's future larger, and that is copied.
        None => match Box::pin(obtain(worker, client, to, &link, request.body())).await {
            Ok(Obtained::Idle(connection)) => connection,
            Ok(Obtained::New(transport, Version::Http1)) => new_http1(worker, transport),
            Ok(Obtained::New(transport, version)) => {
                Box::pin(keep(worker, client, &link, version, transport)).await;
                return Err(SendError::OtherVersion { request, version });
            }
            Err(NoConnection::Failed(error)) => {
                return Err(SendError::Connect { request, error });
            }
            Err(NoConnection::Full(overflow)) => {
                return Err(SendError::Full { request, overflow });
            }
        },
    };
    request.body().held_up(HeldUpBy::Endpoint);
    let fresh = connection.is_fresh();
    connection.begin();
    prewarm(worker, client, &link, to.choice);
    let handed_over = request.body_mut().hand_over();
    let mut request = Some(request);
    match poll_fn(|cx| connection.connection.poll_send(cx, &mut request)).await {
        Ok(response) => {
            let latency = handed_over.elapsed();
            Ok((response, Lease { carrier: Carrier::Http1(connection), link, latency }))
        }
        Err(Failure::Unsent) => Err(SendError::Unsent { request, fresh }),
        Err(Failure::Abandoned) => Err(SendError::Abandoned),
        Err(Failure::Lost(error)) => {
            let request = connection.connection.take_back();
            Err(SendError::Lost { error, request })
        }
    }
}

/// An idle connection that has not ended, as far as can be known: its end may have come and nobody has looked
/// yet. A request that can be sent only once must not meet one (RFC 9112, 9.5). Others do: they are sent again.
async fn alive(link: &Link, mut pooled: Option<Http1>, now: Millis) -> Option<Http1> {
    while let Some(connection) = pooled {
        if !connection.connection.is_over_now().await {
            return Some(connection);
        }
        pooled = link.take_http1(now);
    }
    None
}

async fn send_http2(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    link: Rc<Link>,
    mut request: Box<Request<RequestBody>>,
) -> Result<(Response<Inbound>, Lease), SendError> {
    keep_swept(worker, client);
    let shared = link.http2();
    let body = request.body();
    let pend = || {
        // With the first connection still being made it is the endpoint that all wait for.
        if shared.has_line() {
            body.held_up(HeldUpBy::Others);
        }
        link.pend()
    };
    let open = async || {
        let connected = match shared.len() {
            0 => {
                body.held_up(HeldUpBy::Others);
                shared.in_line(true);
                let connected = Box::pin(first(&link)).await;
                shared.in_line(false);
                connected
            }
            // It can wait for one of those that there are.
            _ => link
                .connect()
                .map_err(|full| NoHttp2::Failed(io::Error::other(full.to_string())))?,
        };
        body.held_up(HeldUpBy::Endpoint);
        let dialled = dial(worker, client, &link, connected, to.version, to.choice);
        let dialled = Box::pin(dialled).await;
        let (transport, version) = dialled.map_err(NoHttp2::Failed)?;
        if version != Version::Http2 {
            return Err(NoHttp2::Other(Some(transport), version));
        }
        let opened = Box::pin(open_http2(worker, shared, transport)).await;
        opened.map_err(|error| NoHttp2::Failed(io::Error::other(error)))
    };
    let stream = loop {
        match shared.stream(pend, &open).await {
            // The server was asked by somebody who left it the choice.
            Err(NoHttp2::Other(None, _)) if !to.choice => {}
            stream => break stream,
        }
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(NoHttp2::Failed(error)) => {
            return Err(SendError::Connect { request, error });
        }
        Err(NoHttp2::Full(overflow)) => {
            return Err(SendError::Full { request, overflow });
        }
        Err(NoHttp2::Other(transport, version)) => {
            if let Some(transport) = transport {
                Box::pin(keep(worker, client, &link, version, transport)).await;
            }
            return Err(SendError::OtherVersion { request, version });
        }
    };
    request.body().held_up(HeldUpBy::Endpoint);
    if request.extensions().get::<Protocol>().is_some() && !stream.takes_extended_connect().await {
        let version = Version::Http1;
        return Err(SendError::OtherVersion { request, version });
    }
    if link.tls().is_some() {
        secured(&mut request);
    }
    let handed_over = request.body_mut().hand_over();
    let (response, open) = stream.send(*request, to.spared).await?;
    let latency = handed_over.elapsed();
    Ok((response, Lease { carrier: Carrier::Http2(open), link, latency }))
}

/// A new connection, and what is spoken over it.
pub(super) async fn dial(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    link: &Link,
    connected: Connected,
    version: Version,
    choice: bool,
) -> io::Result<(Counted, Version)> {
    let life = link.life();
    let stream = connect(worker, client, link.endpoint().address, &life).await?;
    let Some(tls) = link.tls() else {
        return Ok((Counted::new(Transport::Plain(stream), connected), version));
    };
    let offer = if choice { Offer::Either } else { Offer::Only(version) };
    let (stream, agreed) = secure(worker, tls, offer, stream, life.connect_timeout).await?;
    let version = agreed.unwrap_or(version);
    if choice {
        link.choose(version);
        keep_swept(worker, client);
    }
    Ok((Counted::new(Transport::Tls(stream), connected), version))
}

/// How much earlier than others a new connection is too old.
fn early(worker: &Worker) -> u8 {
    worker.with_random(|random| random.u8(..))
}

/// RFC 9113, 8.3.1: the scheme is the one of this connection.
fn secured(request: &mut Request<RequestBody>) {
    if request.uri().scheme() == Some(&Scheme::HTTP) {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// Keeps `stream`, connected to `endpoint` of `backend` in the clear but not used yet, for `client`'s next
/// request to it.
pub async fn adopt(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (backend, endpoint): (&Backend, &Arc<Endpoint>),
    version: Version,
    (stream, connected): (TcpStream, Connected),
) {
    let now = worker.clock.now();
    let to =
        To { endpoint, backend, version, choice: false, spared: false, reuse: Reuse::Any, now };
    let link = client.link(worker, &to);
    if link.tls().is_none() {
        let transport = Counted::new(Transport::Plain(stream), connected);
        keep(worker, client, &link, version, transport).await;
    }
}

/// Fires when what is under way between `client` and an endpoint is to be cut, if its policy has it so: for
/// connections that are relayed as they are.
pub fn under_way(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (backend, endpoint): (&Backend, &Arc<Endpoint>),
) -> Option<UnderWay> {
    backend.settings().connections.drain?;
    let (version, now) = (Version::Http1, worker.clock.now());
    let to =
        To { endpoint, backend, version, choice: false, spared: false, reuse: Reuse::Any, now };
    let link = client.link(worker, &to);
    keep_swept(worker, client);
    link.cut().map(|cut| UnderWay { _link: link, cut })
}

pub(super) async fn keep(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    link: &Rc<Link>,
    version: Version,
    transport: Counted,
) {
    keep_swept(worker, client);
    match version {
        Version::Http1 => {
            link.put_http1(new_http1(worker, transport));
        }
        Version::Http2 => {
            let shared = link.http2();
            if shared.is_empty()
                && let Ok(connection) = open_http2(worker, shared, transport).await
            {
                shared.adopt(connection);
            }
        }
    }
}

fn new_http1(worker: &Worker, transport: Counted) -> Http1 {
    let ticket = transport.ticket().cloned();
    let age = Age::new(worker.clock.now(), early(worker));
    Http1::new(http1::Connection::new(transport), age, ticket)
}

async fn open_http2(
    worker: &Worker,
    shared: &Rc<Shared>,
    transport: Counted,
) -> Result<Rc<Connection>, h2::Error> {
    let ticket = transport.ticket().cloned();
    Connection::open(transport, shared, worker.clock, early(worker), ticket).await
}

// === impl Lease ===

impl Lease {
    /// How long the response was waited for once all of its request was there; none if it came before that.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// The response has ended: the connection may carry another.
    pub fn give_back(self, worker: &Rc<Worker>, client: &Rc<Client>) {
        let connection = match self.carrier {
            Carrier::Http1(connection) => connection,
            Carrier::Http2(open) => return open.response_ended(),
            Carrier::Upgraded => return,
        };
        if connection.connection.is_idle() {
            if self.link.put_http1(connection) {
                keep_swept(worker, client);
            }
            return;
        }
        if !connection.connection.is_sending() {
            return;
        }
        let (worker, client, link) = (Rc::clone(worker), Rc::clone(client), self.link);
        tokio::task::spawn_local(async move {
            if link.put_soon(connection).await {
                keep_swept(&worker, &client);
            }
        });
    }

    /// The connection itself, whose response leads out of HTTP; none if it is HTTP/2's.
    pub fn upgraded(&mut self) -> Option<Upgraded> {
        match std::mem::replace(&mut self.carrier, Carrier::Upgraded) {
            Carrier::Http1(connection) => connection.connection.into_upgraded(),
            Carrier::Http2(_) | Carrier::Upgraded => None,
        }
    }

    /// Fires when the response is to be cut, if its policy has it so.
    pub fn cut(&self) -> Option<SignalListener> {
        self.link.cut()
    }

    /// The same of what goes on when the response has ended.
    pub fn under_way(&self) -> Option<UnderWay> {
        self.cut().map(|cut| UnderWay { _link: Rc::clone(&self.link), cut })
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Waits until it is to be cut, if that may come.
    pub async fn cut(mut this: Option<Self>) {
        fired(this.as_mut().map(|this| &mut this.cut)).await;
    }
}
