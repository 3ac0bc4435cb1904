//! One HTTP request to one endpoint.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;
use nodeway_core::balance::{Endpoint, EndpointId};
use tokio::net::TcpStream;

use super::pool::IDLE_LIFE_MILLIS;
use super::{Client, RequestBody, connect};
use crate::runtime::Worker;

/// What is spoken to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
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
    /// The connection was closed before the request was written; nothing was sent.
    Unsent {
        /// The request, whole.
        request: Box<Request<RequestBody>>,
    },
    /// The connection ended, or made no sense, before the response's head.
    Lost {
        /// Why.
        error: hyper::Error,
    },
}

/// The connection that a response comes over. To be given back when the response's body has ended;
/// dropped before that, an HTTP/1 connection is closed.
#[derive(Debug)]
pub struct Lease {
    http1: Option<http1::SendRequest<RequestBody>>,
    endpoint: EndpointId,
}

/// Runs tasks of this thread on this thread.
#[derive(Debug, Clone, Copy)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Sends `request` to `endpoint` over an idle connection of `client`, or a new one.
///
/// # Errors
/// See [`SendError`]: those that hand the request back have sent none of it.
pub async fn send(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    endpoint: &Endpoint,
    version: Version,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), SendError> {
    match version {
        Version::Http1 => send_http1(worker, client, endpoint, request).await,
        Version::Http2 => send_http2(worker, client, endpoint, request).await,
    }
}

async fn send_http1(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    endpoint: &Endpoint,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), SendError> {
    let pooled = client.pool.borrow_mut().take_http1(endpoint.id);
    let mut sender = match pooled {
        Some(sender) => sender,
        None => match connect(worker, client, endpoint.address).await {
            Ok(stream) => match handshake_http1(stream).await {
                Ok(sender) => sender,
                Err(error) => return Err(SendError::Lost { error }),
            },
            Err(error) => return Err(SendError::Connect { request: Box::new(request), error }),
        },
    };
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, Lease { http1: Some(sender), endpoint: endpoint.id })),
        Err(error) => Err(lost(error)),
    }
}

async fn send_http2(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    endpoint: &Endpoint,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), SendError> {
    let slot = client.pool.borrow_mut().http2(endpoint.id, worker.clock.now());
    let made = slot
        .get_or_try_init(|| async {
            let stream = connect(worker, client, endpoint.address).await?;
            let sender = handshake_http2(stream).await.map_err(io::Error::other)?;
            keep_swept(worker, client);
            Ok::<_, io::Error>(sender)
        })
        .await;
    let mut sender = match made {
        Ok(sender) => sender.clone(),
        Err(error) => return Err(SendError::Connect { request: Box::new(request), error }),
    };
    if sender.ready().await.is_err() {
        return Err(SendError::Unsent { request: Box::new(request) });
    }
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, Lease { http1: None, endpoint: endpoint.id })),
        Err(error) => Err(lost(error)),
    }
}

/// Keeps `stream`, connected to `endpoint` but not used yet, for `client`'s next request to it.
pub async fn adopt(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    endpoint: &Endpoint,
    version: Version,
    stream: TcpStream,
) {
    match version {
        Version::Http1 => {
            if let Ok(sender) = handshake_http1(stream).await {
                let lease = Lease { http1: Some(sender), endpoint: endpoint.id };
                lease.give_back(worker, client);
            }
        }
        Version::Http2 => {
            let slot = client.pool.borrow_mut().http2(endpoint.id, worker.clock.now());
            if slot.get().is_none()
                && let Ok(sender) = handshake_http2(stream).await
                && slot.set(sender).is_ok()
            {
                keep_swept(worker, client);
            }
        }
    }
}

async fn handshake_http1(
    stream: TcpStream,
) -> Result<http1::SendRequest<RequestBody>, hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped or the endpoint closes; the errors that matter reach the
    // request that met them.
    tokio::task::spawn_local(connection.with_upgrades());
    Ok(sender)
}

async fn handshake_http2(
    stream: TcpStream,
) -> Result<http2::SendRequest<RequestBody>, hyper::Error> {
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

fn lost(mut failed: TrySendError<Request<RequestBody>>) -> SendError {
    match failed.take_message() {
        Some(request) => SendError::Unsent { request: Box::new(request) },
        None => SendError::Lost { error: failed.into_error() },
    }
}

// === impl Lease ===

impl Lease {
    /// The response has ended: the connection may carry another.
    pub fn give_back(self, worker: &Rc<Worker>, client: &Rc<Client>) {
        let Some(sender) = self.http1 else { return };
        let now = worker.clock.now();
        if client.pool.borrow_mut().put_http1(self.endpoint, sender, now) {
            keep_swept(worker, client);
        }
    }
}

/// Sees to it that `client`'s pool is swept as long as there is something in it.
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
