//! A request that may have to be sent once more.
//!
//! Not whether it is: that is `attempt`'s.

use http::header::EXPECT;
use http::{Method, Request};
use http_body::Body as _;
use nodeway_core::model::Retry;

use super::secured;
use crate::upstream::{ContinueGate, Informer, MOST_KEPT, Replay, RequestBody, Version};

/// What it takes to send a request once more.
#[derive(Debug)]
pub(super) struct Spare {
    head: Request<()>,
    /// In which the head is said.
    version: Version,
    /// None for a request without a body.
    body: Option<Replay>,
    /// Who is told of interim responses, whichever attempt they are to.
    informer: Option<Informer>,
}

// === impl Spare ===

impl Spare {
    /// What it takes to send `request`, said in `version`, again, if it can be. A body is kept only where
    /// the rule asks for retries: else nobody pays for that.
    pub(super) fn of(
        request: &mut Request<RequestBody>,
        version: Version,
        policy: Option<&Retry>,
        idempotent: bool,
    ) -> Option<Self> {
        let wanted = match policy {
            // What leads out of HTTP is not HTTP's to repeat.
            Some(policy) => policy.attempts != Some(0) && *request.method() != Method::CONNECT,
            None => idempotent && request.body().is_end_stream(),
        };
        let too_long = || request.body().size_hint().lower() > MOST_KEPT as u64;
        if !wanted || too_long() {
            return None;
        }
        let head = copy_of(request, ());
        let body = std::mem::take(request.body_mut());
        let informer = body.informer().cloned();
        let (body, replay) = body.replayable();
        *request.body_mut() = body;
        Some(Self { head, version, body: replay, informer })
    }

    /// Whether it is all that there is to the request, and always will be.
    pub(super) fn is_all(&self) -> bool {
        self.body.is_none()
    }

    /// Whether all of the request is still there.
    pub(super) fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(Replay::can_be_sent_again)
    }

    /// The request once more, from its beginning, said in `version`.
    pub(super) fn copy(&self, version: Version) -> Option<Box<Request<RequestBody>>> {
        let (mut body, mut waits) = (RequestBody::empty(), false);
        if let Some(replay) = &self.body {
            waits = self.head.headers().contains_key(EXPECT) && !replay.has_begun();
            body = RequestBody::again(replay)?;
        }
        if waits {
            // The client still waits for somebody to ask for the body.
            body = body.behind(ContinueGate::default());
        }
        let mut copy = copy_of(&self.head, body.telling(self.informer.clone()));
        if !waits {
            copy.headers_mut().remove(EXPECT);
        }
        if version != self.version {
            secured::say_in(&mut copy, self.version, version);
        }
        Some(Box::new(copy))
    }
}

/// The head of `request` with another body; its extensions are of one attempt.
fn copy_of<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}
