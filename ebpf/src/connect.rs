//! cgroup/connect4, connect6: sends a pod's connect to a Service to the pod's own listener, or, where the
//! proxy has said so, to an endpoint at once.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_sk_lookup_tcp,
    bpf_sk_release,
};
use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::debug;
use nodeway_ebpf::{Address, Exit, Frontend, Mode, Redirect};

use crate::carry::{self, carry};
use crate::exit::{allow, deny};
use crate::maps::{FRONTENDS, NETNS, ORIGINAL, PROXY};

const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;
/// `TCP_LISTEN`, of the kernel's `enum tcp_state`.
const LISTEN: u32 = 10;
/// `BPF_F_CURRENT_NETNS`.
const CURRENT_NETNS: u64 = u64::MAX;
const LOOPBACK4: u32 = 0x7f00_0001_u32.to_be();
const LOOPBACK6: [u32; 4] = [0, 0, 0, 1_u32.to_be()];

/// The mark of the proxy's listeners, set before loading: a secret of this process, so that nobody
/// else who listens on the port after the proxy has gone is taken for it.
#[unsafe(no_mangle)]
static LISTENER_MARK: u32 = 0;
/// Whether a connect is refused when nobody listens, set before loading.
#[unsafe(no_mangle)]
static FAIL_CLOSED: u32 = 0;

#[inline(always)]
pub(crate) fn connect4(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: the context's fields, readable in connect4 programs.
    let (ip, port) = unsafe { ((*addr).user_ip4, (*addr).user_port as u16) };
    match redirect(ctx, &Address::v4(ip, port)) {
        Ok((to, exit)) => {
            // SAFETY: the two fields that connect4 programs may write.
            unsafe {
                (*addr).user_ip4 = to.ip[3];
                (*addr).user_port = u32::from(to.port);
            }
            allow(exit)
        }
        Err(verdict) => verdict,
    }
}

#[inline(always)]
pub(crate) fn connect6(ctx: &SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // SAFETY: the context's fields, readable in connect6 programs, word by word.
    let (ip, port) = unsafe {
        let ip = &raw const (*addr).user_ip6;
        let ip = ip.cast::<u32>();
        let words = [
            ip.read_volatile(),
            ip.add(1).read_volatile(),
            ip.add(2).read_volatile(),
            ip.add(3).read_volatile(),
        ];
        (words, (*addr).user_port as u16)
    };
    match redirect(ctx, &Address::v6(ip, port)) {
        Ok((to, exit)) => {
            // SAFETY: the fields that connect6 programs may write, word by word.
            unsafe {
                let ip = (&raw mut (*addr).user_ip6).cast::<u32>();
                ip.write_volatile(to.ip[0]);
                ip.add(1).write_volatile(to.ip[1]);
                ip.add(2).write_volatile(to.ip[2]);
                ip.add(3).write_volatile(to.ip[3]);
                (*addr).user_port = u32::from(to.port);
            }
            allow(exit)
        }
        Err(verdict) => verdict,
    }
}

/// Where the connect is to be sent to, in the family that was dialled (a dual-stack socket that dialled an
/// IPv4 address stays with the mapped form), or the verdict that lets it be.
#[inline(always)]
fn redirect(ctx: &SockAddrContext, dialled: &Address) -> Result<(Address, Exit), i32> {
    let addr = ctx.sock_addr;
    // SAFETY: the context's fields, readable in all programs of this type.
    let (kind, protocol) = unsafe { ((*addr).type_, (*addr).protocol) };
    if kind != SOCK_STREAM || protocol != IPPROTO_TCP {
        return Err(allow(Exit::NotTcp));
    }
    // SAFETY: a helper for this program type since 5.7.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    // SAFETY: the value is read at once; a concurrent update replaces the entry as a whole.
    let Some(netns) = (unsafe { NETNS.get(cookie) }) else {
        introduce(ctx);
        return Err(allow(Exit::NotEnrolled));
    };
    if is_proxy() {
        return Err(allow(Exit::IsProxy));
    }
    // SAFETY: a helper for this program type since 4.19.
    let socket = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: as above.
    let Some(frontend) = (unsafe { FRONTENDS.get(dialled) }) else {
        return Err(leave(socket, Exit::NotFrontend));
    };
    let frontend: Frontend = *frontend;
    let carried = frontend.mode == Mode::L4 as u32;
    if !carried && is_bound_to_device(ctx) {
        return Err(leave(socket, Exit::BoundToDevice));
    }
    let v4 = dialled.is_v4();
    let (listener_port, family) = if v4 { (netns.port4, 4) } else { (netns.port6, 6) };
    if !is_listening(ctx, listener_port, v4) {
        // SAFETY: a constant for the program's life; volatile, or the compiler would use its
        // initial value.
        if unsafe { (&raw const FAIL_CLOSED).read_volatile() } != 0 {
            forget(socket);
            return Err(deny(Exit::Refused));
        }
        return Err(leave(socket, Exit::NoListener));
    }
    if carried {
        if let Some((to, exit)) = carry(ctx, (socket, cookie), dialled, &frontend) {
            return Ok((to, exit));
        }
        // Its table has just been replaced, or there is no room for the note: the proxy can do it too.
        if is_bound_to_device(ctx) {
            return Err(leave(socket, Exit::BoundToDevice));
        }
    }
    carry::forget(socket);
    let note = Redirect { dialled: *dialled, listener_port, family };
    if ORIGINAL.insert(socket, note, 0).is_err() {
        return Err(leave(socket, Exit::NotNoted));
    }
    debug!(ctx, "connect of socket {} in namespace {} redirected", socket, cookie);
    Ok((loopback(v4, listener_port), Exit::Redirected))
}

/// The loopback of the family, with this port, host byte order.
#[inline(always)]
pub(crate) fn loopback(v4: bool, port: u16) -> Address {
    if v4 { Address::v4(LOOPBACK4, port.to_be()) } else { Address::v6(LOOPBACK6, port.to_be()) }
}

/// Lets the connect be. The socket may have been redirected by an earlier connect: forget that, or
/// getpeername would tell the former destination.
#[inline(always)]
fn leave(socket: u64, exit: Exit) -> i32 {
    forget(socket);
    allow(exit)
}

#[inline(always)]
fn forget(socket: u64) {
    let _ = ORIGINAL.remove(socket);
    carry::forget(socket);
}

/// Whether the socket's way is laid down by SO_BINDTODEVICE: sent to loopback through another device,
/// it would get nowhere.
#[inline(always)]
fn is_bound_to_device(ctx: &SockAddrContext) -> bool {
    // SAFETY: a field of the context since 5.3, which the verifier knows as a socket, never null.
    unsafe { (*(*ctx.sock_addr).__bindgen_anon_1.sk).bound_dev_if != 0 }
}

/// Whether the proxy listens on the loopback of this namespace now.
#[inline(always)]
fn is_listening(ctx: &SockAddrContext, port: u16, v4: bool) -> bool {
    if port == 0 {
        return false;
    }
    // SAFETY: integers only; all zero is valid.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let size = if v4 {
        tuple.__bindgen_anon_1.ipv4.daddr = LOOPBACK4;
        tuple.__bindgen_anon_1.ipv4.dport = port.to_be();
        12
    } else {
        tuple.__bindgen_anon_1.ipv6.daddr = LOOPBACK6;
        tuple.__bindgen_anon_1.ipv6.dport = port.to_be();
        36
    };
    // SAFETY: a helper for this program type since 5.0; the tuple lives until it returns. What it
    // returns is released on every path.
    unsafe {
        let socket = bpf_sk_lookup_tcp(ctx.as_ptr(), &raw mut tuple, size, CURRENT_NETNS, 0);
        if socket.is_null() {
            return false;
        }
        let (state, mark) = ((*socket).state, (*socket).mark);
        bpf_sk_release(socket.cast());
        state == LISTEN && mark == (&raw const LISTENER_MARK).read_volatile()
    }
}

/// Whether the caller is the proxy, which makes its upstream connections in the pod's namespace.
#[inline(always)]
fn is_proxy() -> bool {
    let Some(proxy) = PROXY.get(0) else { return false };
    // SAFETY: a helper for this program type since 5.7; without arguments.
    let tgid = (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32;
    tgid == proxy.tgid
}

/// Writes down who the proxy is when the socket by which it introduces itself connects.
#[inline(always)]
fn introduce(ctx: &SockAddrContext) {
    let Some(proxy) = PROXY.get_ptr_mut(0) else { return };
    // SAFETY: the verifier has seen the null check; an aligned word.
    let probe = unsafe { (*proxy).probe_cookie };
    // SAFETY: helpers for this program type since 4.19 and 5.7.
    if probe != 0 && probe == unsafe { bpf_get_socket_cookie(ctx.as_ptr()) } {
        // SAFETY: as above; nobody else writes while a probe is under way.
        unsafe { (*proxy).tgid = (bpf_get_current_pid_tgid() >> 32) as u32 };
    }
}
