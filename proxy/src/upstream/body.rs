//! The body of a request on its way to an endpoint.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;

use super::Informer;
use super::replay::{Replay, Replayed};
use crate::runtime::Allowance;
use crate::streams::{BodyCopy, BodyError, Copied, Inbound};

/// How long an endpoint may leave `Expect: 100-continue` unanswered before the body is sent all the
/// same (RFC 9110, 10.1.1, asks clients not to wait for ever; curl waits as long).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request's body, streamed as it comes.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// What has been read of it in vain.
    again: Bytes,
    source: Source,
    gate: Option<Gate>,
    informer: Option<Informer>,
    holdup: Option<Holdup>,
    ended: Option<Rc<Cell<Option<Instant>>>>,
}

/// When a request was all handed over to its connection.
#[derive(Debug)]
pub(super) struct HandedOver {
    head: Instant,
    /// Of a request with a body: when that had been read to its end, if it has.
    body: Option<Rc<Cell<Option<Instant>>>>,
}

/// Who holds a request up.
#[derive(Debug, Clone, Default)]
pub struct Holdup {
    by: Rc<Cell<HeldUpBy>>,
}

/// For whom a request waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum HeldUpBy {
    /// For its endpoint.
    #[default]
    Endpoint,
    /// For more of its body.
    Client,
    /// For its turn: there are no more connections, or streams on them, to be had.
    Others,
}

#[derive(Debug)]
enum Source {
    Client(Inbound),
    Replayed(Replayed),
}

/// Holds a body back until the endpoint asks for it.
#[derive(Debug, Clone, Default)]
pub struct ContinueGate {
    open: Arc<AtomicBool>,
    opened: Arc<Notify>,
}

#[derive(Debug)]
struct Gate {
    state: ContinueGate,
    waiting: Option<Pin<Box<OwnedNotified>>>,
    patience: Pin<Box<Sleep>>,
}

// === impl RequestBody ===

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The client's body.
    pub fn new(inbound: impl Into<Inbound>) -> Self {
        Self { source: Source::Client(inbound.into()), ..Self::default() }
    }

    /// Who is told what the endpoint says before its response to the request with this body.
    pub fn telling(mut self, informer: Option<Informer>) -> Self {
        self.informer = informer;
        self
    }

    /// Who is told.
    pub fn informer(&self) -> Option<&Informer> {
        self.informer.as_ref()
    }

    /// Who holds the request with this body up, from now on.
    pub fn holdup(&mut self) -> Holdup {
        self.holdup.insert(Holdup::default()).clone()
    }

    /// It is held up by this one now, if anybody wants to know.
    pub(super) fn held_up(&self, by: HeldUpBy) {
        if let Some(holdup) = &self.holdup {
            holdup.by.set(by);
        }
    }

    /// The request with this body is handed over now; of the body it is found out when it has ended.
    #[inline]
    pub(super) fn hand_over(&mut self) -> HandedOver {
        self.ended = (!self.is_end_stream()).then(Rc::default);
        HandedOver { head: Instant::now(), body: self.ended.clone() }
    }

    /// What holds it back, if it is held back.
    pub(super) fn gate(&self) -> Option<ContinueGate> {
        self.gate.as_ref().map(|gate| gate.state.clone())
    }

    /// This body with what has been read of it put back in front.
    pub(super) fn after(mut self, mut read: Vec<u8>) -> Self {
        read.extend_from_slice(&self.again);
        self.again = read.into();
        self
    }

    /// Whether it is kept where it comes from.
    pub(super) fn is_replayed(&self) -> bool {
        matches!(self.source, Source::Replayed(_))
    }

    /// This body from its beginning, if that is kept where it comes from.
    pub(super) fn rewound(self) -> Option<Self> {
        let Source::Replayed(body) = self.source else { return None };
        Some(Self { source: Source::Replayed(body.rewound()?), ..self })
    }

    /// Keeps the time if this was the last of it.
    #[inline]
    fn note_end(&self, last: bool) {
        if let Some(ended) = &self.ended
            && ended.get().is_none()
            && (last || self.is_end_stream())
        {
            ended.set(Some(Instant::now()));
        }
    }

    /// The same body, and a hold on it by which it may be sent again; none if there is nothing to keep.
    pub fn replayable(self) -> (Self, Option<Replay>) {
        match self.source {
            Source::Client(incoming) if !incoming.is_end_stream() => {
                let (replay, first) = Replay::new(incoming);
                (Self { source: Source::Replayed(first), ..self }, Some(replay))
            }
            source => (Self { source, ..self }, None),
        }
    }

    /// The same body with `count` copies of it; none if there is nothing to copy, or if it has been begun.
    pub fn copied(self, count: usize, allowance: &Rc<Allowance>) -> (Self, Vec<BodyCopy>) {
        match self.source {
            Source::Client(inbound) if count > 0 && !inbound.is_end_stream() => {
                let (copied, copies) = Copied::new(inbound, count, allowance);
                let source = Source::Client(Inbound::Copied(Box::new(copied)));
                (Self { source, ..self }, copies)
            }
            source => (Self { source, ..self }, Vec::new()),
        }
    }

    /// The body that `replay` has a hold on, from its beginning, if it can be sent again.
    pub fn again(replay: &Replay) -> Option<Self> {
        Some(Self { source: Source::Replayed(replay.again()?), ..Self::default() })
    }

    /// Holds the body back until `gate` opens, for at most a second.
    pub fn behind(mut self, gate: ContinueGate) -> Self {
        let patience = Box::pin(tokio::time::sleep(CONTINUE_PATIENCE));
        self.gate = Some(Gate { state: gate, waiting: None, patience });
        self
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &mut self.gate {
            let asked = ready!(gate.poll_open(cx));
            if !asked && let Some(informer) = &self.informer {
                // The endpoint does not say it: somebody must, or the client waits longer than we did.
                informer.inform(StatusCode::CONTINUE, &HeaderMap::new());
            }
            self.gate = None;
        }
        if !self.again.is_empty() {
            let again = std::mem::take(&mut self.again);
            self.note_end(false);
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        let frame = match &mut self.source {
            Source::Client(inbound) => Pin::new(inbound).poll_frame(cx),
            Source::Replayed(body) => Pin::new(body).poll_frame(cx),
        };
        if let Some(holdup) = &self.holdup {
            let pending = frame.is_pending();
            holdup.by.set(if pending { HeldUpBy::Client } else { HeldUpBy::Endpoint });
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) => self.note_end(frame.is_trailers()),
            Poll::Ready(None) => self.note_end(true),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty()
            && match &self.source {
                Source::Client(inbound) => inbound.is_end_stream(),
                Source::Replayed(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.source {
            Source::Client(inbound) => inbound.size_hint(),
            Source::Replayed(body) => body.size_hint(),
        };
        let again = self.again.len() as u64;
        rest.exact().map_or(rest, |exact| SizeHint::with_exact(exact + again))
    }
}

// === impl HandedOver ===

impl HandedOver {
    /// How long it is since then: since the whole request, body and all, was there to be answered; none if part
    /// of it is still missing.
    #[inline]
    pub(super) fn elapsed(&self) -> Option<Duration> {
        let all = match &self.body {
            None => self.head,
            Some(ended) => ended.get()?.max(self.head),
        };
        Some(all.elapsed())
    }
}

// === impl Source ===

impl Default for Source {
    fn default() -> Self {
        Self::Client(Inbound::Empty)
    }
}

// === impl Holdup ===

impl Holdup {
    /// Whether it is the endpoint. Else it is the client, who has been asked for more and has not said it; or
    /// it is those before this request, who leave it neither connection nor stream.
    pub fn is_endpoints(&self) -> bool {
        self.by.get() == HeldUpBy::Endpoint
    }
}

// === impl ContinueGate ===

impl ContinueGate {
    /// Lets the body pass.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.opened.notify_waiters();
    }
}

// === impl Gate ===

impl Gate {
    /// Ready when the body may pass: whether the endpoint has asked for it.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.state.open.load(Ordering::Acquire) {
            return Poll::Ready(true);
        }
        if self.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(Arc::clone(&self.state.opened).notified_owned()));
        waiting.as_mut().poll(cx).map(|()| true)
    }
}
