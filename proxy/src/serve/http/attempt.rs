//! Sends one request to an endpoint, and once more, mostly to another one, if that was in vain.
//!
//! How often and after how long is `nodeway_core::route`'s to say; what was sent is kept here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use nodeway_core::balance::{Active, Endpoint, Millis, Refused, Report, Retrying, Scope};
use nodeway_core::model::Timeouts;
use nodeway_core::snapshot::{Again, Backend, Caller, Outcome, Retries, Rule};

use super::deadline::{Deadline, Expired, within};
use super::spare::Spare;
use super::{Conn, secured};
use crate::serve::{outcome, overflow};
use crate::streams::Inbound;
use crate::telemetry::Flag;
use crate::upstream::{
    self, Lease, RequestBody, Reuse, SendError, To, Version, blameless, distrusted,
};

/// Connections found closed at the moment of sending: not the endpoint's fault, tried again at once,
/// but not for ever.
const MAX_STALE: usize = 4;
/// How often another endpoint is tried because one has no connection to spare.
const MAX_FULL: usize = 2;
/// How often a server may choose another version than the one before, for one request.
const MAX_OTHER: usize = 4;
/// How long others than the Service's own side must have waited before that counts as the endpoint's failure.
const PATIENCE_MILLIS: u64 = 1_000;
/// Of an answer that nobody wants, so much is read that its connection may be used again.
const MOST_DRAINED: usize = 64 << 10;

/// What is to be done with a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// When its head came.
    pub start: Instant,
    pub backend: &'a Backend,
    /// The endpoint of `backend` that the request's session is with.
    pub endpoint: Option<&'a Arc<Endpoint>>,
    /// The rule that it met, if there are routes.
    pub rule: Option<&'a Rule>,
    pub version: Version,
    /// Who asks, and what the request goes by where `backend` hashes.
    pub caller: Caller,
}

/// An endpoint's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub response: Response<Inbound>,
    pub lease: Lease,
    pub active: Active,
    /// Until when the response may take.
    pub deadline: Option<Deadline>,
    /// [`Flag::None`], or what is to be told of an answer that is the endpoint's own.
    pub flag: Flag,
}

/// What an attempt came to.
struct Ended {
    outcome: Outcome,
    /// What is to be told if it was the last.
    flag: Flag,
    answer: Option<(Response<Inbound>, Lease)>,
    /// The request, if it has come back.
    unsent: Option<Box<Request<RequestBody>>>,
}

/// Sends `request`, as often as its rule wants and its time lets.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn send(
    conn: &Rc<Conn>,
    order: Order<'_>,
    mut request: Box<Request<RequestBody>>,
) -> Result<Answer, Flag> {
    let Order { start, backend, mut endpoint, rule, mut version, caller } = order;
    let worker = &conn.worker;
    if let Some(flag) = secured::refused(backend) {
        return Err(flag);
    }
    conn.client.uses(backend, worker.clock);
    let timeouts = rule.map_or_else(Timeouts::default, |rule| rule.timeouts);
    let mut deadline = Deadline::of(timeouts, start);
    let policy = rule.and_then(|rule| rule.retry.as_ref());
    let idempotent = idempotent(request.method());
    let mut retries = Retries::new(policy, idempotent);
    // Of those that are only sent again when lost, some come back by themselves.
    let returns = policy.is_none() && returns(backend, version, &request);
    let spare = match returns {
        true => None,
        false => Spare::of(&mut request, version, policy, idempotent),
    };
    let mut reuse =
        if idempotent && (returns || spare.is_some()) { Reuse::Any } else { Reuse::Alive };
    let mut avoided: Option<Arc<Endpoint>> = None;
    let mut retrying: Option<Retrying> = None;
    let (mut stale, mut other, mut full) = (0, 0, 0);
    loop {
        let now = worker.clock.now();
        let admit =
            |random: &mut _| backend.admit(now, random, caller, avoided.as_deref(), endpoint);
        let mut active = match worker.with_random(admit) {
            Ok(active) => active,
            Err(why) => return Err(overflow::refused(worker, backend, why)),
        };
        let picked = active.endpoint();
        if let Some(deadline) = &mut deadline {
            deadline.begin_attempt();
        }
        let holdup = deadline.is_some().then(|| request.body_mut().holdup());
        let choice = secured::choice(backend, version, &request);
        let spared = spare.as_ref().is_some_and(Spare::is_all);
        let to = To { endpoint: picked, backend, version, choice, spared, reuse, now };
        let sending = upstream::send(worker, &conn.client, to, request);
        let ended = match within(&mut deadline, sending).await {
            Ok(Err(SendError::Unsent { request: unsent, fresh })) if stale < MAX_STALE => {
                stale += 1;
                if fresh {
                    let error = outcome::Failure::HungUp;
                    outcome::failed(worker, (caller, now), (backend, picked), Report::Lost, &error);
                    (avoided, endpoint) = (Some(Arc::clone(picked)), None);
                }
                let again = || spare.as_ref().and_then(|spare| spare.copy(version));
                let Some(unsent) = unsent.or_else(again) else {
                    return Err(Flag::UpstreamReset);
                };
                request = unsent;
                continue;
            }
            // By TLS it can only be known when the connection is there.
            Ok(Err(SendError::OtherVersion { request: unsent, version: spoken }))
                if other < MAX_OTHER =>
            {
                other += 1;
                request = unsent;
                secured::say_in(&mut request, version, spoken);
                version = spoken;
                continue;
            }
            // Another endpoint may have room.
            Ok(Err(SendError::Full { request: whole, overflow }))
                if overflow.of == Scope::Endpoint && endpoint.is_none() && full < MAX_FULL =>
            {
                full += 1;
                request = whole;
                avoided = Some(Arc::clone(picked));
                continue;
            }
            Ok(Err(SendError::Full { overflow, .. })) => {
                return Err(overflow::refused(worker, backend, Refused::Overflow(overflow)));
            }
            // The client's body broke off or broke the protocol: the endpoint is not to blame.
            Ok(Err(SendError::Abandoned)) => return Err(Flag::DownstreamProtocol),
            Ok(sent) => Ended::of(sent, conn, (caller, now), (backend, picked)),
            Err(expired) => {
                // Who waits for the rest of a request, or has not been sent it, cannot answer it.
                if holdup.is_none_or(|holdup| holdup.is_endpoints())
                    && is_patient(rule, backend, worker.clock.now().0.saturating_sub(now.0))
                {
                    let error = outcome::Failure::TimedOut;
                    outcome::failed(worker, (caller, now), (backend, picked), Report::Lost, &error);
                }
                if expired == Expired::Request {
                    return Err(Flag::TimedOut);
                }
                Ended::without_answer(Outcome::TimedOut, Flag::TimedOut, None)
            }
        };
        let Ended { outcome, flag, answer, unsent } = ended;
        let possible = unsent.is_some() || spare.as_ref().is_some_and(Spare::is_whole);
        let random = worker.with_random(|random| random.u64(..));
        let again = possible.then(|| retries.after(outcome, random)).flatten();
        // Waiting for the end of its time would help nobody.
        let late = |again: &Again| deadline.as_ref().is_some_and(|d| d.forbids(again.wait));
        let late = again.as_ref().is_some_and(late);
        let again = again.filter(|_| !late);
        let wanted = again.is_some();
        let again = again.filter(|again| {
            // The one before is over.
            drop(retrying.take());
            let budget = backend.retry(worker.clock.now(), !again.free);
            retrying = budget.map_err(|full| overflow::overflowed(worker, backend, full)).ok();
            retrying.is_some()
        });
        let Some(Again { wait, failed, .. }) = again else {
            let Some((response, lease)) = answer else {
                return Err(if late { Flag::TimedOut } else { flag });
            };
            // Also if others have spent what there was.
            let spent = late || wanted || retries.exhausted(outcome);
            let flag = if spent { Flag::RetriesExhausted } else { flag };
            active.is_retry(retrying);
            return Ok(Answer { response, lease, active, deadline, flag });
        };
        let copy = unsent.or_else(|| spare.as_ref().and_then(|spare| spare.copy(version)));
        let Some(copy) = copy else { return Err(flag) };
        worker.metrics.counters.retries.add(1);
        // A session leaves its endpoint only if that has failed; others try somebody else anyhow.
        if failed {
            (endpoint, reuse) = (None, Reuse::Never);
        }
        avoided = Some(Arc::clone(picked));
        drop(active);
        Box::pin(pause(conn, wait, answer)).await;
        request = copy;
    }
}

/// Whether an endpoint that has not answered in so many milliseconds has failed by what its own side says: a
/// route of another namespace than the Service's may want more of it than it has promised.
fn is_patient(rule: Option<&Rule>, backend: &Backend, waited: u64) -> bool {
    waited >= PATIENCE_MILLIS
        || rule.is_none_or(|rule| rule.route.namespace == backend.service.namespace)
}

/// Whether `request` comes back from its connection should that end before the response: over HTTP/1, without a body, and
/// if nobody takes it from the connection.
#[inline]
fn returns(backend: &Backend, version: Version, request: &Request<RequestBody>) -> bool {
    version == Version::Http1
        && request.body().is_end_stream()
        && backend.tls().is_none()
        && backend.settings().connections.drain.is_none()
}

/// RFC 9110, 9.2.2.
fn idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Waits for so long. Meanwhile the rest of an answer that nobody wants is read, so that its connection
/// can be used again; if it does not end, the connection is closed.
async fn pause(conn: &Conn, wait: Duration, answer: Option<(Response<Inbound>, Lease)>) {
    let until = tokio::time::Instant::now() + wait;
    if let Some((response, lease)) = answer {
        let drained = tokio::time::timeout_at(until, drain(response.into_body())).await;
        if drained == Ok(true) {
            lease.give_back(&conn.worker, &conn.client);
        }
    }
    if !wait.is_zero() {
        tokio::time::sleep_until(until).await;
    }
}

/// Whether the body has ended, and soon.
async fn drain(mut body: Inbound) -> bool {
    let mut left = MOST_DRAINED;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return false };
        left = rest;
    }
    true
}

// === impl Ended ===

impl Ended {
    fn of(
        sent: Result<(Response<Inbound>, Lease), SendError>,
        conn: &Conn,
        by: (Caller, Millis),
        to: (&Backend, &Endpoint),
    ) -> Self {
        let failed = |report, error: &dyn std::error::Error| {
            outcome::failed(&conn.worker, by, to, report, error);
        };
        match sent {
            Ok((response, lease)) => {
                let report = outcome::answered(&response, lease.latency());
                outcome::report(&conn.worker, by, to, report);
                let outcome = Outcome::Answered(response.status());
                Self { outcome, flag: Flag::None, answer: Some((response, lease)), unsent: None }
            }
            Err(SendError::Unsent { request, .. }) => {
                // Once too often to be nobody's fault.
                failed(Report::Lost, &outcome::Failure::HungUp);
                Self::without_answer(Outcome::Unsent, Flag::UpstreamReset, request)
            }
            Err(SendError::OtherVersion { request, .. }) => {
                let flag = Flag::UpstreamConnectFailure;
                Self::without_answer(Outcome::Unsent, flag, Some(request))
            }
            Err(SendError::Connect { request, error }) if distrusted(&error) => {
                if !blameless(&error) {
                    failed(Report::NotConnected, &error);
                }
                Self::without_answer(Outcome::Unsent, Flag::UpstreamTls, Some(request))
            }
            Err(SendError::Connect { request, error }) => {
                if !blameless(&error) {
                    failed(Report::NotConnected, &error);
                }
                let flag = Flag::UpstreamConnectFailure;
                Self::without_answer(Outcome::Unsent, flag, Some(request))
            }
            Err(SendError::Lost { error, request }) => {
                failed(Report::Lost, &error);
                Self::without_answer(Outcome::Lost, Flag::UpstreamReset, request)
            }
            Err(SendError::Full { request, .. }) => {
                Self::without_answer(Outcome::Unsent, Flag::Overflow, Some(request))
            }
            Err(SendError::Cut) => Self::without_answer(Outcome::Lost, Flag::EndpointGone, None),
            Err(SendError::Abandoned) => {
                Self::without_answer(Outcome::Lost, Flag::DownstreamProtocol, None)
            }
        }
    }

    fn without_answer(
        outcome: Outcome,
        flag: Flag,
        unsent: Option<Box<Request<RequestBody>>>,
    ) -> Self {
        Self { outcome, flag, answer: None, unsent }
    }
}
