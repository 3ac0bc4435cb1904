//! Sends one request to an endpoint, to a second one if the first fails before it answers.

use std::rc::Rc;
use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use nodeway_core::balance::Endpoint;
use nodeway_core::snapshot::Backend;

use super::{Conn, secured};
use crate::serve::tcp::{Active, note_failure};
use crate::telemetry::Flag;
use crate::upstream::{self, Lease, RequestBody, SendError, To, Version, distrusted};

/// Connections found closed at the moment of sending: not the endpoint's fault, tried again at once,
/// but not for ever.
const MAX_STALE: usize = 4;

/// How often a server may choose another version than the one before, for one request.
const MAX_OTHER: usize = 4;

/// An endpoint's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub response: Response<Incoming>,
    pub lease: Lease,
    pub active: Active,
}

/// Sends `request` to an endpoint of `backend`. It is sent a second time, to another endpoint, if
/// none of it had been sent, or if it can be replayed (RFC 9110, 9.2.2: an idempotent method, here
/// without a body) and the response's first octet had not come.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn send(
    conn: &Rc<Conn>,
    backend: &Backend,
    version: Version,
    request: Request<RequestBody>,
) -> Result<Answer, Flag> {
    let (worker, caller) = (&conn.worker, conn.target.caller);
    let mut spare = spare(&request);
    let (mut request, mut version) = (request, version);
    if let Some(flag) = secured::refused(backend) {
        return Err(flag);
    }
    let mut failed: Option<Arc<Endpoint>> = None;
    let (mut stale, mut other) = (0, 0);
    loop {
        let now = worker.clock.now();
        let picked = worker
            .with_random(|random| backend.pick(now, random, caller, failed.as_deref()).cloned());
        let Some(endpoint) = picked else { return Err(Flag::NoHealthyUpstream) };
        let active = Active::begin(endpoint);
        let (endpoint, tls) = (&**active.endpoint(), backend.tls());
        let choice = secured::choice(backend, version, &request);
        let to = To { endpoint, tls, version, choice };
        let sent = upstream::send(worker, &conn.client, to, request).await;
        let (replay, flag) = match sent {
            Ok((response, lease)) => {
                active.endpoint().succeeded();
                return Ok(Answer { response, lease, active });
            }
            Err(SendError::Unsent { request: unsent }) if stale < MAX_STALE => {
                stale += 1;
                request = *unsent;
                continue;
            }
            // By TLS it can only be known when the connection is there.
            Err(SendError::OtherVersion { request: unsent, version: spoken })
                if other < MAX_OTHER =>
            {
                other += 1;
                request = *unsent;
                secured::say_in(&mut request, spare.as_mut(), version, spoken);
                version = spoken;
                continue;
            }
            Err(SendError::OtherVersion { request, .. }) => {
                (Some(*request), Flag::UpstreamConnectFailure)
            }
            Err(SendError::Unsent { request }) => (Some(*request), Flag::UpstreamReset),
            Err(SendError::Connect { request, error }) if distrusted(&error) => {
                (Some(*request), Flag::UpstreamTls)
            }
            Err(SendError::Connect { request, error }) => {
                note_failure(worker, backend, active.endpoint(), &error);
                (Some(*request), Flag::UpstreamConnectFailure)
            }
            // The client's body broke off or broke the protocol: the endpoint is not to blame.
            Err(SendError::Lost { error }) if error.is_user() => {
                return Err(Flag::DownstreamProtocol);
            }
            Err(SendError::Lost { error }) => {
                note_failure(worker, backend, active.endpoint(), &error);
                (spare.take(), Flag::UpstreamReset)
            }
        };
        match replay {
            Some(replay) if failed.is_none() => {
                worker.metrics.counters.retries.add(1);
                failed = Some(Arc::clone(active.endpoint()));
                request = replay;
            }
            Some(_) | None => return Err(flag),
        }
    }
}

/// A copy of a request that may be sent twice.
fn spare(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    if !idempotent || !http_body::Body::is_end_stream(request.body()) {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
