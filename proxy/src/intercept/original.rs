//! Whom an accepted connection was for.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use aya::maps::MapData;
use nodeway_ebpf::{Address, FlowKey};

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` (enum bpf_cmd); for LRU hashes since kernel 5.14.
const LOOKUP_AND_DELETE: libc::c_long = 21;

/// The kernel side's notes of redirected connections. Cheap to clone, for each worker.
#[derive(Debug, Clone)]
pub struct OriginalDestinations {
    flows: Arc<MapData>,
}

/// The part of `union bpf_attr` that commands on map elements read (linux/bpf.h).
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl OriginalDestinations {
    pub(super) fn new(flows: MapData) -> Self {
        Self { flows: Arc::new(flows) }
    }

    /// Takes out whom the connection from `client_port` to `listener_port` in the namespace with this
    /// cookie was for; `None` if the kernel side never redirected it. One system call, which also
    /// frees the entry; an IPv4 address comes back as such, in whichever form it was dialled.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn take(
        &self,
        netns: u64,
        client_port: u16,
        listener_port: u16,
        ipv6: bool,
    ) -> io::Result<Option<SocketAddr>> {
        let family = if ipv6 { 6 } else { 4 };
        let key = FlowKey { netns, client_port, listener_port, family };
        let mut value = Address::v4(0, 0);
        let attr = ElementAttr {
            map_fd: self.flows.fd().as_fd().as_raw_fd().cast_unsigned(),
            pad: 0,
            key: (&raw const key) as u64,
            value: (&raw mut value) as u64,
            flags: 0,
        };
        // SAFETY: bpf(2): the attribute and what it points to live through the call; key and value
        // have the sizes that the map was made with (asserted beside their types).
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_AND_DELETE,
                &raw const attr,
                size_of::<ElementAttr>(),
            )
        };
        if result == 0 {
            return Ok(Some(value.into()));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            error => Err(error),
        }
    }
}
