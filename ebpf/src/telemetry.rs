//! sock_ops, cgroup/sock_release: what became of a connection that went to an endpoint without the proxy.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_TCP_CLOSE, BPF_TCP_CLOSE_WAIT, BPF_TCP_CLOSING,
    BPF_TCP_FIN_WAIT2, BPF_TCP_LAST_ACK, BPF_TCP_SYN_SENT,
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::{SockContext, SockOpsContext};
use nodeway_ebpf::{Carried, End, Ended, Fins};

use crate::carry::tell;
use crate::maps::CARRIED;

/// Asks to be told of the socket's states, if its connect has been carried.
#[inline(always)]
pub(crate) fn begin(ctx: &SockOpsContext) {
    // SAFETY: a helper for this program type since 4.19.
    let socket = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if CARRIED.get_ptr(socket).is_some() {
        let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    }
}

/// The socket has come from one state to another.
#[inline(always)]
pub(crate) fn changed(ctx: &SockOpsContext) {
    let (from, to) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: a helper for this program type since 4.19.
    let socket = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let Some(note) = CARRIED.get_ptr_mut(socket) else { return };
    // SAFETY: the verifier has seen the null check. Only this socket's own programs, which the socket's lock
    // keeps apart, change the note.
    let note = unsafe { &mut *note };
    // SAFETY: a field of the context since 4.16.
    let received = unsafe { (*ctx.ops).bytes_received };
    match to {
        BPF_TCP_CLOSE_WAIT | BPF_TCP_CLOSING => note.fins |= Fins::RECEIVED,
        BPF_TCP_FIN_WAIT2 => {
            note.fins |= Fins::SENT;
            note.received = received;
        }
        BPF_TCP_CLOSE => {
            match from {
                // The peer has acknowledged it, or has reset the connection.
                BPF_TCP_CLOSING | BPF_TCP_LAST_ACK => note.fins |= Fins::SENT,
                // It was the peer's end that came last, or nobody waits for it.
                BPF_TCP_FIN_WAIT2 if received > note.received => note.fins |= Fins::RECEIVED,
                _ => {}
            }
            end(ctx, socket, note, from);
            let _ = CARRIED.remove(socket);
        }
        _ => {}
    }
}

#[inline(always)]
fn end(ctx: &SockOpsContext, socket: u64, note: &Carried, from: u32) {
    // SAFETY: fields of the context since 4.16.
    let (acked, received, rtt, retransmits) = unsafe {
        let ops = ctx.ops;
        ((*ops).bytes_acked, (*ops).bytes_received, (*ops).srtt_us, (*ops).total_retrans)
    };
    let connected = from != BPF_TCP_SYN_SENT;
    // Our beginning has been acknowledged as one octet, as have ends.
    let begin = u64::from(connected) + u64::from(note.fins & Fins::SENT);
    let fin = u64::from((note.fins & Fins::RECEIVED) != 0);
    // SAFETY: a helper without arguments, for all program types.
    let now = unsafe { bpf_ktime_get_ns() };
    let end = if connected { End::Closed } else { End::NotConnected };
    tell(&Ended {
        netns: note.netns,
        socket,
        sent: acked.saturating_sub(begin),
        received: received.saturating_sub(fin),
        duration: now.wrapping_sub(note.begun),
        target: note.target,
        // The kernel keeps it in eighths.
        rtt: rtt >> 3,
        retransmits,
        end: end as u32,
        pad: 0,
    });
}

/// The app has let go of the socket, before the kernel closes it. A connection that it has begun to make ends
/// here, by its own will; one that it never began or that has failed has nothing to tell any more; all others
/// are told of when they have ended.
#[inline(always)]
pub(crate) fn released(ctx: &SockContext, socket: u64) {
    // SAFETY: a field of the context, readable in programs of this type.
    let state = unsafe { (*ctx.sock).state };
    if state != BPF_TCP_SYN_SENT && state != BPF_TCP_CLOSE {
        return;
    }
    // SAFETY: the value is copied at once; only the socket's own programs change it.
    let Some(note) = (unsafe { CARRIED.get(socket) }) else { return };
    if state == BPF_TCP_SYN_SENT {
        // SAFETY: a helper without arguments, for all program types.
        let now = unsafe { bpf_ktime_get_ns() };
        tell(&Ended {
            netns: note.netns,
            socket,
            sent: 0,
            received: 0,
            duration: now.wrapping_sub(note.begun),
            target: note.target,
            rtt: 0,
            retransmits: 0,
            end: End::GivenUp as u32,
            pad: 0,
        });
    }
    let _ = CARRIED.remove(socket);
}
