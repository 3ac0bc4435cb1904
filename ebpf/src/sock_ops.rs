//! sock_ops: when a redirected connection is established, notes what was dialled under a key that
//! the proxy can tell when it accepts. It runs before the client's last ACK leaves, so before
//! `accept` can return. What goes to endpoints without the proxy is `telemetry`'s.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_TCP_CONNECT_CB,
};
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::programs::SockOpsContext;
use nodeway_ebpf::FlowKey;

use crate::accelerate;
use crate::maps::{FLOWS, ORIGINAL};
use crate::telemetry;

/// Without meaning for the operation that is looked at.
const OK: u32 = 0;

#[inline(always)]
pub(crate) fn note_established(ctx: &SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accelerate::enrol_proxy(ctx),
        BPF_SOCK_OPS_TCP_CONNECT_CB => telemetry::begin(ctx),
        BPF_SOCK_OPS_STATE_CB => {
            telemetry::changed(ctx);
            accelerate::state_changed(ctx);
        }
        _ => {}
    }
    OK
}

#[inline(always)]
fn established(ctx: &SockOpsContext) {
    // SAFETY: a helper for this program type since 4.19.
    let socket = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the value is copied at once; only the socket's own connect or release changes it.
    let Some(redirect) = (unsafe { ORIGINAL.get(socket) }) else { return };
    // Network byte order, in the upper half of the word.
    let remote_port = u16::from_be((ctx.remote_port() >> 16) as u16);
    let listener_port = redirect.listener_port;
    if remote_port != listener_port {
        return;
    }
    let client_port = ctx.local_port() as u16;
    // SAFETY: a helper for this program type since 5.15.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let family = u32::from(redirect.family);
    let key = FlowKey { netns, client_port, listener_port, family };
    // Full cannot be: the oldest entry makes room.
    let _ = FLOWS.insert(key, &redirect.dialled, 0);
    accelerate::enrol_app(ctx, &key);
}
