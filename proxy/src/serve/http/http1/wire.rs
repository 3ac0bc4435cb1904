//! A client's socket with what has come over it and what is to be written to it: shared between who serves the
//! connection and who reads the body of the request that is being served.
//!
//! Not the order of things: that is who serves it.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use socket2::SockRef;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use super::super::body::ResponseBody;
use super::super::headers::strip_hop_by_hop;
use super::super::interim::Told;
use super::request::RequestHead;
use crate::http1::{Buffer, Content, Extent, Heads, Piece, Writing, WrongLength, field, gather};
use crate::serve::http::MAX_HEAD;
use crate::streams::{BodyError, Malformed, Source};
use crate::upstream::Inform;

/// Of what nobody wants, so much is read: of a request's body so that its connection may be used again, and of what
/// comes after the last response so that that is not lost.
pub(super) const MOST_UNWANTED: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    state: RefCell<State>,
    /// Nobody but the response says anything while it is being said.
    writing: RefCell<Writing>,
}

#[derive(Debug)]
struct State {
    stream: TcpStream,
    read: Buffer,
    heads: Heads,
    /// Of the request that is being served.
    content: Content,
    /// Room for the fields of a head.
    map: HeaderMap,
    /// What the client has been told before the response.
    told: Told,
    /// Whether the client waits to be asked for the body.
    expects: bool,
    /// Whether nothing may be said any more before the response.
    answering: bool,
    /// Whether the body is there for somebody.
    wanted: bool,
    /// Octets of one that nobody wants that are read all the same.
    unwanted: usize,
    /// Whether what comes makes no sense, or nothing comes any more.
    broken: bool,
    /// Who serves the connection, if he waits for what others do here.
    server: Option<Waker>,
}

/// What comes next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "most are requests, and boxes would be made for each")]
pub(super) enum Next {
    Request(RequestHead),
    /// Some of a head, and no more by now.
    Partial,
    /// No head, because of this.
    Nonsense(Malformed),
    /// The client has left.
    End,
}

/// How the reading of what nobody wants ends.
enum End {
    /// All of it has been read.
    Whole,
    /// The client has left.
    Gone,
    /// It is not read on.
    Later,
}

/// Tells the client what comes before its response. Who has it keeps nothing of the connection.
#[derive(Debug)]
pub(super) struct Teller(Weak<Wire>);

/// The body of the request that is being served.
#[derive(Debug)]
pub(super) struct Upload {
    wire: Rc<Wire>,
}

// === impl Wire ===

impl Wire {
    /// Over `stream`, of which `said` has been read.
    pub(super) fn new(stream: TcpStream, said: Bytes) -> Rc<Self> {
        let state = State {
            stream,
            read: said.into(),
            heads: Heads::new(MAX_HEAD as usize),
            content: Content::End,
            map: HeaderMap::new(),
            told: Told::default(),
            expects: false,
            answering: true,
            wanted: false,
            unwanted: 0,
            broken: false,
            server: None,
        };
        Rc::new(Self { state: RefCell::new(state), writing: RefCell::default() })
    }

    /// The socket, and what has come over it; none if somebody holds it, or if something is left to be written.
    pub(super) fn into_parts(self: Rc<Self>) -> Option<(TcpStream, Bytes)> {
        let Self { state, writing } = Rc::into_inner(self)?;
        let State { stream, read, .. } = state.into_inner();
        writing.into_inner().is_flushed().then(|| (stream, read.octets.freeze()))
    }

    /// Tells its client, as long as there is one.
    pub(super) fn teller(self: &Rc<Self>) -> Rc<Teller> {
        Rc::new(Teller(Rc::downgrade(self)))
    }

    /// The head of the next request. As long as nothing of it comes, pending.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.state.borrow_mut();
        let State { stream, read, heads, map, .. } = &mut *state;
        loop {
            if !read.octets.is_empty() {
                match RequestHead::next(heads, &mut read.octets, map) {
                    Ok(Some(head)) => return Poll::Ready(Next::Request(head)),
                    Ok(None) => {}
                    Err(why) => {
                        state.broken = true;
                        return Poll::Ready(Next::Nonsense(why));
                    }
                }
            }
            match read.poll_read(stream, cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if read.octets.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Next::Partial),
            }
        }
    }

    /// A request begins, of which this follows its head; the body, if there is one.
    pub(super) fn begin(self: &Rc<Self>, content: Content, expects: bool) -> Option<Upload> {
        let mut state = self.state.borrow_mut();
        let upload = !content.has_ended();
        (state.content, state.expects, state.wanted) = (content, expects, upload);
        (state.told, state.answering, state.unwanted) = (Told::default(), false, MOST_UNWANTED);
        upload.then(|| Upload { wire: Rc::clone(self) })
    }

    /// To be polled by who serves the request, beside what he waits for: writes what the client is told meanwhile;
    /// ready if the client has left.
    pub(super) fn poll_client(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let State { stream, content, server, .. } = &mut *state;
        let mut writing = self.writing.borrow_mut();
        if !writing.is_flushed()
            && let Poll::Ready(Err(_)) = writing.poll_write(stream, cx)
        {
            return Poll::Ready(());
        }
        drop(writing);
        keep_waker(server, cx);
        if !content.has_ended() {
            // Who reads the body hears of it.
            let left = if state.wanted { End::Later } else { ready!(state.poll_discard(cx)) };
            match left {
                End::Whole => {}
                End::Gone => return Poll::Ready(()),
                End::Later => return Poll::Pending,
            }
        }
        let State { stream, read, .. } = &mut *state;
        while read.octets.is_empty() {
            if !matches!(ready!(read.poll_read(stream, cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
        // The next request: it waits.
        Poll::Pending
    }

    /// The response begins: `head` puts its head into octets. Nothing is said before it any more.
    pub(super) fn answer<T>(&self, head: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.state.borrow_mut().answering = true;
        head(self.writing.borrow_mut().head())
    }

    /// Room for the fields of the next request.
    pub(super) fn reuse(&self, mut map: HeaderMap) {
        map.clear();
        self.state.borrow_mut().map = map;
    }

    /// Whether the next request can be told from the body of this one: it makes sense, and its client does not wait
    /// to be asked for it any more, who could leave it out now (RFC 9110, 10.1.1).
    pub(super) fn is_clear(&self) -> bool {
        let state = self.state.borrow();
        !state.broken && (state.content.has_ended() || !state.expects)
    }

    /// Whether all of the request has been read.
    pub(super) fn is_at_end(&self) -> bool {
        let state = self.state.borrow();
        !state.broken && state.content.has_ended()
    }

    /// Writes what there is of `body`; ready when all of it has left.
    ///
    /// # Errors
    /// The body broke off, or the client has left.
    pub(super) fn poll_answer(
        &self,
        cx: &mut Context<'_>,
        body: &mut Option<ResponseBody>,
        extent: &mut Extent,
    ) -> Poll<Result<(), WrongLength>> {
        loop {
            let mut writing = self.writing.borrow_mut();
            // Without room for it nobody has asked whether there is more.
            let mut gathered = !writing.has_room();
            let ended = match body {
                None => Ok(true),
                Some(body) => gather(&mut writing, body, extent, cx, &mut gathered),
            };
            if ended == Ok(true) {
                // It is counted before its client can know.
                *body = None;
            }
            let left = writing.poll_write(&mut self.state.borrow_mut().stream, cx);
            drop(writing);
            // What was good before it broke off has been written, if it could be.
            ended?;
            match left {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(WrongLength)),
                Poll::Ready(Ok(())) if body.is_none() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if gathered => {}
                Poll::Ready(Ok(())) | Poll::Pending => {
                    return self.poll_client(cx).map(|()| Err(WrongLength));
                }
            }
        }
    }

    /// Ready when nobody reads the request's body any more.
    pub(super) fn poll_read_by_others(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        keep_waker(&mut state.server, cx);
        if state.wanted { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Reads the request's body to its end, of which nobody wants any more, unless there is too much of it.
    pub(super) fn poll_end_of_request(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let ended = state.poll_discard(cx).map(drop);
        state.read.rest();
        ended
    }

    /// Whether something has come, or is to come, that nobody will read.
    pub(super) fn has_unread(&self) -> bool {
        let state = self.state.borrow();
        state.broken || !state.content.has_ended() || !state.read.octets.is_empty()
    }

    /// Says that nothing more comes from here, and reads until the client says so, too: what came would have the
    /// kernel take back what has been written (RFC 9112, 9.6).
    pub(super) fn poll_linger(&self, cx: &mut Context<'_>, most: &mut usize) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let State { stream, read, .. } = &mut *state;
        // The socket is gone anyway if this fails.
        let _ = ready!(Pin::new(&mut *stream).poll_shutdown(cx));
        loop {
            read.octets.clear();
            match ready!(read.poll_read(stream, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(count) => {
                    let Some(left) = most.checked_sub(count) else { return Poll::Ready(()) };
                    *most = left;
                }
            }
        }
    }

    /// Ends the connection, whoever still has a part of it.
    pub(super) fn end(&self) {
        // What is gone already need not be ended.
        let _ = SockRef::from(&self.state.borrow().stream).shutdown(Shutdown::Both);
    }

    /// Has the client take nothing for whole that was not.
    pub(super) fn reset_on_close(&self) {
        crate::serve::tcp::reset_on_close(&self.state.borrow().stream);
    }

    /// More of the request's body, for who reads it.
    fn poll_content(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state.borrow_mut();
        let State { stream, read, content, expects, answering, broken, server, .. } = &mut *state;
        loop {
            let error = match content.next(&mut read.octets) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::End(trailers)) => {
                    return Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))));
                }
                Ok(Piece::Short) => match read.poll_read(stream, cx) {
                    Poll::Ready(Ok(1..)) => {
                        // It does not wait.
                        *expects = false;
                        continue;
                    }
                    Poll::Ready(Ok(_)) => BodyError::Incomplete,
                    Poll::Ready(Err(error)) => BodyError::Io(error),
                    Poll::Pending => {
                        if !*answering && std::mem::take(expects) {
                            let mut writing = self.writing.borrow_mut();
                            writing.head().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                            wake(server);
                        }
                        return Poll::Pending;
                    }
                },
                Err(why) => BodyError::Malformed(why),
            };
            *broken = true;
            return Poll::Ready(Some(Err(error)));
        }
    }
}

impl Inform for Teller {
    fn inform(&self, status: StatusCode, headers: &HeaderMap) {
        let Some(wire) = self.0.upgrade() else { return };
        let mut state = wire.state.borrow_mut();
        // 100 is said when the body is read.
        if status == StatusCode::CONTINUE || state.answering {
            return;
        }
        let mut headers = headers.clone();
        strip_hop_by_hop(&mut headers, false);
        // RFC 9110, 8.6: nothing follows.
        headers.remove(CONTENT_LENGTH);
        if !state.told.takes(status, &headers) {
            return;
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let mut writing = wire.writing.borrow_mut();
        let out = writing.head();
        // Writing to memory does not fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in &headers {
            field(out, name, value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        wake(&mut state.server);
    }
}

// === impl State ===

impl State {
    /// Reads the rest of a body that nobody wants, and forgets it.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Self { stream, read, content, unwanted, broken, .. } = self;
        while !*broken && !content.has_ended() {
            match content.next(&mut read.octets) {
                Ok(Piece::Data(data)) => match unwanted.checked_sub(data.len()) {
                    Some(left) => *unwanted = left,
                    None => *broken = true,
                },
                Ok(Piece::End(_)) => {}
                Ok(Piece::Short) => {
                    if !matches!(ready!(read.poll_read(stream, cx)), Ok(1..)) {
                        *broken = true;
                        return Poll::Ready(End::Gone);
                    }
                }
                Err(_) => *broken = true,
            }
        }
        Poll::Ready(if *broken { End::Later } else { End::Whole })
    }
}

fn wake(kept: &mut Option<Waker>) {
    if let Some(server) = kept.take() {
        server.wake();
    }
}

fn keep_waker(kept: &mut Option<Waker>, cx: &Context<'_>) {
    if !kept.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *kept = Some(cx.waker().clone());
    }
}

// === impl Upload ===

impl Source for Upload {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.wire.poll_content(cx)
    }

    fn has_ended(&self) -> bool {
        self.wire.state.borrow().content.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.wire.state.borrow().content.left();
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut state = self.wire.state.borrow_mut();
        state.wanted = false;
        wake(&mut state.server);
    }
}
