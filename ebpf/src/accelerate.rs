//! sk_msg: payload between an app's redirected socket and the proxy's end of it skips the loopback stack.
//!
//! Only these pairs are ever enrolled, and only where acceleration is on (`ACCELERATE`). The order of
//! octets hangs on one fact of the kernel: a receiver reads what was handed to it here before what came
//! by TCP (`tcp_bpf_recvmsg`, net/ipv4/tcp_bpf.c). So a direction may go over from here to TCP at any
//! time, and never back.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    BPF_F_INGRESS, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_TCP_CLOSE, bpf_sock, bpf_sock_ops, sk_action,
};
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::programs::{SkMsgContext, SockOpsContext, SockoptContext};
use nodeway_ebpf::{ACCELERATED_AT_ONCE, FlowKey, Pair};

use crate::maps::{ACCELERATED, NETNS, PAIRS, PROXY, SOCKETS};

/// Who sends a message.
const BY_APP: bool = false;
const BY_PROXY: bool = true;

/// Whether sockets are enrolled at all, set before loading.
#[unsafe(no_mangle)]
static ACCELERATE: u32 = 0;

const AF_INET6: u32 = 10;
const SOL_SOCKET: i32 = 1;
/// asm-generic/socket.h; every architecture that BPF is built for here has these numbers.
const SO_ZEROCOPY: i32 = 60;
const SOL_TCP: i32 = 6;
const TCP_ULP: i32 = 31;
/// The verdicts of a setsockopt: to the kernel, and EPERM.
const ALLOW: i32 = 1;
const DENY: i32 = 0;
/// What the kernel shows of an option's value; where there is more a program has to decline it, or older
/// kernels fail the call with EFAULT (until commit 29ebbba7d461).
const SHOWN: i32 = 4096;

#[inline(always)]
fn is_on() -> bool {
    // SAFETY: a constant for the program's life; volatile, or the compiler would use its initial value.
    unsafe { (&raw const ACCELERATE).read_volatile() != 0 }
}

/// Enrols the app's end of a redirected connection that is being established.
#[inline(always)]
pub(crate) fn enrol_app(ctx: &SockOpsContext, flow: &FlowKey) {
    // From one port to the same one (the app has bound another address): the two ends would have one key.
    if !is_on() || flow.client_port == flow.listener_port {
        return;
    }
    // Without its other end a socket is better left alone: that is out of sight if the proxy is.
    if PROXY.get(0).is_none_or(|proxy| proxy.tgid == 0) {
        return;
    }
    // What a former connection with these ports has left is overwritten.
    if PAIRS.insert(flow, Pair::default(), 0).is_err() {
        return;
    }
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    let _ = SOCKETS.update(*flow, sock_ops(ctx), 0);
}

/// Enrols the proxy's end, a child of its listener in the pod. Data of the app can be there already, by
/// TCP; then that direction stays with it (`Lane::plain`).
#[inline(always)]
pub(crate) fn enrol_proxy(ctx: &SockOpsContext) {
    if !is_on() {
        return;
    }
    // SAFETY: a helper for this program type since 5.15.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let listener_port = ctx.local_port() as u16;
    // Network byte order, in the upper half of the word.
    let client_port = u16::from_be((ctx.remote_port() >> 16) as u16);
    let Some(family) = listener_family(netns, listener_port) else { return };
    let flow = FlowKey { netns, client_port, listener_port, family };
    // Only what we have redirected: who dials the listener itself has no entry.
    let Some(pair) = PAIRS.get_ptr_mut(flow) else { return };
    if SOCKETS.update(flow.proxys_end(), sock_ops(ctx), 0).is_ok() {
        // SAFETY: the verifier has seen the null check; nobody else writes this word.
        unsafe { (&raw mut (*pair).ready).write_volatile(1) };
    }
}

/// Forgets a pair when the app's end of it closes. The sockets leave `SOCKETS` by themselves.
#[inline(always)]
pub(crate) fn state_changed(ctx: &SockOpsContext) {
    if !is_on() || ctx.arg(1) != BPF_TCP_CLOSE {
        return;
    }
    // SAFETY: a helper for this program type since 5.15.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let listener_port = u16::from_be((ctx.remote_port() >> 16) as u16);
    let client_port = ctx.local_port() as u16;
    for family in [4, 6] {
        let _ = PAIRS.remove(FlowKey { netns, client_port, listener_port, family });
    }
}

/// Hands a message to the other end, or leaves it to TCP.
#[inline(always)]
pub(crate) fn message(ctx: &SkMsgContext) -> u32 {
    let msg = ctx.msg;
    // SAFETY: the context's fields, readable in programs of this type; the helper since 5.15.
    let (netns, local_port, remote_port, family, size) = unsafe {
        (
            bpf_get_netns_cookie(ctx.as_ptr()),
            (*msg).local_port as u16,
            u16::from_be(((*msg).remote_port >> 16) as u16),
            if (*msg).family == AF_INET6 { 6 } else { 4 },
            (*msg).size,
        )
    };
    // An app on an IPv6 socket may have a mapped peer: then the pair is one of IPv4.
    let from_proxy = FlowKey { netns, client_port: remote_port, listener_port: local_port, family };
    if let Some(pair) = PAIRS.get_ptr_mut(from_proxy) {
        return hand_over::<BY_PROXY>(ctx, pair, from_proxy, size);
    }
    let mut from_app =
        FlowKey { netns, client_port: local_port, listener_port: remote_port, family };
    if let Some(pair) = PAIRS.get_ptr_mut(from_app) {
        return hand_over::<BY_APP>(ctx, pair, from_app.proxys_end(), size);
    }
    if family == 6 {
        from_app.family = 4;
        if let Some(pair) = PAIRS.get_ptr_mut(from_app) {
            return hand_over::<BY_APP>(ctx, pair, from_app.proxys_end(), size);
        }
    }
    sk_action::SK_PASS
}

/// Each lane has one writer, the sender, whose calls the socket's lock keeps apart; but `sent` is taken
/// back by the other side. If both write at once a message more or less is counted, which is fine.
#[inline(always)]
fn hand_over<const SENT: bool>(ctx: &SkMsgContext, pair: *mut Pair, to: FlowKey, size: u32) -> u32 {
    // SAFETY: the verifier has seen the null check of who calls; aligned words of the entry, which the
    // kernel keeps until the program has ended.
    unsafe {
        let (app, proxy) = (&raw mut (*pair).app, &raw mut (*pair).proxy);
        let (mine, others) = if SENT == BY_PROXY { (proxy, app) } else { (app, proxy) };
        let (plain, sent) = (&raw mut (*mine).plain, &raw mut (*mine).sent);
        if plain.read_volatile() != 0 {
            return sk_action::SK_PASS;
        }
        // Whoever speaks has, in all likelihood, read what it was sent.
        (&raw mut (*others).sent).write_volatile(0);
        let now_sent = sent.read_volatile().saturating_add(size);
        let ready = (&raw const (*pair).ready).read_volatile() != 0;
        if ready && now_sent <= ACCELERATED_AT_ONCE {
            // What is not there any more is not to be dropped but to fail as TCP does.
            if SOCKETS.redirect_msg(ctx, to, u64::from(BPF_F_INGRESS))
                == i64::from(sk_action::SK_PASS)
            {
                sent.write_volatile(now_sent);
                count(size);
                return sk_action::SK_PASS;
            }
        }
        // No way back: what goes by TCP from here on would be overtaken.
        plain.write_volatile(1);
    }
    sk_action::SK_PASS
}

#[inline(always)]
fn count(size: u32) {
    if let Some(octets) = ACCELERATED.get_ptr_mut(0) {
        // SAFETY: the verifier has seen the null check; the slot is this CPU's own.
        unsafe { *octets += u64::from(size) };
    }
}

/// Refuses two options that an accelerated socket would not live up to. Whoever asks for them has to do
/// without on many kernels, and does:
/// - `TCP_ULP`: kTLS hands its plaintext to `message` (net/tls/tls_sw.c), so the proxy would get what
///   was to be encrypted. Libraries encrypt by themselves then;
/// - `SO_ZEROCOPY`: what is handed over here is copied, and that it was read is never told. It may be
///   asked for before `connect`, so it is refused to all TCP sockets of an enrolled namespace.
#[inline(always)]
pub(crate) fn setsockopt(ctx: &SockoptContext) -> i32 {
    let option = ctx.sockopt;
    // SAFETY: the context's fields, readable in programs of this type.
    let (level, name, length) = unsafe { ((*option).level, (*option).optname, (*option).optlen) };
    if length > SHOWN {
        // SAFETY: a field that these programs may write: 0 leaves the value as the caller gave it.
        unsafe { (*option).optlen = 0 };
        return ALLOW;
    }
    let ulp = level == SOL_TCP && name == TCP_ULP;
    if !ulp && (level != SOL_SOCKET || name != SO_ZEROCOPY) {
        return ALLOW;
    }
    // SAFETY: a helper for this program type since 5.15.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    // SAFETY: the value is not looked at.
    if unsafe { NETNS.get(netns) }.is_none() {
        return ALLOW;
    }
    // SAFETY: a field of the context since 5.3; what it points to is read after the null check.
    let socket = unsafe { (*option).__bindgen_anon_1.sk };
    if socket.is_null() {
        return ALLOW;
    }
    if !ulp {
        // SAFETY: as above.
        return if unsafe { (*socket).protocol } == SOL_TCP as u32 { DENY } else { ALLOW };
    }
    if is_paired(netns, socket) { DENY } else { ALLOW }
}

#[inline(always)]
fn is_paired(netns: u64, socket: *const bpf_sock) -> bool {
    // SAFETY: the verifier has seen the null check of who calls; fields that all programs may read.
    let (client_port, listener_port) =
        unsafe { ((*socket).src_port as u16, u16::from_be((*socket).dst_port)) };
    let pair = |family| {
        // SAFETY: the value is not looked at.
        unsafe { PAIRS.get(FlowKey { netns, client_port, listener_port, family }) }.is_some()
    };
    pair(4) || pair(6)
}

/// The family of the listener that the proxy has on this port of this namespace.
#[inline(always)]
fn listener_family(netns: u64, port: u16) -> Option<u32> {
    // SAFETY: the value is read at once; a concurrent update replaces the entry as a whole.
    let listeners = unsafe { NETNS.get(netns) }?;
    match port {
        0 => None,
        port if port == listeners.port4 => Some(4),
        port if port == listeners.port6 => Some(6),
        _ => None,
    }
}

#[inline(always)]
fn sock_ops(ctx: &SockOpsContext) -> &mut bpf_sock_ops {
    // SAFETY: the program's own context, for the one helper that takes it.
    unsafe { &mut *ctx.ops }
}
