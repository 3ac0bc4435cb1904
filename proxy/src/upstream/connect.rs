//! A TCP connection to an endpoint, from the client's own namespace.

use std::io;
use std::net::SocketAddr;

use nodeway_core::model::{ConnectionLife, TcpKeepalive};
use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::net::{TcpSocket, TcpStream};

use super::Client;
use crate::runtime::Worker;

/// Nothing has left the client's pod.
#[derive(Debug, thiserror::Error)]
#[error("the client's pod cannot connect to anything, or not to this")]
struct Ours(#[source] io::Error);

/// Connects to `endpoint`, counted, from `client`'s namespace, with the address the namespace chooses: the
/// endpoint sees the pod, and the pod's network policy applies. No source port is bound.
///
/// # Errors
/// The socket cannot be made, or the endpoint refused, is unreachable or did not answer in the time that
/// `life` gives it (`ErrorKind::TimedOut`); [`is_ours`]: that is not the endpoint's doing.
pub async fn connect(
    worker: &Worker,
    client: &Client,
    endpoint: SocketAddr,
    life: &ConnectionLife,
) -> io::Result<TcpStream> {
    let connected = try_connect(client, endpoint, life).await;
    let connected = connected.map_err(|error| if is_local(&error) { ours(error) } else { error });
    match &connected {
        Ok(_) => worker.metrics.counters.upstream_connects.add(1),
        Err(_) => worker.metrics.counters.upstream_connect_failures.add(1),
    }
    connected
}

async fn try_connect(
    client: &Client,
    endpoint: SocketAddr,
    life: &ConnectionLife,
) -> io::Result<TcpStream> {
    let socket = socket(client, endpoint, life).map_err(ours)?;
    match tokio::time::timeout(life.connect_timeout, socket.connect(endpoint)).await {
        Ok(connected) => connected,
        Err(_) => {
            let text = format!("no answer within {:?}", life.connect_timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

fn socket(client: &Client, endpoint: SocketAddr, life: &ConnectionLife) -> io::Result<TcpSocket> {
    let socket = match &client.netns {
        None => new_socket(endpoint)?,
        // The socket belongs to the namespace that it is made in; what follows can be done anywhere.
        Some(netns) => netns.run(|| new_socket(endpoint))??,
    };
    set_options(&socket, &life.tcp_keepalive)?;
    Ok(socket)
}

/// Whether nothing has left the client's pod: that says nothing of the endpoint.
pub fn is_ours(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Ours>())
}

fn ours(error: io::Error) -> io::Error {
    if is_ours(&error) { error } else { io::Error::new(error.kind(), Ours(error)) }
}

/// Errors of connect(2) that say that nothing has left the pod.
fn is_local(error: &io::Error) -> bool {
    const LOCAL: [Errno; 8] = [
        Errno::ADDRNOTAVAIL,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::NETUNREACH,
        // A filter in the pod's own namespace, or of its cgroup.
        Errno::PERM,
        Errno::ACCESS,
    ];
    error.raw_os_error().is_some_and(|code| LOCAL.iter().any(|local| local.raw_os_error() == code))
}

/// Options of both legs: small writes leave at once, and a peer that vanished without a word is
/// noticed, so that nothing is held for the dead.
///
/// # Errors
/// The kernel refused an option.
pub fn set_options(socket: &impl std::os::fd::AsFd, keepalive: &TcpKeepalive) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, keepalive.idle)?;
    sockopt::set_tcp_keepintvl(socket, keepalive.interval)?;
    sockopt::set_tcp_keepcnt(socket, keepalive.probes.get().into())?;
    Ok(())
}

fn new_socket(endpoint: SocketAddr) -> io::Result<TcpSocket> {
    if endpoint.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}
