//! PING (RFC 9113, 6.7): whether the other end of an HTTP/2 connection is still there.
//!
//! Not TCP's keepalive: its probes are answered by the kernel of a host whose server hangs.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::Shared;

/// How often it is looked whether policy asks for PINGs by now.
const SELDOM: Duration = Duration::from_secs(60);

/// Octets to and from an endpoint, and whether any have come.
#[derive(Debug)]
pub(super) struct Heard<T> {
    io: T,
    heard: Rc<Cell<bool>>,
}

/// Sends a PING after each span of silence that policy names, and ends when one is not answered in time.
/// Spans are looked at one after the other, so that a silence may last for almost two before it is one.
///
/// Only while there are streams: an idle connection that has died costs nobody anything, and servers take
/// PINGs on one for an attack (gRPC's allow one in five minutes).
pub(super) async fn keep_alive(
    ping: Option<PingPong>,
    heard: Rc<Cell<bool>>,
    streams: Rc<Cell<usize>>,
    shared: Weak<Shared>,
) {
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        let wanted = shared.upgrade().and_then(|shared| {
            let keepalive = shared.life().http2_keepalive?;
            Some((keepalive.interval.saturating_mul(shared.seldom()), keepalive.timeout))
        });
        let Some((interval, timeout)) = wanted else {
            tokio::time::sleep(SELDOM).await;
            continue;
        };
        heard.set(false);
        tokio::time::sleep(interval).await;
        if heard.get() || streams.get() == 0 {
            continue;
        }
        if ping.send_ping(Ping::opaque()).is_err() {
            // The connection has ended, as it will say itself.
            return std::future::pending().await;
        }
        loop {
            heard.set(false);
            match tokio::time::timeout(timeout, poll_fn(|cx| ping.poll_pong(cx))).await {
                Ok(Ok(_)) => break,
                Ok(Err(_)) => return std::future::pending().await,
                // Who says something else is there, and busy.
                Err(_) if heard.get() => {}
                Err(_) => return,
            }
        }
    }
}

// === impl Heard ===

impl<T> Heard<T> {
    /// Notes in the second what comes over the first.
    pub(super) fn on(io: T) -> (Self, Rc<Cell<bool>>) {
        let heard = Rc::new(Cell::new(false));
        (Self { io, heard: Rc::clone(&heard) }, heard)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        if read.is_ready() {
            this.heard.set(true);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, octets)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, octets)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
