//! The programs' entry points; what they do is in the file of their hook.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macros of entry points make public items of their own"
)]

mod accelerate;
mod carry;
mod connect;
mod exit;
mod maps;
mod peername;
mod sock_ops;
mod sock_release;
mod telemetry;

use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, cgroup_sockopt, sk_msg, sock_ops};
use aya_ebpf::programs::{
    SkMsgContext, SockAddrContext, SockContext, SockOpsContext, SockoptContext,
};

/// cgroup/connect4 (kernel 4.17).
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    connect::connect4(&ctx)
}

/// cgroup/connect6 (kernel 4.17).
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    connect::connect6(&ctx)
}

/// cgroup/getpeername4 (kernel 5.8).
#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    peername::getpeername4(&ctx)
}

/// cgroup/getpeername6 (kernel 5.8).
#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    peername::getpeername6(&ctx)
}

/// cgroup/sock_release (kernel 5.9).
#[cgroup_sock(sock_release)]
fn sock_release(ctx: SockContext) -> i32 {
    sock_release::sock_release(&ctx)
}

/// sock_ops (kernel 4.13; `bpf_get_netns_cookie` in it 5.15). Not named after its section: the two
/// would clash.
#[sock_ops]
fn note_established(ctx: SockOpsContext) -> u32 {
    sock_ops::note_established(&ctx)
}

/// sk_msg (kernel 4.17; `bpf_get_netns_cookie` in it 5.15).
#[sk_msg]
fn skip_loopback(ctx: SkMsgContext) -> u32 {
    accelerate::message(&ctx)
}

/// cgroup/setsockopt (kernel 5.3; `bpf_get_netns_cookie` in it 5.15). With acceleration only.
#[cgroup_sockopt(setsockopt)]
fn refuse_options(ctx: SockoptContext) -> i32 {
    accelerate::setsockopt(&ctx)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
