//! One endpoint of one Service port, with its live state.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Millis;
use super::ejection::{Ejection, Failures};
use crate::model::ObjectName;

/// An endpoint's number; never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// An endpoint. It outlives snapshots: a change of configuration resets none of its state.
#[derive(Debug)]
pub struct Endpoint {
    /// Its number.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// The pod behind it, if its slice names one.
    pub pod: Option<ObjectName>,
    active: AtomicU32,
    failures: Failures,
}

impl Endpoint {
    /// An endpoint of which nothing is known yet.
    pub fn new(address: SocketAddr, pod: Option<ObjectName>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = EndpointId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, address, pod, active: AtomicU32::new(0), failures: Failures::default() }
    }

    /// A request to it, or a connection relayed to it, begins.
    pub fn begin(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// What [`Endpoint::begin`] began has ended. Once for each.
    pub fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests and relayed connections under way, of all workers.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// It has answered.
    pub fn succeeded(&self) {
        self.failures.succeeded();
    }

    /// It refused a connection or broke one before it answered. `Some` if it is left out for that
    /// from now on: said once.
    pub fn failed(&self, now: Millis) -> Option<Ejection> {
        self.failures.failed(now)
    }

    /// Whether it is left out now.
    pub fn ejected(&self, now: Millis) -> bool {
        self.failures.out(now)
    }
}
