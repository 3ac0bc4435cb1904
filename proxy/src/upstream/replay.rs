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
    /// Octets that it has had.
    sent: u64,
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
            sent: 0,
            waker: None,
        }));
        let first = Replayed { shared: Rc::clone(&shared), turn: 0, ended: false };
        (Self { shared }, first)
    }

    /// Whether it can be sent once more.
    pub fn can_be_sent_again(&self) -> bool {
        let shared = self.shared.borrow();
        shared.keeps && !shared.broken
    }

    /// Whether the client has sent anything of it.
    pub fn has_begun(&self) -> bool {
        let shared = self.shared.borrow();
        shared.broken || shared.end.is_some() || !shared.kept.is_empty()
    }

    /// The body from its beginning, for the next attempt; none if too much has been sent of it, or if
    /// the client's own has broken. The attempt before gets no more of it.
    pub(super) fn again(&self) -> Option<Replayed<B>> {
        if !self.can_be_sent_again() {
            return None;
        }
        let mut shared = self.shared.borrow_mut();
        (shared.turn, shared.sent) = (shared.turn + 1, 0);
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
        let turn = shared.turn;
        Some(Replayed { shared: Rc::clone(&self.shared), turn, ended: false })
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.keeps = false;
        if shared.unsent().is_empty() {
            shared.let_go();
        }
    }
}

// === impl Replayed ===

impl<B> Replayed<B> {
    /// The same attempt's body from its beginning, if all that has been sent of it is still kept.
    pub(super) fn rewound(mut self) -> Option<Self> {
        {
            let mut shared = self.shared.borrow_mut();
            if !shared.keeps || shared.broken || shared.turn != self.turn {
                return None;
            }
            shared.sent = 0;
        }
        self.ended = false;
        Some(self)
    }
}

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
        let frame = shared.poll_frame(cx);
        this.ended = match &frame {
            Poll::Ready(Some(Ok(frame))) => !frame.is_data(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        frame
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.borrow();
        let rest = !shared.unsent().is_empty();
        let end = match &shared.end {
            Some(trailers) => trailers.is_none(),
            None => shared.incoming.is_end_stream(),
        };
        self.ended || (end && !rest && shared.turn == self.turn)
    }

    fn size_hint(&self) -> SizeHint {
        let Shared { length, sent, .. } = *self.shared.borrow();
        length.map_or_else(SizeHint::default, |l| SizeHint::with_exact(l.saturating_sub(sent)))
    }
}

// === impl Shared ===

impl<B> Shared<B> {
    /// What is kept and the attempt has not had. What is kept is the body's beginning: who is behind its
    /// end has had all of it.
    fn unsent(&self) -> &[u8] {
        usize::try_from(self.sent).ok().and_then(|sent| self.kept.get(sent..)).unwrap_or_default()
    }

    /// Gives the memory back if nobody will ask for it.
    fn let_go(&mut self) {
        if !self.keeps {
            self.kept = Vec::new();
        }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Shared<B> {
    /// The next frame for the attempt.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let unsent = self.unsent();
        if !unsent.is_empty() {
            let data = Bytes::copy_from_slice(unsent);
            self.sent += data.len() as u64;
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
                    self.sent += data.len() as u64;
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::*;

    /// A client's body that sends what the test sends.
    struct Client {
        frames: mpsc::UnboundedReceiver<Option<Frame<Bytes>>>,
        length: Option<u64>,
    }

    type Sender = mpsc::UnboundedSender<Option<Frame<Bytes>>>;

    impl Body for Client {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.frames.poll_recv(cx).map(|frame| match frame {
                Some(Some(frame)) => Some(Ok(frame)),
                // Any error will do.
                Some(None) => Some(Err(BodyError::Superseded)),
                None => None,
            })
        }

        fn size_hint(&self) -> SizeHint {
            self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn client(length: Option<u64>) -> (Sender, Replay<Client>, Replayed<Client>) {
        let (sender, frames) = mpsc::unbounded_channel();
        let (replay, first) = Replay::new(Client { frames, length });
        (sender, replay, first)
    }

    fn send(sender: &Sender, data: &[u8]) {
        sender.send(Some(Frame::data(Bytes::copy_from_slice(data)))).unwrap();
    }

    fn poll(body: &mut Replayed<Client>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn data(body: &mut Replayed<Client>) -> Vec<u8> {
        match poll(body) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn kept(replay: &Replay<Client>) -> usize {
        replay.shared.borrow().kept.capacity()
    }

    #[test]
    fn a_second_attempt_has_what_the_first_had_and_goes_on() {
        let (sender, replay, mut first) = client(Some(6));
        assert!(poll(&mut first).is_pending() && !replay.has_begun());
        send(&sender, b"ab");
        send(&sender, b"cd");
        assert_eq!((data(&mut first), data(&mut first)), (b"ab".to_vec(), b"cd".to_vec()));
        assert!(poll(&mut first).is_pending() && replay.has_begun());
        let mut second = replay.again().unwrap();
        assert_eq!(second.size_hint().exact(), Some(6));
        assert_eq!(data(&mut second), b"abcd");
        assert_eq!((second.size_hint().exact(), second.is_end_stream()), (Some(2), false));
        send(&sender, b"ef");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        sender.send(Some(Frame::trailers(trailers))).unwrap();
        assert_eq!(data(&mut second), b"ef");
        assert!(matches!(poll(&mut second), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
        assert!(matches!(poll(&mut second), Poll::Ready(None)));
        let mut third = replay.again().unwrap();
        assert_eq!(data(&mut third), b"abcdef");
        assert!(matches!(poll(&mut third), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
        assert!(third.is_end_stream());
    }

    #[test]
    fn an_attempt_that_was_in_vain_begins_again_in_its_own_turn() {
        let (sender, replay, mut first) = client(Some(4));
        send(&sender, b"ab");
        assert_eq!(data(&mut first), b"ab");
        let mut first = first.rewound().unwrap();
        assert_eq!(first.size_hint().exact(), Some(4));
        assert_eq!(data(&mut first), b"ab");
        send(&sender, b"cd");
        drop(sender);
        assert_eq!(data(&mut first), b"cd");
        assert!(matches!(poll(&mut first), Poll::Ready(None)));
        let mut first = first.rewound().unwrap();
        assert_eq!(data(&mut first), b"abcd");
        let second = replay.again().unwrap();
        assert!(first.rewound().is_none(), "its turn is over");
        drop(replay);
        assert!(second.rewound().is_none(), "it is not kept any more");
    }

    #[test]
    fn an_attempt_whose_turn_is_over_is_woken_and_gets_no_more() {
        let (sender, replay, mut first) = client(None);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let pending = Pin::new(&mut first).poll_frame(&mut Context::from_waker(&waker));
        assert!(pending.is_pending());
        let mut second = replay.again().unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        send(&sender, b"for the second");
        assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(BodyError::Superseded)))));
        assert_eq!(data(&mut second), b"for the second");
    }

    #[test]
    fn what_is_too_large_or_broken_is_not_sent_again_and_not_kept() {
        let (sender, replay, mut first) = client(None);
        send(&sender, &vec![b'x'; MOST_KEPT]);
        assert_eq!(data(&mut first).len(), MOST_KEPT);
        assert!(replay.can_be_sent_again());
        send(&sender, b"y");
        assert_eq!(data(&mut first), b"y", "it goes on all the same");
        assert!(replay.again().is_none());
        assert_eq!(kept(&replay), 0);
        let (sender, replay, mut first) = client(None);
        sender.send(None).unwrap();
        assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
        assert!(replay.again().is_none());
    }

    #[test]
    fn the_memory_is_given_back_when_nobody_will_send_it_again() {
        let (sender, replay, mut body) = client(None);
        send(&sender, b"abc");
        data(&mut body);
        let shared = Rc::clone(&replay.shared);
        drop(replay);
        assert_eq!(shared.borrow().kept.capacity(), 0, "all of it had been sent");
        let (sender, replay, mut body) = client(None);
        send(&sender, b"abc");
        data(&mut body);
        let (shared, mut second) = (Rc::clone(&replay.shared), replay.again().unwrap());
        drop(replay);
        assert_eq!(data(&mut second), b"abc", "the last attempt still needs it");
        assert_eq!(shared.borrow().kept.capacity(), 0);
        send(&sender, b"def");
        assert_eq!(data(&mut second), b"def");
        assert_eq!(shared.borrow().kept.capacity(), 0);
    }

    proptest! {
        #[test]
        fn each_attempt_has_the_body_from_its_beginning(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..12),
            stops in prop::collection::vec(0..8_usize, 0..4),
        ) {
            let (sender, replay, mut body) = client(None);
            let whole = pieces.concat();
            for piece in &pieces {
                send(&sender, piece);
            }
            drop(sender);
            for stop in stops {
                let mut had = Vec::new();
                for _ in 0..stop {
                    if let Poll::Ready(Some(Ok(frame))) = poll(&mut body) {
                        had.extend(frame.into_data().unwrap());
                    }
                }
                prop_assert!(whole.starts_with(&had));
                body = replay.again().unwrap();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let all = runtime.block_on(body.collect()).unwrap().to_bytes();
            prop_assert_eq!(&all[..], &whole[..]);
        }
    }
}
