//! How it went with an endpoint is told to the backend.
//!
//! Not what follows from it: that is `nodeway_core::balance`'s to say.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Response, Version};
use nodeway_core::balance::{Change, Endpoint, HealthEvent, Millis, Report, status_of_grpc};
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::{Backend, Caller};

use crate::errors::chain;
use crate::runtime::Worker;
use crate::telemetry::tell_changes;

/// Why an attempt has failed that no error tells of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    /// The time of the attempt, or of the request, was over.
    TimedOut,
    /// New connections were closed before they had carried anything, or old ones again and again.
    HungUp,
    /// A relayed connection was reset before it had said anything.
    Mute,
}

/// Tells `backend` what became of `caller`'s attempt at `endpoint`, and says what that changes.
#[inline]
pub(super) fn report(
    worker: &Worker,
    (caller, began): (Caller, Millis),
    (backend, endpoint): (&Backend, &Endpoint),
    report: Report,
) {
    let now = worker.clock.now();
    let events = backend.ended(caller.client, endpoint, (began, now), report);
    if !events.is_empty() || report.is_failure() {
        tell(worker, backend, now, &events);
    }
}

#[cold]
fn tell(worker: &Worker, backend: &Backend, now: Millis, events: &[HealthEvent]) {
    for event in events {
        if let Change::Ejected(ejection) = event.change {
            worker.metrics.ejected(&backend.service, ejection.cause);
        }
    }
    tell_changes(backend, now, events, None);
}

/// The same of an attempt that failed, with why.
pub(super) fn failed(
    worker: &Worker,
    (caller, began): (Caller, Millis),
    (backend, endpoint): (&Backend, &Endpoint),
    outcome: Report,
    error: &dyn Error,
) {
    if tracing::enabled!(tracing::Level::DEBUG)
        && let Some(untold) = backend.telling().failures.turn(worker.clock.now())
    {
        let (service, endpoint) = (&backend.service, endpoint.address);
        tracing::debug!(%service, %endpoint, untold, error = %chain(error), "endpoint failed");
    }
    report(worker, (caller, began), (backend, endpoint), outcome);
}

/// The same of a response that broke off, or a relayed connection that did, of which no more is known than
/// where it came from.
pub(super) fn cut(
    worker: &Worker,
    (caller, began): (Caller, Millis),
    (service, port): (&ObjectName, u16),
    endpoint: &Endpoint,
    error: &dyn Error,
) {
    let view = worker.view();
    // What was deleted meanwhile has no future to decide on.
    if let Some(frontend) = view.service_port(service, port) {
        let backend = frontend.backend_of(endpoint);
        failed(worker, (caller, began), (backend, endpoint), Report::Cut, error);
    }
}

/// What an endpoint has answered with by `response`, so long after it had all of the request.
#[inline]
pub(super) fn answered<B>(response: &Response<B>, latency: Option<Duration>) -> Report {
    let status = response.status().as_u16();
    let grpc = match response.version() {
        Version::HTTP_2 => grpc_status(response.headers()),
        _ => None,
    };
    Report::Answered { status: grpc.map_or(status, status_of_grpc), latency }
}

/// How a gRPC call went, if its response has no more than a head ("Trailers-Only", gRPC over HTTP2).
fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    let status = headers.get("grpc-status")?;
    Some(status.to_str().ok().and_then(|status| status.parse().ok()).unwrap_or(u32::MAX))
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "it took too long",
            Self::HungUp => "it closed its connection without a word",
            Self::Mute => "it reset a connection before it had said anything",
        })
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_says_in_the_head_how_a_call_went_that_has_no_more() {
        let status = |version, grpc: Option<&str>| {
            let mut response = Response::new(());
            *response.version_mut() = version;
            if let Some(grpc) = grpc {
                response.headers_mut().insert("grpc-status", grpc.parse().unwrap());
            }
            match answered(&response, None) {
                Report::Answered { status, .. } => status,
                other => panic!("{other:?}"),
            }
        };
        for (grpc, expected) in [("0", 200), ("5", 404), ("14", 503), ("4", 504), ("13", 500)] {
            assert_eq!(status(Version::HTTP_2, Some(grpc)), expected, "{grpc}");
        }
        for odd in ["", "x", "-1", "99", "99999999999"] {
            assert_eq!(status(Version::HTTP_2, Some(odd)), 500, "{odd:?}");
        }
        assert_eq!(status(Version::HTTP_2, None), 200);
        assert_eq!(status(Version::HTTP_11, Some("14")), 200, "gRPC is HTTP/2's alone");
    }
}
