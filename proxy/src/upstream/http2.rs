//! One HTTP/2 connection to an endpoint, and a request over it.
//!
//! Not which connection a request takes: that is `shared`.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::Reason;
use h2::client::{self, ResponseFuture, SendRequest};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use nodeway_core::balance::{Millis, Ticket};
use nodeway_core::model::ConnectionLife;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::interim::Listener;
use super::keepalive::{Heard, keep_alive};
use super::link::Age;
use super::obtain::wanted;
use super::shared::Shared;
use super::{RequestBody, SendError};
use crate::runtime::Clock;
use crate::streams::{BodyError, Inbound, Pump, Pumped, Received};

/// What h2 says of the peer's limit until the peer has said what it is. Real limits are below 2^32, or
/// `usize::MAX` for none.
const UNSETTLED: usize = usize::MAX - 1;
/// As much of a request's body is kept until its response begins, so that it can be sent again if the
/// endpoint says that it has not looked at it.
const KEPT: usize = 64 << 10;

/// An open connection. It ends when the last one who holds it lets go.
#[derive(Debug)]
pub(super) struct Connection {
    /// Never sends itself, its clones do: asked for room, h2 would take the wakers of streams that it has
    /// sent and that are not open yet.
    sender: RefCell<SendRequest<Bytes>>,
    /// Streams that are open, or promised to a request.
    streams: Rc<Cell<usize>>,
    /// No more streams than this: the endpoint has refused one beyond, whatever it has announced. One more
    /// for each that it has answered since.
    refused_beyond: Cell<usize>,
    idle_since: Cell<Millis>,
    /// Whether it has ever carried a response.
    served: Cell<bool>,
    age: Age,
    /// Where it stands among those of `shared`.
    pub(super) place: Cell<usize>,
    clock: Clock,
    shared: Weak<Shared>,
    /// Told when the peer's settings have come, or none will.
    settled: Rc<Notify>,
    /// None where connections are not limited.
    ticket: Option<Arc<Ticket>>,
}

/// The right to one stream of a connection; counted as open until it is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Rc<Connection>,
}

/// A response's stream, and what is left to be sent of its request.
#[derive(Debug)]
pub(super) struct OpenStream {
    _stream: Rc<Stream>,
    rest: Option<AbortHandle>,
}

/// Whether a connection takes another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Free,
    /// Not before one of its own has ended.
    Full,
    /// Not yet more than one: its peer has not said what it takes.
    Unsettled,
    /// Never again: it is closed, or its peer is about to close it.
    Gone,
}

/// A body that remembers how it began.
#[derive(Debug)]
struct Kept<B = RequestBody> {
    body: B,
    /// A copy, for small frames would hold on to large buffers. None if it is too much, or if the body
    /// remembers by itself.
    read: Option<Vec<u8>>,
}

// === impl Connection ===

impl Connection {
    /// Begins HTTP/2 on `io`; requests find the connection in `shared`, which is told when there is room.
    /// `early` is by chance, and says when its age is over; by `ticket` somebody else may ask for its place.
    pub(super) async fn open<T>(
        io: T,
        shared: &Rc<Shared>,
        clock: Clock,
        early: u8,
        ticket: Option<Arc<Ticket>>,
    ) -> Result<Rc<Self>, h2::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (io, heard) = Heard::on(io);
        let (sender, mut connection) = client::Builder::new()
            .enable_push(false)
            .initial_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_header_list_size(64 << 10)
            .max_send_buffer_size(1 << 20)
            .initial_max_send_streams(UNSETTLED)
            .handshake(io)
            .await?;
        let weak = Rc::downgrade(shared);
        let settled = Rc::new(Notify::new());
        let settling = Rc::clone(&settled);
        let streams = Rc::new(Cell::new(0));
        let keepalive =
            keep_alive(connection.ping_pong(), heard, Rc::clone(&streams), weak.clone());
        let (on_it, wants) = (Rc::clone(&streams), ticket.clone());
        // Ends when nobody holds the connection any more and its streams have ended, or the endpoint closes
        // it; the errors that matter reach the requests that met them.
        tokio::task::spawn_local(async move {
            let ended = poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                settling.notify_waiters();
                // Settings may have come, or a farewell.
                if let Some(shared) = weak.upgrade() {
                    shared.serve_waiting();
                }
                ended
            });
            let ended = tokio::select! {
                biased;
                ended = ended => Some(ended),
                () = keepalive => None,
                () = wanted(wants, || on_it.get() == 0) => Some(Ok(())),
            };
            // What is under way ends with it.
            drop(connection);
            settling.notify_waiters();
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "an HTTP/2 connection to an endpoint broke");
                    if error.is_go_away()
                        && error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
                        && let Some(shared) = weak.upgrade()
                    {
                        shared.send_fewer_pings();
                    }
                }
                None => {
                    tracing::debug!("an endpoint does not answer PING: its connection is closed")
                }
            }
            if let Some(shared) = weak.upgrade() {
                shared.serve_waiting();
            }
        });
        Ok(Rc::new(Self {
            sender: RefCell::new(sender),
            streams,
            refused_beyond: Cell::new(usize::MAX),
            idle_since: Cell::new(clock.now()),
            served: Cell::new(false),
            age: Age::new(clock.now(), early),
            place: Cell::new(0),
            clock,
            shared: Rc::downgrade(shared),
            settled,
            ticket,
        }))
    }

    /// Whether it takes another stream, if connections live like this.
    pub(super) fn room(&self, life: &ConnectionLife) -> Room {
        if self.is_over(life) || self.is_wanted() {
            return Room::Gone;
        }
        let mut sender = self.sender.borrow_mut();
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {}
            // Not of one that has sent nothing.
            Poll::Pending => return Room::Full,
            Poll::Ready(Err(_)) => return Room::Gone,
        }
        let announced = sender.current_max_send_streams();
        let streams = self.streams.get();
        if announced == UNSETTLED {
            return if streams == 0 { Room::Free } else { Room::Unsettled };
        }
        if streams < announced.min(self.refused_beyond.get()) { Room::Free } else { Room::Full }
    }

    /// Whether it is so old that it takes no more streams.
    pub(super) fn is_over(&self, life: &ConnectionLife) -> bool {
        self.age.is_over(life, || self.clock.now())
    }

    /// Whether it is being closed to make room for another.
    fn is_wanted(&self) -> bool {
        self.streams.get() == 0 && self.ticket.as_ref().is_some_and(|ticket| ticket.is_wanted())
    }

    /// Whether its peer says nothing any more.
    fn is_gone(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender.borrow_mut().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether the peer takes extended CONNECT; none if it has not said yet.
    fn extended_connect(&self) -> Option<bool> {
        let sender = self.sender.borrow();
        let settled = sender.current_max_send_streams() != UNSETTLED;
        settled.then(|| sender.is_extended_connect_protocol_enabled())
    }

    /// Since when no stream has been open; none if one is.
    pub(super) fn idle_since(&self) -> Option<Millis> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// The endpoint has answered on one of its streams: it has room for one more than when it refused one.
    fn answered(&self) {
        self.served.set(true);
        let beyond = self.refused_beyond.get();
        if beyond == usize::MAX {
            return;
        }
        self.refused_beyond.set(beyond + 1);
        if let Some(shared) = self.shared.upgrade() {
            shared.serve_waiting();
        }
    }

    /// Takes one stream more.
    pub(super) fn begin(self: &Rc<Self>) -> Stream {
        self.streams.set(self.streams.get() + 1);
        if let Some(ticket) = &self.ticket {
            // Wanted a moment ago, it is kept now that it is in use.
            ticket.take();
        }
        self.age.begin();
        Stream { connection: Rc::clone(self) }
    }
}

// === impl Stream ===

impl Stream {
    /// Whether the endpoint takes extended CONNECT (RFC 8441); it says so when the connection begins.
    pub(super) async fn takes_extended_connect(&self) -> bool {
        let connection = &self.connection;
        loop {
            let settled = connection.settled.notified();
            if let Some(takes) = connection.extended_connect() {
                return takes;
            }
            if connection.is_gone() {
                return false;
            }
            settled.await;
        }
    }

    /// Sends `request` and waits for its response's head. A request that is `spared` is not handed back.
    ///
    /// # Errors
    /// See [`SendError`].
    pub(super) async fn send(
        self,
        request: Request<RequestBody>,
        spared: bool,
    ) -> Result<(Response<Inbound>, OpenStream), SendError> {
        let listener = Listener::of(&request);
        let (parts, body) = request.into_parts();
        let spare = (!spared).then(|| parts.clone());
        let mut head = Request::from_parts(parts, ());
        // What h2 takes a request for whose URI may be a path alone.
        *head.version_mut() = http::Version::HTTP_11;
        let body = Kept::new(body);
        let whole = body.is_end_stream();
        let mut sender = self.connection.sender.borrow().clone();
        let sent = sender.send_request(head, whole);
        drop(sender);
        let (mut response, stream) = match sent {
            Ok(sent) => sent,
            // It was not even begun, whatever the reason.
            Err(error) => return Err(self.unanswered(error, spare, Some(body.body), true)),
        };
        let mut pump = Pump::new(body, stream);
        let mut sending = !whole;
        let answer = poll_fn(|cx| {
            if sending {
                match pump.poll(cx) {
                    Poll::Ready(Pumped::Broke(_)) => return Poll::Ready(None),
                    Poll::Ready(Pumped::Whole | Pumped::Refused) => sending = false,
                    Poll::Pending => {}
                }
            }
            if let Some(listener) = &listener {
                hear_interim(&mut response, listener, cx);
                if listener.is_flooded() {
                    return Poll::Ready(Some(Err(Reason::ENHANCE_YOUR_CALM.into())));
                }
            }
            Pin::new(&mut response).poll(cx).map(Some)
        });
        match answer.await {
            Some(Ok(response)) => {
                self.connection.answered();
                let (parts, stream) = response.into_parts();
                let inbound = Received::response(stream, &parts.headers).into();
                let stream = Rc::new(self);
                let rest = sending.then(|| finish(pump, Rc::clone(&stream)));
                let open = OpenStream { _stream: stream, rest };
                Ok((Response::from_parts(parts, inbound), open))
            }
            Some(Err(error)) => {
                let untouched = is_untouched(&error);
                Err(self.unanswered(error, spare, pump.into_body().rewound(), untouched))
            }
            None => Err(SendError::Abandoned),
        }
    }

    /// What became of a request that was not answered; `untouched`: the endpoint has not looked at it.
    fn unanswered(
        &self,
        error: h2::Error,
        spare: Option<http::request::Parts>,
        body: Option<RequestBody>,
        untouched: bool,
    ) -> SendError {
        let refused = error.reason() == Some(Reason::REFUSED_STREAM) && error.is_reset();
        if refused {
            let others = self.connection.streams.get() - 1;
            self.connection.refused_beyond.set(others.max(1));
        }
        match body {
            Some(body) if untouched => {
                let request = spare.map(|parts| Box::new(Request::from_parts(parts, body)));
                SendError::Unsent { request, fresh: !refused && !self.connection.served.get() }
            }
            _ => SendError::Lost { error: BodyError::Http2(error), request: None },
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        if connection.streams.get() == 0 {
            connection.refused_beyond.set(usize::MAX);
            connection.idle_since.set(connection.clock.now());
            if let Some(ticket) = &connection.ticket {
                ticket.rest(connection.clock.now());
            }
        }
        if let Some(shared) = connection.shared.upgrade() {
            shared.stream_ended(connection);
        }
    }
}

/// RFC 9113, 8.7: a request on a stream that was refused, or that is beyond the last one that a GOAWAY
/// names, has not been processed and may be sent again, whatever its method.
fn is_untouched(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || (error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)))
}

fn hear_interim(response: &mut ResponseFuture, listener: &Listener, cx: &mut Context<'_>) {
    // What else there may be is the final response's to tell.
    while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
        listener.hear(interim.status(), interim.headers());
    }
}

/// Sends the rest of a request whose response has begun.
fn finish(mut pump: Pump<Kept>, stream: Rc<Stream>) -> AbortHandle {
    pump.body_mut().forget();
    let task = tokio::task::spawn_local(async move {
        poll_fn(|cx| pump.poll(cx)).await;
        drop(stream);
    });
    task.abort_handle()
}

// === impl OpenStream ===

impl OpenStream {
    /// The response has ended: what is left of its request may still be sent.
    pub(super) fn response_ended(mut self) {
        self.rest = None;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // Nobody waits for the response's end: the stream is reset when both halves are dropped.
        if let Some(rest) = self.rest.take() {
            rest.abort();
        }
    }
}

// === impl Kept ===

impl Kept {
    fn new(body: RequestBody) -> Self {
        let read = (!body.is_replayed()).then(Vec::new);
        Self { body, read }
    }

    /// The body from its beginning, if that is still known.
    fn rewound(self) -> Option<RequestBody> {
        match self.read {
            Some(read) => Some(self.body.after(read)),
            None => self.body.rewound(),
        }
    }
}

impl<B> Kept<B> {
    fn forget(&mut self) {
        self.read = None;
    }
}

impl<B> Body for Kept<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(read) = &mut self.read
            && let Poll::Ready(Some(Ok(frame))) = &frame
        {
            match frame.data_ref() {
                Some(data) if read.len() + data.len() <= KEPT => read.extend_from_slice(data),
                // Too much, or trailers.
                _ => self.forget(),
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    struct Frames(VecDeque<Bytes>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    #[test]
    fn an_endpoint_that_has_refused_a_stream_is_given_more_again_as_it_answers() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let test = async {
            let clock = Clock::start();
            let life = ConnectionLife::default();
            let shared = Shared::new(clock, life);
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let (asked, mut asking) = tokio::sync::mpsc::unbounded_channel();
            tokio::task::spawn_local(async move {
                let mut server = h2::server::handshake(theirs).await.unwrap();
                while let Some(Ok((_, respond))) = server.accept().await {
                    asked.send(respond).unwrap();
                }
            });
            let connection = Connection::open(ours, &shared, clock, 0, None).await.unwrap();
            let send = || {
                let request = Request::get("http://web/").body(RequestBody::empty()).unwrap();
                tokio::task::spawn_local(connection.begin().send(request, false))
            };
            let (first, _second) = (send(), send());
            let mut respond = asking.recv().await.unwrap();
            let _held: h2::server::SendResponse<Bytes> = asking.recv().await.unwrap();
            assert_eq!(connection.room(&life), Room::Free);
            let third = send();
            asking.recv().await.unwrap().send_reset(Reason::REFUSED_STREAM);
            assert!(matches!(third.await.unwrap(), Err(SendError::Unsent { .. })));
            assert_eq!(connection.room(&life), Room::Full);
            let _body = respond.send_response(Response::new(()), false).unwrap();
            let _answer = first.await.unwrap().unwrap();
            assert_eq!(connection.room(&life), Room::Free);
        };
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn what_is_kept_of_a_body_is_its_octets_and_not_the_buffers_that_they_came_in() {
        let buffer = Bytes::from(vec![b'x'; 16 << 10]);
        let frames = (0..1000).map(|at| buffer.slice(at..=at)).collect();
        let mut kept = Kept { body: Frames(frames), read: Some(Vec::new()) };
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut kept).poll_frame(&mut cx) {
            assert_eq!(frame.unwrap().into_data().unwrap().len(), 1);
        }
        assert_eq!(kept.read.as_deref(), Some(&[b'x'; 1000][..]));
        assert!(buffer.is_unique());
        kept.body.0 = [vec![b'y'; KEPT - 1000], vec![b'z']].map(Bytes::from).into();
        let _ = Pin::new(&mut kept).poll_frame(&mut cx);
        assert_eq!(kept.read.as_ref().map(Vec::len), Some(KEPT));
        let _ = Pin::new(&mut kept).poll_frame(&mut cx);
        assert_eq!(kept.read, None);
    }
}
