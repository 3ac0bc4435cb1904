//! Octets that come fast, from one socket to another by the kernel alone: splice(2) through a pipe. They are not copied
//! to this process and back, which is most of what a relay of large pieces costs.
//!
//! Not for small pieces: two calls for each are all that they cost either way, and a pipe is two descriptors.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, recv};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What a pipe should hold. It holds 64 KiB if that cannot be had.
const ROOM: usize = 256 << 10;
/// Who sends no more than this at once does without.
const LEAST: usize = 16 << 10;

/// A pipe from one socket to another.
#[derive(Debug)]
pub(super) struct Bulk {
    into: OwnedFd,
    out: OwnedFd,
    /// What is in it.
    held: usize,
}

/// What has been taken from a socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Something. Whether it was much.
    Some(bool),
    /// It has finished.
    End,
    /// What is there cannot be taken this way: it has not come by TCP alone.
    Unfit,
}

// === impl Bulk ===

impl Bulk {
    /// An empty one; none if there are no descriptors for it.
    pub(super) fn new() -> Option<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // As it is it will do.
        let _ = fcntl_setpipe_size(&into, ROOM);
        Some(Self { into, out, held: 0 })
    }

    /// Takes what has come over `from`; only if it is empty.
    ///
    /// # Errors
    /// `from` has broken, or there is nothing (`WouldBlock`).
    pub(super) fn take(&mut self, from: &TcpStream) -> io::Result<Taken> {
        from.try_io(Interest::READABLE, || {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match splice(from, None, &self.into, None, ROOM, flags) {
                Ok(0) => Ok(Taken::End),
                Ok(count) => {
                    self.held = count;
                    Ok(Taken::Some(count > LEAST))
                }
                // A socket may have what splice does not see (sockmap's queue).
                Err(rustix::io::Errno::AGAIN) => {
                    recv(from, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
                    Ok(Taken::Unfit)
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Gives all that it has to `to`; how much.
    ///
    /// # Errors
    /// `to` has broken.
    pub(super) async fn give(&mut self, to: &TcpStream) -> io::Result<usize> {
        let all = self.held;
        while self.held > 0 {
            to.writable().await?;
            let given = to.try_io(Interest::WRITABLE, || {
                let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
                Ok(splice(&self.out, None, to, None, self.held, flags)?)
            });
            match given {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.held -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}
