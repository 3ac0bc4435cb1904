//! Tells the kernel side who the proxy is.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use aya::maps::{Array, MapData};
use nodeway_ebpf::Proxy;
use socket2::{Domain, Socket, Type};

use super::InterceptError;

/// Has the kernel side write down this process's number as *it* counts: in a pid namespace of its own
/// a process does not know it. A socket announces itself by its cookie and connects. A process
/// outside the cgroup never comes by; then there is nobody to be told apart.
pub(super) fn introduce(map: &mut Array<MapData, Proxy>) -> Result<Option<u32>, InterceptError> {
    let failed = |message: String| InterceptError::Map { map: "PROXY", message };
    let io = |error: std::io::Error| failed(error.to_string());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(io)?;
    let probe_cookie = rustix::net::sockopt::socket_cookie(socket.as_fd())
        .map_err(|errno| failed(errno.to_string()))?;
    let map_error = |error: aya::maps::MapError| failed(error.to_string());
    map.set(0, Proxy { probe_cookie, ..Proxy::default() }, 0).map_err(map_error)?;
    // A listener of our own, so that nobody else hears of it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io)?;
    let to: SocketAddr = listener.local_addr().map_err(io)?;
    // Whether it succeeds does not matter: the programs have seen it.
    let _ = socket.connect(&to.into());
    let tgid = map.get(&0, 0).map_err(map_error)?.tgid;
    map.set(0, Proxy { tgid, ..Proxy::default() }, 0).map_err(map_error)?;
    Ok((tgid != 0).then_some(tgid))
}
