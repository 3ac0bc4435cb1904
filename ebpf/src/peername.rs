//! cgroup/getpeername4, 6: the app sees the address it dialled, not the listener's or an endpoint's.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockAddrContext;
use nodeway_ebpf::Address;

use crate::maps::{CARRIED, ORIGINAL};

/// The only verdict these hooks have.
const OK: i32 = 1;

#[inline(always)]
pub(crate) fn getpeername4(ctx: &SockAddrContext) -> i32 {
    if let Some(dialled) = dialled(ctx) {
        let addr = ctx.sock_addr;
        // SAFETY: the fields that getpeername4 programs may write.
        unsafe {
            (*addr).user_ip4 = dialled.ip[3];
            (*addr).user_port = u32::from(dialled.port);
        }
    }
    OK
}

#[inline(always)]
pub(crate) fn getpeername6(ctx: &SockAddrContext) -> i32 {
    if let Some(dialled) = dialled(ctx) {
        let addr = ctx.sock_addr;
        // SAFETY: the fields that getpeername6 programs may write, word by word.
        unsafe {
            let ip = (&raw mut (*addr).user_ip6).cast::<u32>();
            ip.write_volatile(dialled.ip[0]);
            ip.add(1).write_volatile(dialled.ip[1]);
            ip.add(2).write_volatile(dialled.ip[2]);
            ip.add(3).write_volatile(dialled.ip[3]);
            (*addr).user_port = u32::from(dialled.port);
        }
    }
    OK
}

#[inline(always)]
fn dialled(ctx: &SockAddrContext) -> Option<&Address> {
    // SAFETY: a helper for this program type since 4.19.
    let socket = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the value is copied at once; only the socket's own connect or release changes it.
    if let Some(redirect) = unsafe { ORIGINAL.get(socket) } {
        return Some(&redirect.dialled);
    }
    // SAFETY: as above.
    let carried = unsafe { CARRIED.get(socket) }?;
    Some(&carried.dialled)
}
