//! cgroup/sock_release: what is noted of a socket ends with it, also when its connect failed.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::programs::SockContext;

use crate::maps::ORIGINAL;
use crate::telemetry;

/// The only verdict this hook has.
const OK: i32 = 1;
const IPPROTO_TCP: u32 = 6;

#[inline(always)]
pub(crate) fn sock_release(ctx: &SockContext) -> i32 {
    // SAFETY: a field of the context, readable in programs of this type.
    if unsafe { (*ctx.sock).protocol } != IPPROTO_TCP {
        return OK;
    }
    // SAFETY: a helper for this program type since 5.7.
    let socket = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let _ = ORIGINAL.remove(socket);
    telemetry::released(ctx, socket);
    OK
}
