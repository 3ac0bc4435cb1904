//! A request's body that can be sent more than once: what has been sent of it is kept, up to a bound.
//!
//! Only for rules that ask for retries: all other bodies stream and are forgotten.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::streams::{BodyError, Inbound};

/// A body of which more has been sent is not sent again.
pub const MOST_KEPT: usize = 64 << 10;

/// The hold on a body that may be sent again. Dropped, what was kept is let go as soon as it is sent.
#[derive(Debug)]
pub struct Replay<B = Inbound> {
    shared: Rc<RefCell<Shared<B>>>,
}

/// The body, as one attempt sends it.
#[derive(Debug)]
pub(super) struct Replayed<B = Inbound> {
    shared: Rc<RefCell<Shared<B>>>,
    /// Which attempt's this is.
    turn: u32,
    /// Octets that this attempt has had.
    sent: u64,
    ended: bool,
}

#[derive(Debug)]
struct Shared<B> {
    incoming: B,
    /// All that the client has sent so far; a copy, for small frames would hold on to large buffers.
    kept: Vec<u8>,
    keeps: bool,
    /// What the client ended with: its trailers, if any.
    end: Option<Option<HeaderMap>>,
    /// The client's body broke.
    broken: bool,
    /// The attempt whose turn it is; an earlier one gets no more.
    turn: u32,
    /// Whom to tell that his turn is over.
    waker: Option<Waker>,
    length: Option<u64>,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Replay<B> {
    /// A body of which nothing has been read, for its first attempt.
    pub(super) fn new(incoming: B) -> (Self, Replayed<B>) {
        let shared = Rc::new(RefCell::new(Shared {
            length: incoming.size_hint().exact(),
            incoming,
            kept: Vec::new(),
            keeps: true,
            end: None,
            broken: false,
            turn: 0,
            waker: None,
        }));
        let first = Replayed { shared: Rc::clone(&shared), turn: 0, sent: 0, ended: false };
        (Self { shared }, first)
    }

    /// Whether it can be sent once more.
    pub fn can_be_sent_again(&self) -> bool {
        let shared = self.shared.borrow();
        shared.keeps && !shared.broken
    }

    /// The body from its beginning, for the next attempt; none if too much has been sent of it, or if
    /// the client's own has broken. The attempt before gets no more of it.
    pub(super) fn again(&self) -> Option<Replayed<B>> {
        if !self.can_be_sent_again() {
            return None;
        }
        let mut shared = self.shared.borrow_mut();
        shared.turn += 1;
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
        let turn = shared.turn;
        Some(Replayed { shared: Rc::clone(&self.shared), turn, sent: 0, ended: false })
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        self.shared.borrow_mut().keeps = false;
    }
}

// === impl Replayed ===

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Replayed<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let mut shared = this.shared.borrow_mut();
        if shared.turn != this.turn {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        let frame = shared.poll_frame(this.sent, cx);
        drop(shared);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => this.sent += data.len() as u64,
                None => this.ended = true,
            },
            Poll::Ready(_) => this.ended = true,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        let rest = shared.kept.len() as u64 > self.sent;
        let end = match &shared.end {
            Some(trailers) => trailers.is_none(),
            None => shared.incoming.is_end_stream(),
        };
        self.ended || (end && !rest && shared.turn == self.turn)
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.shared.borrow().length;
        length.map_or_else(SizeHint::default, |l| SizeHint::with_exact(l.saturating_sub(self.sent)))
    }
}

// === impl Shared ===

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Shared<B> {
    /// The next frame for an attempt that has had `sent` octets.
    fn poll_frame(
        &mut self,
        sent: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // What is kept is the body's beginning: who is behind its end has had all of it.
        let kept = usize::try_from(sent).ok().and_then(|sent| self.kept.get(sent..));
        if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
            let data = Bytes::copy_from_slice(kept);
            self.let_go();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        self.let_go();
        if let Some(trailers) = &self.end {
            return Poll::Ready(trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                self.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            None => {
                self.end = Some(None);
                None
            }
            Some(Err(error)) => {
                self.broken = true;
                Some(Err(error))
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.end = Some(Some(trailers.clone()));
                }
                Some(Ok(frame))
            }
        })
    }

    fn keep(&mut self, data: &Bytes) {
        self.keeps &= self.kept.len() + data.len() <= MOST_KEPT;
        if self.keeps {
            self.kept.extend_from_slice(data);
        } else {
            self.let_go();
        }
    }

    /// Gives the memory back if nobody will ask for it.
    fn let_go(&mut self) {
        if !self.keeps {
            self.kept = Vec::new();
        }
    }
}
