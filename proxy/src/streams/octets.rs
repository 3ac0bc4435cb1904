//! Octets of a connection that has left HTTP, as a body.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::oneshot;

use super::{BodyError, Inbound};

/// Read at once.
const CHUNK: usize = 16 << 10;

/// A connection that has left HTTP, whoever's.
trait Duplex: AsyncRead + AsyncWrite + Unpin + fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + fmt::Debug> Duplex for T {}

type Io = Box<dyn Duplex>;

/// What comes over an upgraded connection; read only when somebody wants it.
#[derive(Debug)]
pub struct Octets {
    from: ReadHalf<Io>,
}

/// A body whose source is known later.
#[derive(Debug)]
pub enum Later {
    /// Not yet.
    Awaited(oneshot::Receiver<Inbound>),
    /// Now.
    Known(Box<Inbound>),
}

/// A way for octets into an upgraded connection.
#[derive(Debug)]
pub struct Outlet(WriteHalf<Io>);

/// The two directions of an upgraded connection.
pub fn split(
    upgraded: impl AsyncRead + AsyncWrite + Unpin + fmt::Debug + 'static,
) -> (Inbound, Outlet) {
    let (from, to) = tokio::io::split(Box::new(upgraded) as Io);
    (Inbound::Octets(Octets { from }), Outlet(to))
}

// === impl Octets ===

impl Octets {
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut buffer = [0; CHUNK];
        let mut buffer = ReadBuf::new(&mut buffer);
        ready!(Pin::new(&mut self.from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        Poll::Ready((!read.is_empty()).then(|| Ok(BytesMut::from(read).freeze())))
    }
}

// === impl Later ===

impl Later {
    /// The source, if it is known; an empty one if it never will be.
    pub(super) fn poll_known(&mut self, cx: &mut Context<'_>) -> Poll<&mut Inbound> {
        if let Self::Awaited(source) = self {
            let source = ready!(Pin::new(source).poll(cx)).unwrap_or_default();
            *self = Self::Known(Box::new(source));
        }
        match self {
            Self::Known(source) => Poll::Ready(source),
            Self::Awaited(_) => Poll::Pending,
        }
    }
}

// === impl Outlet ===

impl Outlet {
    /// Writes all of `from`, then ends this direction.
    ///
    /// # Errors
    /// Either side broke.
    pub async fn pour(mut self, mut from: Inbound) -> Result<(), BodyError> {
        use http_body_util::BodyExt as _;
        while let Some(frame) = from.frame().await {
            if let Ok(data) = frame?.into_data() {
                self.0.write_all(&data).await.map_err(BodyError::Io)?;
            }
        }
        self.0.shutdown().await.map_err(BodyError::Io)
    }
}
