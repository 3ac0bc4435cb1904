//! A pod's listeners: on its own loopback, one for each worker.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::{InterceptError, PodNetns};

/// Connections not yet accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// All listeners of one pod.
#[derive(Debug)]
pub struct PodListeners {
    /// The port on 127.0.0.1.
    pub port4: u16,
    /// The port on ::1; 0 if the pod has no IPv6.
    pub port6: u16,
    /// One set for each worker.
    pub workers: Vec<WorkerListeners>,
}

/// One worker's listeners in one pod.
#[derive(Debug)]
pub struct WorkerListeners {
    /// On 127.0.0.1; non-blocking.
    pub v4: TcpListener,
    /// On ::1, if the pod has IPv6; non-blocking.
    pub v6: Option<TcpListener>,
}

impl PodListeners {
    /// Opens them in `netns`, on ports that the kernel chooses. `mark`: how the kernel side knows them.
    ///
    /// # Errors
    /// The pod has no loopback interface that is up, no ports, or the process may not enter or mark.
    pub fn open(netns: &PodNetns, workers: usize, mark: u32) -> Result<Self, InterceptError> {
        let open = || -> Result<_, InterceptError> {
            let v4 = open_all((Ipv4Addr::LOCALHOST, 0).into(), workers, mark)
                .map_err(|error| InterceptError::Listen { address: "127.0.0.1", error })?;
            let v6 = match open_all((Ipv6Addr::LOCALHOST, 0).into(), workers, mark) {
                Ok(v6) => Some(v6),
                Err(error) if has_no_ipv6(&error) => None,
                Err(error) => return Err(InterceptError::Listen { address: "::1", error }),
            };
            Ok((v4, v6))
        };
        let ((port4, v4), v6) = netns
            .run(open)
            .map_err(|error| InterceptError::Listen { address: "127.0.0.1", error })??;
        let (port6, v6) = v6.map_or((0, Vec::new()), |(port, v6)| (port, v6));
        let mut v6 = v6.into_iter();
        let workers = v4.into_iter().map(|v4| WorkerListeners { v4, v6: v6.next() }).collect();
        Ok(Self { port4, port6, workers })
    }
}

fn open_all(address: SocketAddr, workers: usize, mark: u32) -> io::Result<(u16, Vec<TcpListener>)> {
    let first = open_one(address, mark)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..workers {
        all.push(open_one(address, mark)?);
    }
    Ok((address.port(), all))
}

/// Accepted sockets inherit the mark. On loopback no routing rule looks at it: the table of local
/// addresses comes first.
fn open_one(address: SocketAddr, mark: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_mark(mark)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}
