//! The receiving half of an HTTP/2 stream as a body.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};

/// What comes over a stream. Its sender may send more only when a frame has been taken out here: who
/// reads slowly holds it back.
#[derive(Debug)]
pub struct Received {
    stream: RecvStream,
    /// Octets still to come, if they were announced.
    left: Option<u64>,
    data_ended: bool,
    /// All has come: h2 is asked no more, which takes a lock each time.
    ended: Cell<bool>,
    of: Message,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

// === impl Received ===

impl Received {
    /// The body of the request with these `headers`.
    pub fn request(stream: RecvStream, headers: &HeaderMap) -> Self {
        Self::new(stream, headers, Message::Request)
    }

    /// The body of the response with these `headers`.
    pub fn response(stream: RecvStream, headers: &HeaderMap) -> Self {
        Self::new(stream, headers, Message::Response)
    }

    fn new(stream: RecvStream, headers: &HeaderMap, of: Message) -> Self {
        // h2 refuses lengths that are no numbers, and bodies that are longer or shorter.
        let left =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, left, data_ended: false, ended: Cell::new(false), of }
    }

    /// The stream, whose data nobody has looked at.
    pub fn into_stream(self) -> RecvStream {
        self.stream
    }
}

impl Received {
    /// RFC 9113, 8.1: a server that has answered may reset the stream in this way when it does not want the
    /// rest of the request. A request that ends so is not whole.
    fn is_early_end(&self, error: &h2::Error) -> bool {
        self.of == Message::Response && error.is_reset() && error.reason() == Some(Reason::NO_ERROR)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only if the stream is gone, which the next read tells.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) if self.is_early_end(&error) => {
                    self.data_ended = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields)))),
            Err(error) if self.is_early_end(&error) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended.get() || {
            let ended = self.stream.is_end_stream();
            self.ended.set(ended);
            ended
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}
