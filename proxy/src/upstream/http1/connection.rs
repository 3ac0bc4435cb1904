//! One connection to an endpoint, polled by whoever has a request or a response on it: no task of its own, no
//! channel, and its buffers stay with it.
//!
//! Not how a request goes on over it: that is `sending`'s.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};

use super::head::Head;
use super::reading::{Reading, Step};
use super::sending::{Sending, Unsendable};
use crate::http1::Buffer;
use crate::streams::{BodyError, Inbound, Prefixed, Reader, Source};
use crate::upstream::RequestBody;
use crate::upstream::interim::Listener;
use crate::upstream::transport::{Counted, Upgraded};

/// See the module.
#[derive(Debug)]
pub(in crate::upstream) struct Connection {
    state: RefCell<State>,
}

/// Why there is no response.
#[derive(Debug)]
pub(in crate::upstream) enum Failure {
    /// Nothing of the request has left.
    Unsent,
    /// The request's body broke off, or is not as long as it says.
    Abandoned,
    /// The connection ended, or makes no sense.
    Lost(BodyError),
}

#[derive(Debug)]
struct State {
    transport: Counted,
    /// What has come and has not been taken out.
    read: Buffer,
    reading: Reading,
    sending: Sending,
    /// Whether what has been said so far lets it be used again.
    keep_alive: bool,
    /// Who is told of interim responses.
    listener: Option<Listener>,
    /// Room for the fields of a head.
    map: HeaderMap,
    /// Whether the request has no body.
    bodiless: bool,
    /// It, until it is answered: it could be sent again.
    kept: Option<Box<Request<RequestBody>>>,
    /// Why the response cannot go on, for who reads it.
    broken: Option<BodyError>,
    /// Who reads the response while its request is still being sent.
    reader: Option<Waker>,
    /// Of the task that sends on, if the response was sooner than the end of its request.
    pump: Option<Pump>,
}

/// Wakes a task that would wait for ever.
#[derive(Debug)]
struct Pump(Waker);

// === impl Connection ===

impl Connection {
    /// Over `transport`, on which nothing has been said.
    pub(in crate::upstream) fn new(transport: Counted) -> Rc<Self> {
        let state = State {
            transport,
            read: Buffer::default(),
            reading: Reading::default(),
            sending: Sending::default(),
            keep_alive: true,
            listener: None,
            map: HeaderMap::new(),
            bodiless: true,
            kept: None,
            broken: None,
            reader: None,
            pump: None,
        };
        Rc::new(Self { state: RefCell::new(state) })
    }

    /// Sends the request in `request` and waits for the head of its response. The request is taken when some of
    /// it has left.
    pub(in crate::upstream) fn poll_send(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        request: &mut Option<Box<Request<RequestBody>>>,
    ) -> Poll<Result<Response<Inbound>, Failure>> {
        let mut state = self.state.borrow_mut();
        if request.is_some() {
            ready!(state.poll_begin(cx, request))?;
        }
        let head = ready!(state.poll_head(cx))?;
        let ended = state.reading.has_ended();
        if !state.sending.has_ended() {
            state.keep_sending(Rc::downgrade(self), cx.waker());
        }
        state.rest();
        drop(state);
        let body = match ended {
            true => Inbound::Empty,
            false => Inbound::Http1(Reader::new(Rc::clone(self) as Rc<dyn Source>)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.version_mut() = if head.old { Version::HTTP_10 } else { Version::HTTP_11 };
        *response.headers_mut() = head.headers;
        if let Some(reason) = head.reason {
            response.extensions_mut().insert(reason);
        }
        Poll::Ready(Ok(response))
    }

    /// The request, if it had no body and has not been answered.
    pub(in crate::upstream) fn take_back(&self) -> Option<Box<Request<RequestBody>>> {
        self.state.borrow_mut().kept.take()
    }

    /// Whether it can carry another request now.
    pub(in crate::upstream) fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.is_sound() && state.sending.has_ended()
    }

    /// Whether it can as soon as the last of its request has left.
    pub(in crate::upstream) fn is_sending(&self) -> bool {
        let state = self.state.borrow();
        state.is_sound() && !state.sending.has_ended()
    }

    /// Sends what is left of the request; whether the connection can carry another one then. Who has begun to
    /// does so no longer.
    pub(in crate::upstream) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.borrow_mut();
        let State { sending, transport, pump, .. } = &mut *state;
        *pump = None;
        let sent = ready!(sending.poll(transport, cx));
        Poll::Ready(sent.is_ok() && state.is_sound())
    }

    /// Of one that is idle: whether it has ended, or says what nobody has asked for. Looks no further than at
    /// what the reactor knows.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        self.state.borrow_mut().transport.has_something()
    }

    /// The same, looking at the socket itself.
    pub(in crate::upstream) async fn is_over_now(&self) -> bool {
        if !self.state.borrow().transport.has_something_now() {
            return false;
        }
        // Whatever has come by now is known when this task goes on.
        tokio::task::yield_now().await;
        self.is_over()
    }

    /// Of one that is idle: wakes `cx` when it may be over.
    pub(in crate::upstream) fn watch(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.borrow().transport.poll_something(cx)
    }

    /// What it has become if its last response leads out of HTTP.
    pub(in crate::upstream) fn into_upgraded(self: Rc<Self>) -> Option<Upgraded> {
        let state = Rc::into_inner(self)?.state.into_inner();
        Some(Prefixed::new(state.transport, state.read.octets.freeze()))
    }

    /// Sends on by itself, until it has sent all or there is somebody else who does.
    async fn pump(this: Weak<Self>) {
        poll_fn(|cx| {
            let Some(this) = this.upgrade() else { return Poll::Ready(()) };
            let mut state = this.state.borrow_mut();
            let State { sending, transport, pump, broken, reader, .. } = &mut *state;
            match pump {
                None => return Poll::Ready(()),
                Some(Pump(waker)) if waker.will_wake(cx.waker()) => {}
                Some(former) => *former = Pump(cx.waker().clone()),
            }
            if let Err(Unsendable::Itself) = ready!(sending.poll(transport, cx)) {
                *broken = Some(BodyError::Abandoned);
            }
            if let Some(reader) = reader.take() {
                reader.wake();
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Source for Connection {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state.borrow_mut();
        let frame = ready!(state.poll_frame(cx)).transpose();
        if matches!(frame, Some(Err(_))) {
            state.keep_alive = false;
        }
        state.rest();
        Poll::Ready(frame)
    }

    fn has_ended(&self) -> bool {
        self.state.borrow().reading.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.state.borrow().reading.left();
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

// === impl State ===

impl State {
    /// Sends the first of the request.
    fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        slot: &mut Option<Box<Request<RequestBody>>>,
    ) -> Poll<Result<(), Failure>> {
        let Some(request) = slot else { return Poll::Ready(Ok(())) };
        if !self.sending.has_begun() {
            self.listener = Listener::of(request);
            self.bodiless = request.body().is_end_stream();
            let asked = self.sending.begin(cx, request).map_err(|_| Failure::Abandoned)?;
            self.reading.begin(asked);
        }
        if !ready!(self.sending.poll_first(&mut self.transport, cx, request)) {
            return Poll::Ready(Err(Failure::Unsent));
        }
        if let Some(mut request) = slot.take() {
            self.sending.go_on(request.body_mut());
            if self.bodiless {
                self.kept = Some(request);
            } else {
                self.clear(std::mem::take(request.headers_mut()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the room of `map`.
    fn clear(&mut self, mut map: HeaderMap) {
        map.clear();
        self.map = map;
    }

    /// The head of the response; meanwhile the request goes on.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        loop {
            // An endpoint that takes no more may have said why.
            if !self.sending.has_ended()
                && let Poll::Ready(Err(Unsendable::Itself)) =
                    self.sending.poll(&mut self.transport, cx)
            {
                return Poll::Ready(Err(Failure::Abandoned));
            }
            let step = self.reading.next(&mut self.read.octets, &mut self.map);
            match step.map_err(|why| Failure::Lost(BodyError::Malformed(why)))? {
                Step::Head(head) => {
                    self.keep_alive = head.keep_alive;
                    self.listener = None;
                    if let Some(mut answered) = self.kept.take() {
                        self.clear(std::mem::take(answered.headers_mut()));
                    }
                    return Poll::Ready(Ok(head));
                }
                Step::Interim(head) => {
                    if let Some(listener) = &self.listener {
                        listener.hear(head.status, &head.headers);
                    }
                    self.clear(head.headers);
                }
                Step::Data(_) | Step::End(_) => {
                    return Poll::Ready(Err(Failure::Lost(BodyError::Incomplete)));
                }
                Step::Short => match ready!(self.read.poll_read(&mut self.transport, cx)) {
                    Ok(0) => return Poll::Ready(Err(Failure::Lost(BodyError::Incomplete))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(Failure::Lost(BodyError::Io(error)))),
                },
            }
        }
    }

    /// More of the response's body.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        loop {
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(error));
            }
            let step = self.reading.next(&mut self.read.octets, &mut self.map);
            match step.map_err(BodyError::Malformed)? {
                Step::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Step::End(trailers) => return Poll::Ready(Ok(trailers.map(Frame::trailers))),
                Step::Interim(_) | Step::Head(_) => {
                    return Poll::Ready(Err(BodyError::Incomplete));
                }
                Step::Short => {
                    if !self.sending.has_ended() {
                        self.reader = Some(cx.waker().clone());
                    }
                    if ready!(self.read.poll_read(&mut self.transport, cx))
                        .map_err(BodyError::Io)?
                        == 0
                    {
                        let whole = self.reading.close();
                        let end = if whole { Ok(None) } else { Err(BodyError::Incomplete) };
                        return Poll::Ready(end);
                    }
                }
            }
        }
    }

    /// Should the response have ended, no large room is kept until the next.
    fn rest(&mut self) {
        if self.reading.has_ended() {
            self.read.rest();
        }
    }

    /// Has the rest of the request sent whether or not somebody reads the response: an endpoint may want one
    /// before the other, and a client may, too.
    fn keep_sending(&mut self, this: Weak<Connection>, until_then: &Waker) {
        self.pump = Some(Pump(until_then.clone()));
        tokio::task::spawn_local(Connection::pump(this));
    }

    /// Whether all that was said lets it be used again.
    fn is_sound(&self) -> bool {
        self.keep_alive
            && self.reading.has_ended()
            && self.read.octets.is_empty()
            && self.broken.is_none()
            && !self.sending.is_refused()
    }
}

// === impl Pump ===

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_keeps_is_small() {
        assert!(size_of::<State>() <= 768, "{}", size_of::<State>());
    }
}
