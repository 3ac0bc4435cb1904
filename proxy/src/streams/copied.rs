//! A body that is copied as it passes.
//!
//! Whom it is for does not notice: nothing waits for a copy's reader. One who falls behind loses the rest
//! of his copy, and it breaks off.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{BodyError, Inbound};
use crate::runtime::{Allowance, Share};

/// So much of a copy may wait for its reader, octets: what a fast sender has said by the time that a
/// connection for the copy is there.
const MOST_WAITING: usize = 1 << 20;
/// What a frame that waits costs beside its octets.
const FRAME: usize = 64;
/// Smaller pieces are copied: each might hold a whole buffer of its connection.
const SMALL: usize = 1024;

/// The body itself, for whom it is for.
#[derive(Debug)]
pub struct Copied {
    body: Inbound,
    writers: Vec<Writer>,
}

/// A copy of a body.
#[derive(Debug)]
pub struct BodyCopy {
    shared: Rc<RefCell<Shared>>,
}

/// Tells whether a body still goes on.
#[derive(Debug, Default)]
pub struct Watch(Weak<RefCell<Shared>>);

#[derive(Debug)]
struct Writer(Rc<RefCell<Shared>>);

#[derive(Debug)]
struct Shared {
    waiting: VecDeque<Piece>,
    octets: usize,
    state: State,
    /// Octets that are still to come or to be read, if that is known.
    length: Option<u64>,
    reader: Option<Waker>,
    watcher: Option<Waker>,
    allowance: Rc<Allowance>,
}

#[derive(Debug)]
enum Piece {
    Data { data: Bytes, _share: Share },
    Trailers(HeaderMap),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// All of it has passed.
    Whole,
    /// It broke off, or the reader fell behind.
    Cut,
    /// Nobody reads.
    Unread,
}

// === impl Copied ===

impl Copied {
    /// `body` with `count` copies, which together keep no more than `allowance` waiting.
    pub fn new(body: Inbound, count: usize, allowance: &Rc<Allowance>) -> (Self, Vec<BodyCopy>) {
        let copy = |_| BodyCopy {
            shared: Rc::new(RefCell::new(Shared {
                waiting: VecDeque::new(),
                octets: 0,
                state: State::Open,
                length: body.size_hint().exact(),
                reader: None,
                watcher: None,
                allowance: Rc::clone(allowance),
            })),
        };
        let copies: Vec<BodyCopy> = (0..count).map(copy).collect();
        let writers = copies.iter().map(|copy| Writer(Rc::clone(&copy.shared))).collect();
        (Self { body, writers }, copies)
    }

    fn for_each(&self, write: impl Fn(&mut Shared)) {
        for Writer(shared) in &self.writers {
            let mut shared = shared.borrow_mut();
            if shared.state == State::Open {
                write(&mut shared);
                if let Some(reader) = shared.reader.take() {
                    reader.wake();
                }
            }
        }
    }
}

impl Body for Copied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => self.for_each(|shared| shared.state = State::Whole),
            Poll::Ready(Some(Err(_))) => self.for_each(Shared::cut),
            Poll::Ready(Some(Ok(frame))) => {
                let last = frame.is_trailers() || self.body.is_end_stream();
                self.for_each(|shared| {
                    shared.keep(frame);
                    if last && shared.state == State::Open {
                        shared.state = State::Whole;
                    }
                });
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // Whom it was for has not wanted the rest: there is none then.
        self.for_each(Shared::cut);
    }
}

// === impl BodyCopy ===

impl BodyCopy {
    /// By which one can tell how far it is.
    pub fn watch(&self) -> Watch {
        Watch(Rc::downgrade(&self.shared))
    }
}

impl Body for BodyCopy {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut shared = self.shared.borrow_mut();
        match (shared.waiting.pop_front(), shared.state) {
            (Some(Piece::Data { data, .. }), _) => {
                shared.octets -= data.len() + FRAME;
                shared.length =
                    shared.length.map(|length| length.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            (Some(Piece::Trailers(fields)), _) => Poll::Ready(Some(Ok(Frame::trailers(fields)))),
            (None, State::Open) => {
                shared.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            (None, State::Whole | State::Unread) => Poll::Ready(None),
            (None, State::Cut) => Poll::Ready(Some(Err(BodyError::Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        shared.state == State::Whole && shared.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.borrow().length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for BodyCopy {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.state = State::Unread;
        shared.waiting.clear();
    }
}

// === impl Watch ===

impl Watch {
    /// Ends when the copy has broken off, if that happens before it is read to its end.
    pub async fn cut(&self) {
        poll_fn(|cx| {
            let Some(shared) = self.0.upgrade() else { return Poll::Pending };
            let mut shared = shared.borrow_mut();
            if shared.state == State::Cut {
                return Poll::Ready(());
            }
            shared.watcher = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether more of the body may come.
    pub fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| shared.borrow().state == State::Open)
    }
}

// === impl Shared ===

impl Shared {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(fields) = frame.trailers_ref() {
            self.waiting.push_back(Piece::Trailers(fields.clone()));
            return;
        }
        let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) else { return };
        let cost = data.len() + FRAME;
        let share = self.allowance.take(cost).filter(|_| self.octets + cost <= MOST_WAITING);
        let Some(share) = share else { return self.cut() };
        let data = match data.len() {
            0..SMALL => Bytes::copy_from_slice(data),
            _ => data.clone(),
        };
        self.octets += cost;
        self.waiting.push_back(Piece::Data { data, _share: share });
    }

    /// What waits is of no use without the rest.
    fn cut(&mut self) {
        self.state = State::Cut;
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
        self.waiting.clear();
        self.octets = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    fn shared(allowance: usize) -> (Rc<RefCell<Shared>>, Copied, BodyCopy) {
        let (copied, mut copies) = Copied::new(Inbound::Empty, 1, &Allowance::new(allowance));
        let copy = copies.remove(0);
        (Rc::clone(&copy.shared), copied, copy)
    }

    fn data(length: usize) -> Frame<Bytes> {
        Frame::data(vec![b'x'; length].into())
    }

    fn poll(copy: &mut BodyCopy) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(copy).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn length(polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) -> Option<usize> {
        match polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map(Bytes::len),
            _ => None,
        }
    }

    #[test]
    fn a_copy_is_what_has_passed() {
        let (_, copied, mut copy) = shared(MOST_WAITING);
        let watch = copy.watch();
        assert!(poll(&mut copy).is_pending() && watch.is_open());
        copied.for_each(|shared| shared.keep(&data(5)));
        copied.for_each(|shared| shared.keep(&data(5000)));
        assert_eq!(length(&poll(&mut copy)), Some(5));
        copied.for_each(|shared| shared.state = State::Whole);
        assert!(!watch.is_open() && !copy.is_end_stream());
        drop(copied);
        assert_eq!(length(&poll(&mut copy)), Some(5000));
        assert!(copy.is_end_stream());
        assert!(matches!(poll(&mut copy), Poll::Ready(None)));
    }

    #[test]
    fn who_falls_behind_loses_his_copy_and_its_memory() {
        let (state, copied, mut copy) = shared(4 * MOST_WAITING);
        let piece = 64 << 10;
        for _ in 0..MOST_WAITING / piece - 1 {
            copied.for_each(|shared| shared.keep(&data(piece)));
        }
        assert_eq!(state.borrow().state, State::Open);
        copied.for_each(|shared| shared.keep(&data(2 * piece)));
        assert!(matches!(poll(&mut copy), Poll::Ready(Some(Err(BodyError::Cut)))));
        assert_eq!(state.borrow().allowance.take(4 * MOST_WAITING).map(drop), Some(()));
    }

    #[test]
    fn all_copies_together_keep_within_their_allowance() {
        let (state, copied, mut copy) = shared(1000);
        copied.for_each(|shared| shared.keep(&data(500)));
        copied.for_each(|shared| shared.keep(&data(500)));
        assert_eq!(state.borrow().state, State::Cut);
        assert!(matches!(poll(&mut copy), Poll::Ready(Some(Err(BodyError::Cut)))));
    }

    #[test]
    fn a_body_that_is_dropped_breaks_its_copies_off() {
        let (_, copied, mut copy) = shared(MOST_WAITING);
        drop(copied);
        assert!(matches!(poll(&mut copy), Poll::Ready(Some(Err(BodyError::Cut)))));
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let (state, copied, copy) = shared(MOST_WAITING);
        copied.for_each(|shared| shared.keep(&data(5)));
        drop(copy);
        copied.for_each(|shared| shared.keep(&data(5)));
        assert!(state.borrow().waiting.is_empty());
        assert!(state.borrow().allowance.take(MOST_WAITING).is_some());
    }

    #[tokio::test]
    async fn a_copy_that_breaks_off_is_told_to_who_watches() {
        let (_, copied, copy) = shared(MOST_WAITING);
        let watch = copy.watch();
        let breaking = async {
            tokio::task::yield_now().await;
            drop(copied);
        };
        tokio::join!(watch.cut(), breaking);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let (_, copied, mut copy) = shared(MOST_WAITING);
        let reading = poll_fn(|cx| Pin::new(&mut copy).poll_frame(cx));
        let writing = async {
            tokio::task::yield_now().await;
            copied.for_each(|shared| shared.keep(&data(7)));
        };
        let (frame, ()) = tokio::join!(reading, writing);
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap().len(), 7);
    }
}
