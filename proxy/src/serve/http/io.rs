//! A client's HTTP/1 socket: what comes is watched, and interim responses go between hyper's messages.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use nodeway_core::detect::HeadWatch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::interim::Interim;
use crate::streams::Prefixed;

/// How long a client may take from the first octet of a request's head to its last.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

const TIMEOUT_RESPONSE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A socket that HTTP/1 requests come from: their heads are watched for what hyper repairs silently
/// (a Content-Length beside a Transfer-Encoding) and for how long they take.
#[derive(Debug)]
pub(super) struct Http1Io {
    inner: Prefixed<TcpStream>,
    watch: HeadWatch,
    faults: Faults,
    deadline: Option<Pin<Box<Sleep>>>,
    interim: Arc<Interim>,
    /// What is being written of that.
    ahead: Bytes,
}

/// What the watch has found. An upgraded connection must be `Send` for hyper, hence the atomics;
/// both holders are on one thread.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    state: Arc<FaultState>,
}

#[derive(Debug)]
struct FaultState {
    /// Counted from 0; `u64::MAX` for none.
    request: AtomicU64,
    /// What follows is no longer HTTP/1.
    off: AtomicBool,
    /// All that came was whole requests.
    between: AtomicBool,
}

// === impl Faults ===

impl Default for Faults {
    fn default() -> Self {
        let state = FaultState {
            request: AtomicU64::new(u64::MAX),
            off: AtomicBool::new(false),
            between: AtomicBool::new(true),
        };
        Self { state: Arc::new(state) }
    }
}

impl Faults {
    /// Whether request `index` of the connection, counted from 0, or an earlier one had a head that
    /// must be refused.
    pub(super) fn spoil(&self, index: u64) -> bool {
        self.state.request.load(Ordering::Relaxed) <= index
    }

    /// Whether what came is HTTP/1, and whole requests.
    pub(super) fn between_requests(&self) -> bool {
        self.state.between.load(Ordering::Relaxed) && !self.state.off.load(Ordering::Relaxed)
    }

    /// The connection has been upgraded: watch no longer.
    pub(super) fn off(&self) {
        self.state.off.store(true, Ordering::Relaxed);
    }
}

// === impl Http1Io ===

impl Http1Io {
    /// `stream`, to be read after `prefix`; what is found goes to `faults`, what is in `interim` to the client.
    pub(super) fn new(
        stream: TcpStream,
        prefix: Bytes,
        faults: Faults,
        interim: Arc<Interim>,
    ) -> Self {
        let (inner, watch) = (Prefixed::new(stream, prefix), HeadWatch::default());
        Self { inner, watch, faults, deadline: None, interim, ahead: Bytes::new() }
    }

    /// The socket, and what is to be read before it; none if something is still to be written.
    pub(super) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        self.ahead.is_empty().then(|| self.inner.into_parts())
    }

    /// Writes what is to be said before hyper's next message.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let Some(octets) = self.interim.take() else { return Poll::Ready(Ok(())) };
            self.ahead = octets.into();
        }
        while !self.ahead.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.ahead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ahead.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn watch(&mut self, read: &[u8]) {
        self.watch.feed(read);
        if let Some(request) = self.watch.faulty_request() {
            self.faults.state.request.fetch_min(request, Ordering::Relaxed);
        }
        self.faults.state.between.store(self.watch.is_between_requests(), Ordering::Relaxed);
        if !self.watch.in_partial_head() {
            self.deadline = None;
        }
    }

    /// Nothing to read in the middle of a head: the client is on the clock.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_PATIENCE)));
        if deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Best effort: the response fits any socket buffer, and the connection ends either way.
        let _ = self.inner.get_ref().try_write(TIMEOUT_RESPONSE);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "request head took too long")))
    }
}

impl AsyncRead for Http1Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        if this.faults.state.off.load(Ordering::Relaxed) {
            return read;
        }
        match read {
            Poll::Ready(Ok(())) => {
                this.watch(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.watch.in_partial_head() => this.poll_patience(cx),
            other => other,
        }
    }
}

impl AsyncWrite for Http1Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.interim.written();
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.interim.written();
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.interim.drained();
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
