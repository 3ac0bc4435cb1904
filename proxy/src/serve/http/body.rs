//! The body of a response on its way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use nodeway_core::balance::Active;

use super::Conn;
use super::deadline::Deadline;
use super::record::Record;
use super::upgrade::Leaver;
use crate::runtime::SignalListener;
use crate::serve::outcome;
use crate::streams::{BodyError, Inbound};
use crate::telemetry::Flag;
use crate::upstream::Lease;

/// A response's body. When it has ended, its connection goes back to the pool and the request is
/// counted; dropped before that, the connection is closed and the client is held to have gone.
#[derive(Debug)]
pub(super) struct ResponseBody {
    kind: Kind,
    record: Option<Record>,
}

#[derive(Debug)]
enum Kind {
    Full(Bytes),
    Relayed(Relayed),
    /// None follows: the connection leaves HTTP, and this is for whom.
    Leaves(Leaver),
}

#[derive(Debug)]
struct Relayed {
    incoming: Inbound,
    conn: Rc<Conn>,
    lease: Option<Lease>,
    active: Option<Active>,
    deadline: Option<Deadline>,
    /// The port of the Service that it comes from, if its end says how its endpoint does.
    tells: Option<u16>,
    /// Whether the endpoint has been asked for more, and has not said it.
    waiting: bool,
    /// Fires when the endpoint is gone and has no more time, if its policy has it so.
    cut: Option<Box<SignalListener>>,
}

// === impl ResponseBody ===

impl ResponseBody {
    /// A body of our own.
    pub(super) fn full(bytes: Bytes, record: Option<Record>) -> Self {
        Self { kind: Kind::Full(bytes), record }
    }

    /// The connection leaves HTTP with its response, for `leaver`.
    pub(super) fn leaving(leaver: Leaver) -> Self {
        Self { kind: Kind::Leaves(leaver), record: None }
    }

    /// For whom the connection leaves HTTP with its response, if it does.
    pub(super) fn take_leaver(&mut self) -> Option<Leaver> {
        let Kind::Leaves(_) = &self.kind else { return None };
        match std::mem::replace(&mut self.kind, Kind::Full(Bytes::new())) {
            Kind::Leaves(leaver) => Some(leaver),
            Kind::Full(_) | Kind::Relayed(_) => None,
        }
    }

    /// An endpoint's body, streamed as it comes.
    pub(super) fn relayed(
        incoming: Inbound,
        conn: &Rc<Conn>,
        lease: Lease,
        active: Active,
        deadline: Option<Deadline>,
        record: Record,
    ) -> Self {
        let conn = Rc::clone(conn);
        let cut = lease.cut().map(Box::new);
        let (lease, active) = (Some(lease), Some(active));
        let (tells, waiting) = (None, false);
        let relayed = Relayed { incoming, conn, lease, active, deadline, tells, waiting, cut };
        Self { kind: Kind::Relayed(relayed), record: Some(record) }
    }

    /// The same; it comes from this port of its Service, and whether it comes whole is told of its endpoint.
    pub(super) fn telling(mut self, port: u16) -> Self {
        if let Kind::Relayed(relayed) = &mut self.kind {
            relayed.tells = Some(port);
        }
        self
    }

    /// It ends here, for its request wants none: one of our own has been whole; an endpoint sends none.
    pub(super) fn unwanted(mut self) {
        self.end(None);
    }

    /// It broke off like this.
    fn broken(&mut self, error: &BodyError) {
        let (flag, blame) = match (&self.kind, error) {
            // A client that does not read keeps its own response from ending.
            (Kind::Relayed(relayed), BodyError::TimedOut) => (Flag::TimedOut, relayed.waiting),
            (_, BodyError::Gone) => (Flag::EndpointGone, false),
            (_, BodyError::Abandoned) => (Flag::DownstreamProtocol, false),
            _ => (Flag::UpstreamReset, true),
        };
        if let (Kind::Relayed(relayed), Some(record)) = (&self.kind, &self.record)
            && blame
        {
            relayed.blame(record, error);
        }
        self.end(Some(flag));
    }

    fn end(&mut self, cut: Option<Flag>) {
        if let Kind::Relayed(relayed) = &mut self.kind {
            if let Some(active) = relayed.active.take()
                && relayed.tells.is_some()
                && cut.is_none()
            {
                active.endpoint().whole();
            }
            relayed.deadline = None;
            if let Some(lease) = relayed.lease.take()
                && cut.is_none()
            {
                lease.give_back(&relayed.conn.worker, &relayed.conn.client);
            }
        }
        if let Some(record) = self.record.take() {
            record.end(cut);
        }
    }
}

// === impl Relayed ===

impl Relayed {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // First, for the endpoint may have always something to say.
        if let Some(deadline) = &mut self.deadline
            && deadline.poll_expired(cx).is_ready()
        {
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        }
        if let Some(cut) = &mut self.cut
            && cut.poll_fired(cx).is_ready()
        {
            return Poll::Ready(Some(Err(BodyError::Gone)));
        }
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        self.waiting = frame.is_pending();
        frame
    }

    /// Says of the endpoint that its response broke off.
    fn blame(&self, record: &Record, error: &BodyError) {
        if let (Some(active), Some(port)) = (&self.active, self.tells)
            && let Some(service) = record.backend()
        {
            let (worker, by) = (&self.conn.worker, (self.conn.target.caller, active.began()));
            outcome::cut(worker, by, (service, port), active.endpoint(), error);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Kind::Relayed(relayed) => relayed.poll_frame(cx),
            Kind::Leaves(_) => return Poll::Ready(None),
        };
        match &frame {
            Poll::Ready(None) => this.end(None),
            Poll::Ready(Some(Err(error))) => this.broken(error),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Relayed(relayed) => relayed.incoming.is_end_stream(),
            Kind::Leaves(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Relayed(relayed) => relayed.incoming.size_hint(),
            Kind::Leaves(_) => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let cut = (!self.is_end_stream() && self.record.is_some()).then_some(Flag::DownstreamGone);
        self.end(cut);
    }
}
