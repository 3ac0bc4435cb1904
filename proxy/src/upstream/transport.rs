//! What carries octets to an endpoint: TCP as it is, or TLS over it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nodeway_core::balance::{Connected, Ticket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::streams::{Prefixed, poll_write_gathered};

/// A connection to an endpoint.
#[derive(Debug)]
pub enum Transport {
    /// In the clear.
    Plain(TcpStream),
    /// Under a policy. Boxed: it is some hundred times as big, and plain connections must not pay for it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that is counted as long as it is open.
#[derive(Debug)]
pub struct Counted {
    transport: Transport,
    /// Dropped after the socket is closed: only then there is room for another.
    connected: Connected,
}

/// A connection that has left HTTP (RFC 9110, 7.8 and 9.3.6): what is said after the response, beginning with what
/// has been read already.
pub type Upgraded = Prefixed<Counted>;

// === impl Counted ===

impl Counted {
    /// Counts `transport` as `connected`.
    pub(super) fn new(transport: Transport, connected: Connected) -> Self {
        Self { transport, connected }
    }

    /// What it is doing, for those who could have its place; none where there is no limit.
    pub(super) fn ticket(&self) -> Option<&Arc<Ticket>> {
        self.connected.ticket()
    }

    /// Whether something has come that nobody waits for, or the end, as far as the reactor knows; of what is
    /// TLS's own nobody is told. What has come is lost.
    #[inline]
    pub(super) fn has_something(&mut self) -> bool {
        match &mut self.transport {
            Transport::Plain(stream) => !would_block(&stream.try_read(&mut [0])),
            Transport::Tls(stream) => {
                let (mut octet, mut cx) = ([0], Context::from_waker(Waker::noop()));
                Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut octet)).is_ready()
            }
        }
    }

    /// Whether something may have come by now, whatever the reactor knows.
    pub(super) fn has_something_now(&self) -> bool {
        let socket = socket2::SockRef::from(self.transport.stream());
        !would_block(&socket.peek(&mut [MaybeUninit::uninit()]))
    }

    /// Wakes `cx` when something may have come.
    #[inline]
    pub(super) fn poll_something(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.transport.stream().poll_read_ready(cx).map(drop)
    }
}

impl AsyncRead for Counted {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, octets)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, octets)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

fn would_block<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

// === impl Transport ===

impl Transport {
    /// The TCP connection below.
    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Transport {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => poll_write_gathered(Pin::new(stream), cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, octets),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
