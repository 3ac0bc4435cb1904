//! What trials are made on: the real program, with maps of its own, and pairs of sockets on loopback.
//!
//! Nothing of it is attached to a cgroup: no other socket of this host comes near it.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, MapData, SockHash};
use aya::programs::sk_msg::SkMsgLink;
use nodeway_ebpf::{FlowKey, Pair};

use super::super::{InterceptError, netns, programs};
use super::{PAIRS, SOCKETS, attach_message};
use crate::errors::chain;

/// See the module.
pub(super) struct Rig {
    listener: TcpListener,
    /// Of this thread's network namespace.
    cookie: u64,
    sockets: SockHash<MapData, FlowKey>,
    pairs: HashMap<MapData, FlowKey, Pair>,
    _link: SkMsgLink,
    _ebpf: Ebpf,
}

/// The two ends of an accelerated connection. Neither waits for long.
pub(super) struct Ends {
    pub(super) app: TcpStream,
    pub(super) proxy: TcpStream,
}

/// What is there is read at once; a machine under load may take its time to wake somebody.
const WAIT: Duration = Duration::from_millis(400);

// === impl Rig ===

impl Rig {
    pub(super) fn make() -> Result<Self, InterceptError> {
        let mut ebpf = programs::load_for_trial()?;
        let link = attach_message(&mut ebpf)?;
        let io = |error| InterceptError::Listen { address: "127.0.0.1", error };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io)?;
        let cookie = netns::cookie_here().map_err(io)?;
        let map = |map: &'static str| {
            move |error: aya::maps::MapError| InterceptError::Map { map, message: chain(&error) }
        };
        let mut take = |name: &'static str| {
            let lacking = || InterceptError::Map { map: name, message: "no such map".to_owned() };
            ebpf.take_map(name).ok_or_else(lacking)
        };
        let sockets = SockHash::try_from(take(SOCKETS)?).map_err(map(SOCKETS))?;
        let pairs = HashMap::try_from(take(PAIRS)?).map_err(map(PAIRS))?;
        Ok(Self { listener, cookie, sockets, pairs, _link: link, _ebpf: ebpf })
    }

    /// A new pair, enrolled as sock_ops would do it.
    pub(super) fn ends(&mut self) -> io::Result<Ends> {
        let ends = Ends::plain(&self.listener)?;
        let client_port = ends.app.local_addr()?.port();
        let listener_port = ends.proxy.local_addr()?.port();
        let flow = FlowKey { netns: self.cookie, client_port, listener_port, family: 4 };
        let map = |error: aya::maps::MapError| io::Error::other(chain(&error));
        self.pairs.insert(flow, Pair { ready: 1, ..Pair::default() }, 0).map_err(map)?;
        self.sockets.insert(flow, ends.app.as_raw_fd(), 0).map_err(map)?;
        self.sockets.insert(flow.proxys_end(), ends.proxy.as_raw_fd(), 0).map_err(map)?;
        Ok(ends)
    }
}

// === impl Ends ===

impl Ends {
    /// As sockets are without acceleration.
    pub(super) fn plain(listener: &TcpListener) -> io::Result<Self> {
        let app = TcpStream::connect(listener.local_addr()?)?;
        let (proxy, _) = listener.accept()?;
        for end in [&app, &proxy] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(WAIT))?;
            end.set_write_timeout(Some(WAIT))?;
        }
        Ok(Self { app, proxy })
    }
}
