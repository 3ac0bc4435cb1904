//! The body of a request on its way to an endpoint.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Sleep;

use super::replay::{Replay, Replayed};

/// How long an endpoint may leave `Expect: 100-continue` unanswered before the body is sent all the
/// same (RFC 9110, 10.1.1, asks clients not to wait for ever; curl waits as long).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request's body, streamed as it comes.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    gate: Option<Gate>,
}

#[derive(Debug)]
enum Source {
    None,
    Client(Incoming),
    Replayed(Replayed),
}

/// Why a body ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client's own did.
    #[error(transparent)]
    Client(hyper::Error),
    /// The request is being sent again, and this attempt is over.
    #[error("the request is sent again")]
    Superseded,
}

/// Holds a body back until the endpoint asks for it; cloned into hyper's callback.
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
        Self { source: Source::None, gate: None }
    }

    /// The client's body.
    pub fn new(incoming: Incoming) -> Self {
        Self { source: Source::Client(incoming), gate: None }
    }

    /// The same body, and a hold on it by which it may be sent again; none if there is nothing to keep.
    pub fn replayable(self) -> (Self, Option<Replay>) {
        match self.source {
            Source::Client(incoming) if !incoming.is_end_stream() => {
                let (replay, first) = Replay::new(incoming);
                (Self { source: Source::Replayed(first), gate: self.gate }, Some(replay))
            }
            source => (Self { source, gate: self.gate }, None),
        }
    }

    /// The body that `replay` has a hold on, from its beginning, if it can be sent again.
    pub fn again(replay: &Replay) -> Option<Self> {
        Some(Self { source: Source::Replayed(replay.again()?), gate: None })
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
            ready!(gate.poll_open(cx));
            self.gate = None;
        }
        match &mut self.source {
            Source::None => Poll::Ready(None),
            Source::Client(incoming) => {
                Pin::new(incoming).poll_frame(cx).map_err(BodyError::Client)
            }
            Source::Replayed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::None => true,
            Source::Client(incoming) => incoming.is_end_stream(),
            Source::Replayed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::None => SizeHint::with_exact(0),
            Source::Client(incoming) => incoming.size_hint(),
            Source::Replayed(body) => body.size_hint(),
        }
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
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.open.load(Ordering::Acquire) || self.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(Arc::clone(&self.state.opened).notified_owned()));
        waiting.as_mut().poll(cx)
    }
}
