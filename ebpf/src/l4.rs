//! What is said of connections that go to an endpoint without the proxy: tables, notes, records.
//!
//! Not how a table is made: that is `nodeway_core::balance`'s.

use super::Address;

/// Key of `SLOTS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// The table's number; 0 is none's.
    pub table: u32,
    /// From 0 on.
    pub slot: u32,
}

/// Value of `SLOTS`. All slots of a table are equally likely, and each is shared by at most two targets
/// (Walker's alias method).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose the first part is.
    pub own: Target,
    /// Whose the rest is.
    pub other: Target,
    /// The first part, of 2^32; the largest number is all of it.
    pub part: u32,
    /// 1 if it is to be noted in `USES` who uses it.
    pub watched: u32,
}

/// Where a connection goes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// The endpoint; port 0 if there is none, and the connection is refused.
    pub address: Address,
    /// What it is counted under: a number whose meaning the proxy knows.
    pub series: u32,
}

/// Value of `CARRIED`, whose key is a socket cookie: a connection that goes to an endpoint without the
/// proxy.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// What the app dialled.
    pub dialled: Address,
    /// Where it was sent to instead.
    pub target: Target,
    /// Which ends of it have been closed: bits of [`Fins`].
    pub fins: u32,
    /// Cookie of the network namespace.
    pub netns: u64,
    /// When it began; nanoseconds of the monotonic clock.
    pub begun: u64,
    /// What the kernel had received when the peer had our end: what it counts beyond that and is no payload
    /// is the peer's end.
    pub received: u64,
}

/// Ends of a connection count as one octet each where the kernel counts octets (RFC 9293, 3.4).
#[derive(Debug, Clone, Copy)]
pub struct Fins;

/// Key of `USES`: who uses what.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Use {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// The target's series.
    pub series: u32,
    /// Zero.
    pub pad: u32,
}

/// A record of `ENDED`: what came of a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Cookie of the client's network namespace.
    pub netns: u64,
    /// Cookie of its socket.
    pub socket: u64,
    /// Octets of payload that the endpoint has acknowledged.
    pub sent: u64,
    /// Octets of payload that came from it.
    pub received: u64,
    /// From connect to the end, nanoseconds.
    pub duration: u64,
    /// Where it went.
    pub target: Target,
    /// The smoothed round-trip time at the end, microseconds; 0 if there is none.
    pub rtt: u32,
    /// Segments that were sent once more.
    pub retransmits: u32,
    /// An [`End`] as a number.
    pub end: u32,
    /// Zero.
    pub pad: u32,
}

/// How a connection ended.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was made, and closed or reset by whomever.
    Closed = 0,
    /// The endpoint refused it, or did not answer.
    NotConnected = 1,
    /// The client gave it up before the endpoint had answered.
    GivenUp = 2,
    /// There was no endpoint.
    Refused = 3,
}

const _: () = {
    assert!(size_of::<SlotKey>() == 8);
    assert!(size_of::<Target>() == 24);
    assert!(size_of::<Slot>() == 56);
    assert!(size_of::<Carried>() == 72);
    assert!(size_of::<Use>() == 16);
    assert!(size_of::<Ended>() == 80);
};

// === impl Fins ===

impl Fins {
    /// The peer has acknowledged ours.
    pub const SENT: u32 = 1;
    /// The peer's has come.
    pub const RECEIVED: u32 = 2;
}

// === impl End ===

impl End {
    /// The one of this number.
    pub fn of(number: u32) -> Option<Self> {
        [Self::Closed, Self::NotConnected, Self::GivenUp, Self::Refused]
            .into_iter()
            .find(|end| *end as u32 == number)
    }
}

// === impl Target ===

impl Target {
    /// Whether there is an endpoint.
    #[inline(always)]
    pub fn is_some(&self) -> bool {
        self.address.port != 0
    }
}

#[cfg(feature = "user")]
mod user {
    use super::{Carried, Slot, SlotKey, Use};

    // SAFETY: repr(C), of integers only, without padding (sizes asserted above): any bytes are valid
    // and all of them are written.
    unsafe impl aya::Pod for SlotKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Slot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Carried {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Use {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Ended {}
}
