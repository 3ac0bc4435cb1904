//! What has come over a connection and has not been taken out.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Read at once, to begin with; what comes faster is read in larger pieces.
const LEAST_READ: usize = 8 << 10;
/// At most.
const MOST_READ: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub struct Buffer {
    /// What is there.
    pub octets: BytesMut,
    /// How much is read at once.
    appetite: usize,
}

// === impl Buffer ===

impl Default for Buffer {
    fn default() -> Self {
        Self { octets: BytesMut::new(), appetite: LEAST_READ }
    }
}

impl From<Bytes> for Buffer {
    /// One in which this is already.
    fn from(said: Bytes) -> Self {
        Self { octets: said.into(), ..Self::default() }
    }
}

impl Buffer {
    /// Reads what has come; how much.
    ///
    /// # Errors
    /// `from` has broken.
    pub fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        from: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.octets.capacity() - self.octets.len() < self.appetite / 2 {
            self.octets.reserve(self.appetite);
        }
        let room = self.octets.capacity() - self.octets.len();
        let read = ready!(pin!(from.read_buf(&mut self.octets)).poll(cx))?;
        if read == room {
            self.appetite = (self.appetite * 2).min(MOST_READ);
        } else if read < self.appetite / 4 {
            self.appetite = (self.appetite / 2).max(LEAST_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// Between two messages no large room is kept.
    pub fn rest(&mut self) {
        if self.appetite > LEAST_READ && self.octets.is_empty() {
            self.octets = BytesMut::new();
        }
    }
}
