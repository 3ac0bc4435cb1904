//! Connects that are sent to an endpoint at once: which one, and what is noted of it.
//!
//! Not which connects these are: the proxy says so in `FRONTENDS`, and how endpoints share them in `SLOTS`.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns};
use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::debug;
use nodeway_ebpf::{
    Address, Carried, Draw, End, Ended, Exit, Frontend, Slot, SlotKey, Target, Use,
};

use crate::connect::loopback;
use crate::maps::{CARRIED, ENDED, ORIGINAL, SLOTS, UNTOLD, USES};

/// A use is noted again after so long, nanoseconds: more often nobody needs to know.
const USED_LATELY: u64 = 1_000_000_000;

/// Where the connect of `socket`, in the namespace `netns`, goes by the frontend's table; none if it cannot be
/// sent by that.
#[inline(always)]
pub(crate) fn carry(
    ctx: &SockAddrContext,
    (socket, netns): (u64, u64),
    dialled: &Address,
    frontend: &Frontend,
) -> Option<(Address, Exit)> {
    let slot = draw(frontend, netns)?;
    let target = choose(slot, frontend, netns);
    // SAFETY: a helper without arguments, for all program types.
    let now = unsafe { bpf_ktime_get_ns() };
    if !target.is_some() {
        let refused = Ended {
            netns,
            socket,
            sent: 0,
            received: 0,
            duration: 0,
            target,
            rtt: 0,
            retransmits: 0,
            end: End::Refused as u32,
            pad: 0,
        };
        tell(&refused);
        forget(socket);
        let _ = ORIGINAL.remove(socket);
        // Nobody can listen on port 0, so whatever answers there says what kube-proxy says of a Service
        // without endpoints, at the same time and by the same error: the connection is refused. A verdict
        // would be EPERM.
        return Some((loopback(dialled.is_v4(), 0), Exit::NoEndpoint));
    }
    let note = Carried { dialled: *dialled, target, fins: 0, netns, begun: now, received: 0 };
    if CARRIED.insert(socket, note, 0).is_err() {
        return None;
    }
    let _ = ORIGINAL.remove(socket);
    if slot.watched != 0 {
        note_use(netns, target.series, now);
    }
    debug!(ctx, "connect of socket {} in namespace {} carried", socket, netns);
    Some((target.address, Exit::Carried))
}

/// What was noted of a socket that goes another way now.
#[inline(always)]
pub(crate) fn forget(socket: u64) {
    let _ = CARRIED.remove(socket);
}

/// Hands a record to the proxy, if there is room.
#[inline(always)]
pub(crate) fn tell(ended: &Ended) {
    match ENDED.reserve::<Ended>(0) {
        Some(mut record) => {
            record.write(*ended);
            record.submit(u64::from(BPF_RB_NO_WAKEUP));
        }
        None => {
            if let Some(counter) = UNTOLD.get_ptr_mut(0) {
                // SAFETY: the verifier has seen the null check; the slot is this CPU's own.
                unsafe { *counter += 1 };
            }
        }
    }
}

#[inline(always)]
fn draw(frontend: &Frontend, netns: u64) -> Option<&'static Slot> {
    // SAFETY: a helper without arguments, for all program types.
    let chance = match frontend.draw == Draw::Client as u32 {
        true => mixed(netns),
        false => unsafe { bpf_get_prandom_u32() },
    };
    let slot = ((u64::from(chance) * u64::from(frontend.slots)) >> 32) as u32;
    // SAFETY: the value is copied at once; the proxy never changes a slot.
    unsafe { SLOTS.get(SlotKey { table: frontend.table, slot }) }
}

#[inline(always)]
fn choose(slot: &Slot, frontend: &Frontend, netns: u64) -> Target {
    if slot.part == u32::MAX {
        return slot.own;
    }
    // SAFETY: a helper without arguments, for all program types.
    let coin = match frontend.draw == Draw::Client as u32 {
        true => mixed(!netns),
        false => unsafe { bpf_get_prandom_u32() },
    };
    if coin < slot.part { slot.own } else { slot.other }
}

/// Cookies follow each other: each bit of the result depends on all of theirs (the finalizer of SplitMix64:
/// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[inline(always)]
fn mixed(bits: u64) -> u32 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits >> 32) as u32
}

#[inline(always)]
fn note_use(netns: u64, series: u32, now: u64) {
    let key = Use { netns, series, pad: 0 };
    // SAFETY: the value is copied at once.
    let last = unsafe { USES.get(key) }.copied();
    if last.is_none_or(|last| now.wrapping_sub(last) > USED_LATELY) {
        let _ = USES.insert(key, now, 0);
    }
}
