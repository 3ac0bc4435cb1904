//! Listening sockets of the host, which several threads may share, and two processes of ours while one
//! takes over from the other.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections not yet accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Where and how to listen.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    /// The address; port 0 for any.
    pub address: SocketAddr,
    /// Whether `[::]` means IPv6 alone.
    pub v6_only: bool,
    /// Whether another process of this user may listen there too, in the same way.
    pub takeover: bool,
}

// === impl Listening ===

impl Listening {
    /// Opens the address, `n` times (SO_REUSEPORT): the kernel spreads connections over the sockets.
    ///
    /// # Errors
    /// The address is in use by somebody else, or not ours.
    pub fn open(mut self, n: usize) -> io::Result<Vec<TcpListener>> {
        if !self.takeover {
            // With SO_REUSEPORT two processes of one user would share the port silently: ask first.
            drop(self.bind(false)?);
        }
        let mut listeners = Vec::with_capacity(n);
        for _ in 0..n {
            let listener = self.bind(true)?;
            self.address = listener.local_addr()?;
            listeners.push(listener);
        }
        Ok(listeners)
    }

    fn bind(&self, shared: bool) -> io::Result<TcpListener> {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        if self.address.is_ipv6() {
            socket.set_only_v6(self.v6_only)?;
        }
        socket.bind(&self.address.into())?;
        if shared {
            socket.listen(BACKLOG)?;
        }
        Ok(socket.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shared_only_with_a_successor() {
        let address = ([127, 0, 0, 1], 0).into();
        let any = Listening { address, v6_only: false, takeover: false };
        let first = any.open(2).unwrap();
        let there = Listening { address: first[0].local_addr().unwrap(), ..any };
        assert_eq!(first[1].local_addr().unwrap(), there.address);
        assert_eq!(there.open(1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(Listening { takeover: true, ..there }.open(1).is_ok());
    }
}
