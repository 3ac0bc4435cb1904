//! Resets TCP connections of pods, by the kernel's own tool for that: SOCK_DESTROY of sock_diag(7).
//!
//! Not which: that is `resets`'s. Kernels have it if they were built with CONFIG_INET_DIAG_DESTROY (4.9), as
//! distributions' are; [`can_reset`] finds out. A BPF iterator with `bpf_sock_destroy` would want 6.5, walk the
//! same sockets and end them in the same way. The app's error is ECONNABORTED; the peer gets a RST.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _, Write as _};

use aya::maps::{HashMap as BpfMap, MapData};
use nodeway_ebpf::{Address, Carried};
use socket2::{Domain, Protocol, Socket, Type};

use super::Cut;
use crate::intercept::PodNetns;

/// `NETLINK_SOCK_DIAG` (linux/netlink.h).
const NETLINK_SOCK_DIAG: i32 = 4;
// linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// What comes before `struct inet_diag_sockid` in a question and in an answer.
const BEFORE_ID: (usize, usize) = (8, 4);
/// `struct inet_diag_sockid`; its last eight octets are the cookie.
const ID: usize = 48;
const COOKIE: usize = 40;
const TCP: u8 = 6;
/// A bit for each state of `enum tcp_state` in which there is a peer: all but SYN_RECV, TIME_WAIT, CLOSE and LISTEN.
const WITH_PEER: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
const FAMILIES: [u8; 2] = [2, 10];
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Resets connections that go without the proxy.
#[derive(Debug)]
pub struct Resetter {
    carried: BpfMap<MapData, u64, Carried>,
}

/// Sockets by the cookies of their network namespaces.
pub type Victims = HashMap<u64, HashSet<u64>>;

// === impl Resetter ===

impl Resetter {
    pub(in crate::intercept) fn new(carried: BpfMap<MapData, u64, Carried>) -> Self {
        Self { carried }
    }

    /// The sockets whose connections these are.
    pub fn victims(&self, cuts: &[Cut]) -> Victims {
        let mut victims = Victims::new();
        if cuts.is_empty() {
            return victims;
        }
        let cuts: Vec<(Address, &Cut)> =
            cuts.iter().map(|cut| (Address::from(cut.endpoint), cut)).collect();
        for (socket, note) in self.carried.iter().flatten() {
            let is = |(endpoint, cut): &(Address, &Cut)| {
                note.target.address == *endpoint && cut.series.contains(&note.target.series)
            };
            if cuts.iter().any(is) {
                victims.entry(note.netns).or_default().insert(socket);
            }
        }
        victims
    }
}

/// Resets these sockets of a namespace; how many it was.
///
/// # Errors
/// The kernel has no sock_diag, or cannot or may not reset.
pub fn reset(netns: &PodNetns, sockets: &HashSet<u64>) -> io::Result<usize> {
    let mut diag = netns.run(open)??;
    let mut count = 0;
    for family in FAMILIES {
        for id in list(&mut diag, family)? {
            let cookie = id.get(COOKIE..).and_then(|octets| octets.try_into().ok());
            // As the kernel writes it: the lower half first, each in the machine's order.
            let cookie = cookie.map_or(0, |octets: [u8; 8]| {
                let half = |i: usize| {
                    u32::from_ne_bytes([octets[i], octets[i + 1], octets[i + 2], octets[i + 3]])
                };
                u64::from(half(0)) | u64::from(half(4)) << 32
            });
            if !sockets.contains(&cookie) {
                continue;
            }
            match destroy(&mut diag, family, &id) {
                Ok(()) => count += 1,
                // It has ended by itself.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(count)
}

/// Whether this kernel resets connections if it is told to.
///
/// # Errors
/// The reason why it does not, or why that cannot be told.
pub fn can_reset() -> io::Result<()> {
    // A socket that there cannot be: no cookie is 1 on port 0.
    let mut nobody = [0; ID];
    nobody[COOKIE] = 1;
    match destroy(&mut open()?, FAMILIES[0], &nobody) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err(io::Error::other("the kernel was built without CONFIG_INET_DIAG_DESTROY"))
        }
        other => other,
    }
}

fn open() -> io::Result<Socket> {
    let protocol = Protocol::from(NETLINK_SOCK_DIAG);
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(protocol))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The identities of all TCP sockets of this family that have a peer.
fn list(diag: &mut Socket, family: u8) -> io::Result<Vec<[u8; ID]>> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    diag.write_all(&question(SOCK_DIAG_BY_FAMILY, flags, family, &[0; ID]))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let length = diag.read(&mut buffer)?;
        for (kind, body) in messages(buffer.get(..length).unwrap_or_default()) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(found),
                libc::NLMSG_ERROR => {
                    error_of(body)?;
                    return Ok(found);
                }
                _ => {
                    let id = body.get(BEFORE_ID.1..BEFORE_ID.1 + ID);
                    found.extend(id.and_then(|id| <[u8; ID]>::try_from(id).ok()));
                }
            }
        }
    }
}

fn destroy(diag: &mut Socket, family: u8, id: &[u8; ID]) -> io::Result<()> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
    diag.write_all(&question(SOCK_DESTROY, flags, family, id))?;
    let mut buffer = [0; 1 << 10];
    let length = diag.read(&mut buffer)?;
    let answer = messages(buffer.get(..length).unwrap_or_default());
    match answer.into_iter().find(|(kind, _)| i32::from(*kind) == libc::NLMSG_ERROR) {
        Some((_, body)) => error_of(body),
        None => Err(io::Error::other("sock_diag does not answer")),
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(kind: u16, flags: i32, family: u8, id: &[u8; ID]) -> Vec<u8> {
    let length = HEADER + BEFORE_ID.0 + ID;
    let mut octets = Vec::with_capacity(length);
    octets.extend(u32::try_from(length).unwrap_or(0).to_ne_bytes());
    octets.extend(kind.to_ne_bytes());
    octets.extend(u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    // Sequence and port numbers, which nobody needs here.
    octets.extend([0; 8]);
    octets.extend([family, TCP, 0, 0]);
    octets.extend(WITH_PEER.to_ne_bytes());
    octets.extend(id);
    octets
}

/// The messages of a datagram: what they are, and what is in them.
fn messages(mut octets: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(header) = octets.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = octets.get(HEADER..length) else { break };
        found.push((u16::from_ne_bytes([header[4], header[5]]), body));
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// `struct nlmsgerr` begins with the error, 0 for none.
fn error_of(body: &[u8]) -> io::Result<()> {
    match body.first_chunk::<4>().map(|octets| i32::from_ne_bytes(*octets)) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("an answer of sock_diag is cut short")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_read_to_their_ends_and_no_further() {
        let mut octets = question(7, 0, 2, &[9; ID]);
        octets.extend(question(8, 0, 2, &[9; ID]));
        let kinds = |octets: &[u8]| messages(octets).iter().map(|(k, _)| *k).collect::<Vec<_>>();
        assert_eq!(kinds(&octets), [7, 8]);
        for cut in 0..octets.len() {
            assert!(kinds(&octets[..cut]).len() < 2);
        }
        octets[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert!(kinds(&octets).is_empty(), "no length is shorter than its header");
    }
}
