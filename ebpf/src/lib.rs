//! What the kernel side and the proxy say to each other: keys, values, counters.
//!
//! Not the programs: those are the binary of this crate, built for the BPF target only. Every type
//! is `repr(C)` without hidden bytes, so that both sides see the same and map keys compare whole.
#![cfg_attr(not(test), no_std)]

mod l4;

pub use l4::{Carried, End, Ended, Fins, Slot, SlotKey, Target, Use};

/// The version of everything in this crate; part of the path where links are pinned.
pub const ABI_VERSION: u32 = 3;

/// A transport address as the socket layer hands it to programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// IPv6, or IPv4 in its mapped form `::ffff:a.b.c.d`; four words in network byte order.
    pub ip: [u32; 4],
    /// Network byte order.
    pub port: u16,
    /// Zero.
    pub pad: u16,
}

/// Key of `FRONTENDS`: what a client dials.
pub type FrontendKey = Address;

/// Value of `FRONTENDS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontend {
    /// What happens to a connect: a [`Mode`] as a number.
    pub mode: u32,
    /// With [`Mode::L4`]: the table that a connect is sent by. No number is used for a second one, so
    /// whoever has read an old value finds the old table or none.
    pub table: u32,
    /// How many slots that has.
    pub slots: u32,
    /// A [`Draw`] as a number.
    pub draw: u32,
}

/// What happens to a connect to a frontend.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Redirected to the pod's listener.
    L7 = 1,
    /// Sent to an endpoint at once, without the proxy.
    L4 = 2,
}

/// How a slot of a table is drawn.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// By chance.
    Chance = 0,
    /// By the client's network namespace: a pod has the same slot each time.
    Client = 1,
}

/// Value of `NETNS`, whose key is a network-namespace cookie: an enrolled namespace.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Netns {
    /// Port of the listener on 127.0.0.1, host byte order.
    pub port4: u16,
    /// Port of the listener on ::1, host byte order; 0 if the namespace has no IPv6.
    pub port6: u16,
}

/// Value of `ORIGINAL`, whose key is a socket cookie: what became of the socket's connect. It says all
/// that is needed later, so that a pod that leaves in between does not lose the connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// What the app dialled.
    pub dialled: Address,
    /// Where it was sent to instead: this port of the pod's loopback, host byte order.
    pub listener_port: u16,
    /// 6 if the listener is the one on ::1, else 4.
    pub family: u16,
}

/// Key of `FLOWS`: a redirected connection, as both of its ends see it. Addresses are left out: a
/// client may have bound another than 127.0.0.1.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// The client's port, host byte order.
    pub client_port: u16,
    /// The listener's port, host byte order.
    pub listener_port: u16,
    /// 6 if the listener is the one on ::1, else 4.
    pub family: u32,
}

/// Value of `PAIRS`, whose key is a redirected connection's [`FlowKey`]: how its two ends hand their
/// payload to each other past the loopback stack.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair {
    /// 1 as soon as the proxy's end can be handed something.
    pub ready: u32,
    /// What the app sends.
    pub app: Lane,
    /// What the proxy sends.
    pub proxy: Lane,
}

/// One direction of a [`Pair`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lane {
    /// Octets handed over since the other side last sent something.
    pub sent: u32,
    /// 1 as soon as anything went by TCP: everything after it does, or it would be overtaken.
    pub plain: u32,
}

/// So much is handed over, at most, before the other side says something. The kernel has no bound of
/// its own for what nobody reads (`bpf_tcp_ingress`, net/ipv4/tcp_bpf.c); TCP has its windows.
pub const ACCELERATED_AT_ONCE: u32 = 64 * 1024;

/// The one entry of `PROXY`: who the proxy is, so that its own connects are left alone.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proxy {
    /// The socket by which the proxy introduces itself; 0 for none. When it connects, the kernel side
    /// writes down who it was: no process can know its number in every pid namespace.
    pub probe_cookie: u64,
    /// The proxy's thread group, as the kernel counts; 0 if it never came by, because it is not below
    /// the cgroup.
    pub tgid: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = {
    assert!(size_of::<Address>() == 20);
    assert!(size_of::<Frontend>() == 16);
    assert!(size_of::<Netns>() == 4);
    assert!(size_of::<Redirect>() == 24);
    assert!(size_of::<FlowKey>() == 16);
    assert!(size_of::<Pair>() == 20);
    assert!(size_of::<Proxy>() == 16);
};

/// The third word of a mapped address, network byte order.
const MAPPED: u32 = 0xffff_u32.to_be();

/// How a program came to its end; index into the per-CPU array `EXITS`.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Sent to the pod's listener.
    Redirected = 0,
    /// Not TCP: left alone.
    NotTcp = 1,
    /// The namespace is not enrolled: left alone.
    NotEnrolled = 2,
    /// The proxy's own connect: left alone.
    IsProxy = 3,
    /// The destination is no Service's: left alone.
    NotFrontend = 4,
    /// Nobody listens in the pod: left alone (fail open).
    NoListener = 5,
    /// Nobody listens in the pod: refused (`fail-policy: closed`).
    Refused = 6,
    /// The original destination could not be noted: left alone.
    NotNoted = 7,
    /// The socket is bound to a device (SO_BINDTODEVICE), which need not lead to loopback: left alone.
    BoundToDevice = 8,
    /// Sent to an endpoint, without the proxy.
    Carried = 9,
    /// The share of the connections that it fell into has no endpoint: refused.
    NoEndpoint = 10,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Redirected,
        Self::NotTcp,
        Self::NotEnrolled,
        Self::IsProxy,
        Self::NotFrontend,
        Self::NoListener,
        Self::Refused,
        Self::NotNoted,
        Self::BoundToDevice,
        Self::Carried,
        Self::NoEndpoint,
    ];

    /// The value of the metric's label `exit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::NotTcp => "not_tcp",
            Self::NotEnrolled => "not_enrolled",
            Self::IsProxy => "is_proxy",
            Self::NotFrontend => "not_frontend",
            Self::NoListener => "no_listener",
            Self::Refused => "refused",
            Self::NotNoted => "not_noted",
            Self::BoundToDevice => "bound_to_device",
            Self::Carried => "carried",
            Self::NoEndpoint => "no_endpoint",
        }
    }
}

// === impl Frontend ===

impl Frontend {
    /// One whose connections go to the pod's listener.
    pub const L7: Self = Self { mode: Mode::L7 as u32, table: 0, slots: 0, draw: 0 };
}

// === impl FlowKey ===

impl FlowKey {
    /// The bit of `family` that makes it the key of the proxy's end, in `SOCKETS`.
    const PROXYS_END: u32 = 1 << 8;

    /// The key of the proxy's end of this connection in `SOCKETS`; the flow's own is the app's.
    #[inline(always)]
    pub fn proxys_end(self) -> Self {
        Self { family: self.family | Self::PROXYS_END, ..self }
    }
}

// === impl Address ===

impl Address {
    /// Nobody's.
    pub const NONE: Self = Self { ip: [0; 4], port: 0, pad: 0 };

    /// An IPv4 address; `ip` and `port` in network byte order.
    #[inline(always)]
    pub fn v4(ip: u32, port: u16) -> Self {
        Self { ip: [0, 0, MAPPED, ip], port, pad: 0 }
    }

    /// An IPv6 address, mapped ones included; `ip` and `port` in network byte order.
    #[inline(always)]
    pub fn v6(ip: [u32; 4], port: u16) -> Self {
        Self { ip, port, pad: 0 }
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.ip[0] == 0 && self.ip[1] == 0 && self.ip[2] == MAPPED
    }
}

#[cfg(feature = "user")]
mod user {
    use core::net::{IpAddr, Ipv6Addr, SocketAddr};

    use super::{Address, FlowKey, Frontend, Netns, Pair, Proxy};

    // SAFETY: repr(C), of integers only, without padding (sizes asserted above): any bytes are valid
    // and all of them are written.
    unsafe impl aya::Pod for Address {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Frontend {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Netns {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FlowKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Pair {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Proxy {}

    impl From<SocketAddr> for Address {
        fn from(address: SocketAddr) -> Self {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            let word = |i: usize| {
                let o = ip.octets();
                u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]])
            };
            Self::v6([word(0), word(4), word(8), word(12)], address.port().to_be())
        }
    }

    impl From<Address> for SocketAddr {
        /// A mapped address becomes the IPv4 address.
        fn from(address: Address) -> Self {
            let mut octets = [0; 16];
            for (i, word) in address.ip.iter().enumerate() {
                octets[4 * i..4 * i + 4].copy_from_slice(&word.to_ne_bytes());
            }
            let ip = Ipv6Addr::from(octets).to_canonical();
            Self::new(ip, u16::from_be(address.port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_stand_in_the_order_of_their_numbers() {
        for (i, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(exit as usize, i);
        }
    }

    #[cfg(feature = "user")]
    #[test]
    fn addresses_go_there_and_back() {
        for text in ["10.96.0.1:80", "[fd00::1]:6379", "[::1]:1"] {
            let address: std::net::SocketAddr = text.parse().unwrap();
            let ours = Address::from(address);
            assert_eq!(std::net::SocketAddr::from(ours), address);
            assert_eq!(ours.is_v4(), address.is_ipv4());
        }
        let v4 = Address::from("10.96.0.1:80".parse::<std::net::SocketAddr>().unwrap());
        assert_eq!(v4, Address::v4(u32::from_ne_bytes([10, 96, 0, 1]), 80u16.to_be()));
    }
}
