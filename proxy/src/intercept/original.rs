//! Whom an accepted connection was for.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use aya::maps::MapData;
use nodeway_ebpf::{Address, FlowKey};

use super::{InterceptError, bpf};

const MAP: &str = "FLOWS";

/// The kernel side's notes of redirected connections. Cheap to clone, for each worker.
#[derive(Debug, Clone)]
pub struct OriginalDestinations {
    flows: Arc<MapData>,
}

// === impl OriginalDestinations ===

impl OriginalDestinations {
    pub(super) fn new(flows: MapData) -> Result<Self, InterceptError> {
        let info = flows.info().map_err(|error| InterceptError::map(MAP, &error))?;
        let sizes = (info.key_size() as usize, info.value_size() as usize);
        if sizes != (size_of::<FlowKey>(), size_of::<Address>()) {
            let message =
                format!("keys and values of {sizes:?} bytes: an object of another version");
            return Err(InterceptError::Map { map: MAP, message });
        }
        Ok(Self { flows: Arc::new(flows) })
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
        let nobody = Address::v4(0, 0);
        // SAFETY: `new` has compared the sizes.
        let flow = unsafe { bpf::take(self.flows.fd().as_fd(), &key, nobody) }?;
        Ok(flow.map(SocketAddr::from))
    }
}
