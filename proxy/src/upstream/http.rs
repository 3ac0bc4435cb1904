//! One HTTP request to one endpoint.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use h2::ext::Protocol;
use http::uri::Scheme;
use http::{Request, Response};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use nodeway_core::balance::{BackendTls, Endpoint};
use tokio::net::TcpStream;

use super::http2::{Connection, OpenStream};
use super::interim::Listener;
use super::pool::{IDLE_LIFE_MILLIS, PoolKey};
use super::shared::NoHttp2;
use super::tls::{Offer, secure};
use super::{Client, RequestBody, Transport, connect};
use crate::runtime::Worker;
use crate::streams::{BodyError, Inbound};

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// To whom a request is sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// To whom.
    pub endpoint: &'a Endpoint,
    /// Under which policy; in the clear without.
    pub tls: Option<&'a Arc<BackendTls>>,
    /// What is spoken.
    pub version: Version,
    /// Whether a server that can choose (over TLS) may choose the other version.
    pub choice: bool,
    /// Whether the caller can make the request again by himself: it need not be kept for him.
    pub spared: bool,
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
    },
    /// The request's body broke off on the client's side, or was wrong: the endpoint is not to blame.
    Abandoned,
}

/// The connection that a response comes over. To be given back when the response's body has ended;
/// dropped before that, an HTTP/1 connection is closed.
#[derive(Debug)]
pub struct Lease {
    carrier: Carrier,
    key: PoolKey,
}

#[derive(Debug)]
enum Carrier {
    Http1(http1::SendRequest<RequestBody>),
    Http2(OpenStream),
}

/// Sends `request` over an idle connection of `client` to the endpoint, or a new one.
///
/// # Errors
/// See [`SendError`]: those that hand the request back have sent none of it.
pub async fn send(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    request: Request<RequestBody>,
) -> Result<(Response<Inbound>, Lease), SendError> {
    if to.tls.is_some()
        && to.choice
        && let Some(version) = client.pool.borrow().chosen(to.key())
        && version != to.version
    {
        return Err(SendError::OtherVersion { request: Box::new(request), version });
    }
    match to.version {
        Version::Http1 => send_http1(worker, client, to, request).await,
        Version::Http2 => send_http2(worker, client, to, request).await,
    }
}

async fn send_http1(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    mut request: Request<RequestBody>,
) -> Result<(Response<Inbound>, Lease), SendError> {
    let listener = Listener::of(&request).map(Arc::new);
    if let Some(listener) = listener.clone() {
        hyper::ext::on_informational(&mut request, move |interim| {
            listener.hear(interim.status(), interim.headers());
        });
    }
    let pooled = client.pool.borrow_mut().take_http1(to.key());
    let fresh = pooled.is_none();
    let mut sender = match pooled {
        Some(sender) => sender,
        // Apart: what a new connection needs would make every request's future larger, and that is copied.
        None => match Box::pin(dial(worker, client, to)).await {
            Ok((transport, Version::Http1)) => match handshake_http1(transport).await {
                Ok(sender) => sender,
                Err(error) => return Err(SendError::Lost { error: BodyError::Http1(error) }),
            },
            Ok((transport, version)) => {
                Box::pin(keep(worker, client, to.key(), version, transport)).await;
                return Err(SendError::OtherVersion { request: Box::new(request), version });
            }
            Err(error) => return Err(SendError::Connect { request: Box::new(request), error }),
        },
    };
    let flooded = async {
        match &listener {
            Some(listener) => listener.flooded().await,
            None => std::future::pending().await,
        }
    };
    let sent = tokio::select! {
        biased;
        sent = sender.try_send_request(request) => sent,
        () = flooded => return Err(SendError::Lost { error: BodyError::Endless }),
    };
    match sent {
        Ok(response) => {
            let lease = Lease { carrier: Carrier::Http1(sender), key: to.key() };
            Ok((response.map(Inbound::Http1), lease))
        }
        Err(error) => Err(lost(error, fresh)),
    }
}

async fn send_http2(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
    mut request: Request<RequestBody>,
) -> Result<(Response<Inbound>, Lease), SendError> {
    let shared = client.pool.borrow_mut().http2(to.key(), worker.clock);
    keep_swept(worker, client);
    let open = async || {
        let (transport, version) = dial(worker, client, to).await.map_err(NoHttp2::Failed)?;
        if version != Version::Http2 {
            return Err(NoHttp2::Other(Some(transport), version));
        }
        let opened = Connection::open(transport, &shared, worker.clock).await;
        opened.map_err(|error| NoHttp2::Failed(io::Error::other(error)))
    };
    let stream = loop {
        match shared.stream(&open).await {
            // The server was asked by somebody who left it the choice.
            Err(NoHttp2::Other(None, _)) if !to.choice => {}
            stream => break stream,
        }
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(NoHttp2::Failed(error)) => {
            return Err(SendError::Connect { request: Box::new(request), error });
        }
        Err(NoHttp2::Other(transport, version)) => {
            if let Some(transport) = transport {
                keep(worker, client, to.key(), version, transport).await;
            }
            return Err(SendError::OtherVersion { request: Box::new(request), version });
        }
    };
    if request.extensions().get::<Protocol>().is_some() && !stream.takes_extended_connect().await {
        let version = Version::Http1;
        return Err(SendError::OtherVersion { request: Box::new(request), version });
    }
    if to.tls.is_some() {
        secured(&mut request);
    }
    let (response, open) = stream.send(request, to.spared).await?;
    Ok((response, Lease { carrier: Carrier::Http2(open), key: to.key() }))
}

/// A new connection, and what is spoken over it.
async fn dial(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    to: To<'_>,
) -> io::Result<(Transport, Version)> {
    let stream = connect(worker, client, to.endpoint.address).await?;
    let Some(tls) = to.tls else { return Ok((Transport::Plain(stream), to.version)) };
    let offer = if to.choice { Offer::Either } else { Offer::Only(to.version) };
    let (stream, agreed) = secure(worker, tls, offer, stream).await?;
    let version = agreed.unwrap_or(to.version);
    if to.choice {
        client.pool.borrow_mut().choose(to.key(), version);
        keep_swept(worker, client);
    }
    Ok((Transport::Tls(stream), version))
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

/// Keeps `stream`, connected to `endpoint` in the clear but not used yet, for `client`'s next request to it.
pub async fn adopt(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    endpoint: &Endpoint,
    version: Version,
    stream: TcpStream,
) {
    let key = PoolKey { endpoint: endpoint.id, tls: 0 };
    keep(worker, client, key, version, Transport::Plain(stream)).await;
}

async fn keep(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    key: PoolKey,
    version: Version,
    transport: Transport,
) {
    match version {
        Version::Http1 => {
            if let Ok(sender) = handshake_http1(transport).await {
                Lease { carrier: Carrier::Http1(sender), key }.give_back(worker, client);
            }
        }
        Version::Http2 => {
            let shared = client.pool.borrow_mut().http2(key, worker.clock);
            keep_swept(worker, client);
            if shared.is_empty()
                && let Ok(connection) = Connection::open(transport, &shared, worker.clock).await
            {
                shared.adopt(connection);
            }
        }
    }
}

async fn handshake_http1(
    transport: Transport,
) -> Result<http1::SendRequest<RequestBody>, hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(transport)).await?;
    // Ends when the sender is dropped or the endpoint closes; the errors that matter reach the
    // request that met them.
    tokio::task::spawn_local(connection.with_upgrades());
    Ok(sender)
}

fn lost(mut failed: TrySendError<Request<RequestBody>>, fresh: bool) -> SendError {
    match failed.take_message() {
        Some(request) => SendError::Unsent { request: Some(Box::new(request)), fresh },
        None if failed.error().is_user() => SendError::Abandoned,
        None => SendError::Lost { error: BodyError::Http1(failed.into_error()) },
    }
}

// === impl To ===

impl To<'_> {
    fn key(&self) -> PoolKey {
        PoolKey { endpoint: self.endpoint.id, tls: self.tls.map_or(0, |tls| tls.id) }
    }
}

// === impl Lease ===

impl Lease {
    /// The response has ended: the connection may carry another.
    pub fn give_back(self, worker: &Rc<Worker>, client: &Rc<Client>) {
        let sender = match self.carrier {
            Carrier::Http1(sender) => sender,
            Carrier::Http2(open) => return open.response_ended(),
        };
        let now = worker.clock.now();
        if client.pool.borrow_mut().put_http1(self.key, sender, now) {
            keep_swept(worker, client);
        }
    }
}

/// Sees to it that `client`'s pool is swept as long as there is something in it; to be called wherever
/// something is put there, if only the place for a connection that is not made yet.
fn keep_swept(worker: &Rc<Worker>, client: &Rc<Client>) {
    if std::mem::replace(&mut client.pool.borrow_mut().swept, true) {
        return;
    }
    let (worker, client) = (Rc::clone(worker), Rc::downgrade(client));
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(IDLE_LIFE_MILLIS / 4)).await;
            let Some(client) = client.upgrade() else { return };
            let mut pool = client.pool.borrow_mut();
            if pool.sweep(worker.clock.now()) == 0 {
                pool.swept = false;
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use nodeway_core::balance::EndpointId;

    use super::*;
    use crate::runtime::{Clock, Published, Signal};
    use crate::telemetry::Metrics;

    fn worker() -> Rc<Worker> {
        let seed = Metrics::new(1).shards().remove(0);
        Rc::new(Worker::new(Clock::start(), seed.open(), Arc::new(Published::new()), false))
    }

    #[test]
    fn what_is_remembered_of_an_endpoint_that_refuses_is_swept_too() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let test = async {
            let worker = worker();
            let client = Client::new(None, "test".into(), None, Signal::default());
            // Bound and not listening.
            let nobody = tokio::net::TcpSocket::new_v4().unwrap();
            nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let endpoint = Endpoint::new(EndpointId(1), nobody.local_addr().unwrap(), None);
            let to = To {
                endpoint: &endpoint,
                tls: None,
                version: Version::Http2,
                choice: false,
                spared: false,
            };
            let request = Request::get("http://web/").body(RequestBody::empty()).unwrap();
            let sent = send(&worker, &client, to, request).await;
            assert!(matches!(sent, Err(SendError::Connect { .. })));
            assert!(client.pool.borrow().swept);
            assert_eq!(client.pool.borrow_mut().sweep(worker.clock.now()), 0);
        };
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }
}
