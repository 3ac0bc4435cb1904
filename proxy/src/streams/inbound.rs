//! A message's body as it comes over the wire.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::{BodyCopy, Copied, Later, Malformed, Octets, Reader, Received, trailers};

/// A body that comes from a client or an endpoint. Its trailers are those that a trailer section may have.
#[derive(Debug, Default)]
pub enum Inbound {
    /// There is none.
    #[default]
    Empty,
    /// Over HTTP/1.
    Http1(Reader),
    /// Over HTTP/2.
    Http2(Received),
    /// Either, copied as it passes.
    Copied(Box<Copied>),
    /// A copy of one.
    Copy(BodyCopy),
    /// Over a connection that has left HTTP.
    Octets(Octets),
    /// It shows later from where.
    Later(Later),
}

/// Why a body broke off.
#[derive(Debug)]
pub enum BodyError {
    /// Over HTTP/2.
    Http2(h2::Error),
    /// Over HTTP/1, or a connection that has left HTTP.
    Io(io::Error),
    /// Over HTTP/1: what was said makes no sense.
    Malformed(Malformed),
    /// The connection ended before the message, over HTTP/1.
    Incomplete,
    /// The response's request broke off.
    Abandoned,
    /// The request is being sent again, and this attempt is over.
    Superseded,
    /// The request's time was over before its response was.
    TimedOut,
    /// The endpoint is gone, and so is the time that was left to the response.
    Gone,
    /// It is a copy, and there is no more of it.
    Cut,
}

// === impl Inbound ===

impl Inbound {
    /// A body that will be what is sent.
    pub fn later() -> (oneshot::Sender<Self>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self::Later(Later::Awaited(receiver)))
    }
}

impl From<Received> for Inbound {
    fn from(received: Received) -> Self {
        Self::Http2(received)
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Http1(reader) => reader.poll_frame(cx),
            Self::Http2(received) => Pin::new(received).poll_frame(cx).map_err(BodyError::Http2),
            Self::Copied(body) => return Pin::new(body).poll_frame(cx),
            Self::Copy(copy) => return Pin::new(copy).poll_frame(cx),
            Self::Octets(octets) => {
                let data = octets.poll_data(cx);
                return data.map(|data| data.map(|d| d.map(Frame::data).map_err(BodyError::Io)));
            }
            Self::Later(later) => {
                return Pin::new(ready!(later.poll_known(cx))).poll_frame(cx);
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(fields) = frame.trailers_mut()
        {
            trailers::restrict(fields);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(reader) => reader.is_end_stream(),
            Self::Http2(received) => received.is_end_stream(),
            Self::Copied(body) => body.is_end_stream(),
            Self::Copy(copy) => copy.is_end_stream(),
            Self::Octets(_) | Self::Later(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(reader) => reader.size_hint(),
            Self::Http2(received) => received.size_hint(),
            Self::Copied(body) => body.size_hint(),
            Self::Copy(copy) => copy.size_hint(),
            Self::Octets(_) | Self::Later(_) => SizeHint::default(),
        }
    }
}

// === impl BodyError ===

impl BodyError {
    /// With what a stream that carries this body on is to be reset; `else_` if nothing better is known.
    pub fn reset_reason(&self, else_: h2::Reason) -> h2::Reason {
        match self {
            Self::Http2(error) if error.is_reset() => error.reason().unwrap_or(else_),
            _ => else_,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http2(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Malformed(why) => why.fmt(f),
            Self::Incomplete => f.write_str("the connection ended before the message"),
            Self::Abandoned => f.write_str("the request broke off before its response ended"),
            Self::Superseded => f.write_str("the request is sent again"),
            Self::Gone => f.write_str("the endpoint is gone, and its time to drain is over"),
            Self::TimedOut => f.write_str("the request's time was over before its response was"),
            Self::Cut => f.write_str("the original broke off, or the copy fell behind"),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Http2(error) => error.source(),
            Self::Io(error) => error.source(),
            Self::Malformed(_) | Self::Incomplete | Self::Abandoned => None,
            Self::Superseded | Self::TimedOut | Self::Gone | Self::Cut => None,
        }
    }
}
