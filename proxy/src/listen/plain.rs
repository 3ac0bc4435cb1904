//! Listeners that are not in a pod: for hosts without eBPF, tests and benches.

use std::io;
use std::net::{SocketAddr, TcpListener};

use nodeway_core::model::ObjectName;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections not yet accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// One worker's share of a plain listener.
#[derive(Debug)]
pub struct PlainListener {
    /// The socket.
    pub listener: TcpListener,
    /// The Service it stands for.
    pub service: ObjectName,
    /// The Service's port.
    pub port: u16,
}

/// Opens `address` once per worker (SO_REUSEPORT): the kernel spreads connections over them.
///
/// # Errors
/// The address is in use by somebody else, or not ours.
pub fn open_plain(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    // With SO_REUSEPORT two processes of one user would share the port silently: ask first.
    drop(bind(address, false)?);
    let first = bind(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(bind(address, true)?);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}
